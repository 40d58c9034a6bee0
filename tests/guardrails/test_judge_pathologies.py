"""Strange data, each once through the decision itself: an outcome and a reason, no crash."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from guardrails.judge import judge
from guardrails.levels import Comparison, WindowPlan
from guardrails.outcome import Code, Outcome
from metrics.catalogue import Kind
from metrics.cells import MICRO, Cell, Snapshot, Sums

HOUR = timedelta(hours=1)
AT = datetime(2026, 3, 2, tzinfo=UTC)
BREACH = (Outcome.BREACH, Code.PROVEN_HARM)
TOO_FEW = (Outcome.INCONCLUSIVE, Code.TOO_FEW)


def plan(kind, side):
    return Comparison(
        guardrail="g",
        kpi="k",
        kind=kind,
        side=side,
        margin=0.05,
        absolute=False,
        prove_past=0.5,
        control="control",
        treatment="t",
        acts=True,
        windows=(WindowPlan(HOUR, 0.0125, 1e4, 2),),
    )


def rate(variant, units, events):
    return Cell(variant, 0, 0, units, Sums(units, events * MICRO, units * MICRO))


def values(variant, numbers, denominators=None, *, entered=None):
    whole = Sums()
    for index, y in enumerate(numbers):
        x = 1.0 if denominators is None else denominators[index]
        whole += Sums.of(round(y * MICRO), round(x * MICRO))
    return Cell(variant, 0, 0, whole.n if entered is None else entered, whole)


SPREAD = [-3.0, -1.0] * 200

CASES = [
    pytest.param(
        Kind.MEAN,
        "drop",
        # 1,000 equal values are no proof of anything: a rating that is always sent as 4, say
        (values("control", [4.0] * 500), values("t", [4.0] * 500)),
        (Outcome.INCONCLUSIVE, Code.INSIDE_MARGIN),
        id="no variance anywhere, under a margin",
    ),
    pytest.param(
        Kind.RATIO,
        "drop",
        (
            values("control", [1 / 3] * 500, [7.0] * 500),
            values("t", [1 / 3] * 500, [7.0] * 500),
        ),
        (Outcome.INCONCLUSIVE, Code.INSIDE_MARGIN),
        id="no variance of a ratio, but that of rounding",
    ),
    pytest.param(
        Kind.MEAN,
        "drop",
        (values("control", [4.0] * 500), values("t", [5.0] * 500)),
        (Outcome.INCONCLUSIVE, Code.INSIDE_MARGIN),
        id="no variance in either arm, the treatment better",
    ),
    pytest.param(
        Kind.MEAN,
        "drop",
        (values("control", [4.0] * 500), values("t", [1.0] * 500)),
        BREACH,
        id="no variance in either arm, the treatment far worse",
    ),
    pytest.param(
        Kind.MEAN,
        "drop",
        (values("control", [4.0] * 2000), values("t", [3.999, 4.001] * 1000)),
        (Outcome.PASS, Code.PROVEN_SAFE),
        id="hardly any variance, in one arm",
    ),
    pytest.param(
        Kind.MEAN,
        "drop",
        (values("control", [0.0] * 500), values("t", [0.0] * 500)),
        (Outcome.INCONCLUSIVE, Code.CONTROL_NOT_POSITIVE),
        id="no variance and no value to take a share of",
    ),
    pytest.param(
        Kind.MEAN,
        "drop",
        (values("control", [4.0, 5.0] * 250), values("t", [1.0] * 500)),
        BREACH,
        id="no variance in the treatment",
    ),
    pytest.param(
        Kind.PROPORTION,
        "rise",
        (rate("control", 5000, 0), rate("t", 5000, 0)),
        TOO_FEW,
        id="no events at all",
    ),
    pytest.param(
        Kind.PROPORTION,
        "drop",
        (rate("control", 5000, 600), rate("t", 5000, 0)),
        BREACH,
        id="12% to nothing",
    ),
    pytest.param(
        Kind.PROPORTION,
        "rise",
        (rate("control", 5000, 4400), rate("t", 5000, 5000)),
        BREACH,
        id="its mirror image: 88% to all",
    ),
    pytest.param(
        Kind.PROPORTION,
        "rise",
        (rate("control", 5000, 0), rate("t", 5000, 600)),
        BREACH,
        id="nothing to 12%",
    ),
    pytest.param(
        Kind.PROPORTION,
        "rise",
        (rate("control", 1, 0), rate("t", 1, 1)),
        TOO_FEW,
        id="one unit",
    ),
    pytest.param(
        Kind.MEAN,
        "drop",
        (values("control", [4.0, 5.0] * 250),),
        (Outcome.INCONCLUSIVE, Code.WINDOW_OPEN),
        id="an empty arm",
    ),
    pytest.param(
        Kind.MEAN,
        "drop",
        (values("control", SPREAD), values("t", [y - 9 for y in SPREAD])),
        (Outcome.INCONCLUSIVE, Code.CONTROL_NOT_POSITIVE),
        id="a negative mean of control",
    ),
    pytest.param(
        Kind.RATIO,
        "rise",
        (values("control", [], entered=500), values("t", [], entered=500)),
        (Outcome.NO_DATA, Code.NO_VALUES),
        id="a ratio without denominators",
    ),
    pytest.param(
        Kind.RATIO,
        "rise",
        (
            values("control", [1.0, 2.0] * 250, [1.0, 3.0] * 250),
            values("t", [], entered=500),
        ),
        (Outcome.NO_DATA, Code.NO_VALUES),
        id="a ratio without denominators in the treatment",
    ),
    pytest.param(
        Kind.PROPORTION,
        "rise",
        (rate("control", 99_900, 9_990), rate("t", 99, 30)),
        TOO_FEW,
        id="1:999, the canary too small",
    ),
    pytest.param(
        Kind.PROPORTION,
        "rise",
        (rate("control", 999_000, 99_900), rate("t", 1000, 300)),
        BREACH,
        id="1:999, the canary large enough",
    ),
]


@pytest.mark.parametrize(("kind", "side", "cells", "expected"), CASES)
def test_strange_data_have_an_outcome_and_a_reason(kind, side, cells, expected):
    seen = Snapshot(AT, 1, {("k", HOUR): cells}, {})
    finding = judge(seen, plan(kind, side), {})
    assert (finding.outcome, finding.code) == expected
    (window,) = finding.windows
    assert (finding.evidence >= 1) == (finding.outcome is Outcome.BREACH)
    if finding.outcome is Outcome.BREACH:
        assert window.z >= window.boundary
    elif finding.code is Code.INSIDE_MARGIN:
        assert math.isnan(window.safe_e_value)
    elif finding.outcome is not Outcome.PASS:
        assert not window.is_look
        assert math.isnan(window.boundary)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("side", ["drop", "rise"])
def test_the_same_strange_data_in_both_arms_turn_nothing_back(kind, side):
    for units, events in ((1, 0), (1, 1), (5000, 0), (5000, 5000), (5000, 600)):
        cells = (rate("control", units, events), rate("t", units, events))
        seen = Snapshot(AT, 1, {("k", HOUR): cells}, {})
        assert judge(seen, plan(kind, side), {}).outcome is not Outcome.BREACH
