"""Varied spec files, the units they are to meet, and both ways to learn when harm is found."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from guardrails.levels import AnyComparison, Comparison, plan_comparisons
from guardrails.planning.baselines import measured_baseline
from guardrails.planning.calendar import Traffic
from guardrails.planning.plan import plan
from guardrails.rules import Limit
from guardrails.simulate import Run, time_to_breach
from guardrails.simulate_units import (
    Population,
    amount_points,
    amounts_of,
    events_of,
    ratings_of,
    values_of,
)
from guardrails.spec_file import load_spec
from metrics.cells import MICRO

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

HEAD = """
experiment: {name}
owner: a@example.com
hypothesis: It helps.
unit: order_id
"""


@dataclass(frozen=True)
class Case:
    """A spec, how many units come, and which units: ``units`` of a relative change."""

    name: str
    body: str
    units_per_day: float
    units: Callable[[float, bool], Population]  # (harm, absolute) -> population
    times: float = 1.0  # harm planted, in margins
    treatment: str = "changed"

    def __str__(self):
        return self.name

    @property
    def spec(self):
        return load_spec(HEAD.format(name=self.name) + self.body, source=self.name)


def moved(rates: Mapping[timedelta, float], change: float, absolute: bool) -> dict:
    return {at: r + change if absolute else r * (1 + change) for at, r in rates.items()}


def failures(rates):
    return lambda change, absolute: events_of(moved(rates, change, absolute))


def scores(answering, sd=1.0, mean=4.2):
    return lambda change, absolute: ratings_of(mean * (1 + change), sd, answering)


def revenue(change, _absolute):
    first = amount_points(10 * (1 + change), 34, something=0.22)
    second = amount_points(6 * (1 + change), 22, something=0.2)
    return amounts_of({6 * HOUR: first, DAY: second})


def dwell(change, _absolute):
    """One to three flows a unit, the more of them the longer in all: seconds per flow."""
    points = []
    for share, flows in ((0.7, 1), (0.2, 2), (0.1, 3)):
        for part, seconds in ((0.5, 40), (0.35, 90), (0.15, 260)):
            value = round(seconds * flows * (1 + change) * MICRO)
            points.append((share * part, value, flows * MICRO))
    return values_of(points, {HOUR: 0.8, DAY: 0.95})


CASES = (
    Case(
        "failures-two-windows",
        """
variants: {control: {weight: 50%}, changed: {weight: 50%}}
guardrails:
  - {kpi: flow_failure_rate, max_rise: 20%}
  - {kpi: satisfaction, max_drop: 5%}
ends: {after: 10d, observe_for: 1d}
check_every: 1h
expect_units: 60000
""",
        6000,
        failures({HOUR: 0.05, DAY: 0.06}),
        times=2.0,
    ),
    Case(
        "satisfaction-ramp",
        """
variants: {control: {weight: 50%}, changed: {weight: 50%}}
ramp:
  - {traffic: 10%, hold: 12h, min_units: 400}
  - {traffic: 40%, hold: 6h, min_units: 1000}
  - {traffic: 100%}
guardrails:
  - {kpi: satisfaction, max_drop: 5%}
  - {kpi: flow_failure_rate, max_rise: 20%}
ends: {after: 14d, observe_for: 1d}
check_every: 1h
expect_units: 50000
""",
        4000,
        scores({HOUR: 0.15, DAY: 0.3}),
    ),
    Case(
        "revenue-any-harm",
        """
variants: {control: {weight: 50%}, changed: {weight: 50%}}
guardrails:
  - {kpi: net_revenue, max_drop: 10%, prove_past: 0, windows: {6h: 60%, 1d: 40%}}
ends: {after: 10d, observe_for: 2d}
check_every: 2h
expect_units: 50000
""",
        5000,
        revenue,
    ),
    Case(
        "dwell-two-treatments",
        """
variants: {control: {weight: 60%}, changed: {weight: 20%}, other: {weight: 20%}}
ramp:
  - {traffic: 25%, hold: 1d}
  - {traffic: 100%}
guardrails:
  - {kpi: flow_dwell_seconds, max_rise: 10%}
  - {kpi: satisfaction, max_drop: 5%}
  - {kpi: flow_failure_rate, max_rise: 10%}
ends: {after: 14d, observe_for: 1d}
check_every: 1h
expect_units: 40000
""",
        3000,
        dwell,
        times=2.0,
    ),
    Case(
        "rare-failures-canary",
        """
variants: {control: {weight: 90%}, changed: {weight: 10%}}
guardrails:
  - {kpi: flow_failure_rate, max_rise: 100%, windows: {1h: 100%}}
  - {kpi: satisfaction, max_drop: 5%}
ends: {after: 14d}
check_every: 1h
expect_units: 500000
""",
        36000,
        failures({HOUR: 0.004}),
    ),
    Case(
        "saves-in-points",
        """
variants: {control: {weight: 50%}, changed: {weight: 50%}}
guardrails:
  - {kpi: save_rate, max_drop: 3pp, prove_past: 1, windows: {1h: 50%, 12h: 30%, 1d: 20%}}
ends: {after: 7d, observe_for: 1d}
check_every: 30m
expect_units: 35000
""",
        5000,
        failures({HOUR: 0.4, 12 * HOUR: 0.33, DAY: 0.3}),
        times=2.0,
    ),
    Case(
        "success-one-window",
        """
variants: {control: {weight: 30%}, changed: {weight: 70%}}
ramp:
  - {traffic: 20%, min_units: 600}
  - {traffic: 100%}
guardrails:
  - {kpi: cancel_success_rate, max_drop: 4%, windows: {1h: 100%}}
  - {kpi: satisfaction, max_drop: 5%}
ends: {after: 7d}
check_every: 15m
""",
        9000,
        failures({HOUR: 0.88}),
    ),
)


LIMITS = (
    Case(
        "failures-limit",
        """
variants: {control: {weight: 50%}, changed: {weight: 50%}}
ramp:
  - {traffic: 20%, hold: 12h}
  - {traffic: 100%}
guardrails:
  - {rule: limit, kpi: flow_failure_rate, max: 8%}
  - {kpi: satisfaction, max_drop: 5%}
ends: {after: 7d, observe_for: 1d}
check_every: 1h
""",
        4000,
        failures({HOUR: 0.05, DAY: 0.06}),
    ),
    Case(
        "satisfaction-limit",
        """
variants: {control: {weight: 50%}, changed: {weight: 50%}}
guardrails:
  - {rule: limit, kpi: satisfaction, min: 4.1, windows: {1h: 50%, 1d: 50%}}
  - {kpi: flow_failure_rate, max_rise: 20%}
ends: {after: 10d, observe_for: 1d}
check_every: 1h
""",
        6000,
        scores({HOUR: 0.15, DAY: 0.3}),
    ),
)
"""Of the rule ``limit``: planted is the value twice as far from control as the limit."""


def control_baselines(case: Case) -> dict:
    """Return control's exact values, as a service with a million units would measure them."""
    spec = case.spec
    guardrail = spec.guardrails[0]
    population = case.units(0.0, False)
    counts = [round(share * 1_000_000) for share in population.shares]
    known = {}
    for window in guardrail.windows:
        sums = population.sums(window.length, counts)
        kind = spec.kpis[guardrail.kpi].kind
        known[guardrail.kpi, window.length] = measured_baseline(kind, sum(counts), sums)
    return {key: value for key, value in known.items() if value is not None}


def planned(case: Case, *, seed=1, **changes):
    """Return what the plan says of the first guardrail and treatment under the planted harm."""
    traffic = Traffic(changes.pop("units_per_day", case.units_per_day))
    done = plan(case.spec, traffic, [control_baselines(case)], seed=seed, **changes)
    first = next(g for g in done.guardrails if g.treatment == case.treatment)
    at_margin = case.times == 1.0 and first.rule != Limit.rule
    return first.at_margin if at_margin else first.at_twice


def _one(arguments):
    name, repetition, seed = arguments
    case = next(c for c in (*CASES, *LIMITS) if c.name == name)
    return simulated_once(case, repetition, seed)


def harm_planted(case: Case, comparison: AnyComparison) -> tuple[float, bool]:
    """Return the change of the treatment's values, and whether it is in the KPI's own unit."""
    sign = 1.0 if comparison.side == "rise" else -1.0
    if isinstance(comparison, Comparison):
        return sign * case.times * comparison.margin, comparison.absolute
    values = [known.value.value for known in control_baselines(case).values()]
    nearest = sign * max(sign * value for value in values)
    return (2.0 * comparison.limit - nearest) / nearest - 1.0, False


def simulated_once(case: Case, repetition: int, seed: int) -> float:
    """Return hours until the real judge finds the planted harm, ``inf`` if it does not."""
    spec = case.spec
    guardrail = spec.guardrails[0]
    comparison = next(
        c
        for c in plan_comparisons(spec)
        if c.guardrail == guardrail.id and c.treatment == case.treatment
    )
    harm, absolute = harm_planted(case, comparison)
    courses = {
        "control": ((timedelta(0), case.units(0.0, absolute)),),
        case.treatment: ((timedelta(0), case.units(harm, absolute)),),
    }
    run = Run.of(spec.experiment, case.units_per_day)
    found = time_to_breach(run, comparison, courses, [seed, repetition])
    return math.inf if found is None else found / HOUR


def simulated(case: Case, repetitions: int, *, seed=20260401, spread=map) -> list[float]:
    """Return the hours of so many simulated experiments, ascending.

    Args:
        case: What is simulated.
        repetitions: How often.
        seed: Of all of them.
        spread: Applies a function to jobs: ``map``, or one that has other processes do it.
    """
    return sorted(spread(_one, [(case.name, r, seed) for r in range(repetitions)]))
