"""The command line: results on stdout, errors on stderr with what to do, exit codes that mean it."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from console import cli, client
from console.client import ServiceClient
from console.usage import SECTIONS, first_sentence

ROOT = Path(__file__).parents[2]
GOOD = str(ROOT / "examples" / "three-step-cancel.yaml")
NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there

VIEW = {
    "key": "e",
    "title": "An experiment",
    "state": "running",
    "traffic": 1.0,
    "seed": 1,
    "revision": 2,
    "checks": 7,
    "last_check_at": "2026-01-05T10:00:00Z",
    "attention": [],
    "variants": [
        {"name": "control", "state": "control", "share": 0.5, "exposed": 10},
        {"name": "t", "state": "live", "share": 0.5, "exposed": 12},
    ],
    "guardrails": [
        {
            "guardrail": "satisfaction",
            "limit": "Satisfaction may not drop by more than 3% against control",
            "treatment": "t",
            "outcome": "inconclusive",
            "evidence": 0.25,
            "words": "nothing is proven",
        }
    ],
    "transitions": [
        {
            "at": "2026-01-05T09:00:00Z",
            "variant": None,
            "before": "draft",
            "after": "running",
            "reason": "applied",
        }
    ],
}
MOVED = {
    "id": 7,
    "before": "live",
    "after": "rolled_back",
    "at": "2026-01-05T10:00:00Z",
    "reason": "complaints",
    "actor": "ada",
}


def turnback(*arguments, **env):
    return CliRunner(env={"COLUMNS": "120", **env}).invoke(cli.app, list(arguments))


@pytest.fixture
def service(monkeypatch):
    """A service that answers from a table; what it was asked is kept."""
    asked = []
    answers = {("GET", "/api/v1/specs"): (200, {"dir": None, "valid": True})}

    def handle(request):
        asked.append(request)
        status, body = answers.get((request.method, request.url.path), (404, None))
        if body is None:
            error = {
                "code": "unknown_experiment",
                "message": "no experiment 'x'",
                "hint": "known: e",
            }
            body = {"error": error}
        return httpx.Response(status, json=body)

    real = httpx.Client
    monkeypatch.setattr(
        client.httpx, "Client", lambda **kw: real(transport=httpx.MockTransport(handle), **kw)
    )
    return asked, answers


def test_help_lists_every_command_in_a_section_with_its_whole_first_sentence():
    result = turnback("--help", COLUMNS="80")
    assert result.exit_code == 0
    commands = get_command(cli.app).commands
    listed = {name for _, names in SECTIONS for name in names}
    assert [name for name in commands if name not in listed] == []
    whole = " ".join(result.stdout.split())
    for name, command in commands.items():
        assert f" {name} {first_sentence(command)}" in whole
    assert "More:" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_help_is_fast_because_work_is_imported_late():
    heavy = [
        "numpy",
        "scipy",
        "duckdb",
        "fastapi",
        "uvicorn",
        "sqlmodel",
        "httpx",
        "aiohttp",
        "pyarrow",
        "statsmodels",
    ]
    code = f"import sys, console.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_good_file_is_ok():
    result = turnback("validate", GOOD)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{GOOD}: ok (three-step-cancel, 5 guardrails)\n"


def test_every_problem_of_every_file_is_told_with_its_line(tmp_path):
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("experiment: one\nguardrials: []\n")
    two.write_text("experiment: [\n")
    result = turnback("validate", str(one), GOOD, str(two))
    assert result.exit_code == 1
    assert f"{one}:2:1: guardrials: unknown key; did you mean `guardrails`?" in result.stderr
    assert f"{one}:1:1: the file needs `unit`" in result.stderr
    assert f"{two}:" in result.stderr
    assert result.stdout == f"{GOOD}: ok (three-step-cancel, 5 guardrails)\n"


def test_json_holds_every_problem_and_nothing_else(tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("experiment: one\nguardrials: []\n")
    result = turnback("validate", str(bad), GOOD, "--json")
    assert (result.exit_code, result.stderr) == (1, "")
    body = json.loads(result.stdout)
    assert [(f["file"], f["ok"]) for f in body["files"]] == [(str(bad), False), (GOOD, True)]
    assert {"line": 2, "path": "guardrials"}.items() <= body["files"][0]["problems"][-1].items()


def test_without_live_no_service_and_no_address_is_needed():
    assert turnback("validate", GOOD, TURNBACK_URL="here").exit_code == 0


def test_a_missing_file_is_a_usage_error_that_says_what_to_give(tmp_path):
    result = turnback("validate", str(tmp_path / "none.yaml"))
    assert result.exit_code == 2
    assert "none.yaml: no such file\n  give the path of a spec file" in result.stderr


def test_the_schema_is_one_json_object():
    body = json.loads(turnback("schema").stdout)
    assert "guardrails" in body["properties"]


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["explain", "e"],
        ["apply", GOOD],
        ["roll-back", "e", "--reason", "r"],
        ["resume", "e", "t", "--reason", "r"],
    ],
)
def test_without_a_service_the_exit_code_is_3_and_the_hint_says_how_to_start_one(command):
    result = turnback(*command, "--url", NOBODY)
    assert (result.exit_code, result.stdout) == (3, "")
    assert f"no service answers at {NOBODY}" in result.stderr
    assert "start one with `turnback serve`" in result.stderr


def test_json_errors_are_the_one_error_shape_on_stderr():
    result = turnback("status", "--json", TURNBACK_URL=NOBODY)
    assert (result.exit_code, result.stdout) == (3, "")
    assert json.loads(result.stderr)["error"]["code"] == "unreachable"


def test_what_is_no_address_is_a_usage_error():
    result = turnback("status", "--url", "here")
    assert result.exit_code == 2
    assert "here is no address" in result.stderr


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    ("command", "exit_code", "words"),
    [
        (["status", "--url", "http://[::1"], 2, "http://[::1 is no address"),
        (["status", "--url", "http://127.0.0.1:port"], 2, "is no address"),
        (["status", "--key", "schl\u00fcssel"], 2, "characters that a header cannot carry"),
        (["status", "--key", "two\nlines"], 2, "characters that a header cannot carry"),
        (["status", ""], 2, "the key of the experiment is empty"),
        (["status", "x\udcff"], 2, "not valid UTF-8"),
        (["roll-back", "x", "t", "--reason", "caf\udce9"], 2, "not valid UTF-8"),
        (["validate", "caf\udce9.yaml"], 2, "no such file"),
        (["validate", "/dev/fd"], 2, "there is no spec file in this folder"),
        (["apply", "/dev/fd"], 2, "there is no spec file in this folder"),
        (["revisions", "x", "--show", "1", "--diff", "1", "2"], 2, "two questions"),
        (
            ["backtest", GOOD, "--events", GOOD, "--every", "99999999999999d"],
            2,
            "no length of time between 1s and 3650d",
        ),
        (["backtest", GOOD, "--events", GOOD, "--every", "999999999d"], 2, "no length of time"),
    ],
)
def test_whatever_is_given_is_refused_in_the_one_shape(command, exit_code, words, *, as_json):
    result = turnback(*command, *(["--json"] if as_json else []))
    assert isinstance(result.exception, SystemExit)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert "Traceback" not in result.stderr
    assert "schl" not in result.stderr
    if as_json:
        error = json.loads(result.stderr)["error"]
        assert words in error["message"]
        assert error["code"]
        assert error["hint"]
    else:
        assert words in result.stderr


@pytest.mark.parametrize(
    ("command", "words", "asks"),
    [
        (["status", "--nope"], "--nope", "turnback status"),
        (["apply"], "PATH is missing", "turnback apply"),
        (["plan", GOOD, "--paths", "many"], "--paths", "turnback plan"),
        (["demo", "--scenario", "flood"], "'flood'", "turnback demo"),
        (["import", "online-retail", "data"], "--out", "turnback import online-retail"),
        (["import", "everything"], "everything", "turnback import"),
        (["statsu"], "statsu", "turnback"),
        (["--nope"], "--nope", "turnback"),
    ],
)
def test_a_wrong_command_line_is_told_in_json_where_json_is_asked_for(command, words, asks):
    plain, told = turnback(*command), turnback(*command, "--json")
    assert (plain.exit_code, told.exit_code) == (2, 2)
    assert plain.stdout == ""
    said, hint = plain.stderr.splitlines()
    assert said.startswith("turnback: ")
    shown = re.sub(r"^  for example `[^`]+`; ", "  ", hint)
    assert shown == f"  `{asks} --help` says what it takes"
    assert (shown != hint) == ("is missing" in words or "--out" in words)
    error = json.loads(told.stderr)["error"]
    assert (told.stdout, error["code"]) == ("", "usage")
    assert error.keys() == {"code", "message", "hint"}
    assert words in error["message"]
    assert error["hint"] == hint.strip()
    # an argument that is called like the option asks for nothing
    assert turnback("status", "a", "--", "--json").stderr.startswith("turnback: ")


def test_what_is_missing_is_shown_in_an_example_of_the_command():
    hint = turnback("export", "three-step-cancel").stderr.splitlines()[1]
    assert hint.startswith("  for example `turnback export --to /exports/events`; ")


def test_the_version_is_that_of_the_package():
    result = turnback("--version")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"turnback {version('turnback')}\n"


def test_bytes_of_the_command_line_that_are_no_utf8_end_without_a_traceback():
    command = [sys.executable, "-m", "console.cli", "roll-back", "e", "t", "--json", "--reason"]
    done = subprocess.run(
        [*map(str.encode, command), b"caf\xe9"], cwd=ROOT, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert json.loads(done.stderr)["error"]["message"] == "an argument is not valid UTF-8 text"


def test_a_folder_that_cannot_be_made_is_told_in_words():
    result = turnback("serve", "--data", "/proc/x")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("turnback: /proc/x: ")
    assert "Traceback" not in result.stderr


def test_a_defect_is_told_in_the_one_shape_too(monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("console.running.client_of", broken)
    result = turnback("status", "--json")
    error = json.loads(result.stderr)["error"]
    assert (result.exit_code, error["code"]) == (1, "internal")
    assert error["message"] == "this failed: ZeroDivisionError: by zero"
    assert "test_cli.py:" in error["hint"]


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a/b", "a%2Fb"),
        ("a?b#c", "a%3Fb%23c"),
        ("..", "%2E%2E"),
        ("ä", "%C3%A4"),
        ("a-1.x", "a-1.x"),
    ],
)
def test_a_key_is_one_segment_of_the_path(service, key, path):
    asked, _ = service
    turnback("status", key)
    turnback("explain", key)
    turnback("roll-back", key, "t", "--reason", "r")
    root = f"/api/v1/experiments/{path}"
    raw = [request.url.raw_path.decode() for request in asked]
    assert raw == [root, f"{root}/explain", f"{root}/actions"]


def test_of_many_problems_the_first_100_are_told_and_how_many_more(tmp_path, service):
    bad = tmp_path / "bad.yaml"
    bad.write_text("experiment: e\n" + "".join(f"k{i}: 1\n" for i in range(300)))
    lines = turnback("validate", str(bad)).stderr.splitlines()
    assert len(lines) == 101
    assert lines[-1].startswith(f"{bad}: and 20")
    assert lines[-1].endswith(" more problems; mend these first")
    (file,) = json.loads(turnback("validate", str(bad), "--json").stdout)["files"]
    assert len(file["problems"]) == 100
    assert file["left_out"] > 200
    problem = {"file": "f", "line": 1, "column": 1, "path": "", "message": "m"}
    error = {"code": "invalid_spec", "message": "m", "hint": None}
    told = {"problems": [problem] * 2, "left_out": 7, "error": error, "applied": None}
    service[1]["POST", "/api/v1/rehearse"] = (200, {"files": [{"source": GOOD, **told}]})
    *said, hint = turnback("apply", GOOD).stderr.splitlines()
    assert said == ["f:1:1: m", "f:1:1: m", f"{GOOD}: and 7 more problems; mend these first"]
    assert hint == "  nothing was applied; mend these first"
    empty = tmp_path / "none.jsonl"
    empty.write_text("")
    tested = turnback("backtest", str(bad), "--events", str(empty)).stderr.splitlines()
    assert len(tested) == 101


def test_status_lists_experiments_in_a_line_each(service):
    asked, answers = service
    answers["GET", "/api/v1/experiments"] = (200, {"experiments": [VIEW]})
    result = turnback("status", TURNBACK_ADMIN_KEY="secret")
    assert result.exit_code == 0
    line = result.stdout.splitlines()[1]
    assert line.split()[:3] == ["e", "running", "100%"]
    assert "satisfaction at 25% of its boundary" in line
    assert asked[0].headers["authorization"] == "Bearer secret"


def test_status_says_what_to_do_when_there_is_nothing(service):
    service[1]["GET", "/api/v1/experiments"] = (200, {"experiments": []})
    assert "no experiments yet; `turnback apply FILE` starts one" in turnback("status").stdout


def test_status_of_one_experiment_shows_variants_guardrails_and_transitions(service):
    service[1]["GET", "/api/v1/experiments/e"] = (200, VIEW)
    shown = turnback("status", "e").stdout
    for words in ("7 checks", "t        live", "may not drop by more than 3%", "draft -> running"):
        assert words in shown
    assert json.loads(turnback("status", "e", "--json").stdout) == VIEW


def test_a_refusal_of_the_service_is_told_in_its_words(service):
    result = turnback("status", "x")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "turnback: no experiment 'x'\n  known: e\n"


def test_a_refused_key_says_where_to_give_it(service):
    error = {"error": {"code": "unauthorized", "message": "this needs a key", "hint": None}}
    service[1]["GET", "/api/v1/experiments"] = (401, error)
    result = turnback("status")
    assert "give the admin key with --key or TURNBACK_ADMIN_KEY" in result.stderr


def test_every_command_has_an_example_that_it_accepts():
    commands = dict(get_command(cli.app).commands)
    for group in ("import", "store", "channels", "keys"):
        commands |= {f"{group} {n}": c for n, c in commands.pop(group).commands.items()}
    for name, command in commands.items():
        lines = (command.epilog or "").splitlines()
        examples = [line.strip() for line in lines if line.strip().startswith("turnback ")]
        assert examples, f"{name} has no example"
        for example in examples:
            words = shlex.split(example.partition(" > ")[0])[1 + len(name.split()) :]
            command.make_context(name, words)  # raises where it cannot be parsed


@pytest.mark.parametrize(("command", "action"), [("roll-back", "roll_back"), ("resume", "resume")])
def test_the_only_treatment_needs_no_name(service, command, action):
    asked, answers = service
    answers["GET", "/api/v1/experiments/e"] = (200, VIEW)
    answers["POST", "/api/v1/experiments/e/actions"] = (200, MOVED)
    result = turnback(command, "e", "--reason", "complaints")
    assert result.stdout.startswith("e: t live -> rolled back, 2026-01-05 10:00:00 UTC\n")
    body = json.loads(asked[-1].content)
    assert body == {"action": action, "variant": "t", "reason": "complaints"}


def test_with_several_treatments_the_command_asks_which(service):
    more = [*VIEW["variants"], {"name": "u", "state": "live", "share": 0.0, "exposed": 0}]
    service[1]["GET", "/api/v1/experiments/e"] = (200, {**VIEW, "variants": more})
    result = turnback("roll-back", "e", "--reason", "r")
    assert result.exit_code == 2
    assert "several treatments: t, u" in result.stderr
    assert "`turnback roll-back e t`, or all of them with `--all`" in result.stderr


def test_every_treatment_is_turned_back_by_one_command(service):
    asked, answers = service
    back = [{**MOVED, "variant": name} for name in ("t", "u")]
    answers["POST", "/api/v1/experiments/e/rollbacks"] = (200, {"transitions": back})
    result = turnback("roll-back", "e", "--all", "--reason", "complaints")
    assert result.exit_code == 0
    assert json.loads(asked[-1].content) == {"reason": "complaints"}
    heads = [line.split(",")[0] for line in result.stdout.splitlines() if line.startswith("e: ")]
    assert heads == ["e: t live -> rolled back", "e: u live -> rolled back"]
    assert result.stdout.count("/experiments/e/rollbacks/t7\n") == 2, "where each can be looked at"
    both = turnback("roll-back", "e", "t", "--all", "--reason", "complaints")
    assert both.exit_code == 2
    assert "--all is every treatment, t one" in both.stderr


def test_a_reason_is_required():
    result = turnback("roll-back", "e")
    assert result.exit_code == 2
    assert "--reason" in result.stderr


def test_another_service_on_the_port_is_named_as_such(monkeypatch):
    real = httpx.Client
    page = httpx.MockTransport(lambda _: httpx.Response(200, text="<html>"))
    monkeypatch.setattr(client.httpx, "Client", lambda **kw: real(transport=page, **kw))
    with pytest.raises(client.CommandError, match="answered, but not as Turnback does"):
        ServiceClient("http://127.0.0.1:1").get("/")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--every", "often"], "--every: 'often' is no length of time"),
        (["--plant", "refund_hours"], "--plant: 'refund_hours' is no effect"),
    ],
)
def test_a_backtest_says_what_is_wrong_with_its_options(tmp_path, options, words):
    events = tmp_path / "events.jsonl"
    events.write_text("")
    result = turnback("backtest", GOOD, "--events", str(events), *options)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_backtest_prints_a_timeline_and_says_that_an_effect_is_planted(tmp_path):
    spec, events = tmp_path / "spec.yaml", tmp_path / "events.jsonl"
    spec.write_text(
        "experiment: e\nunit: order_id\nvariants: {control: {weight: 50%}, t: {weight: 50%}}\n"
        "guardrails:\n  - {kpi: refund_hours, max_rise: 10%, windows: {3d: 100%}}\n"
        "ends: {after: 4d, observe_for: 4d}\nexpect_units: 2000\n"
    )
    lines = []
    for number in range(1_000):
        at = f"2026-01-{5 + number // 500:02d}T{number % 24:02d}:00:00Z"
        paid = f"2026-01-{6 + number // 500:02d}T{number % 24:02d}:00:00Z"
        units, variant = {"order_id": f"o{number}"}, ("control", "t")[number % 2]
        events_ = [
            ("exposure", at, {"variant": variant}),
            ("refund_requested", at, {"amount": 1}),
            ("refund_paid", paid, {"amount": 1, "hours": 20 + number % 9}),
        ]
        lines += [
            {"id": f"{name}{number}", "name": name, "happened_at": t, "units": units, "fields": f}
            for name, t, f in events_
        ]
    lines.append({"id": "bad", "name": "refund_paid", "happened_at": "soon"})
    events.write_text("\n".join(map(json.dumps, lines)))
    command = ["backtest", str(spec), "--events", str(events), "--every", "12h"]
    shown = turnback(*command, "--plant", "refund_hours*2@t")
    assert shown.exit_code == 0, shown.stderr
    first, *_, last = shown.stdout.splitlines()
    assert first == last
    assert first.startswith("*** PLANTED: refund_hours of t was multiplied by 2")
    assert "rolled back: Hours until the refund of t is" in shown.stdout
    assert "happened_at: 'soon' is no RFC 3339 instant" in shown.stderr
    body = json.loads(turnback(*command, "--json", "--data", str(tmp_path / "kept")).stdout)
    assert (body["rolled_back"], body["planted"], body["rejected"]) == (False, None, 1)
    assert body["exposed"] == {"control": 500, "t": 500}
    assert (tmp_path / "kept" / "metrics.duckdb").exists()
    again = turnback(*command, "--data", str(tmp_path / "kept"))
    assert (again.exit_code, again.stdout) == (1, "")
    assert "is not empty" in again.stderr


def test_import_needs_an_event_file_to_write(tmp_path):
    result = turnback("import", "online-retail", str(tmp_path), "--out", str(tmp_path / "x.csv"))
    assert result.exit_code == 2
    assert "name it *.parquet or *.jsonl" in result.stderr
    result = turnback("import", "online-retail", str(tmp_path), "--out", str(tmp_path / "x.jsonl"))
    assert result.exit_code == 1
    assert "orders.csv.gz: no such file" in result.stderr


def test_validate_waits_for_no_pipe_in_a_folder_and_shows_any_name(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    result = turnback("validate", str(tmp_path))
    assert result.exit_code == 1
    assert result.stderr == (
        f"{tmp_path / 'pipe.yaml'}: is no regular file; give a file; to read a pipe, give "
        "/dev/stdin\n"
    )
    (tmp_path / "pipe.yaml").unlink()
    good = Path(GOOD).read_text(encoding="utf-8")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.yaml")).write_text(good, encoding="utf-8")
    assert f"{tmp_path}/a\\xff.yaml: ok" in turnback("validate", str(tmp_path)).stdout
    assert json.loads(turnback("validate", "--json", str(tmp_path)).stdout)["ok"]


def test_validate_reads_what_a_shell_hands_over():
    command = f"{shlex.quote(sys.executable)} -m console.cli validate /dev/stdin"
    done = subprocess.run(
        ["sh", "-c", f"cat {shlex.quote(GOOD)} | {command}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout[:14]) == (0, "/dev/stdin: ok"), done.stderr


def test_serve_names_a_wrong_setting_by_its_variable(tmp_path):
    result = turnback("serve", "--data", str(tmp_path), TURNBACK_RING_SECONDS="often")
    assert result.exit_code == 2
    assert "TURNBACK_RING_SECONDS" in result.stderr
    assert "got 'often'" in result.stderr


def test_serve_names_a_wrong_option_as_it_was_typed(tmp_path):
    result = turnback("serve", "--data", str(tmp_path), "--retain", "12h")
    assert result.exit_code == 2
    assert "--retain: must be a day or more, written like 90d, got '12h'" in result.stderr
    assert "TURNBACK_RETAIN" not in result.stderr


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("HOLDOUT", "5", "must be a percent from 0% to below 100%, written like 5%, got '5'"),
        ("HOLDOUT", "100%", "must be a percent from 0% to below 100%"),
        ("PROMETHEUS_URL", "user:secret@prom", "must be an address such as http://127.0.0.1:9090"),
        ("QUERIES", '{"refund_p99": " "}', "the query 'refund_p99' needs a name and PromQL"),
    ],
)
def test_serve_says_how_a_setting_is_written_and_shows_no_secret(tmp_path, name, value, words):
    result = turnback("serve", "--data", str(tmp_path), **{f"TURNBACK_{name}": value})
    assert result.exit_code == 2
    assert f"TURNBACK_{name}: {words}" in result.stderr
    assert "secret" not in result.stderr


def test_serve_refuses_the_world_without_keys(tmp_path):
    result = turnback("serve", "--host", "0.0.0.0", "--data", str(tmp_path))  # noqa: S104 - it is refused
    assert result.exit_code == 1
    assert "refusing to listen on 0.0.0.0 without keys" in result.stderr
    assert "TURNBACK_ADMIN_KEY" in result.stderr


def test_serve_answers_until_it_is_terminated(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "console.cli", "serve", "--port", str(port)]
    process = subprocess.Popen([*command, "--data", str(tmp_path)], cwd=ROOT)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 30
        while True:
            try:
                if httpx.get(f"{url}/readyz").is_success:
                    break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        applied = turnback("apply", GOOD, "--url", url)
        assert applied.stdout.endswith(
            "three-step-cancel: created, revision 1\n"
            f"  page: {url}/experiments/three-step-cancel\n"
            "  applications ask for it by name: its flag is its key (docs/clients.md)\n"
        )
        assert "three-step-cancel" in turnback("status", "--url", url).stdout
        back = turnback("roll-back", "three-step-cancel", "--reason", "a drill", "--url", url)
        assert "three_step live -> rolled back" in back.stdout
        why = turnback("explain", "three-step-cancel", "--url", url)
        assert "a drill" in why.stdout
        again = turnback("resume", "three-step-cancel", "--reason", "over", "--url", url)
        assert "three_step rolled back -> live" in again.stdout
    finally:
        process.terminate()
        assert process.wait(20) in {0, -15}


def test_serve_says_when_it_is_ready_and_who_holds_what_a_second_one_wants(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    data, nowhere = tmp_path / "data", tmp_path / "nowhere"
    command = [sys.executable, "-m", "console.cli", "serve", "--port", port, "--data", str(data)]
    process = subprocess.Popen(
        [*command, "--specs", str(nowhere)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        at, _, line = process.stderr.readline().partition(" WARNING: ")
        assert datetime.fromisoformat(at).tzinfo is not None
        assert line == (
            f"{nowhere}: there is no such folder; the experiments known so far go on without it; "
            "mend it, or start the service with another `--specs`\n"
        )
        assert process.stderr.readline() == (
            f"turnback: http://127.0.0.1:{port} serves 0 experiments from {data}, "
            f"follows {nowhere}; Ctrl+C ends it\n"
        )
        assert httpx.get(f"http://127.0.0.1:{port}/readyz").is_success
        held = turnback("serve", "--port", port, "--data", str(data))
        assert (held.exit_code, held.stdout) == (1, "")
        assert held.stderr == (
            f"turnback: {data / 'metrics.duckdb'} is held by another process "
            f"(PID {process.pid})\n  stop that process, or give this one a folder of its own "
            "with --data\n"
        )
        taken = turnback("serve", "--port", port, "--data", str(tmp_path / "other"))
        assert (taken.exit_code, taken.stdout) == (1, "")
        assert taken.stderr == (
            f"turnback: 127.0.0.1:{port} is taken\n  give another port with --port, or end what "
            "listens there: an earlier `turnback serve`?\n"
        )
    finally:
        process.terminate()
        out, err = process.communicate(timeout=20)
    assert (out, err) == ("", "")


def test_status_tells_how_the_followed_folder_stands(service):
    _, answers = service
    answers["GET", "/api/v1/experiments"] = (200, {"experiments": [VIEW]})
    file = {"file": "specs/a.yaml", "experiment": "a", "revision": 1, "result": "unchanged"}
    view = {"dir": "specs", "valid": True, "checked_at": None, "problems": [], "files": [file]}
    answers["GET", "/api/v1/specs"] = (200, view)
    assert turnback("status").stdout.endswith("\nfollows specs: 1 file, all in force\n")
    file |= {"result": "replaced", "drift": "a does not run this file"}
    assert turnback("status").stdout.endswith("\n! specs/a.yaml: a does not run this file\n")
    problem = {"file": "specs", "line": 0, "column": 0, "path": "", "message": "is gone"}
    answers["GET", "/api/v1/specs"] = (200, {"dir": "specs", "valid": False, "problems": [problem]})
    assert turnback("status").stdout.endswith("\n! specs: is gone\n")
    answers["GET", "/api/v1/experiments"] = (200, {"experiments": []})
    assert "no experiments yet" in turnback("status").stdout


def test_status_tells_of_shadow_mode_and_of_dry_runs_and_of_nothing_planned_after_a_stop(service):
    guardrail = VIEW["guardrails"][0] | {"dry_run": True}
    shadow = VIEW | {"mode": "shadow", "guardrails": [guardrail]}
    service[1]["GET", "/api/v1/experiments/e"] = (200, shadow)
    shown = turnback("status", "e").stdout
    assert "running (shadow)" in shown
    assert "(dry run)" in shown
    ended = VIEW | {"state": "stopped", "ends_at": "2026-02-01T00:00:00Z"}
    service[1]["GET", "/api/v1/experiments/e"] = (200, ended)
    assert "2026-02-01" not in turnback("status", "e").stdout


def test_status_says_what_is_believed_hoped_for_and_whom_to_ask(service):
    goal = {"kpi": "save_rate", "expect": 0.1, "absolute": False, "words": "Save rate +10%"}
    meant = {"hypothesis": "Less is more.", "owner": "ann@example.com", "goal": goal}
    service[1]["GET", "/api/v1/experiments/e"] = (200, VIEW | meant)
    lines = turnback("status", "e").stdout.splitlines()
    assert lines[2:5] == [
        "hypothesis: Less is more.",
        "goal: Save rate +10%",
        "owner: ann@example.com",
    ]


def test_nothing_that_people_wrote_steers_the_terminal(service, tmp_path):
    steers = "\x1b[31mred\u202e"
    guardrail = VIEW["guardrails"][0] | {"words": steers}
    view = VIEW | {"title": steers, "hypothesis": steers, "guardrails": [guardrail]}
    service[1]["GET", "/api/v1/experiments/e"] = (200, view)
    service[1]["GET", "/api/v1/experiments"] = (200, [view | {"attention": [steers]}])
    for arguments in (("status", "e"), ("status",)):
        shown = turnback(*arguments).stdout
        assert "\\u001b[31mred\\u202e" in shown
        assert not {"\x1b", "\u202e"} & set(shown)
    path = tmp_path / "steers.yaml"
    path.write_text('experiment: e\n"\\e[1mx": "\\e[1m"\n', encoding="utf-8")
    told = turnback("validate", str(path)).stderr
    assert "holds U+001B, a character that is not seen; remove it" in told
    assert "\x1b" not in told


@pytest.mark.parametrize("state", ["draft", "paused", "observing", "finished", "stopped"])
def test_only_a_running_experiment_has_live_treatments(service, state):
    service[1]["GET", "/api/v1/experiments"] = (200, [VIEW | {"state": state}])
    service[1]["GET", "/api/v1/experiments/e"] = (200, VIEW | {"state": state})
    for arguments in (("status",), ("status", "e")):
        shown = turnback(*arguments).stdout
        assert "not served" in shown
        assert "live" not in shown
    watched = state in {"paused", "observing"}
    assert ("satisfaction at 25%" in turnback("status").stdout) is watched


def test_a_guardrail_that_was_not_checked_is_at_no_part_of_its_boundary(service):
    guardrail = VIEW["guardrails"][0] | {"outcome": None, "evidence": 0.0}
    service[1]["GET", "/api/v1/experiments"] = (200, [VIEW | {"guardrails": [guardrail]}])
    assert "not checked yet" in turnback("status").stdout
    assert "boundary" not in turnback("status").stdout


@pytest.mark.parametrize("columns", ["60", "80"])
def test_sentences_are_folded_where_the_terminal_ends(service, columns):
    long = "the estimate is beyond the margin, and nothing is proven yet of what it may mean"
    moved = VIEW["transitions"][0] | {"reason": long}
    view = VIEW | {
        "transitions": [moved],
        "hypothesis": long,
        "attention": [long],
        "waiting": f"waits: {long}",
        "started_at": "2026-01-05T09:00:00Z",
        "ends_at": "2026-01-15T09:00:00Z",
        "observe_until": "2026-01-25T09:00:00Z",
    }
    service[1]["GET", "/api/v1/experiments/e"] = (200, view)
    told = {"headline": long, "paragraphs": [long, f"{long}; {long}"]}
    service[1]["GET", "/api/v1/experiments/e/explain"] = (200, told)
    for arguments in (("status", "e"), ("explain", "e"), ("validate", "--explain", GOOD)):
        shown = turnback(*arguments, COLUMNS=columns).stdout.replace(f"{GOOD}: ok", "")
        assert max(map(len, shown.splitlines())) <= int(columns), arguments
    whole = " ".join(turnback("status", "e", COLUMNS=columns).stdout.split())
    assert f"e: draft -> running, {long}" in whole
    assert f"! {long}" in whole


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("traffic 0.05", "traffic 0.25", "e: traffic 5% -> 25%, applied"),
        ("traffic 0.005", "traffic 1", "e: traffic 0.5% -> 100%, applied"),
        ("step 2", "step 2 approved", "e: step 2 approved, applied"),
        ("rolled_back", "live", "e: rolled back -> live, applied"),
    ],
)
def test_the_timeline_is_written_as_people_write(service, before, after, words):
    transition = VIEW["transitions"][0] | {"before": before, "after": after}
    service[1]["GET", "/api/v1/experiments/e"] = (200, VIEW | {"transitions": [transition]})
    assert words in turnback("status", "e").stdout
