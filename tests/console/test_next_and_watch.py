"""``turnback`` alone, ``status --watch``, completion and colours."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from console import cli, client, completion
from console.child import MARKER
from console.commands import live
from console.commands.next_steps import MOST, steps_of
from console.output import CommandError, ExitCode
from tests.running import KEY, running
from tests.support import heeds_interrupts

ROOT = Path(__file__).parents[2]
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def service():
    with running() as it:
        assert it.apply().is_success
        yield it


def turnback(*arguments, url=NOBODY, **env):
    runner = CliRunner(env={"COLUMNS": "80", "TURNBACK_URL": url, **env})
    return runner.invoke(cli.app, list(arguments))


def view(**changes):
    arms = [{"name": "control", "state": "control"}, {"name": "b", "state": "live"}]
    return {"key": "x", "state": "running", "attention": [], "variants": arms, **changes}


def test_alone_it_says_what_a_newcomer_does_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = turnback()
    assert shown.exit_code == 0
    assert (
        f"no service answers at {NOBODY} (TURNBACK_URL names another address); nothing"
        in " ".join(shown.stdout.split())
    )
    for command in ("turnback demo", "turnback serve", "turnback apply SPEC", "turnback --help"):
        assert command in shown.stdout
    told = json.loads(turnback("--json").stdout)
    assert [step["command"] for step in told["steps"]] == [
        *("turnback demo", "turnback serve", "turnback apply SPEC")
    ]
    assert told["answers"] is False


def test_alone_beside_a_stopped_service_it_says_how_to_start_it(tmp_path):
    (tmp_path / "control.db").touch()
    shown = turnback(TURNBACK_DATA=str(tmp_path))
    assert f"turnback serve --data {tmp_path}" in shown.stdout
    assert f"turnback doctor --data {tmp_path}" in shown.stdout


def test_alone_beside_the_folder_of_a_demo_it_plays_it_again_and_never_ages_it(tmp_path):
    (tmp_path / "control.db").touch()
    (tmp_path / MARKER).touch()
    told = json.loads(turnback("--json", TURNBACK_DATA=str(tmp_path)).stdout)
    assert [step["command"] for step in told["steps"]] == [
        f"turnback demo --data {tmp_path}",
        *("turnback serve --data my-data", "turnback apply SPEC"),
    ]


def test_alone_beside_a_running_service_it_says_what_needs_a_person(service):
    shown = turnback(url=service.url)
    assert f"{service.url} has 1 experiment, 1 running" in " ".join(shown.stdout.split())
    assert "turnback status --watch" in shown.stdout
    service.act("roll_back", variant="treatment")
    shown = turnback(url=service.url).stdout
    assert "treatment was turned back; see why" in shown
    assert f"  turnback explain {KEY}" in shown
    service.act("resume", variant="treatment")


def test_a_suspension_is_said_first_and_once_by_status_too(service):
    service.http.post("/api/v1/suspension", json={"suspended": True, "reason": "the store moves"})
    try:
        first, *_ = json.loads(turnback("--json", url=service.url).stdout)["steps"]
        assert "the engine is suspended" in first["words"]
        assert first["command"] == 'turnback suspend --off --reason "..."'
        shown = " ".join(turnback("status", url=service.url).stdout.split())
        assert shown.count("the engine is suspended since") == 1
        assert f"! {KEY}: the engine" not in shown
    finally:
        service.http.post("/api/v1/suspension", json={"suspended": False, "reason": "moved"})


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        ({"state": "draft", "actions": ["start"], "attention": ["it waits"]}, "start x"),
        (
            {"ramp": [{"state": "current", "approval": True, "approved": False}]},
            "approve x",
        ),
        ({"attention": ["events stopped"]}, "status x"),
        ({"variants": [{"name": "b", "state": "rolled_back"}]}, "explain x"),
        ({"state": "paused"}, "resume x"),
        ({"state": "finished", "advice": {"words": "keep control"}}, "report x"),
        ({"state": "stopped"}, "digest"),
    ],
)
def test_each_state_has_its_next_step(changes, command):
    first, *_ = steps_of([view(**changes)])
    assert first.command.startswith(f"turnback {command}")


def test_what_needs_a_person_comes_first_and_of_many_the_rest_is_counted(service, monkeypatch):
    quiet, loud = view(state="paused"), view(key="y", attention=["look"])
    assert [step.urgent for step in steps_of([quiet, loud])] == [True, False, False]
    many = {"experiments": [view(key=f"e{n}", attention=["look"]) for n in range(MOST + 3)]}
    monkeypatch.setattr(client.ServiceClient, "get", lambda *_: many)
    shown = turnback(url=service.url).stdout
    assert "4 more need you" in shown  # the last one is what follows


def test_a_suspended_engine_is_said_once_with_the_command_that_ends_it():
    words = "the engine is suspended: it watches and acts on nothing; `turnback suspend --off` ends"
    asleep = {
        "attention": [words],
        "needs": [{"kind": "suspended", "words": words}],
    }
    steps = steps_of([view(**asleep), view(key="y", **asleep)])
    assert [(s.words, s.command, s.urgent) for s in steps] == [
        (words, 'turnback suspend --off --reason "..."', True),
        ("follow what runs", "turnback status --watch", False),
    ]


def test_where_a_key_is_needed_alone_it_says_so(service, monkeypatch):
    def refused(*_):
        raise CommandError("this needs a key", hint="give it with TURNBACK_ADMIN_KEY")

    monkeypatch.setattr(client.ServiceClient, "get", refused)
    shown = turnback(url=service.url)
    assert shown.exit_code == 0
    assert "this needs a key\n\ngive it with TURNBACK_ADMIN_KEY\n" in shown.stdout


def test_watch_prints_what_changed_and_nothing_twice(service, capsys):
    with client.ServiceClient(service.url) as asked:
        looked = []

        def after(_seconds):
            looked.append(1)
            if len(looked) == 2:
                service.act("pause")

        live.watch(KEY, every=1, times=5, sleep=after, client=asked, as_json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["state"] for line in lines] == ["running", "paused"]
    service.act("continue")


def test_watch_goes_on_when_the_service_is_away_but_not_from_the_start(service, monkeypatch):
    asked = iter([True, False, True])
    real = live.current

    def now(*given, **options):
        if next(asked):
            return real(*given, **options)
        raise CommandError("away", exit_code=ExitCode.UNREACHABLE)

    monkeypatch.setattr(live, "current", now)
    with client.ServiceClient(service.url) as http:
        live.watch(None, every=1, times=3, sleep=lambda _: None, client=http, as_json=False)
    monkeypatch.undo()
    assert turnback("status", "--watch").exit_code == 3


def test_on_a_terminal_watch_is_drawn_in_colour_and_ctrl_c_ends_it_well(service):
    main, other = pty.openpty()
    command = [sys.executable, "-m", "console.cli", "status", "--watch", "--url", service.url]
    env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm"}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=other,
        stderr=other,
        env=env,
        preexec_fn=heeds_interrupts,  # noqa: PLW1509 - it only sets a signal
    )
    os.close(other)
    shown, deadline = b"", time.monotonic() + 30
    while b"Ctrl-C ends this" not in shown and time.monotonic() < deadline:
        shown += os.read(main, 65_536)
    process.send_signal(signal.SIGINT)
    try:
        while chunk := os.read(main, 65_536):
            shown += chunk
    except OSError:
        pass  # the other end is closed
    assert process.wait(20) == 0
    assert KEY.encode() in shown
    assert b"\x1b[3" in shown
    assert b"Traceback" not in shown


@pytest.mark.parametrize(
    ("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_errors_are_coloured_on_a_terminal_alone_and_not_where_nobody_wants_it(env, coloured):
    main, other = pty.openpty()
    command = [sys.executable, "-m", "console.cli", "statsu"]
    kept = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm", **env}
    subprocess.run(command, cwd=ROOT, stdout=other, stderr=other, env=kept, check=False)
    os.close(other)
    assert (b"\x1b[" in os.read(main, 65_536)) is coloured
    piped = subprocess.run(command, cwd=ROOT, capture_output=True, env=kept, check=False)
    assert b"\x1b" not in piped.stdout + piped.stderr
    os.close(main)


def test_keys_of_experiments_are_proposed_and_silence_where_nobody_answers(service, monkeypatch):
    monkeypatch.setenv("TURNBACK_URL", service.url)
    assert completion.experiment_keys("can") == ((KEY, "Cancel page"),)
    assert completion.experiment_keys("zzz") == ()
    monkeypatch.setenv("TURNBACK_URL", NOBODY)
    assert completion.experiment_keys("") == ()


def test_a_shell_can_be_taught_to_complete(service):
    env = {
        "_TURNBACK_COMPLETE": "complete_bash",
        "COMP_WORDS": "turnback status can",
        "COMP_CWORD": "2",
        "TURNBACK_URL": service.url,
    }
    command = [sys.executable, "-c", "from console.cli import main; main()"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == KEY
    shown = turnback("--show-completion", "bash")
    assert shown.exit_code in {0, 2}
