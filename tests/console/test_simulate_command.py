"""``turnback simulate``: verdict, tables, JSON, interruption, and its errors."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from console import cli
from guardrails.simulation import runs as running
from tests.support import heeds_interrupts

ROOT = Path(__file__).parents[2]
SPEC = """
experiment: e
owner: a@example.com
hypothesis: It helps.
unit: order_id
variants: {control: {weight: 50%}, changed: {weight: 50%}}
guardrails:
  - {kpi: satisfaction, max_drop: 5%, windows: {1h: 100%}}
  - {kpi: cancel_success_rate, max_drop: 4%, windows: {1h: 100%}}
  - {kpi: contact_rate, max_rise: 10%, action: alert}
ends: {after: 2d, observe_for: 2h}
check_every: 4h
expect_units: 12000
"""
QUICK = ("--units-per-day", "6000", "--repetitions", "2", "--processes", "1")


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "experiment.yaml"
    path.write_text(SPEC)
    return str(path)


def turnback(*arguments, **env):
    return CliRunner(env={"COLUMNS": "100", **env}).invoke(cli.app, list(arguments))


def test_help_has_examples_and_every_option():
    said = turnback("simulate", "--help").stdout
    assert "turnback simulate examples/three-step-cancel.yaml --units-per-day 4800" in said
    for option in ("--harm", "--onset", "--vary", "--grid", "--repetitions", "--seed"):
        assert option in said


def test_the_verdict_is_first_and_what_was_assumed_below(spec):
    result = turnback("simulate", spec, *QUICK, "--baseline", "satisfaction=4.4,sd=0.9")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("A treatment that harms nothing was turned back in ")
    assert any(line.split()[:4] == ["any", "of", "them", "none"] for line in lines)
    assert "4.4 " in result.stdout  # given
    assert "88%*" in result.stdout  # assumed
    assert "* assumed" in result.stdout
    assert "KPIs are drawn independently of each other" in result.stdout
    assert "left out, since they turn nothing back within the guarantee: contact_rate" in " ".join(
        result.stdout.split()
    )
    assert max(map(len, lines)) <= 120
    assert "2 runs of each harm, seed 1" in result.stdout


def test_json_is_one_object_with_seed_version_repetitions_and_errors(spec):
    result = turnback("simulate", spec, *QUICK, "--seed", "7", "--json")
    body = json.loads(result.stdout)
    assert (body["seed"], body["repetitions"], body["finished"]) == (7, 2, 2)
    assert body["version"]
    assert body["interrupted"] is False
    assert body["units_per_day"] == {"value": 6000.0, "source": "given"}
    family = body["family"]["turned_back"]
    assert set(family) == {"count", "of", "share", "standard_error", "low", "high"}
    first = body["guardrails"][0]
    assert [harm["words"] for harm in first["harms"]] == ["none", "-2.5%", "-5%", "-10%"]
    assert [harm["tolerated"] for harm in first["harms"]] == [True, True, False, False]
    assert first["windows"][0]["baseline"]["value"] == {"value": 4.2, "source": "assumed"}
    again = turnback("simulate", spec, *QUICK, "--seed", "7", "--json")
    assert json.loads(again.stdout) == body


def test_a_harm_may_be_given_by_size_and_late(spec):
    result = turnback(
        "simulate", spec, *QUICK, "--harm", "-30%", "--onset", "12h", "--guardrail",
        "satisfaction", "--json",
    )  # fmt: skip
    body = json.loads(result.stdout)
    assert body["onset"] == "PT43200S"
    harms = body["guardrails"][0]["harms"]
    assert [harm["words"] for harm in harms] == ["none", "-30%"]
    assert harms[1]["turned_back"]["share"] == 1.0
    assert harms[1]["early"]["count"] == 0
    assert harms[1]["median"]["after"].startswith("PT")
    assert set(harms[1]["median"]["by_arm"]) == {"control", "changed"}


def test_a_grid_has_a_line_for_every_combination(spec, tmp_path):
    options = (*QUICK, "--guardrail", "satisfaction", "--harm", "20%")
    vary = ("--vary", "alpha=1%,5%", "--vary", "restarts=on,off")
    result = turnback("simulate", spec, *options, *vary)
    assert result.exit_code == 0, result.stderr
    assert "4 combinations" in result.stdout
    rows = [line.split()[:2] for line in result.stdout.splitlines() if line[:2] in {"1%", "5%"}]
    assert rows == [["1%", "on"], ["1%", "off"], ["5%", "on"], ["5%", "off"]]
    grid = tmp_path / "grid.yaml"
    grid.write_text('alpha: [1%, 5%]\nrestarts: ["on", "off"]\n')
    body = json.loads(turnback("simulate", spec, *options, "--grid", str(grid), "--json").stdout)
    assert body["vary"] == {"alpha": ["1%", "5%"], "restarts": ["on", "off"]}
    assert [one["settings"] for one in body["grid"]] == [
        {"alpha": a, "restarts": r} for a in ("1%", "5%") for r in ("on", "off")
    ]
    assert [one["family"]["alpha"] for one in body["grid"]] == [0.01, 0.01, 0.05, 0.05]
    assert body["repetitions"] == 2


def test_traffic_may_be_what_varies(spec):
    result = turnback(
        "simulate", spec, "--repetitions", "1", "--processes", "1", "--vary",
        "units_per_day=1000,2000", "--guardrail", "satisfaction", "--harm", "40%", "--json",
    )  # fmt: skip
    rates = [one["units_per_day"]["value"] for one in json.loads(result.stdout)["grid"]]
    assert rates == [1000.0, 2000.0]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--repetitions", "1"), 2, "nobody says how many units come"),
        ((*QUICK, "--vary", "alpa=1%"), 1, "unknown setting 'alpa'; did you mean 'alpha'"),
        ((*QUICK, "--vary", "alpha=7"), 1, "'7' is no value of alpha"),
        ((*QUICK, "--vary", "alpha=1%", "--grid", "g.yaml"), 2, "together say two grids"),
        ((*QUICK, "--grid", "nowhere.yaml"), 2, "nowhere.yaml"),
        ((*QUICK, "--harm", "much"), 1, "'much' is no harm"),
        ((*QUICK, "--onset", "later"), 2, "'later' is no length of time"),
        ((*QUICK, "--onset", "2d"), 1, "harms nobody"),
        ((*QUICK, "--guardrail", "satisfacton"), 1, "did you mean 'satisfaction'"),
        ((*QUICK, "--baseline", "x=1"), 1, "the file has no KPI 'x'"),
        ((*QUICK, "--repetitions", "0"), 2, "0 is out of range; write a whole number from 1"),
        ((*QUICK, "--processes", "0"), 2, "0 is out of range"),
    ],
)
def test_what_cannot_be_simulated_is_told_with_what_to_do(spec, arguments, code, says):
    result = turnback("simulate", spec, *arguments)
    assert result.exit_code == code
    assert says in result.stderr
    assert result.stdout == ""


def test_a_file_that_turns_nothing_back_says_so(spec):
    Path(spec).write_text(SPEC.replace("4%, windows", "4%, dry_run: true, windows").replace(
        "5%, windows", "5%, dry_run: true, windows"
    ))  # fmt: skip
    result = turnback("simulate", spec, *QUICK)
    assert result.exit_code == 1
    assert "nothing can be simulated" in result.stderr
    asked = turnback("simulate", spec, *QUICK, "--guardrail", "satisfaction")
    assert asked.stdout.startswith("No guardrail that can be simulated turns a treatment back.")


def test_a_faulty_file_is_told_like_everywhere(spec):
    Path(spec).write_text("experiment: e\n")
    result = turnback("simulate", spec, *QUICK)
    assert result.exit_code == 1
    assert "experiment.yaml:1:1: " in result.stderr


def test_an_interruption_tells_what_was_finished(spec, monkeypatch):
    real, calls = running.one_run, []

    def interrupted(scenario, seed, repetition):
        calls.append(repetition)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return real(scenario, seed, repetition)

    monkeypatch.setattr(running, "one_run", interrupted)
    options = ("--units-per-day", "6000", "--repetitions", "3", "--processes", "1")
    result = turnback("simulate", spec, *options, "--json")
    assert result.exit_code == 130
    body = json.loads(result.stdout)
    assert (body["interrupted"], body["repetitions"], body["finished"]) == (True, 3, 1)
    assert "interrupted: these are the first 1 of 3 runs of each" in result.stderr


def test_ctrl_c_ends_all_processes_and_leaves_no_traceback(spec, tmp_path):
    command = Path(sys.executable).with_name("turnback")
    stderr = tmp_path / "stderr"
    with stderr.open("w") as errors:
        process = subprocess.Popen(
            [command, "simulate", spec, "--units-per-day", "6000", "--repetitions", "5000",
             "--processes", "2"],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            preexec_fn=heeds_interrupts,  # noqa: PLW1509 - nothing runs beside it
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while len(workers(process.pid)) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)  # two workers and the tracker of their resources
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.read_text().startswith("interrupted: these are the first")
    while workers(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)  # the tracker ends when it hears that nobody is left
    assert workers(process.pid) == []


def workers(group):
    """Return the processes of a group other than its first."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "--no-headers", "-g", str(group)],
        capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    return [pid for pid in found if int(pid) != group]
