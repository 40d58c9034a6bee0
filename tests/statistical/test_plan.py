"""The plan's paths against the engine itself: the real ``judge`` over seeded integer cells.

Reduced: the share of simulated experiments that are turned back by the plan's median and 90%
point must be a half and nine tenths, within three binomial errors. The full size, with the
times themselves, is ``tests/acceptance/test_plan.py``.
"""

import itertools
import math
from datetime import timedelta

import numpy as np
import pytest

from guardrails.levels import Comparison, WindowPlan
from guardrails.planning.baselines import Baseline, Number, Source
from guardrails.planning.calendar import Calendar
from guardrails.planning.paths import found_at, schedule, walks
from guardrails.planning.scores import Arms, same_units, score_under
from metrics.catalogue import Kind
from tests.planned import CASES, HOUR, LIMITS, planned, simulated

pytestmark = pytest.mark.statistical

FEW = 24
QUICK = [
    c
    for c in CASES
    if c.name not in {"satisfaction-ramp", "rare-failures-canary", "success-one-window"}
]


def disagreements(found, hours):
    """Return which point of a plan the simulated hours do not bear out."""
    said = []
    for name, share, at in (("median", 0.5, found.median), ("90%", 0.9, found.ninety)):
        by_then = sum(h <= at.after / HOUR for h in hours) / len(hours)
        if abs(by_then - share) > 3 * math.sqrt(share * (1 - share) / len(hours)):
            said.append(f"{name} {at.after / HOUR:.1f} h: {by_then:.2f} are found by then")
    return said


@pytest.mark.parametrize("case", [*QUICK, *LIMITS], ids=str)
def test_a_plan_says_when_the_engine_finds_the_harm(case):
    assert disagreements(planned(case), simulated(case, FEW)) == []


def test_a_plan_of_twice_the_traffic_fails_the_gate():
    case = next(c for c in CASES if c.name == "failures-two-windows")
    wrong = planned(case, units_per_day=2 * case.units_per_day)
    assert disagreements(wrong, simulated(case, FEW)) != []


def test_a_plan_of_a_limit_at_twice_the_traffic_fails_the_gate():
    case = LIMITS[1]
    wrong = planned(case, units_per_day=2 * case.units_per_day)
    assert disagreements(wrong, simulated(case, FEW)) != []


def what_to_expect(margin, effect, *, units=2000, restarts=27):
    """Return the plan's probability and median hours for a row of the design's table."""
    days = 14
    windows = ((1, 0.5, 0.15), (24, 0.3, 0.3), (336, 0.2, 0.3))
    ends, total = timedelta(days=days), 2.0 * units * days
    calendar = Calendar((), ends, ends, HOUR, total, (0.0, days * 86400.0), (0.0, total))
    plans = tuple(
        WindowPlan(timedelta(hours=h), 0.0125 * w, units * days / 2, restarts)
        for h, w, _ in windows
    )
    comparison = Comparison(
        "s", "s", Kind.RATIO, "drop", margin, False, 0.5, "control", "t", True, plans
    )
    arms = Arms(0.5, 0.5)
    known = [
        Baseline(*(Number(x, Source.GIVEN) for x in (4.2, 1.0, answering)))
        for _, _, answering in windows
    ]
    scores = [score_under(comparison, b, arms, harm=effect) for b in known]
    schedules = [
        schedule(p, calendar, arms, answering=a, gate=s.gate, lag=timedelta(0))
        for p, (_, _, a), s in zip(plans, windows, scores, strict=True)
    ]
    walked = walks(
        schedules,
        [0.0, *(same_units(Kind.RATIO, a, b) for a, b in itertools.pairwise(known))],
        calendar,
        [a * arms.effective for _, _, a in windows],
        paths=4000,
        rng=np.random.default_rng(1),
    )
    hours = found_at(walked, scores) / 3600.0
    return float(np.isfinite(hours).mean()), float(np.quantile(hours, 0.5, method="inverted_cdf"))


@pytest.mark.parametrize(
    ("margin", "effect", "units", "probability", "median"),
    [
        pytest.param(0.05, 0.0, 2000, 0.0, None, id="no effect"),
        pytest.param(0.05, 0.02, 2000, 0.002, None, id="-2%"),
        pytest.param(0.05, 0.03, 2000, 0.04, None, id="-3%"),
        pytest.param(0.05, 0.04, 2000, 0.61, None, id="-4%"),
        pytest.param(0.05, 0.05, 2000, 0.996, 118, id="-5%"),
        pytest.param(0.05, 0.075, 2000, 1.0, 41, id="-7.5%"),
        pytest.param(0.05, 0.10, 2000, 1.0, 21, id="-10%"),
        pytest.param(0.03, 0.05, 2000, 1.0, 73, id="-5% of 3%"),
        pytest.param(0.03, 0.05, 500, 0.80, None, id="500 a day"),
    ],
)
def test_a_plan_agrees_with_what_to_expect(margin, effect, units, probability, median):
    # the table was simulated with other code and few repetitions: roughly is all that can be asked
    found, hours = what_to_expect(margin, effect, units=units)
    assert found == pytest.approx(probability, abs=0.1)
    if median is not None:
        # two thirds of the level on the whole run are quicker than the halves of the table
        assert 0.85 * median <= hours <= 1.1 * median
