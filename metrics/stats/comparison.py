"""Two arms' cells in, the evidence of every restart out: statistic, gates, estimate.

One path for rates (Bernoulli moments fixed by the null), one for means and ratios;
everything after it is the same for all kinds.

Source: STATISTICS 0a, 1(d), 1(j).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metrics.catalogue import Kind
from metrics.cells import Cell, Sums
from metrics.stats import moments
from metrics.stats.contrasts import (
    Null,
    Statistic,
    denominator_cv,
    linear_statistic,
    proportion_statistic,
    unpooled_variance,
)

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MIN_UNITS = 100
"""No decision below this many units with a value in the smaller arm."""

MIN_EVENTS = 10.0
"""A rate needs as many expected events, and as many expected non-events, in each arm."""

MAX_SKEWNESS = 0.3
"""No decision while the statistic's skewness kappa is as large as this."""

MAX_DENOMINATOR_CV = 0.05
"""A ratio needs its mean denominator known to 5% in each arm."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Values of both arms with phases weighted alike (``m_h``), and their variances."""

    control: float
    treatment: float
    var_control: float
    var_treatment: float


@dataclass(frozen=True, slots=True)
class Compared:
    """What the cells say, before anything is decided.

    Attributes:
        statistic: Per null hypothesis (rows of the first axis) and "since cohort j".
        gate: Where the statistic may be used for a decision, same shape.
        estimate: Of the whole run; ``None`` where the arms share no phase.
    """

    statistic: Statistic
    gate: Flags
    estimate: Estimate | None


def compare(
    control: Sequence[Cell],
    treatment: Sequence[Cell],
    *,
    kind: Kind,
    null: Null,
    rows: int,
) -> Compared:
    """Compare two arms over all phases, for the whole run and since each restart.

    Guarantee: where ``gate`` is open the statistic is standard normal at the null, to the size of
    errors measured (.045 to .054 at a nominal .05); where it is shut, it is for display alone.
    Not valid where a unit is in two cells, or enters before its window has closed.

    Args:
        control: Cells of control, at least one.
        treatment: Cells of the treatment, at least one.
        kind: How the KPI summarises units.
        null: One or several hypotheses; arrays of shape ``(k, 1, 1)``.
        rows: Row j counts cohorts j and later, j = 0 .. rows - 1.

    Returns:
        Statistic and gate of shape ``(k, rows)`` (``(rows,)`` for one plain null): ``nan`` and
        shut without variance, without one of the arms, and without a phase that both are in.
    """
    cohorts = max(rows, 1 + max(c.cohort for c in (*control, *treatment)))
    phases = 1 + max(c.phase for c in (*control, *treatment))
    if kind is Kind.PROPORTION:
        n_t, y_t = (a[:rows] for a in moments.counts(treatment, cohorts=cohorts, phases=phases))
        n_c, y_c = (a[:rows] for a in moments.counts(control, cohorts=cohorts, phases=phases))
        statistic = proportion_statistic((n_t, y_t), (n_c, y_c), null)
        gate = _units_gate(n_t, n_c) & _events_gate(n_t, y_t, n_c, y_c)
        estimate = _rates(n_t[0], y_t[0], n_c[0], y_c[0])
    else:
        ratio = kind is Kind.RATIO
        arm_t = _arm(treatment, cohorts, phases, rows, ratio=ratio)
        arm_c = _arm(control, cohorts, phases, rows, ratio=ratio)
        statistic = linear_statistic(arm_t, arm_c, null)
        gate = _units_gate(arm_t.n, arm_c.n)
        if ratio:
            cv = np.maximum(denominator_cv(arm_t), denominator_cv(arm_c))
            gate = gate & (cv < MAX_DENOMINATOR_CV)
        estimate = _means(arm_t.row(0), arm_c.row(0))
    # a skewness of ``nan`` (no variance anywhere) compares false: no decision
    return Compared(statistic, gate & (np.abs(statistic.kappa) < MAX_SKEWNESS), estimate)


def _arm(
    cells: Sequence[Cell], cohorts: int, phases: int, rows: int, *, ratio: bool
) -> moments.Arm:
    whole: Sums = moments.total(cells)
    found = moments.arm(cells, whole, cohorts=cohorts, phases=phases, ratio=ratio)
    return found if cohorts == rows else found.row(slice(None, rows))


def _units_gate(n_t: Array, n_c: Array) -> Flags:
    return np.minimum(n_t.sum(axis=-1), n_c.sum(axis=-1)) >= MIN_UNITS


def _events_gate(n_t: Array, y_t: Array, n_c: Array, y_c: Array) -> Flags:
    """Tell where both arms expect enough events, and enough non-events, under the pooled rate.

    Events alone would let a KPI with 99.9% success decide from one or two failures, whose
    count is as far from normal as that of rare events.
    """
    units_t, units_c = n_t.sum(axis=-1), n_c.sum(axis=-1)
    both = units_t + units_c
    events = y_t.sum(axis=-1) + y_c.sum(axis=-1)
    rarer = np.minimum(events, both - events) / np.maximum(both, 1.0)
    return rarer * np.minimum(units_t, units_c) >= MIN_EVENTS


def _rates(n_t: Array, y_t: Array, n_c: Array, y_c: Array) -> Estimate | None:
    m = n_t * n_c / np.maximum(n_t + n_c, 1.0)
    one_t, one_c = np.maximum(n_t, 1.0), np.maximum(n_c, 1.0)
    # add-one rates in the variance: an arm without a single event must not look certain
    p_t, p_c = (y_t + 1.0) / (n_t + 2.0), (y_c + 1.0) / (n_c + 2.0)
    var_t, var_c = p_t * (1.0 - p_t) / one_t, p_c * (1.0 - p_c) / one_c
    return _weighted(m, y_c / one_c, y_t / one_t, var_c, var_t)


def _means(t: moments.Arm, c: moments.Arm) -> Estimate | None:
    x_t, x_c = t.x, c.x
    usable = (x_t > 0.0) & (x_c > 0.0)
    m = np.where(usable, t.n * c.n / np.maximum(t.n + c.n, 1.0), 0.0)
    return _weighted(
        m,
        c.y / np.where(usable, x_c, 1.0),
        t.y / np.where(usable, x_t, 1.0),
        unpooled_variance(c),
        unpooled_variance(t),
    )


def _weighted(
    m: Array, control: Array, treatment: Array, var_c: Array, var_t: Array
) -> Estimate | None:
    summed = float(m.sum())
    if not summed > 0.0:
        return None
    w = m / summed
    return Estimate(
        float(w @ control), float(w @ treatment), float((w * w) @ var_c), float((w * w) @ var_t)
    )
