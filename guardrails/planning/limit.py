"""What a guardrail of the rule ``limit`` can find at the planned traffic. Pure, seeded.

One arm against a fixed value: the treatment's sum is a Brownian motion in its own units, held at
the checks against what ``judge_limit`` asks for there. That the treatment must also be visibly
worse than control is left out: where it alone is beyond the limit, that hardly ever decides.
"""

import itertools
import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from guardrails.levels import LimitComparison, WindowPlan
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
from guardrails.planning.paths import Schedule, Walks, walks
from guardrails.planning.scores import same_units
from guardrails.planning.values import GuardrailPlan
from guardrails.rules import Limit
from metrics.catalogue import Kind
from metrics.stats.comparison import MAX_DENOMINATOR_CV, MIN_UNITS
from metrics.stats.contrasts import skew_corrected
from metrics.stats.mixtures import normal_mixture_bound, tuned_rho
from metrics.stats.one_sample import (
    LARGEST_LEVEL,
    SHARPEST_AT,
    rate_log_e,
    units_until_seen,
)
from metrics.stats.power import Monitor

Array = npt.NDArray[np.float64]

_CHECKS = 300
_SEARCHED = 1_000
_LARGEST = 64.0  # distances of the limit from control: beyond, nothing is looked for


@dataclass(frozen=True, slots=True)
class _Window:
    """One window: control's numbers, the checks, and what the treatment must reach there.

    ``needed`` is the sum (of a rate: events) or the studentised statistic, harm positive.
    """

    baseline: Baseline
    table: Schedule
    needed: Array


def plan_limit(guardrail: Limit, comparison: LimitComparison, setting: Setting) -> GuardrailPlan:
    """Return what a limit can find in a treatment.

    Its harms are values of the treatment, in the KPI's own unit: ``at_twice`` is one twice as far
    from control as the limit, ``smallest`` the nearest to the limit that is found with 80%.

    Args:
        guardrail: As the file says it.
        comparison: The same, ready to be judged.
        setting: What all guardrails share.
    """
    kpi = setting.kpis[comparison.kpi]
    plain = replace(plain_plan(guardrail, comparison, kpi), absolute=True, share=comparison.share)
    baselines = [baseline_of(kpi, w.length, setting.baselines) for w in comparison.windows]
    unknown = unknown_words(comparison.kind, kpi, baselines) or _beyond(comparison, baselines)
    windows = () if unknown else _windows(comparison, baselines, setting)
    figures = tuple(
        window_figure(comparison, plan, baseline, setting, windows[i].table if windows else None)
        for i, (plan, baseline) in enumerate(zip(comparison.windows, baselines, strict=True))
    )
    plain = replace(plain, windows=figures, unknown=unknown)
    if unknown:
        return plain
    walked = _walked(comparison, windows, setting)
    far = _far(comparison, windows)
    at = _times(comparison, windows, walked, far)
    return replace(
        plain,
        at_twice=found_in(at, far, comparison.treatment, setting),
        smallest=_smallest(comparison, windows, walked),
        curve=curve_of((None, at), setting),
    )


def _beyond(comparison: LimitComparison, baselines: Sequence[Baseline]) -> str:
    sign = _sign(comparison)
    values = [b.value.value for b in baselines if b.value is not None]
    if any(sign * (value - comparison.limit) >= 0.0 for value in values):
        return "control itself is beyond the limit, and that excuses every treatment"
    return ""


def _sign(comparison: LimitComparison) -> float:
    return 1.0 if comparison.side == "rise" else -1.0


def _windows(
    comparison: LimitComparison, baselines: Sequence[Baseline], setting: Setting
) -> tuple[_Window, ...]:
    return tuple(
        _window(comparison, plan, baseline, setting)
        for plan, baseline in zip(comparison.windows, baselines, strict=True)
    )


def _window(
    comparison: LimitComparison, plan: WindowPlan, baseline: Baseline, setting: Setting
) -> _Window:
    calendar = setting.calendar
    checks = calendar.checks()
    wait = (plan.length + setting.experiment.lag).total_seconds()
    closed = np.minimum(checks - wait, calendar.ends.total_seconds())
    share = setting.weights(comparison.treatment).treatment * answering_of(baseline)
    units = np.floor(share * calendar.units_by(np.maximum(closed, 0.0)))
    least = 1.0
    if comparison.kind is not Kind.PROPORTION:
        least = max(float(MIN_UNITS), units_until_seen(_skewness(comparison, baseline)))
        if baseline.denominator_cv is not None:
            least = max(least, (baseline.denominator_cv.value / MAX_DENOMINATOR_CV) ** 2)
    kept = spread_checks(units, least, most=_CHECKS)
    nothing = np.empty(0)
    table = Schedule(
        at=checks[kept],
        exposed=closed[kept],
        information=units[kept],
        boundary=np.full(kept.size, np.inf),
        looks=np.arange(kept.size, dtype=np.intp),
        monitor=Monitor(nothing, nothing, ()),
        starts=nothing,
        skipped=nothing,
        restarts=0,
        restart_level=0.0,
        gate=least,
    )
    return _Window(baseline, table, _needed(comparison, plan.level, units[kept]))


def _skewness(comparison: LimitComparison, baseline: Baseline) -> float:
    """Return the skewness of a unit's value towards harm, 0 where it is not known."""
    known = baseline.skewness.value if baseline.skewness is not None else 0.0
    return _sign(comparison) * known if math.isfinite(known) else 0.0


def _needed(comparison: LimitComparison, level: float, units: Array) -> Array:
    if comparison.kind is Kind.PROPORTION:
        limit = comparison.limit if comparison.side == "rise" else 1.0 - comparison.limit
        return np.array([_events(float(n), limit, level) for n in units])
    rho = tuned_rho(SHARPEST_AT, min(level, LARGEST_LEVEL), one_sided=True)
    return np.array(
        [normal_mixture_bound(float(n), level, rho, one_sided=True) / math.sqrt(n) for n in units]
    )


def _events(units: float, limit: float, level: float) -> float:
    """Return the fewest events that prove a rate above the limit, ``inf`` where none do."""
    needed = -math.log(level)
    if rate_log_e(units, units, limit, level) < needed:
        return math.inf
    counts = range(math.floor(units * limit) + 1, int(units))
    reached = bisect_left(counts, needed, key=lambda n: rate_log_e(n, units, limit, level))
    return float(counts.start + reached)


def _walked(comparison: LimitComparison, windows: Sequence[_Window], setting: Setting) -> Walks:
    known = [w.baseline for w in windows]
    share = setting.weights(comparison.treatment).treatment
    pairs = itertools.pairwise(known)
    return walks(
        [w.table for w in windows],
        [0.0, *(same_units(comparison.kind, short, long) for short, long in pairs)],
        setting.calendar,
        [share * answering_of(b) for b in known],
        paths=setting.paths,
        rng=np.random.default_rng([setting.seed, setting.paths]),
    )


def _nearest(comparison: LimitComparison, windows: Sequence[_Window]) -> float:
    """Return control's value in the window that is nearest to the limit."""
    sign = _sign(comparison)
    return sign * max(
        sign * w.baseline.value.value for w in windows if w.baseline.value is not None
    )


def _far(comparison: LimitComparison, windows: Sequence[_Window]) -> float:
    """Return a value twice as far from control's as the limit."""
    far = 2.0 * comparison.limit - _nearest(comparison, windows)
    if comparison.kind is Kind.PROPORTION:
        far = min(max(far, 1e-9), 1.0 - 1e-9)
    return far


def _value_in(window: _Window, value: float, nearest: float) -> float:
    """Return the treatment's value in a window: windows differ as control's do."""
    own = window.baseline.value.value if window.baseline.value is not None else nearest
    return value * own / nearest if nearest else value


def _times(
    comparison: LimitComparison, windows: Sequence[_Window], walked: Walks, value: float
) -> Array:
    """Return when each path is found where the treatment's true value is this one.

    It is that of the window nearest to the limit.
    """
    nearest = _nearest(comparison, windows)
    found = np.full(walked.paths, np.inf)
    for window, scores in zip(windows, walked.at_checks, strict=True):
        n = window.table.information
        if not n.size:
            continue
        own = _value_in(window, value, nearest)
        reached = _reached(comparison, window.baseline, n[:, None], scores, own)
        crossed = reached >= window.needed[:, None]
        first = crossed.argmax(axis=0)
        at = window.table.at[first]
        np.minimum(found, np.where(crossed.any(axis=0), at, np.inf), out=found)
    return found


def _reached(
    comparison: LimitComparison,
    baseline: Baseline,
    n: Array,
    scores: npt.NDArray[np.float32],
    value: float,
) -> Array:
    sign = _sign(comparison)
    if comparison.kind is Kind.PROPORTION:
        rate = min(max(value if sign > 0.0 else 1.0 - value, 1e-9), 1.0 - 1e-9)
        sd = math.sqrt(rate * (1.0 - rate))
        w = skew_corrected(scores / np.sqrt(n), -(1.0 - 2.0 * rate) / (sd * np.sqrt(n)))
        return n * rate + sd * np.sqrt(n) * w + 0.5  # events are whole: half of one is one
    sd = baseline.sd.value if baseline.sd is not None else math.nan
    off = sign * (value - comparison.limit)
    return (n * off + sd * scores) / np.sqrt(n * (sd * sd + off * off))


def _smallest(
    comparison: LimitComparison, windows: Sequence[_Window], walked: Walks
) -> float | None:
    """Return the value nearest to the limit that is found by the end with 80% probability."""
    few, sign = walked.first(min(_SEARCHED, walked.paths)), _sign(comparison)

    def enough(value: float) -> bool:
        return float(np.isfinite(_times(comparison, windows, few, value)).mean()) >= POWER

    most = comparison.limit + _LARGEST * (_far(comparison, windows) - comparison.limit)
    if comparison.kind is Kind.PROPORTION:
        most = 1.0 - 1e-9 if sign > 0.0 else 1e-9
    return nearest(enough, comparison.limit, most) if enough(most) else None
