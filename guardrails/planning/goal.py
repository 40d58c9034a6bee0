"""What a run can say about its goal: one two-sided test at its end. Pure.

The goal does not turn anything back, so it is read once, when the run is over; that is where a
test at a fixed time is the right one.
"""

import math
from dataclasses import replace
from datetime import timedelta

import numpy as np

from experiments.spec import Goal
from guardrails.planning.baselines import Baseline, baseline_of
from guardrails.planning.guardrail import POWER, Setting
from guardrails.planning.values import GoalPlan
from metrics.catalogue import Kind, KpiDefinition
from metrics.stats.power_fixed import (
    Power,
    mean_power,
    rate_power,
    smallest_change,
    units_needed,
)

GOAL_ALPHA = 0.05
"""Two-sided level of the goal, shared by the treatments."""

_LEAST_CLOSED = 0.2
_MOST = 10.0  # a change beyond ten times control's value is not looked for


def plan_goal(goal: Goal, treatment: str, setting: Setting) -> GoalPlan:
    """Return what the run can say about its goal in one treatment."""
    kpi = setting.kpis[goal.kpi]
    closing = [w.length for w in kpi.windows if setting.closes(w.length) >= _LEAST_CLOSED]
    window = max(closing, default=None)
    baseline = baseline_of(kpi, window or kpi.windows[0].length, setting.baselines)
    level = GOAL_ALPHA / len(setting.experiment.treatments)
    control = setting.experiment.control
    arms = setting.weights(treatment)
    answering = baseline.answering.value if baseline.answering is not None else 1.0
    inside = setting.calendar.units * answering * (setting.closes(window) if window else 0.0)
    shares = {control: arms.control, treatment: arms.treatment}
    units = {name: math.floor(inside * share) for name, share in shares.items()}
    plain = GoalPlan(
        goal.kpi, treatment, window, baseline, goal.expect, goal.absolute, level, units
    )
    unknown = _unknown(kpi, baseline, window)
    if unknown or baseline.value is None or window is None:
        return replace(plain, unknown=unknown)
    value = baseline.value.value
    test = _test(kpi, baseline, level)
    found = _smallest(kpi, goal, value, test, (units[control], units[treatment]))
    smallest = None if found is None else found / (1.0 if goal.absolute else abs(value))
    plain = replace(plain, smallest=smallest)
    if goal.expect is None:
        return plain
    change = goal.expect * (1.0 if goal.absolute else value)
    if kpi.kind is Kind.PROPORTION and not 0.0 <= value + change <= 1.0:
        return replace(plain, unknown="a share cannot change so much")
    needed = units_needed(
        test,
        change,
        control=arms.control * answering,
        treatment=arms.treatment * answering,
        wanted=POWER,
    )
    return replace(
        plain,
        power=test(change, units[control], units[treatment]),
        needed=None if needed is None else math.ceil(needed),
        duration=None if needed is None else _duration(needed, window, setting),
    )


def _unknown(kpi: KpiDefinition, baseline: Baseline, window: timedelta | None) -> str:
    lacking = baseline.missing(kpi.kind)
    if lacking is not None:
        more = ",sd=..." if lacking == "sd" else ""
        what = "the spread of" if lacking == "sd" else "control's"
        return f"nobody knows {what} {kpi.key}: say --baseline {kpi.key}=...{more}"
    if window is None:
        return "none of its windows closes for enough units before the end"
    return ""


def _test(kpi: KpiDefinition, baseline: Baseline, level: float) -> Power:
    value = baseline.value.value if baseline.value is not None else math.nan
    sd = baseline.sd.value if baseline.sd is not None else math.nan
    if kpi.kind is Kind.PROPORTION:
        return lambda change, c, t: rate_power(change, value, c, t, alpha=level)
    return lambda change, c, t: mean_power(change, sd, c, t, alpha=level)


def _smallest(
    kpi: KpiDefinition, goal: Goal, value: float, test: Power, units: tuple[int, int]
) -> float | None:
    """Return the smallest change for the better that is found at the end, always positive."""
    down = goal.expect is not None and goal.expect < 0.0
    if goal.expect is None:
        down = kpi.better.value == "lower"
    most = (-value if down else 1.0 - value) if kpi.kind is Kind.PROPORTION else 0.0
    if kpi.kind is not Kind.PROPORTION:
        most = math.copysign(_MOST * max(abs(value), 1e-9), -1.0 if down else 1.0)
    return smallest_change(test, *units, wanted=POWER, most=most * (1.0 - 1e-9))


def _duration(needed: float, window: timedelta, setting: Setting) -> timedelta | None:
    """Return when so many units have been exposed and their window has closed.

    Past the end the traffic of the last step is taken to go on.
    """
    calendar = setting.calendar
    if not calendar.units > 0.0:
        return None
    if needed <= calendar.units:
        seconds = float(np.interp(needed, calendar.exposed, calendar.knots))
    else:
        before, last = calendar.exposed[-2:]
        rate = (last - before) / (calendar.knots[-1] - calendar.knots[-2])
        seconds = calendar.knots[-1] + (needed - last) / rate
    most = timedelta.max.total_seconds() / 2.0
    return timedelta(seconds=min(seconds, most)) + window + setting.experiment.lag
