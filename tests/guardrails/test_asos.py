"""Three real randomised experiments, fed to the judging function look by look.

Liu, Cardoso, Couturier & McCoy (2021), "Datasets for Online Controlled Experiments",
ASOS Digital Experiments Dataset, CC BY 4.0. Metric 1 is exactly binomial, so its
cumulative counts are exact; they accumulate per user over time, a real-life departure
from "a unit enters once".
"""

import csv
from datetime import UTC, datetime, timedelta

import pytest

from guardrails.judge import judge
from guardrails.levels import Comparison, WindowPlan
from guardrails.outcome import Outcome
from metrics.catalogue import Kind
from metrics.cells import MICRO, MILLI, Cell, Snapshot, Sums
from tests.support import data_dir

WINDOW = timedelta(hours=1)
START = datetime(2020, 1, 1, tzinfo=UTC)


def rows(name, experiment):
    with (data_dir() / "asos" / name).open() as file:
        return [row for row in csv.DictReader(file) if row["experiment_id"] == experiment]


def cell(variant, n, x):
    square, cube = MICRO**2, MILLI**3
    sums = Sums(n, x * MICRO, n * MICRO, x * square, x * square, n * square,
                x * cube, x * cube, x * cube, n * cube)  # fmt: skip
    return Cell(variant, 0, 0, n, sums)


def replay(experiment, margin, *, side="drop", kind=Kind.PROPORTION):
    """Return the finding of every checkpoint at a level of 5%."""
    comparison = Comparison(
        "g", "m", kind, side, margin, False, 0.5, "control", "t", True,
        (WindowPlan(WINDOW, 0.05, 1e5, 0),),
    )  # fmt: skip
    states, findings = {}, []
    for index, row in enumerate(rows("metric1_counts.csv", experiment)):
        cells = (
            cell("control", int(row["n_c"]), int(row["x_c"])),
            cell("t", int(row["n_t"]), int(row["x_t"])),
        )
        seen = Snapshot(START + index * WINDOW, index, {("m", WINDOW): cells}, {})
        finding = judge(seen, comparison, states)
        states = finding.states
        findings.append(finding)
    return findings


def breaches(findings):
    """Return at which looks (from 1) there was a breach."""
    return [i + 1 for i, finding in enumerate(findings) if finding.outcome is Outcome.BREACH]


@pytest.mark.parametrize("kind", [Kind.PROPORTION, Kind.MEAN])
@pytest.mark.parametrize("margin", [0.0, 0.005, 0.02])
def test_an_experiment_without_effect_never_trips(margin, kind):
    findings = replay("591c2c", margin, kind=kind)
    assert len(findings) == 12
    assert breaches(findings) == []


@pytest.mark.parametrize("kind", [Kind.PROPORTION, Kind.MEAN])
def test_a_real_drop_of_1_7_percent_trips_a_margin_of_half_a_percent_within_8_looks(kind):
    tripped = breaches(replay("4509ec", 0.005, kind=kind))
    assert tripped
    assert tripped[0] <= 8


def test_the_same_drop_is_inside_a_margin_of_5_percent_and_proven_so():
    findings = replay("4509ec", 0.05)
    assert breaches(findings) == []
    assert findings[-1].outcome is Outcome.PASS


def test_checkpoints_at_which_nothing_is_new_are_no_looks():
    findings = replay("4509ec", 0.05)
    assert [f.windows[0].is_look for f in findings[-5:]] == [False] * 5


@pytest.mark.parametrize("margin", [0.0, 0.01])
def test_an_experiment_that_looks_significant_at_first_is_judged_without_a_crash(margin):
    findings = replay("f50b07", margin)
    assert len(findings) == 25
    assert all(f.windows[0].z == f.windows[0].z for f in findings)  # no nan
    if margin > 0:
        assert breaches(findings) == []


@pytest.mark.parametrize("experiment", ["591c2c", "4509ec", "f50b07"])
def test_estimates_are_those_of_the_published_checkpoints(experiment):
    published = [r for r in rows("checkpoints.csv", experiment) if r["metric_id"] == "1"]
    findings = replay(experiment, 0.01)
    assert len(published) == len(findings)
    for row, finding in zip(published, findings, strict=True):
        window = finding.windows[0]
        control, treatment = float(row["mean_c"]), float(row["mean_t"])
        assert window.control_value == pytest.approx(control, abs=1e-9)
        assert window.treatment_value == pytest.approx(treatment, abs=1e-9)
        assert window.effect == pytest.approx(treatment / control - 1, abs=1e-9)
