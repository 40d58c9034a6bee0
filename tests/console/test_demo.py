"""The demo as real processes: it ends as its scenario should, the same way every time."""

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner

from console import cli
from console.child import MARKER, ServiceProcess, fresh_folder
from console.demo import START, DemoResult, Hour, Run, example, verdict
from console.driver import Answer
from console.output import CommandError
from console.story import Picture, Plain
from guardrails.spec_file import load_spec
from metrics.simulate import LATE_HARM_HOUR, OUTAGE_HOUR, Scenario
from tests.running import running
from tests.support import heeds_interrupts

ROOT = Path(__file__).parents[2]
KEYS = ["scenario", "seed", "rolled_back", "variant", "kpi"]
KEYS += ["at", "effective", "looks", "wall_seconds"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def demo(folder, *arguments):
    command = [sys.executable, "-m", "console.cli", "demo", *arguments]
    command += ["--port", str(free_port()), "--data", str(folder)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Four runs, two at a time; the one that is kept is ended when the tests are over."""
    folder = tmp_path_factory.mktemp("demo")
    wanted = {
        "first": ("--json", "--keep"),
        "again": ("--no-view",),
        "outage": ("--scenario", "outage", "--json"),
        "no-data": ("--scenario", "no-data", "--json"),
    }
    with ThreadPoolExecutor(2) as pool:
        started = {name: pool.submit(demo, folder / name, *args) for name, args in wanted.items()}
        done = {name: future.result() for name, future in started.items()}
    yield done
    pid = (folder / "first" / MARKER).read_text()
    if pid:
        os.kill(int(pid), signal.SIGTERM)


def result(runs, name):
    done = runs[name]
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)  # one object and nothing else
    assert list(body) == KEYS
    return body


def test_a_drop_of_satisfaction_is_turned_back_and_verified(runs):
    body = result(runs, "first")
    named = (body["rolled_back"], body["variant"], body["kpi"], body["effective"])
    assert named == (True, "three_step", "satisfaction", True)
    assert body["looks"] >= 1


def test_the_same_seed_ends_at_the_same_simulated_time(runs):
    at = datetime.fromisoformat(result(runs, "first")["at"])
    assert runs["again"].returncode == 0
    assert f"three_step was turned back at {at:%a %d %b %H:%M}" in runs["again"].stdout


def test_without_a_terminal_the_story_is_told_in_plain_lines(runs):
    lines = runs["again"].stdout.splitlines()
    assert lines[0].startswith("Three-step cancellation: satisfaction-drop, seed 1")
    assert lines[1].startswith("planted: the new flow lowers satisfaction by 5%")
    told = runs["again"].stdout
    assert "2,400 evaluations" in told
    assert "verified: its exposures fell away" in told
    assert 'one client before: three_step (SPLIT) {"steps":["points_lost"' in told
    assert 'the same after:    control (DISABLED) {"steps":["confirm"]}' in told
    assert "\x1b" not in told


def test_an_outage_is_turned_back_within_three_hours(runs):
    body = result(runs, "outage")
    hours = (datetime.fromisoformat(body["at"]) - START) / timedelta(hours=1)
    assert body["kpi"] == "cancel_success_rate"
    assert OUTAGE_HOUR < hours <= OUTAGE_HOUR + 3


def test_missing_data_turn_nothing_back(runs):
    # the exit code says that a guardrail was seen without data
    assert not result(runs, "no-data")["rolled_back"]


def kept(runs):
    words = runs["first"].stderr.split()
    page = next(word for word in words if word.startswith("http"))
    assert "/experiments/three-step-cancel/rollbacks/t" in page, "the page of its rollback"
    assert "turned back" in httpx.get(page).text
    url = page.partition("/experiments/")[0]
    key = next(word for word in words if word.startswith("TURNBACK_ADMIN_KEY=")).partition("=")[2]
    return url, key


def test_a_kept_service_goes_on_and_can_be_asked_and_told(runs):
    url, key = kept(runs)
    assert "its clock stands still where the story ended: no units, no checks" in (
        runs["first"].stderr
    )
    assert "three_step" in httpx.get(url).text
    env = {"TURNBACK_URL": url, "TURNBACK_ADMIN_KEY": key}
    ask = CliRunner(env=env).invoke
    shown = ask(cli.app, ["status", "three-step-cancel"])
    assert "rolled back" in shown.stdout, shown.stderr
    assert "Satisfaction" in ask(cli.app, ["explain", "three-step-cancel"]).stdout
    resumed = ask(cli.app, ["resume", "three-step-cancel", "--reason", "mended"])
    assert "rolled back -> live" in resumed.stdout
    refused = CliRunner(env={"TURNBACK_URL": url}).invoke(
        cli.app, ["roll-back", "three-step-cancel", "--reason", "no key"]
    )
    assert refused.exit_code == 1
    assert "TURNBACK_ADMIN_KEY" in refused.stderr


def on_a_terminal(folder, *arguments):
    """Start the demo with a terminal for its output; return (process, the terminal's end)."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "console.cli", "demo", "--no-view", *arguments]
    process = subprocess.Popen(
        [*command, "--port", str(free_port()), "--data", str(folder)],
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100"},
        preexec_fn=heeds_interrupts,  # noqa: PLW1509 - nothing runs beside it that could be held
    )
    os.close(theirs)
    return process, ours


def read_until(terminal, words):
    told = b""
    with contextlib.suppress(OSError):  # the other end was closed
        while words not in told and (more := os.read(terminal, 65536)):
            told += more
    return told.decode()


def test_on_a_terminal_the_page_can_be_looked_at_until_ctrl_c(tmp_path):
    process, terminal = on_a_terminal(tmp_path / "data")
    told = read_until(terminal, b"Ctrl-C ends it\r\n")
    last = told.splitlines()[-1]
    assert last.startswith("Look at it: http://127.0.0.1:"), told
    page = last.split()[3]
    assert "/experiments/three-step-cancel/rollbacks/t" in page
    assert "turned back" in httpx.get(page).text
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, "looking on to the end is no failure"
    os.close(terminal)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "data" / MARKER).read_text()), 0)


def test_on_a_terminal_no_keep_ends_at_once(tmp_path):
    process, terminal = on_a_terminal(tmp_path / "data", "--no-keep", "--scenario", "outage")
    told = read_until(terminal, b"never said")
    os.close(terminal)
    assert process.wait(60) == 0
    assert "this is how it should end" in told
    assert "Look at it" not in told


def test_a_folder_in_use_is_not_replaced(runs, tmp_path):
    pid = int(runs["first"].stderr.split("`kill ")[1].split("`")[0])
    (tmp_path / MARKER).write_text(str(pid))
    with pytest.raises(CommandError, match=f"still runs in .* \\(process {pid}\\)"):
        fresh_folder(tmp_path)


def test_a_runs_service_is_ended_with_it(runs, tmp_path_factory):
    for name in ("again", "outage", "no-data"):
        pid = int((tmp_path_factory.getbasetemp() / "demo0" / name / MARKER).read_text())
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_ends_its_service(tmp_path, stop):
    folder = tmp_path / "data"
    command = [sys.executable, "-m", "console.cli", "demo", "--no-view", "--data", str(folder)]
    process = subprocess.Popen(
        [*command, "--port", str(free_port())],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=heeds_interrupts,  # noqa: PLW1509 - nothing runs beside it that could be held
    )
    assert process.stdout is not None
    process.stdout.readline()  # the service is ready and the file applied
    child = int((folder / MARKER).read_text())
    process.send_signal(stop)
    process.communicate(timeout=60)
    assert process.returncode == 130
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104 - both hold the port
def test_a_taken_port_is_told_before_anything_is_replaced(tmp_path, host):
    folder = tmp_path / "data"
    fresh_folder(folder)
    (folder / "metrics.duckdb").write_text("of an earlier run")
    with socket.create_server((host, 0)) as taken:
        port = taken.getsockname()[1]
        ran = CliRunner().invoke(
            cli.app, ["demo", "--json", "--port", str(port), "--data", str(folder)]
        )
    assert (ran.exit_code, ran.stdout) == (1, "")
    error = json.loads(ran.stderr)["error"]
    assert error["code"] == "port_taken"
    assert error["message"] == f"port {port} of 127.0.0.1 is taken"
    assert "choose another with --port" in error["hint"]
    assert (folder / "metrics.duckdb").exists()


def test_a_service_that_ends_at_once_is_told_with_its_last_words(tmp_path):
    folder = tmp_path / "data"
    fresh_folder(folder)
    child = ServiceProcess(
        data=folder, port=free_port(), environment={"TURNBACK_RING_SECONDS": "often"}
    )
    with pytest.raises(CommandError, match=r"ended before it was ready\n.*RING_SECONDS") as told:
        child.wait_ready()
    assert "choose another with --port" in told.value.hint


def test_another_service_on_the_port_is_not_taken_for_the_runs_own(tmp_path):
    # it took the port after it was found free: the child cannot listen and only the other answers
    fresh_folder(tmp_path / "data")
    with running(admin_key="somebody's", instance="theirs") as other:
        child = ServiceProcess(
            data=tmp_path / "data",
            port=int(other.url.rpartition(":")[2]),
            environment={"TURNBACK_DEMO": "true"},
        )
        try:
            assert other.http.get("/readyz").json()["instance"] == "theirs"
            with pytest.raises(CommandError, match="ended before it was ready"):
                child.wait_ready()
        finally:
            child.end()


def test_a_folder_that_no_demo_made_is_not_touched(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(CommandError, match="was not made by a demo and is not touched"):
        fresh_folder(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "precious"
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(CommandError, match="is no folder"):
        fresh_folder(tmp_path / "link")


def test_a_demos_folder_is_not_served_by_the_clock_of_the_machine(tmp_path):
    # its experiment would be overdue by months, and finish at once
    folder = tmp_path / "data"
    fresh_folder(folder)
    ran = CliRunner().invoke(cli.app, ["serve", "--data", str(folder)])
    told = " ".join(ran.stderr.split())
    assert ran.exit_code == 1
    assert f"{folder} was made by `turnback demo`" in told
    assert f"`turnback demo --data {folder}` plays it again" in told
    assert "`turnback serve --data my-data`" in told
    assert [path.name for path in folder.iterdir()] == [MARKER], "nothing is written there"


def test_a_folder_of_an_earlier_demo_is_replaced(tmp_path):
    folder = tmp_path / "data"
    fresh_folder(folder)
    (folder / "metrics.duckdb").write_text("old")
    fresh_folder(folder)
    assert [path.name for path in folder.iterdir()] == [MARKER]


def test_the_example_is_found_from_any_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert load_spec(example("three-step-cancel.yaml").read_text()).experiment.treatments
    with pytest.raises(CommandError, match=r"examples/none\.yaml was not found"):
        example("none.yaml")


QUIET = DemoResult("harmless", 1, False, None, None, None, None, 9, 1.0)
BACK = DemoResult("satisfaction-drop", 1, True, "three_step", "satisfaction", START, True, 9, 1.0)


@pytest.mark.parametrize(
    ("scenario", "found", "no_data", "words"),
    [
        (Scenario.SATISFACTION_DROP, BACK, (), ""),
        (Scenario.SATISFACTION_DROP, QUIET, (), "the harm was not found"),
        (Scenario.SATISFACTION_DROP, replace(BACK, kpi="save_rate"), (), "for save_rate, not"),
        (Scenario.SATISFACTION_DROP, replace(BACK, effective=None), (), "not be verified"),
        (Scenario.SATISFACTION_DROP, replace(BACK, variant="other"), (), "other was turned back"),
        (Scenario.OUTAGE, BACK, (), "before the harm began"),
        (
            Scenario.LATE_HARM,
            replace(BACK, at=START + timedelta(hours=LATE_HARM_HOUR + 1)),
            (),
            "",
        ),
        (Scenario.HARMLESS, QUIET, (), ""),
        (Scenario.TOLERATED, BACK, (), "although it did no harm"),
        (Scenario.NO_DATA, QUIET, {"satisfaction"}, ""),
        (Scenario.NO_DATA, QUIET, (), "no guardrail said no_data"),
    ],
)
def test_the_verdict_says_why_a_scenario_did_not_end_as_it_should(scenario, found, no_data, words):
    said = verdict(Run(scenario, 1, no_data=set(no_data)), found)
    assert words in said
    assert bool(said) == bool(words)


def view(evidence):
    satisfaction = {"kpi": "satisfaction", "window": "PT3600S", "units": 60, "entered": 100}
    return {
        "variants": [
            {"name": "control", "state": "control", "exposed": 100},
            {"name": "three_step", "state": "live", "exposed": 101},
        ],
        "guardrails": [
            {
                "guardrail": "satisfaction",
                "side": "drop",
                "margin": 0.03,
                "absolute": False,
                "evidence": evidence,
                "outcome": "inconclusive",
                "limit": "Satisfaction may not drop",
                "words": "nothing is proven",
            }
        ],
        "kpis": [
            {**satisfaction, "variant": "control", "value": 4.2, "effect": None},
            {**satisfaction, "variant": "three_step", "value": 3.99, "effect": -0.05},
        ],
        "rollbacks": [],
    }


@pytest.mark.parametrize("width", [80, 130])
def test_the_picture_shows_traffic_twelve_kpis_and_evidence_against_its_boundary(width):
    console = Console(width=width, height=60, record=True, force_terminal=False)
    picture = Picture(console)
    spec = load_spec(example("three-step-cancel.yaml").read_text())
    picture.begin(Scenario.HARMLESS, 1, spec, "http://127.0.0.1:8300")
    served = {("control", "SPLIT"): 99, ("three_step", "SPLIT"): 101}
    hour = Hour(2, START + timedelta(hours=3), 600, 4_000, view(0.5), (), served)
    console.print(picture.draw(hour, view(0.5)))
    text = console.export_text()
    assert "Mon 05 Jan 03:00  (day 1, hour 3)" in text
    assert "600 evaluations, 4,000 events" in text
    assert "three_step (SPLIT) 101" in text
    assert "████████░░░░░░░░│  50%" in text
    assert (
        text.count(", 1 d") + text.count(", 1 h") + text.count(", 3 d") + text.count(", 7 d") == 12
    )
    line = next(line for line in text.splitlines() if "Satisfaction, 1 h" in line)
    assert "4.20        3.99  -5.0%" in line


def test_long_lines_are_broken_at_100_columns_and_hang(capsys):
    reason = "Satisfaction of three_step is 5% lower than control; " * 5 + "end"
    back = {"at": START.isoformat(), "variant": "three_step", "after": "rolled_back"}
    back |= {"reason": reason, "experiment": "e"}
    plain = Plain(Console(highlight=False, width=40))
    plain.hour(Hour(11, START + timedelta(hours=12), 2_400, 18_398, None, [back], {}))
    seen = Run(Scenario.SATISFACTION_DROP, 1, rollback=back, view={"rollbacks": []})
    seen.before = Answer("three_step", "SPLIT", {"steps": ["points_lost", "confirm"]})
    plain.end(seen, "")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith("Mon 05 Jan 00:00  (day 1, hour 0)  three_step: rolled back. Satis")
    assert lines[1].startswith("    ")
    assert not lines[1].startswith("     ")
    told = " ".join(line.strip() for line in lines)
    assert told.count(reason) == 2
    assert 'one client before: three_step (SPLIT) {"steps":["points_lost","confirm"]}' in lines


def test_the_summary_of_a_quiet_run_says_so(capsys):
    run = Run(Scenario.HARMLESS, 1, view=view(0.1), before=Answer("three_step", "SPLIT", {}))
    Plain(Console(highlight=False, width=100)).end(run, "")
    told = capsys.readouterr().out
    assert "nothing was turned back" in told
    assert "Satisfaction may not drop: nothing is proven" in told
    assert "this is how it should end" in told


def test_a_service_that_never_answers_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("console.child._READY_SECONDS", 0.0)
    folder = tmp_path / "data"
    fresh_folder(folder)
    service = ServiceProcess(data=folder, port=free_port(), environment={})
    begun = time.monotonic()
    try:
        with pytest.raises(CommandError, match="was not ready after 0 s"):
            service.wait_ready()
    finally:
        service.end()
    assert time.monotonic() - begun < 30
    service.end()  # again does no harm
