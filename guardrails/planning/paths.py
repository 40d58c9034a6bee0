"""Seeded paths of a guardrail's Gaussian scores: when a harm is found, over all its windows.

A window's score is a Brownian motion in effective units with the harm's drift; what is known at
a check is what had been exposed a window and a lag earlier. The windows of one KPI share the
units: their paths are correlated as the units' values are. The whole run is held against its
boundary at looks, all restarts against their e-process at the checks of the grid, as ``judge``
does with real data.

Source: STATISTICS 0a, 1(n); our own derivation, held against simulations of the engine.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from guardrails.arms import FIRST_INFORMATION
from guardrails.judge_regression import LOOK_GROWTH, restart_rho
from guardrails.levels import WindowPlan, cohort_length
from guardrails.planning.calendar import Calendar
from guardrails.planning.scores import Arms, Score
from metrics.stats.contrasts import skew_corrected
from metrics.stats.mixtures import normal_log_mixture
from metrics.stats.power import Monitor, monitor
from metrics.stats.spending import reserve

Array = npt.NDArray[np.float64]
Paths = npt.NDArray[np.float32]

_CHECKS = 300  # of the e-process between looks: more would not change a time by 1%
_CHUNK = 500
_NO_SKEW = 1e-3
_REACH = 64.0  # standard deviations
_HALVINGS = 40


@dataclass(frozen=True, slots=True)
class Schedule:
    """The checks of one window that can find something, and what they must reach.

    Attributes:
        at: Seconds since the start, ascending.
        exposed: Seconds since the start by which a unit must have been exposed to be in.
        information: Effective units in.
        boundary: z to be reached by the whole run, ``inf`` between looks.
        looks: Indices of the looks.
        monitor: The whole run by itself.
        starts: Seconds at which a restart's first unit can be exposed.
        skipped: Effective units exposed before each restart.
        restarts: Number of restarts J that share the e-process.
        restart_level: Alpha of all restarts together.
        gate: Effective units from which a statistic may be used.
    """

    at: Array
    exposed: Array
    information: Array
    boundary: Array
    looks: npt.NDArray[np.intp]
    monitor: Monitor
    starts: Array
    skipped: Array
    restarts: int
    restart_level: float
    gate: float


def look_times(information: Array, gate: float) -> npt.NDArray[np.intp]:
    """Return which checks are looks: the first at the gate, then whenever 2% more is in."""
    found, needed = list[int](), max(gate, 1e-9)
    index = int(np.searchsorted(information, needed))
    while index < information.size:
        found.append(index)
        needed = LOOK_GROWTH * float(information[index])
        index = int(np.searchsorted(information, needed))
    return np.array(found, dtype=np.intp)


def schedule(
    plan: WindowPlan,
    calendar: Calendar,
    arms: Arms,
    *,
    answering: float,
    gate: float,
    lag: timedelta,
    held: dict[object, Monitor] | None = None,
) -> Schedule:
    """Return the schedule of one window at the units that are expected.

    Args:
        plan: Level, planned information and restarts.
        calendar: Checks, and the units exposed by when.
        arms: Shares of both arms.
        answering: Share of the units whose window has closed that have a value.
        gate: Effective units from which the statistic may be used.
        lag: How late events may arrive.
        held: Monitors already solved; equal ones are solved once.
    """
    checks = calendar.checks()
    closed = np.minimum(checks - (plan.length + lag).total_seconds(), calendar.ends.total_seconds())
    checks, closed = checks[closed > 0.0], closed[closed > 0.0]
    bring = answering * arms.effective
    information = bring * calendar.units_by(closed)
    looks = look_times(information, gate)
    spending = _spending(information[looks], plan)
    solved = _solved(information[looks], spending, plan.level, held)
    kept = _kept(information, looks, gate)
    boundary = np.full(kept.size, np.inf)
    at_looks = np.searchsorted(kept, looks)
    boundary[at_looks] = solved.boundary
    cohort = cohort_length(calendar.ends).total_seconds()
    starts = cohort * np.arange(1, plan.restarts + 1, dtype=np.float64)
    return Schedule(
        at=checks[kept],
        exposed=closed[kept],
        information=information[kept],
        boundary=boundary,
        looks=at_looks,
        monitor=solved,
        starts=starts,
        skipped=bring * calendar.units_by(starts),
        restarts=plan.restarts,
        restart_level=plan.restart_level,
        gate=gate,
    )


def _spending(information: Array, plan: WindowPlan) -> Array:
    horizon = max(plan.information_max, FIRST_INFORMATION)
    tau = FIRST_INFORMATION / horizon
    return np.array([reserve(i / horizon, plan.whole_level, tau=tau) for i in information])


def _solved(
    information: Array, spending: Array, level: float, held: dict[object, Monitor] | None
) -> Monitor:
    key = (level, information.tobytes(), spending.tobytes())
    if held is None or key not in held:
        found = monitor(information.tolist(), spending.tolist())
        if held is None:
            return found
        held[key] = found
    return held[key]


def _kept(information: Array, looks: npt.NDArray[np.intp], gate: float) -> npt.NDArray[np.intp]:
    """Return the checks that are followed: all looks, and some between them."""
    first = int(np.searchsorted(information, gate))
    last = int(np.searchsorted(information, information[-1])) if information.size else -1
    between = np.arange(first, last + 1, max(1, (last - first) // _CHECKS), dtype=np.intp)
    return np.union1d(looks, between).astype(np.intp)


@dataclass(frozen=True, slots=True)
class Walks:
    """Paths of all windows without drift, by (check or restart, path).

    Attributes:
        schedules: Of the windows.
        at_checks: Score of each window at the checks of its schedule.
        at_starts: Score of each window over the units exposed before each restart.
    """

    schedules: tuple[Schedule, ...]
    at_checks: tuple[Paths, ...] = field(repr=False)
    at_starts: tuple[Paths, ...] = field(repr=False)

    @property
    def paths(self) -> int:
        """Number of paths."""
        return self.at_checks[0].shape[1] if self.at_checks else 0

    def first(self, count: int) -> "Walks":
        """Return the first paths alone."""
        return Walks(
            self.schedules,
            tuple(w[:, :count] for w in self.at_checks),
            tuple(w[:, :count] for w in self.at_starts),
        )


def walks(
    schedules: Sequence[Schedule],
    correlations: Sequence[float],
    calendar: Calendar,
    per_unit: Sequence[float],
    *,
    paths: int,
    rng: np.random.Generator,
) -> Walks:
    """Draw paths of all windows of one KPI.

    Args:
        schedules: Of the windows, ascending by length.
        correlations: Of a unit's part in each window with that in the window before; the first
            is not used. Windows further apart are correlated through those between.
        calendar: Units exposed by when.
        per_unit: Effective units one exposed unit brings, by window.
        paths: How many.
        rng: Source of all randomness.
    """
    points = [s.exposed for s in schedules] + [s.starts for s in schedules]
    grid = np.unique(np.concatenate(points)) if points else np.empty(0)
    steps = np.diff(calendar.units_by(grid), prepend=0.0)
    scales = [np.sqrt(steps * share).astype(np.float32)[:, None] for share in per_unit]
    checks = [np.searchsorted(grid, s.exposed) for s in schedules]
    starts = [np.searchsorted(grid, s.starts) for s in schedules]
    at_checks = [np.empty((i.size, paths), dtype=np.float32) for i in checks]
    at_starts = [np.empty((i.size, paths), dtype=np.float32) for i in starts]
    for begin in range(0, paths, _CHUNK):
        count = min(_CHUNK, paths - begin)
        noise = np.zeros((grid.size, count), dtype=np.float32)
        for window, scale in enumerate(scales):
            fresh = rng.standard_normal((grid.size, count), dtype=np.float32)
            same = float(correlations[window]) if window else 0.0
            noise = same * noise + math.sqrt(max(0.0, 1.0 - same * same)) * fresh
            path = np.cumsum(noise * scale, axis=0, dtype=np.float32)
            at_checks[window][:, begin : begin + count] = path[checks[window]]
            at_starts[window][:, begin : begin + count] = path[starts[window]]
    return Walks(tuple(schedules), tuple(at_checks), tuple(at_starts))


def found_at(walked: Walks, scores: Sequence[Score]) -> Array:
    """Return when each path is found, in seconds since the start; ``inf`` where it never is.

    Args:
        walked: Paths of the windows.
        scores: How each window's statistic behaves under the harm.
    """
    found = np.full(walked.paths, np.inf)
    for plan, checks, starts, score in zip(
        walked.schedules, walked.at_checks, walked.at_starts, scores, strict=True
    ):
        if not plan.at.size:
            continue
        np.minimum(found, _whole_run(plan, checks, score), out=found)
        if plan.restarts:
            _since_restarts(plan, checks, starts, score, found)
    return found


def _whole_run(plan: Schedule, checks: Paths, score: Score) -> Array:
    if not plan.looks.size:
        return np.full(checks.shape[1], np.inf)
    z = _statistic(checks[plan.looks], plan.information[plan.looks, None], score)
    crossed = z >= plan.boundary[plan.looks, None]
    first = crossed.argmax(axis=0)
    return np.where(crossed[first, np.arange(crossed.shape[1])], plan.at[plan.looks][first], np.inf)


def _statistic(scores: npt.NDArray[np.floating], information: Array, score: Score) -> Array:
    """Return z of scores without drift: skewed as the truth, spread, moved and then corrected."""
    root = np.sqrt(information)
    w = np.asarray(scores / root, dtype=np.float64)
    if abs(score.skewness) > _NO_SKEW:  # the correction of the opposite skewness, turned likewise
        w = skew_corrected(w, -score.skewness / root)
    z = score.spread * w + score.drift * root
    if abs(score.corrected) > _NO_SKEW:
        z = skew_corrected(z, score.corrected / root)
    return z


def _needed(z: Array, information: Array, score: Score) -> Array:
    """Return the smallest score without drift whose statistic is z; it grows with the score."""
    root = np.sqrt(information)
    if max(abs(score.skewness), abs(score.corrected)) <= _NO_SKEW:
        return (z - score.drift * root) / score.spread * root
    low, high = np.full_like(z, -_REACH), np.full_like(z, _REACH)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        enough = _statistic(middle * root, information, score) >= z
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return low * root


def _since_restarts(
    plan: Schedule, checks: Paths, starts: Paths, score: Score, found: Array
) -> None:
    """Put the first crossing of the e-process of all restarts into ``found`` where it is earlier.

    The mean of the restarts' e-values can only reach 1 / a where one of them does, so most
    checks of most paths need no e-value at all.
    """
    rho = restart_rho(plan.restart_level, plan.restarts)
    target = -math.log(plan.restart_level)
    since = plan.information[:, None] - plan.skipped[None, :]
    is_open = (since >= plan.gate) & (plan.exposed[:, None] > plan.starts[None, :])
    since = np.maximum(since, 1e-9)
    # M1 <= 2 sqrt(rho / v) exp(s^2 / 2v): below this no single e-value is 1 / a
    v = since + rho
    least = np.sqrt(2.0 * v * np.maximum(target + 0.5 * np.log(v / rho) - math.log(2.0), 0.0))
    needed = _needed(least / np.sqrt(since), since, score).astype(np.float32)
    for index in np.flatnonzero(is_open.any(axis=1)):
        count = int(is_open[index].sum())  # restarts open in their order
        score_since = checks[index] - starts[:count]
        hopeful = (score_since >= needed[index, :count, None]).any(axis=0)
        hopeful &= found > plan.at[index]
        if not hopeful.any():
            continue
        information = since[index, :count, None]
        z = _statistic(score_since[:, hopeful], information, score)
        log_m = normal_log_mixture(z * np.sqrt(information), information, rho, one_sided=True)
        crossed = np.flatnonzero(hopeful)[_average_log_e(log_m, plan.restarts) >= target]
        found[crossed] = plan.at[index]


def _average_log_e(log_m: Array, monitors: int) -> Array:
    """Return ``average_log_e`` of each column."""
    top = np.maximum(log_m.max(axis=0), 0.0)
    waiting = (monitors - log_m.shape[0]) * np.exp(-top)
    return np.asarray(top + np.log((np.exp(log_m - top).sum(axis=0) + waiting) / monitors))
