"""Commands against a real service: a file from nothing to its end, in the words people read."""

import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from console import cli
from guardrails.api.examples import ACTIONS
from tests.running import KEY, SPEC, running

ROOT = Path(__file__).parents[2]
DRAFT = SPEC.replace("unit: order_id\n", "unit: order_id\nstarts: manual\n")
STEPS = "ramp: [{traffic: 10%, hold: 1h, approval: true}, {traffic: 100%}]\n"
WHY = ["--reason", "because"]


@pytest.fixture(scope="module")
def service():
    with running() as it:
        yield it


@pytest.fixture
def turnback(service):
    def run(*arguments):
        command = [str(argument) for argument in arguments]
        return CliRunner(env={"TURNBACK_URL": service.url}).invoke(cli.app, command)

    return run


@pytest.fixture
def put(tmp_path):
    def write(name, text=SPEC, *, key=KEY):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(KEY, key))
        return path

    return write


def known(service):
    return {view.key: view for view in service.services.engine.experiments()}


def test_a_draft_is_started_approved_paused_resumed_and_stopped_by_hand(turnback, put):
    path = put("life.yaml", DRAFT + STEPS, key="life")
    applied = turnback("apply", path)
    assert applied.exit_code == 0, applied.stderr
    assert f"{path}: life is new\n  life is a draft with revision 1\n" in applied.stdout
    shown = turnback("status", "life").stdout
    assert "draft, no traffic" in shown
    assert "! it waits until a person starts it: `turnback start life" in shown
    assert "! life: it waits until a person starts it" in turnback("status").stdout
    started = turnback("start", "life", *WHY).stdout
    assert started.startswith("life: draft -> running, 2026-01-05 00:00:00 UTC\n  because (")
    early = turnback("status", "life").stdout
    assert "then it wants approval, which may be given ahead" in " ".join(early.split()), early
    assert "! step 1 of the ramp" not in early, "nobody has to do anything before the hold is over"
    assert "life: step 1 approved, 2026" in turnback("approve", "life", *WHY).stdout
    paused = turnback("pause", "life", *WHY).stdout
    assert "running -> paused" in paused
    assert "`turnback resume life" in paused
    assert "paused -> running" in turnback("resume", "life", *WHY).stdout
    assert "treatment live -> rolled back" in turnback("roll-back", "life", *WHY).stdout
    assert "treatment rolled back -> live" in turnback("resume", "life", *WHY).stdout
    assert "running -> stopped" in turnback("stop", "life", *WHY).stdout
    over = turnback("status", "life").stdout
    assert "stopped, no traffic" in over
    assert "approval" not in over.partition("guardrail ")[0]
    assert "ends " not in over
    assert "observed until" not in over


def test_a_named_treatment_of_a_paused_experiment_is_resumed_and_the_pause_stays(
    turnback, put, service
):
    turnback("apply", put("both.yaml", key="both"))
    turnback("roll-back", "both", *WHY)
    turnback("pause", "both", *WHY)
    assert "rolled back -> live" in turnback("resume", "both", "treatment", *WHY).stdout
    assert known(service)["both"].state == "paused"
    assert "paused -> running" in turnback("resume", "both", *WHY).stdout


def test_a_continued_experiment_says_what_stays_turned_back(turnback, put):
    turnback("apply", put("again.yaml", key="again"))
    turnback("pause", "again", *WHY)
    assert "turned back" not in turnback("resume", "again", *WHY).stdout
    turnback("pause", "again", *WHY)
    turnback("roll-back", "again", *WHY)
    continued = turnback("resume", "again", *WHY).stdout
    assert "paused -> running" in continued
    assert "but treatment stays turned back, and their units get control" in continued
    assert '`turnback resume again treatment --reason "..."` serves treatment again' in continued
    assert "rolled back" in turnback("status", "again").stdout


@pytest.mark.parametrize(
    ("command", "words", "hint"),
    [
        (["start"], "cannot start while running", "possible now: "),
        (["approve"], "needs no approval", "the ramp goes on by itself"),
        (["resume", "treatment"], "treatment of calm is live", "nothing to resume"),
        (["pause", "--reason", " "], "a reason is needed", "say in a few words why"),
        (["roll-back", "treatmint"], "no treatment named 'treatmint'", "its treatments"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_does(turnback, put, command, words, hint):
    turnback("apply", put("calm.yaml", SPEC + STEPS.replace("true", "false"), key="calm"))
    name, *rest = command
    given = rest if "--reason" in rest else [*rest, *WHY]
    result = turnback(name, "calm", *given)
    assert (result.exit_code, result.stdout) == (1, "")
    assert words in result.stderr
    assert hint in result.stderr


def test_starting_without_a_reason_says_first_that_it_runs_already(turnback, put):
    assert turnback("apply", put("early.yaml", SPEC, key="early")).exit_code == 0
    runs = turnback("start", "early")
    assert (runs.exit_code, runs.stdout) == (1, "")
    assert "early runs already since 2026-01-05 00:00:00 UTC" in runs.stderr
    assert "reason" not in runs.stderr
    turnback("apply", put("waits.yaml", DRAFT, key="waits"))
    waits = turnback("start", "waits")
    assert waits.exit_code == 2
    assert '`turnback start waits --reason "..."`' in waits.stderr


def test_with_one_faulty_file_nothing_is_sent(turnback, put, service):
    put("all/good.yaml", key="never-sent")
    bad = put("all/team/bad.yml", "experiment: x\nguardrials: []\n")
    result = turnback("apply", bad.parents[1])
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{bad}:2:1: guardrials: unknown key; did you mean `guardrails`?" in result.stderr
    assert result.stderr.endswith("  nothing was applied; mend these first\n")
    assert "never-sent" not in known(service)
    error = json.loads(turnback("apply", bad.parents[1], "--json").stderr)["error"]
    assert error["code"] == "invalid_spec"
    assert error["problems"]


def test_a_fault_that_only_the_service_knows_stops_all_files_too(turnback, put, service):
    put("two/a.yaml", key="also-never-sent")
    rule = "  - {rule: promql, query: refund_p99, max: 0.8, hold: 5m}\nends"
    bad = put("two/b.yaml", SPEC.replace("ends", rule), key="asks-for-more")
    result = turnback("apply", bad.parent)
    assert result.exit_code == 1
    assert "the service has no query `refund_p99`" in result.stderr
    assert {"also-never-sent", "asks-for-more"}.isdisjoint(known(service))
    assert turnback("validate", bad.parent).exit_code == 0
    live = turnback("validate", bad.parent, "--live")
    assert live.exit_code == 1
    assert f"{bad}:" in live.stderr
    assert "the service has no query `refund_p99`" in live.stderr
    assert f"a.yaml: ok (also-never-sent, 1 guardrail, also for {service.url})" in live.stdout


def test_live_validation_refuses_what_applying_would_refuse(turnback, put):
    running = put("live/a.yaml", key="runs-already")
    turnback("apply", running)
    fine = turnback("validate", running.parent, "--live")
    assert (fine.exit_code, fine.stderr) == (0, "")
    shuffled = SPEC.replace("control: {weight: 50%", "control: {weight: 40%")
    shuffled = shuffled.replace("treatment: {weight: 50%", "treatment: {weight: 60%")
    put("live/a.yaml", shuffled, key="runs-already")
    past = "starts: 2020-01-01T00:00:00Z\nends: {at: 2020-02-01T00:00:00Z}"
    late = re.sub("ends: .*", past, SPEC)
    put("live/b.yaml", late, key="ends-in-the-past")
    result = turnback("validate", running.parent, "--live")
    assert turnback("validate", running.parent).exit_code == 0
    assert turnback("apply", running.parent, "--dry-run").exit_code == result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert first.startswith(f"{running}:5:3: variants: runs-already: weight of control: 50%")
    assert "; raise `seed` to start the analysis over, or leave it as it is" in first
    assert second.startswith(
        f"{running.with_name('b.yaml')}:10:12: ends.at: ends-in-the-past would"
    )
    body = json.loads(turnback("validate", running.parent, "--live", "--json").stdout)
    assert [f["problems"][0]["path"] for f in body["files"]] == ["variants", "ends.at"]


def test_files_that_only_together_do_not_fit_what_runs_are_refused(turnback, put, service):
    def layered(share):
        return f"{SPEC}layer: {{name: three, share: {share}}}\n"

    turnback("apply", put("room/a.yaml", layered("40%"), key="room-taken"))
    put("more/a.yaml", layered("40%"), key="first-more")
    second = put("more/b.yaml", layered("40%"), key="later-more")
    for command in (("validate", "--live"), ("apply", "--dry-run")):
        assert turnback(command[0], second, command[1]).exit_code == 0
        both = turnback(command[0], second.parent, command[1])
        assert both.exit_code == 1
        assert "40% of the layer three is asked for, 20% is free" in both.stderr
        assert "first-more has 40%" in both.stderr
    assert {"first-more", "later-more"}.isdisjoint(known(service))


def test_a_dry_run_says_what_would_change_and_changes_nothing(turnback, put, service):
    path = put("dry.yaml", key="dry")
    first = turnback("apply", path, "--dry-run")
    assert first.exit_code == 0
    assert first.stdout.endswith(
        "dry run: nothing was changed; 1 to apply, 0 unchanged, 0 refused\n"
    )
    assert "dry" not in known(service)
    turnback("apply", path)
    put("dry.yaml", SPEC.replace("Cancel page", "The page"), key="dry")
    said = turnback("apply", path, "--dry-run").stdout
    assert f"{path}: dry changes to revision 2\n  title: Cancel page becomes The page\n" in said
    assert known(service)["dry"].revision == 1
    body = json.loads(turnback("apply", path, "--dry-run", "--json").stdout)
    assert (body["ok"], body["dry_run"]) == (True, True)
    assert body["files"][0].items() >= {"key": "dry", "result": "updated", "revision": 2}.items()


def test_after_a_refused_file_the_others_are_applied_and_the_exit_code_is_1(turnback, put):
    turnback("apply", put("three/a.yaml", key="kept"))
    shuffled = SPEC.replace("control: {weight: 50%", "control: {weight: 40%")
    put(
        "three/a.yaml",
        shuffled.replace("treatment: {weight: 50%", "treatment: {weight: 60%"),
        key="kept",
    )
    path = put("three/b.yaml", key="new-one")
    result = turnback("apply", path.parent)
    assert result.exit_code == 1
    assert "a.yaml: refused: kept: " in result.stderr
    assert "raise `seed`" in result.stderr
    assert "new-one: created, revision 1\n1 applied, 0 unchanged, 1 refused\n" in result.stdout
    assert "/experiments/new-one\n" in result.stdout
    body = json.loads(turnback("apply", path.parent, "--json").stdout)
    refused, same = body["files"]
    assert (body["ok"], refused["error"]["code"], same["result"]) == (
        False,
        "reshuffle",
        "unchanged",
    )


def test_a_refusal_that_only_applying_finds_does_not_stop_the_next_file(turnback, put, service):
    layer = "layer: {name: narrow, share: 60%}\n"
    turnback("apply", put("first.yaml", SPEC + layer, key="has-the-layer"))
    put("four/a.yaml", SPEC + layer, key="no-room")
    path = put("four/b.yaml", key="has-room")
    result = turnback("apply", path.parent, "--yes")
    assert result.exit_code == 1
    assert "a.yaml: refused: " in result.stderr
    assert "has-room" in known(service)
    assert "no-room" not in known(service)


def read_all(terminal):
    said = b""
    with suppress(OSError):  # the other end is closed
        while part := os.read(terminal, 4096):
            said += part
    return said.decode()


@pytest.mark.parametrize(("answer", "applied"), [(b"n\n", False), (b"y\n", True)])
def test_on_a_terminal_the_differences_are_shown_and_a_person_decides(
    put, service, *, answer, applied
):
    key = f"asked-{applied}".lower()
    path = put(f"{key}.yaml", key=key)
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "console.cli", "apply", path, "--url", service.url]
    with subprocess.Popen(command, cwd=ROOT, stdin=end, stdout=end, stderr=end) as process:
        os.close(end)
        os.write(terminal, answer)
        text = read_all(terminal)
    os.close(terminal)
    assert f"{key} is new" in text
    assert "Apply this file? [y/N]" in text
    assert (key in known(service)) is applied
    assert process.returncode == (0 if applied else 1)
    assert ("nothing was applied" in text) is not applied


def test_revisions_are_listed_shown_and_compared(turnback, put):
    path = put("rev.yaml", key="rev")
    turnback("apply", path)
    put("rev.yaml", SPEC.replace("Cancel page", "'[bold]The page'"), key="rev")
    turnback("apply", path)
    listed = turnback("revisions", "rev").stdout.splitlines()
    # a long path is folded: only rows begin with a number at the left edge
    assert [line.split()[0] for line in listed[1:] if line.lstrip()[:2] in {"1 ", "2 "}] == [
        "1",
        "2",
    ]
    shown = turnback("revisions", "rev", "--show", "2").stdout
    assert shown == path.read_text()
    diff = turnback("revisions", "rev", "--diff", "1", "2").stdout
    assert "-title: Cancel page\n+title: '[bold]The page'\n" in diff
    assert "\x1b" not in diff
    same = turnback("revisions", "rev", "--diff", "2", "2").stdout
    assert same == "the two revisions are the same text\n"
    body = json.loads(turnback("revisions", "rev", "--json").stdout)
    assert [r["number"] for r in body["revisions"]] == [1, 2]
    missing = turnback("revisions", "rev", "--show", "3")
    assert missing.exit_code == 1
    assert "rev has no revision 3\n  it has 1 to 2" in missing.stderr


def test_validate_reads_folders_and_what_files_may_not_say_together(turnback, put):
    one = put("set/a.yaml", key="same")
    two = put("set/deep/b.yml", key="same")
    put("set/.hidden.yaml", "no: [")
    put("set/.git/c.yaml", "no: [")
    put("set/readme.md", "no")
    result = turnback("validate", one.parent)
    assert result.exit_code == 1
    assert result.stdout == f"{one}: ok (same, 1 guardrail)\n"
    assert re.search(
        rf"{two}:\d+:\d+: experiment: `same` is the experiment of {one} too", result.stderr
    )
    again = turnback("validate", one.parent, one, two)
    assert again.stderr == result.stderr, "a file given twice is read once"


def test_validate_explains_every_key_and_default(turnback, put):
    path = put("why.yaml", key="why")
    said = turnback("validate", path, "--explain").stdout
    assert "seed: 1  (default)" in said
    assert all(len(line) <= 100 for line in said.splitlines() if not line.startswith("/"))
    (file,) = json.loads(turnback("validate", path, "--explain", "--json").stdout)["files"]
    seed = next(key for key in file["explained"] if key["path"] == "seed")
    assert (seed["value"], seed["given"]) == ("1", False)


def test_without_a_service_live_still_tells_what_is_wrong_with_the_files(put):
    bad = put("bad.yaml", "experiment: x\nguardrials: []\n")
    good = put("good.yaml")
    command = [sys.executable, "-m", "console.cli", "validate", bad, good, "--live"]
    done = subprocess.run(
        [*command, "--url", "http://127.0.0.1:9"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert f"{bad}:2:1: guardrials: unknown key" in done.stderr
    assert "no service answers at http://127.0.0.1:9" in done.stderr
    assert "without --live no service is asked" in done.stderr
    assert done.stdout == f"{good}: ok (cancel-page, 1 guardrail)\n"


def test_the_examples_of_the_description_are_actions_that_exist():
    from experiments.lifecycle import ACTIONS as LEGAL

    assert set(ACTIONS) == set(LEGAL)
