"""The operations guide is executed: its blocks marked `run`, in order, against a service."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from typer.main import get_command

import service
from console.cli import app
from tests.running import KEY, running

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "operations.md"
BLOCKS = re.findall(
    r"^```(bash|python) run\n(.*?)^```$",
    GUIDE.read_text(encoding="utf-8"),
    re.DOTALL | re.MULTILINE,
)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Return (what was run, what it printed) of every line or block, run in one folder."""
    folder, done = tmp_path_factory.mktemp("guide"), []
    with running() as it:
        assert it.apply().is_success
        given = {f"u{n}": it.evaluate(f"u{n}").json()["variant"] for n in range(20)}
        sent = [
            {
                "id": f"e{n}",
                "name": "satisfaction_rated",
                "happened_at": (service.DEMO_START + timedelta(seconds=n)).isoformat(),
                "unit": f"u{n}",
                "fields": {"score": 4},
            }
            for n in range(20)
        ]
        assert it.http.post("/api/v1/events", json=sent).is_success
        it.services.flush()
        it.services.clock.move_to(service.DEMO_START + timedelta(hours=2))
        it.services.engine.run_due()
        environment = {
            **os.environ,
            "TURNBACK_URL": it.url,
            "PYTHONPATH": str(ROOT),
            "NO_COLOR": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        for kind, body in BLOCKS:
            lines = [body] if kind == "python" else body.splitlines()
            done += [(line, run(kind, line, folder, environment, given)) for line in lines]
    return folder, done


def run(kind, line, folder, environment, given):
    if line.startswith("turnback serve"):
        return served(line, folder, environment, given)
    command = [sys.executable, "-c", line] if kind == "python" else ["bash", "-euc", line]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def served(line, folder, environment, given):
    """Start what the guide starts, and return what variants the units get there."""
    port = free_port()
    command = [sys.executable, "-m", "console.cli", *shlex.split(line)[1:], "--port", str(port)]
    process = subprocess.Popen(
        command,
        cwd=folder,
        # the backup is of a demo, whose clock stands at its start
        env={**environment, "TURNBACK_DEMO": "true"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while "serves 1 experiment" not in (told := process.stderr.readline()):
            assert told, "the service ended"
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
            answers = {
                unit: http.post(
                    f"/ofrep/v1/evaluate/flags/{KEY}", json={"context": {"targetingKey": unit}}
                ).json()["variant"]
                for unit in given
            }
        assert answers == given
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        process.stderr.close()
    return told


def printed(executed, start):
    return "".join(text for line, text in executed[1] if line.startswith(start))


def test_the_backup_of_the_guide_is_whole_and_what_is_restored_serves_the_same(executed):
    assert printed(executed, "turnback backup").count("a whole backup") == 2
    assert "serves 1 experiment from restored" in printed(executed, "turnback serve")


def test_the_first_check_of_the_guide_is_replayed_as_equal_and_the_past_is_told(executed):
    told = printed(executed, "turnback replay")
    assert told.startswith("c1 of cancel-page: equal\n")
    assert '"verdict":"equal"' in told
    assert "On 2026-01-05 01:00 UTC cancel-page was running" in printed(executed, "turnback expl")
    assert "the engine acts again" in printed(executed, "turnback suspend")


def test_the_alert_that_the_guide_posts_is_answered_as_it_says(executed):
    answer = printed(executed, "curl -sS --fail-with-body --json @alert.json")
    assert f"```text\n{answer}\n```" in GUIDE.read_text(encoding="utf-8")


def test_the_tables_are_printed_as_sql(executed):
    assert "CREATE TABLE experiment" in (executed[0] / "control.sql").read_text()


def test_the_export_of_the_guide_is_read_as_the_guide_reads_it(executed):
    assert "40 events of 1 day, 2026-01-05" in printed(executed, "turnback export")
    assert re.search(r"2026-01-05\s*│\s*20\s*│\s*4\.0", printed(executed, "import duckdb"))


def test_every_column_of_an_export_is_in_the_guide():
    from metrics.stores.export import SCHEMA

    table = GUIDE.read_text(encoding="utf-8").partition("## Export")[2]
    assert [name for name in SCHEMA.names if f"`{name}`" not in table] == []


TEXT = GUIDE.read_text(encoding="utf-8")
FAILURES = TEXT.partition("## If something fails")[2].partition("\n## ")[0]
RUNBOOK = TEXT.partition("## Alerts and their runbooks")[2].partition("\n## ")[0]


def test_every_row_of_what_happens_if_names_tests_that_exist_and_are_collected():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.partition("| if … | then Turnback … |")[2].partition("\n\n")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) > 5
    rows += [line for line in FAILURES.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 15
    named = {row: re.findall(r"`(test_\w+)`", row) for row in rows}
    assert [row for row, names in named.items() if not names] == []
    names = {name for each in named.values() for name in each}
    defined = re.compile(r"^def (test_\w+)", re.MULTILINE)
    files = [
        path
        for path in (ROOT / "tests").rglob("test_*.py")
        if names & set(defined.findall(path.read_text(encoding="utf-8")))
    ]
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *files],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTEST_ADDOPTS": ""},
    )  # fmt: skip
    assert listed.returncode == 0, listed.stdout[-2000:]
    collected = set(re.findall(r"::(test_\w+)", listed.stdout))
    assert names - collected == set()


def test_every_kind_of_message_is_in_the_runbook_and_leads_to_a_section():
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "guardrails").rglob("*.py")]
    kinds = {kind for text in sources for kind in re.findall(r'\bkind(?:, \w+)? ?= ?"(\w+)"', text)}
    assert {"rolled_back", "blind", "rollback_ineffective"} < kinds
    assert {kind for kind in kinds if f"`{kind}`" not in RUNBOOK} == set()


def test_every_series_is_in_the_guide():
    with running() as it:
        it.apply()
        told = it.http.get("/metrics").text
    exposed = set(re.findall(r"^(turnback_\w+?)(?:_bucket|_sum|_count)?[{ ]", told, re.MULTILINE))
    assert len(exposed) > 15
    assert {name for name in exposed if f"`{name}`" not in TEXT} == set()


COMMANDS = sorted(
    {
        *re.findall(r"`(turnback [^`]+)`", TEXT.replace("\n", " ")),
        *(
            line
            for block in re.findall(r"^```bash.*?\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
            for line in block.splitlines()
            if line.startswith("turnback ")
        ),
    }
)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_guide_exists_with_its_options(line):
    command, words = get_command(app), shlex.split(line.partition(" > ")[0])[1:]
    while hasattr(command, "commands"):
        assert words, f"{line} is no whole command"
        assert words[0] in command.commands, f"there is no `turnback {words[0]}`"
        command = command.commands[words.pop(0)]
    known = {option: param for param in command.params for option in param.opts}
    flags = [word for word in words if word.startswith("-")]
    assert [flag for flag in flags if flag not in known] == []
    valued = sum(not known[flag].is_flag for flag in flags)
    most = sum(p.nargs if p.nargs > 0 else 99 for p in command.params if p.opts[0][0] != "-")
    assert len(words) - len(flags) - valued <= most
