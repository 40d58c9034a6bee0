"""What to expect of one guardrail: rollback probabilities and times, through the real ``judge``.

The expected numbers are the project's design table: satisfaction 4.2 +- 1, 2,000 units a day
and arm, 30% answering (half of them within 1 h), 1.25% for this guardrail, 14 days, hourly
checks. It was simulated once, independently, and leaves some things open; here
- scores are whole numbers from 1 to 5 with the mean asked for and sd 1 in both arms,
- answers come within the hour or within the day, half and half, arrivals are Poisson,
- windows are the KPI's own (1 h .5, 1 d .3, 14 d .2; the last one closes too late to act),
- the planned information is that of the units that come (2,000 a day over 14 days).
Several sets of windows and planned information were tried on this very table; none gives all
of its medians, and this one, the KPI's own windows with the units that come, is kept. So this
is agreement with the table, no independent confirmation of it. The table gave half of a level to
the whole run. Two thirds of it, with 200 repetitions, give 108 / 38 / 20 h at -5 / -7.5 / -10%,
32 h late (81 h without restarts), 64 h for a margin of 3%, .040 / .725 at -3 / -4%, .890 for 500 a
day: harm from the start is found sooner than in the table, late harm later.

The whole table, 200 repetitions a row, is reproduced by ``turnback simulate`` in
``test_simulation.py``, through the same ``judge``; here are reduced sizes and the gates.

How many repetitions the table rests on is not known; 200 are assumed. A median is compared as
the share of repetitions turned back by then. Both errors are combined, three of them wide.
"""

import math
import multiprocessing
import os
import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from guardrails.levels import Comparison, WindowPlan
from guardrails.simulate import Ratings, hours_to_breach
from metrics.catalogue import Kind

LEVEL = 0.0125
WINDOWS = ((1, 0.5), (24, 0.3), (336, 0.2))
TABLE_REPETITIONS = 200
FULL = 200
DAYS = 14


@dataclass(frozen=True)
class Row:
    """One line of the table: a probability within 14 days, or a median delay in hours."""

    margin: float
    effect: float
    probability: float | None = None
    median: float | None = None
    onset: int = 0
    units_a_day: int = 2000
    restarts: int = 27
    few: int = 0  # repetitions in the default tier, 0: only in the full run

    def __str__(self):
        late = f" from hour {self.onset}" if self.onset else ""
        alone = "" if self.restarts else " without restarts"
        what = f"p {self.probability}" if self.probability is not None else f"{self.median} h"
        units = f" {self.units_a_day} a day" if self.units_a_day != 2000 else ""
        return f"{self.effect:+.1%}{late} margin {self.margin:.0%}{units}{alone}: {what}"


TABLE = (
    Row(0.05, 0.0, probability=0.0, few=12),
    Row(0.05, -0.02, probability=0.002),
    Row(0.05, -0.03, probability=0.04),
    Row(0.05, -0.04, probability=0.61),
    Row(0.05, -0.05, probability=0.996, median=118, few=30),
    Row(0.05, -0.075, probability=1.0, median=41),
    Row(0.05, -0.10, probability=1.0, median=21, few=60),
    Row(0.05, -0.10, median=30, onset=72, few=40),
    Row(0.05, -0.10, median=79, onset=72, restarts=0),
    Row(0.03, -0.05, median=73, few=40),
    Row(0.03, -0.05, probability=0.80, units_a_day=500),
)


def comparison(row, **changes):
    information = row.units_a_day * DAYS / 2
    plans = tuple(
        WindowPlan(timedelta(hours=hours), LEVEL * weight, information, row.restarts)
        for hours, weight in WINDOWS
    )
    plan = Comparison(
        "satisfaction", "satisfaction", Kind.RATIO, "drop", row.margin, False, 0.5,
        "control", "treatment", True, plans,
    )  # fmt: skip
    return replace(plan, **changes)


def delays(row, repetitions, *, seed=20260302, processes=1, **changes):
    """Return hours from the onset to the rollback, infinite without one."""
    ratings = Ratings(
        units_per_hour=row.units_a_day / 24, effect=row.effect, onset=row.onset, hours=24 * DAYS
    )
    seeds = [(seed, TABLE.index(row) if row in TABLE else 99, r) for r in range(repetitions)]
    arguments = [[ratings] * repetitions, [comparison(row, **changes)] * repetitions, seeds]
    if processes == 1:
        found = list(map(hours_to_breach, *arguments))
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            found = list(pool.map(hours_to_breach, *arguments, chunksize=10))
    return [math.inf if hours is None else hours - row.onset for hours in found]


def agrees(share, expected, repetitions):
    """Tell whether a share is the table's, within three errors of both simulations."""
    spread = max(expected * (1 - expected), 0.002)  # a printed .000 or 1 is a rounded number
    return abs(share - expected) <= 3 * math.sqrt(spread / repetitions + spread / TABLE_REPETITIONS)


def problems(row, found):
    """Return what does not agree with the table, in words."""
    said = []
    n = len(found)
    turned = sum(math.isfinite(d) for d in found) / n
    if row.probability is not None and not agrees(turned, row.probability, n):
        said.append(f"turned back with probability {turned:.3f}, expected {row.probability}")
    if row.median is not None:
        by_then = (sum(d < row.median for d in found) + sum(d <= row.median for d in found)) / 2
        if not agrees(by_then / n, 0.5, n):
            middle = sorted(found)[n // 2]
            said.append(f"median {middle} h, expected {row.median} ({by_then / n:.2f} by then)")
    return said


@pytest.mark.statistical
@pytest.mark.parametrize("row", [r for r in TABLE if r.few], ids=str)
def test_a_reduced_simulation_agrees_with_what_to_expect(row):
    assert problems(row, delays(row, row.few)) == []


@pytest.mark.statistical
def test_an_engine_without_restarts_fails_the_gate_of_late_harm():
    late = next(r for r in TABLE if r.onset and r.restarts)
    found = delays(replace(late, restarts=0), 15)
    assert problems(late, found) != []


@pytest.mark.statistical
def test_an_engine_that_tests_against_zero_fails_the_gate_of_a_tolerated_drop():
    # beyond any harm instead of beyond half of the margin: it kills a harmless -2%
    tolerated = next(r for r in TABLE if r.effect == -0.02)
    found = delays(tolerated, 6, prove_past=0.0)
    assert problems(tolerated, found) != []


@pytest.mark.statistical
@pytest.mark.acceptance(cores=2)
def test_four_times_the_units_find_a_drop_of_5_percent_within_42_hours(record_property):
    row = Row(0.03, -0.05, units_a_day=8000)
    found = delays(row, 100, processes=min(2, os.cpu_count() or 1))
    record_property("median of 100 repetitions", f"{sorted(found)[50]:.0f} h")
    assert sorted(found)[50] <= 42


LATE = next(r for r in TABLE if r.onset and r.restarts)
WITHIN, NOT_WITHIN = 34, 70  # hours after the onset


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("with_restarts", "without"),
    [
        pytest.param(24, 8, id="reduced"),
        pytest.param(300, 100, id="full", marks=pytest.mark.acceptance),
    ],
)
def test_late_harm_is_turned_back_within_34_hours_and_without_restarts_not_within_70(
    with_restarts, without, record_property
):
    found = delays(LATE, with_restarts, seed=20260303)
    alone = delays(replace(LATE, restarts=0), without, seed=20260303)
    medians = [statistics.median(f) for f in (found, alone)]
    record_property(
        "late -10%, median hours from the onset with and without restarts "
        f"({with_restarts} and {without} repetitions)",
        f"{medians[0]:.0f} and {medians[1]:.0f}",
    )
    if with_restarts < FULL:  # half of them by then, within three binomial errors
        spare = 3 * math.sqrt(0.25 / with_restarts)
        assert sum(d <= WITHIN for d in found) / with_restarts >= 0.5 - spare
    else:
        assert medians[0] <= WITHIN
        assert medians[1] > NOT_WITHIN
    assert sum(d <= WITHIN for d in alone) / without < 0.25  # it fails the gate
