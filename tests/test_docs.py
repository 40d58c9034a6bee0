"""The README is executed: what it shows is what the program prints.

``TURNBACK_WRITE_DOCS=1 pytest tests/test_docs.py`` writes the blocks anew.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import sqlite3
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from scipy.special import ndtr
from typer.main import get_command
from typer.testing import CliRunner

from console.cli import app
from guardrails.channels import Message
from guardrails.channels.texts import plain
from guardrails.files import CONTROL
from guardrails.links import leading
from metrics.catalogue import load_catalogue
from metrics.stats.group_sequential import Progress, exit_probabilities, look
from metrics.stats.spending import reserve
from tests.running import running

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
WRITE = os.environ.get("TURNBACK_WRITE_DOCS") == "1"
OUTPUT = re.compile(
    r"(<!-- output: turnback (?P<command>[^\n]+?) -->\n```text\n)(?P<body>.*?)(```)", re.DOTALL
)
AFTER = re.compile(
    r"(<!-- after the demo: turnback (?P<command>[^\n,]+?), parts (?P<parts>\d to \d) -->\n"
    r"```text\n)(?P<body>.*?)(```)",
    re.DOTALL,
)
MESSAGE = re.compile(
    r"(<!-- after the demo: the message -->\n```text\n)(?P<body>.*?)(```)", re.DOTALL
)
OTHERS = ("CONTRIBUTING.md", "SECURITY.md")
DEMO, DATA = ("demo", "--no-view"), "turnback-data"
END = datetime(2026, 1, 6, 12, tzinfo=UTC)
SENDS = {"product": {"type": "log"}}
NOT_RUN = re.compile(r"--watch|-completion")  # never ends; changes the shell of whoever tests
FILE = re.compile(r"(<!-- file: (?P<path>[^\n]+?) -->\n```yaml\n)(?P<body>.*?)(```)", re.DOTALL)
TABLE = re.compile(r"(<!-- table: peeking -->\n)(?P<body>(?:\|[^\n]*\n)*)")
WALL = re.compile(r"\b\d+(\.\d+)? s(econds)?\b|127\.0\.0\.1:\d+|/[^\s]*turnback-data[^\s]*")


def replace_or_compare(pattern, match_start, expected, *, like=lambda text: text):
    """Compare a block with what it should be; in writing mode put it there instead."""
    text = README.read_text(encoding="utf-8")
    match = next(m for m in pattern.finditer(text) if m.start() == match_start)
    if WRITE:
        begin, end = match.span("body")
        README.write_text(text[:begin] + expected + text[end:], encoding="utf-8")
        return
    assert like(match["body"]) == like(expected)


def blocks(pattern):
    return list(pattern.finditer(README.read_text(encoding="utf-8")))


def position(pattern, key, value):
    return next(m.start() for m in blocks(pattern) if m[key] == value)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def turnback(*arguments):
    """Return what a command of its own process prints."""
    done = subprocess.run(
        [Path(sys.executable).with_name("turnback"), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"},
    )
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def demoed(tmp_path_factory):
    """Return (what the demo of the README prints, where it left its folder ``turnback-data``)."""
    folder = tmp_path_factory.mktemp("demo")
    told = turnback(*DEMO, "--port", str(free_port()), "--data", str(folder / DATA))
    assert "was turned back at" in told, told
    return told, folder


@pytest.mark.parametrize("command", [m["command"] for m in blocks(OUTPUT)])
def test_the_readme_shows_what_a_command_prints(command, demoed):
    arguments = tuple(shlex.split(command))
    told = demoed[0] if arguments == DEMO else turnback(*arguments)
    shown = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8300", told)
    printed = "\n".join(line.rstrip() for line in shown.splitlines()) + "\n"
    replace_or_compare(
        OUTPUT,
        position(OUTPUT, "command", command),
        printed,
        like=lambda text: WALL.sub("…", text),
    )


@pytest.fixture(scope="module")
def executed(demoed):
    """Return what became of every command of two pages, and of the README's beside a demo."""
    folder, done = demoed[1], {}
    lines = [line for page in ("command-line.md", "sharing-results.md") for line in commands(page)]
    lines += [f"turnback {match['command']}" for match in blocks(AFTER)]
    chosen = [line for line in lines if not NOT_RUN.search(line)]
    with (
        contextlib.chdir(folder),
        running(data=folder / DATA, demo_start=END, channels=SENDS) as it,
    ):
        for line in chosen:
            if "--data" not in line:
                done[line] = invoked(line.replace("http://127.0.0.1:8300", it.url), it.url)
    with contextlib.chdir(folder):  # the folder of a service that does not run
        for line in chosen:
            if "--data" in line:
                done[line] = invoked(line, f"http://127.0.0.1:{free_port()}")
    return done


def commands(page):
    """Return the command lines of a page's bash blocks."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def invoked(line, url):
    env = {"TURNBACK_URL": url, "COLUMNS": "100", "NO_COLOR": "1", "TURNBACK_DATA": DATA}
    return CliRunner(env=env).invoke(app, shlex.split(line)[1:])


def test_the_commands_of_the_pages_do_what_they_say_beside_a_demo(executed):
    told = {line: result for line, result in executed.items() if result.exit_code != 0}
    # the service of the demo is no installation: doctor may find something
    wrong = {line: r.output for line, r in told.items() if not line.startswith("turnback doctor")}
    assert wrong == {}
    assert all(r.exit_code == 1 and "Traceback" not in r.output for r in told.values())
    assert len(executed) > 20


def test_the_files_that_the_pages_promise_are_written(executed, demoed):
    assert executed
    folder = demoed[1]
    for name in ("report.html", "evidence.png", "digest.html"):
        assert (folder / name).stat().st_size > 1_000
    assert {path.stem for path in (folder / "results").iterdir()} >= {"kpis", "evidence"}
    assert list((folder / "events").rglob("*.parquet"))


@pytest.mark.parametrize("shown", [(m["command"], m["parts"]) for m in blocks(AFTER)])
def test_the_readme_shows_what_a_command_prints_after_the_demo(shown, executed):
    command, parts = shown
    first, last = map(int, parts.split(" to "))
    told = executed[f"turnback {command}"].output.split("\n\n")[first - 1 : last]
    text = "\n".join(line.rstrip() for line in "\n\n".join(told).strip("\n").splitlines())
    replace_or_compare(AFTER, position(AFTER, "command", command), f"{text}\n")


def test_the_readme_shows_the_message_of_the_rollback(demoed):
    with contextlib.closing(sqlite3.connect(demoed[1] / DATA / CONTROL)) as control:
        query = "SELECT body FROM outbox WHERE key LIKE 'rolled_back:%'"
        body = json.loads(control.execute(query).fetchone()[0])
    message = leading(msgspec.convert(body, Message), "http://127.0.0.1:8300")
    lines = [message.title, "", *plain(message, 4_000).splitlines()]
    text = "\n".join(textwrap.fill(each, 98, subsequent_indent="    ") for each in lines)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8300", text)
    replace_or_compare(MESSAGE, blocks(MESSAGE)[0].start(), f"{text}\n")


@pytest.mark.parametrize("path", [m["path"] for m in blocks(FILE)])
def test_the_readme_shows_the_file_as_it_is(path):
    replace_or_compare(
        FILE, position(FILE, "path", path), (ROOT / path).read_text(encoding="utf-8")
    )


def test_the_requests_of_the_readme_are_answered():
    (block,) = re.findall(r"```bash\n(curl .*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    spec = (ROOT / "examples" / "three-step-cancel.yaml").read_text(encoding="utf-8")
    with running() as service:
        assert service.apply(spec).is_success
        script = block.replace("localhost:8300", service.url)
        assert "$(date -u +%FT%TZ)" in script  # a past instant would be before the exposure
        script = script.replace("$(date -u +%FT%TZ)", "2026-01-05T10:00:00Z")  # its clock stands
        done = subprocess.run(
            ["bash", "-euc", script], capture_output=True, text=True, check=True, timeout=60
        )
    decoder, answers, rest = json.JSONDecoder(), [], done.stdout
    while rest.strip():
        answer, end = decoder.raw_decode(rest.lstrip())
        answers.append(answer)
        rest = rest.lstrip()[end:]
    evaluation, receipt = answers
    assert evaluation["variant"] in {"control", "three_step"}
    assert (receipt["accepted"], receipt["rejected"]) == (1, [])


FIXED = 1.959963984540054


def naive_error(looks):
    """Return the chance that a harmless change leaves +-1.96 at one of equally spaced looks."""
    information = [(k + 1) / looks for k in range(looks)]
    exits = exit_probabilities(information, [FIXED] * looks, [-FIXED] * looks)
    return exits.total


def turnback_error(checks, *, level=0.05, first=50.0):
    """Return the error of our boundary at the same checks: a check is a look at 2% growth."""
    progress, horizon = Progress(), first * checks
    for k in range(1, checks + 1):
        information = first * k
        if information >= 1.02 * progress.information:
            allowed = reserve(information / horizon, level, tau=first / horizon)
            _, progress = look(progress, information, allowed)
    return progress.spent


def test_the_table_of_peeking_is_computed():
    assert 2 * ndtr(-FIXED) == pytest.approx(0.05)
    rows = ["| looks | 5% fixed-horizon test | Turnback's boundary |", "|---|---|---|"]
    named = {1: "1", 10: "10", 20: "20", 100: "100", 1440: "1,440: once a minute for a day"}
    for looks, name in named.items():
        ours = turnback_error(looks)
        assert ours <= 0.05 + 1e-9
        rows.append(f"| {name} | {100 * naive_error(looks):.0f}% | {100 * ours:.1f}% |")
    replace_or_compare(TABLE, blocks(TABLE)[0].start(), "\n".join(rows) + "\n")


def test_links_of_the_docs_lead_somewhere():
    def headings_of(path):
        return {
            re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")
            for line in path.read_text(encoding="utf-8").splitlines()
            if line.startswith("#")
        }

    broken = []
    for page in [README, *sorted((ROOT / "docs").glob("*.md")), *(ROOT / name for name in OTHERS)]:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)]+)\)", text):
            if target.startswith("http"):
                continue
            file, _, heading = target.partition("#")
            path = page.parent / file if file else page
            if not path.exists() or (heading and heading not in headings_of(path)):
                broken.append((page.name, target))
    assert broken == []


def test_every_setting_of_the_service_is_in_the_operations_guide():
    from service import Settings

    guide = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    missing = [n for n in Settings.model_fields if f"`TURNBACK_{n.upper()}`" not in guide]
    assert missing == []


def every_command(group):
    """Return the commands of a group and of the groups in it (`turnback import online-retail`)."""
    for command in group.commands.values():
        yield from every_command(command) if hasattr(command, "commands") else (command,)


def test_the_readme_says_which_commands_have_no_json():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    without = {
        command.name
        for command in every_command(get_command(app))
        if all("--json" not in param.opts for param in command.params)
    }
    assert without == {"serve", "schema"}
    assert "Every command has `--json` but `serve`, and `schema`, which prints JSON" in text


def test_the_readme_counts_the_kpis_there_are():
    kpis = load_catalogue().kpis.values()
    core = [kpi for kpi in kpis if kpi.core]
    assert (len(core), len(kpis) - len(core)) == (12, 8)
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert "Twelve core KPIs, from cancellation rate to net revenue, and eight more" in text
