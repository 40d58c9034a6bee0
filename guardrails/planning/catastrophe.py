"""What a guardrail of the rule ``catastrophe`` can find at the planned traffic. Pure, seeded.

Units of both arms come at the planned shares; those harmed are drawn, and held at the checks
against what ``judge_catastrophe`` asks for there.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from guardrails.levels import CatastropheComparison, WindowPlan
from guardrails.planning.baselines import Baseline, baseline_of
from guardrails.planning.bisection import nearest
from guardrails.planning.guardrail import (
    POWER,
    Setting,
    answering_of,
    curve_of,
    found_in,
    plain_plan,
    spread_checks,
    unknown_words,
    window_figure,
)
from guardrails.planning.values import GuardrailPlan
from guardrails.rules import Catastrophe
from metrics.stats.beta_binomial import catastrophe_log_e

Array = npt.NDArray[np.float64]

_CHECKS = 200
_SEARCHED = 500
_PATHS = 1_000
_KNOTS = 60  # counts of control at which what the treatment must reach is known exactly


@dataclass(frozen=True, slots=True)
class _Window:
    """One window: units of (control, treatment) that have entered by some checks.

    ``rate`` is control's share of harmed units; ``known`` and ``needed`` are counts of harmed
    units of control and of the treatment that prove more than is tolerated beside them.
    """

    at: Array
    control: npt.NDArray[np.int64]
    treatment: npt.NDArray[np.int64]
    rate: float
    known: Array
    needed: Array


def plan_catastrophe(
    guardrail: Catastrophe, comparison: CatastropheComparison, setting: Setting
) -> GuardrailPlan:
    """Return what a catastrophe's guardrail can find in a treatment.

    Its harms are values of the treatment: ``at_twice`` is a total failure, in which every unit is
    harmed; ``smallest`` the value nearest to what is tolerated that is found with 80%.

    Args:
        guardrail: As the file says it.
        comparison: The same, ready to be judged.
        setting: What all guardrails share.
    """
    kpi = setting.kpis[comparison.kpi]
    plain = replace(plain_plan(guardrail, comparison, kpi), absolute=True, share=True)
    baselines = [baseline_of(kpi, w.length, setting.baselines) for w in comparison.windows]
    unknown = unknown_words(comparison.kind, kpi, baselines) or _common(comparison, baselines)
    windows = () if unknown else _windows(comparison, baselines, setting)
    figures = [
        window_figure(comparison, plan, baseline, setting, None)
        for plan, baseline in zip(comparison.windows, baselines, strict=True)
    ]
    for index, window in enumerate(windows):
        first = timedelta(seconds=float(window.at[0])) if window.at.size else None
        figures[index] = replace(figures[index], looks=window.at.size, first_look=first)
    plain = replace(plain, windows=tuple(figures), unknown=unknown)
    if unknown:
        return plain
    at = _times(windows, 1.0, setting, paths=min(_PATHS, setting.paths))
    return replace(
        plain,
        at_twice=found_in(at, _value(comparison, 1.0), comparison.treatment, setting),
        smallest=_smallest(comparison, windows, setting),
        curve=curve_of((None, at), setting),
    )


def _harmed(comparison: CatastropheComparison, baseline: Baseline) -> float:
    value = baseline.value.value if baseline.value is not None else math.nan
    return value if comparison.side == "rise" else 1.0 - value


def _value(comparison: CatastropheComparison, rate: float) -> float:
    """Return the KPI's value where this share of units is harmed."""
    return rate if comparison.side == "rise" else 1.0 - rate


def _common(comparison: CatastropheComparison, baselines: Sequence[Baseline]) -> str:
    rates = [_harmed(comparison, b) for b in baselines]
    if min(rates) * comparison.max_times < 1.0:
        return ""
    return (
        f"the harm is so common in control ({min(rates):.0%}) that it cannot be "
        f"{comparison.max_times:g} times as common"
    )


def _windows(
    comparison: CatastropheComparison, baselines: Sequence[Baseline], setting: Setting
) -> tuple[_Window, ...]:
    return tuple(
        _window(comparison, plan, baseline, setting)
        for plan, baseline in zip(comparison.windows, baselines, strict=True)
    )


def _window(
    comparison: CatastropheComparison, plan: WindowPlan, baseline: Baseline, setting: Setting
) -> _Window:
    calendar = setting.calendar
    checks = calendar.checks()
    wait = (plan.length + setting.experiment.lag).total_seconds()
    closed = np.clip(checks - wait, 0.0, calendar.ends.total_seconds())
    both, arms = calendar.units_by(closed), setting.weights(comparison.treatment)
    having = answering_of(baseline)
    treatment = np.floor(having * arms.treatment * both).astype(np.int64)
    kept = spread_checks(treatment, 1.0, most=_CHECKS)
    control = np.floor(having * arms.control * both).astype(np.int64)[kept]
    rate = _harmed(comparison, baseline)
    most = float(control[-1]) * min(1.0, rate) if kept.size else 0.0
    known = np.unique(np.floor(np.concatenate([[0.0], np.geomspace(1.0, 2.0 * most + 20, _KNOTS)])))
    return _Window(
        at=checks[kept],
        control=control,
        treatment=treatment[kept],
        rate=rate,
        known=known,
        needed=np.array([_needed(comparison, plan.level, c) for c in known]),
    )


def _needed(comparison: CatastropheComparison, level: float, control: float) -> float:
    """Return the fewest harmed units of the treatment that are proof beside control's."""
    part, times = comparison.part, comparison.max_times

    def proven(treated: float) -> bool:
        found = catastrophe_log_e(treated, control, part, alpha=level, worse=times)
        return found >= -math.log(level)

    low, high = 0, 16
    while not proven(high):
        low, high = high, 2 * high
    return float(bisect_left(range(high), True, lo=low + 1, key=proven))


def _times(windows: Sequence[_Window], rate: float, setting: Setting, *, paths: int) -> Array:
    """Return when each path is found where this share of the treatment's units is harmed.

    The same units are in every window; that the windows are drawn apart says a little too much.
    """
    rng = np.random.default_rng([setting.seed, setting.paths])
    found = np.full(paths, np.inf)
    for window in windows:
        if not window.at.size:
            continue
        treated = _drawn(window.treatment, rate, paths, rng)
        beside = _drawn(window.control, window.rate, paths, rng)
        crossed = treated >= np.interp(beside, window.known, window.needed)
        at = window.at[crossed.argmax(axis=0)]
        np.minimum(found, np.where(crossed.any(axis=0), at, np.inf), out=found)
    return found


def _drawn(
    units: npt.NDArray[np.int64], rate: float, paths: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    came = np.diff(units, prepend=0)
    share = min(max(rate, 0.0), 1.0)
    return rng.binomial(came[:, None], share, size=(came.size, paths)).cumsum(axis=0)


def _smallest(
    comparison: CatastropheComparison, windows: Sequence[_Window], setting: Setting
) -> float | None:
    """Return the value nearest to what is tolerated that is found by the end with 80%."""
    few = min(_SEARCHED, setting.paths)

    def enough(rate: float) -> bool:
        return float(np.isfinite(_times(windows, rate, setting, paths=few)).mean()) >= POWER

    tolerated = comparison.max_times * min(w.rate for w in windows)
    return _value(comparison, nearest(enough, tolerated, 1.0)) if enough(1.0) else None
