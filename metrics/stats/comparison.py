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


@dataclass(frozen=True, slots=True)
class Pair:
    """Two arms to be compared.

    Attributes:
        control: Cells of control, at least one.
        treatment: Cells of the treatment, at least one.
        kind: How the KPI summarises units.
        null: One or several hypotheses; arrays of shape ``(k, 1, 1)``.
        rows: Row j counts cohorts j and later, j = 0 .. rows - 1.
        wholes: The exact totals of control and treatment, where they are known.
    """

    control: Sequence[Cell]
    treatment: Sequence[Cell]
    kind: Kind
    null: Null
    rows: int
    wholes: tuple[Sums, Sums] | None = None

    @property
    def phases(self) -> int:
        """Number of allocation phases."""
        return 1 + max(c.phase for c in (*self.control, *self.treatment))

    @property
    def totals(self) -> tuple[Sums, Sums]:
        """The exact totals of control and treatment."""
        return self.wholes or (moments.total(self.control), moments.total(self.treatment))


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
    return compare_all([Pair(control, treatment, kind, null, rows)])[0]


def compare_all(pairs: Sequence[Pair]) -> list[Compared]:
    """Compare many pairs of arms, each exactly as ``compare`` does, in a fraction of the time.

    Numbers are few in each pair, so nearly all the time goes into calls: pairs of one kind and
    number of phases share them.
    """
    alike: dict[tuple[object, ...], list[Pair]] = {}
    for pair in pairs:
        nulls = np.shape(pair.null.ratio), np.shape(pair.null.shift)
        alike.setdefault((pair.kind, pair.phases, nulls), []).append(pair)
    found: dict[int, Compared] = {}
    for some in alike.values():
        found |= zip(map(id, some), _compared(some), strict=True)
    return [found[id(pair)] for pair in pairs]


def _compared(pairs: Sequence[Pair]) -> list[Compared]:
    """Compare pairs that are alike; axes are pairs, hypotheses, cohorts ("since") and phases."""
    kind, phases = pairs[0].kind, pairs[0].phases
    controls, treatments = [p.control for p in pairs], [p.treatment for p in pairs]
    last = max(c.cohort for cells in (*controls, *treatments) for c in cells)
    rows = max(p.rows for p in pairs)
    cohorts, null = max(rows, 1 + last), _stacked([p.null for p in pairs])
    if kind is Kind.PROPORTION:
        both = moments.counts([*controls, *treatments], cohorts, phases)
        n_c, y_c = (a[: len(pairs), :, :rows] for a in both)
        n_t, y_t = (a[len(pairs) :, :, :rows] for a in both)
        statistic = proportion_statistic((n_t, y_t), (n_c, y_c), null)
        gate = _units_gate(n_t, n_c) & _events_gate(n_t, y_t, n_c, y_c)
        estimates = _rates(*(a[:, 0, 0] for a in (n_t, y_t, n_c, y_c)))
    else:
        ratio = kind is Kind.RATIO
        whole_c, whole_t = zip(*(p.totals for p in pairs), strict=True)
        wholes = [*whole_c, *whole_t]
        both = moments.arms(
            [*controls, *treatments], wholes, cohorts=cohorts, phases=phases, ratio=ratio
        ).row(slice(rows))
        arm_c, arm_t = both.some(slice(len(pairs))), both.some(slice(len(pairs), None))
        statistic = linear_statistic(arm_t, arm_c, null)
        gate = _units_gate(arm_t.n, arm_c.n)
        if ratio:
            cv = np.maximum(denominator_cv(arm_t), denominator_cv(arm_c))
            gate = gate & (cv < MAX_DENOMINATOR_CV)
        estimates = _means(arm_t.row(slice(0, 1)), arm_c.row(slice(0, 1)))
    # a skewness of ``nan`` (no variance anywhere) compares false: no decision
    gate = gate & (np.abs(statistic.kappa) < MAX_SKEWNESS)
    return [
        _of_pair(pair, place, statistic, gate, estimate)
        for place, (pair, estimate) in enumerate(zip(pairs, estimates, strict=True))
    ]


def _stacked(nulls: Sequence[Null]) -> Null:
    def tall(values: list[float | Array]) -> Array:
        return np.array(values, np.float64).reshape(len(nulls), -1, 1, 1)

    return Null(
        tall([n.ratio for n in nulls]),
        tall([n.shift for n in nulls]),
        tall([n.sign for n in nulls]),
    )


def _of_pair(
    pair: Pair, place: int, statistic: Statistic, gate: Flags, estimate: Estimate | None
) -> Compared:
    """Return what was found of one pair; a plain null has no axis of its own."""
    plain = np.ndim(pair.null.ratio) == np.ndim(pair.null.shift) == 0
    its = (place, 0 if plain else slice(None), slice(pair.rows))
    own = Statistic(
        statistic.z[its], statistic.kappa[its], statistic.information[place, 0, : pair.rows]
    )
    return Compared(own, gate[its], estimate)


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


def _rates(n_t: Array, y_t: Array, n_c: Array, y_c: Array) -> list[Estimate | None]:
    """Return the estimate of every pair (first axis), phases on the last one."""
    m = n_t * n_c / np.maximum(n_t + n_c, 1.0)
    one_t, one_c = np.maximum(n_t, 1.0), np.maximum(n_c, 1.0)
    # add-one rates in the variance: an arm without a single event must not look certain
    p_t, p_c = (y_t + 1.0) / (n_t + 2.0), (y_c + 1.0) / (n_c + 2.0)
    var_t, var_c = p_t * (1.0 - p_t) / one_t, p_c * (1.0 - p_c) / one_c
    return [*map(_weighted, m, y_c / one_c, y_t / one_t, var_c, var_t)]


def _means(t: moments.Arm, c: moments.Arm) -> list[Estimate | None]:
    """Return the estimate of every pair from its row of the whole run."""
    x_t, x_c = t.x, c.x
    usable = (x_t > 0.0) & (x_c > 0.0)
    m = np.where(usable, t.n * c.n / np.maximum(t.n + c.n, 1.0), 0.0)
    of_t, of_c = t.y / np.where(usable, x_t, 1.0), c.y / np.where(usable, x_c, 1.0)
    numbers = (m, of_c, of_t, unpooled_variance(c), unpooled_variance(t))
    return [*map(_weighted, *(each[:, 0, 0] for each in numbers))]


def _weighted(
    m: Array, control: Array, treatment: Array, var_c: Array, var_t: Array
) -> Estimate | None:
    summed = float(m.sum())
    if not summed > 0.0:
        return None
    if m.shape[0] == 1:  # one phase has all the weight
        return Estimate(*(float(each[0]) for each in (control, treatment, var_c, var_t)))
    w = m / summed
    return Estimate(
        float(w @ control), float(w @ treatment), float((w * w) @ var_c), float((w * w) @ var_t)
    )
