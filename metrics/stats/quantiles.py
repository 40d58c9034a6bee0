"""Quantiles of events that come in clusters: many events of one unit are no independent ones.

The share of events at or below a fixed value is a ratio metric (events below / events, summed
over units), so its standard error knows the clusters. A quantile's interval is read off that share
backwards (Woodruff): no density is needed, and what must be kept are sums per value or bucket.

Not yet used by the product: a rate of slow flows says the same and needs no sketch.

Source:
    STATISTICS 1(f); Woodruff (1952), "Confidence intervals for medians and other position
    measures"; Francisco & Fuller (1991) for clusters.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from metrics.stats.values import check_level, check_positive

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EventSums:
    """One arm's events by value; sums of other units of the same arm may be added.

    With ``N`` a unit's events at or below an edge and ``D`` all its events:

    Attributes:
        edges: Increasing values or upper ends of buckets; the last holds all events.
        units: Units with an event.
        events: Sum of D.
        events_squared: Sum of D^2.
        below: Sum of N, per edge.
        below_squared: Sum of N^2, per edge.
        cross: Sum of N D, per edge.
    """

    edges: Array
    units: float
    events: float
    events_squared: float
    below: Array
    below_squared: Array
    cross: Array

    @classmethod
    def of(
        cls, values: npt.ArrayLike, units: npt.ArrayLike, edges: npt.ArrayLike | None = None
    ) -> "EventSums":
        """Return the sums of single events.

        Args:
            values: Of the events, finite.
            units: The unit of each event, any labels.
            edges: Increasing; by default every value seen, which makes quantiles exact. An edge
                at ``inf`` is added where values lie beyond the last.

        Raises:
            ValueError: Values that are not finite, another number of units, edges that fall.
        """
        x, labels = np.asarray(values, dtype=np.float64), np.asarray(units)
        if x.ndim != 1 or x.shape != labels.shape or not np.isfinite(x).all():
            raise ValueError(
                "values must be a list of finite numbers, each with its unit; got shapes "
                f"{x.shape} and {labels.shape}"
            )
        ends = np.unique(x) if edges is None else np.asarray(edges, dtype=np.float64)
        if np.any(np.diff(ends) <= 0.0) or np.isnan(ends).any():
            raise ValueError(f"edges must increase, got {ends.tolist()}")
        if x.size and (ends.size == 0 or x.max() > ends[-1]):
            ends = np.append(ends, math.inf)
        return cls._summed(x, labels, ends)

    @classmethod
    def _summed(cls, x: Array, labels: npt.NDArray[np.generic], ends: Array) -> "EventSums":
        order = np.argsort(x, kind="stable")
        _, unit, sizes = np.unique(labels[order], return_inverse=True, return_counts=True)
        # the j-th event of a unit (by value) adds j^2 - (j - 1)^2 to the unit's squared count
        by_unit = np.argsort(unit, kind="stable")
        starts = np.cumsum(sizes) - sizes
        place = np.empty(x.size)
        place[by_unit] = np.arange(x.size) - np.repeat(starts, sizes)
        taken = np.searchsorted(x[order], ends, side="right")
        running = [
            np.concatenate([[0.0], np.cumsum(step)])[taken]
            for step in (2.0 * place + 1.0, sizes[unit].astype(np.float64))
        ]
        total = float(x.size)
        squares = float((sizes.astype(np.float64) ** 2).sum())
        below = taken.astype(np.float64)
        return cls(ends, float(sizes.size), total, squares, below, running[0], running[1])

    def __add__(self, other: "EventSums") -> "EventSums":
        if not np.array_equal(self.edges, other.edges):
            raise ValueError("sums at different edges cannot be added: freeze the edges first")
        return replace(
            self,
            units=self.units + other.units,
            events=self.events + other.events,
            events_squared=self.events_squared + other.events_squared,
            below=self.below + other.below,
            below_squared=self.below_squared + other.below_squared,
            cross=self.cross + other.cross,
        )


def distribution(sums: EventSums) -> tuple[Array, Array]:
    """Return the share of events at or below each edge, and its cluster-aware standard error.

    Guarantee: asymptotic in units (not events), whatever the dependence within a unit.

    Args:
        sums: Of one arm.

    Returns:
        ``nan`` shares without events; ``nan`` errors below two units and where the share is 0
        or 1 in every unit, which tells no spread.
    """
    n = sums.units
    if not sums.events > 0.0:
        nothing = np.full(sums.edges.shape, math.nan)
        return nothing, nothing
    share = sums.below / sums.events
    squares = sums.below_squared - 2.0 * share * sums.cross + share * share * sums.events_squared
    known = (n > 1.0) & (squares > 1e-12 * sums.events_squared)
    scale = n / (n - 1.0) if n > 1.0 else math.nan
    error = np.sqrt(np.where(known, squares, math.nan) * scale) / sums.events
    return share, error


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile and its interval.

    Attributes:
        value: Smallest edge with a share of at least tau; ``nan`` without events.
        low: ``-inf`` where the events do not bound it from below.
        high: ``inf`` where they do not bound it from above.
        error: Half the interval's width per standard error, ``nan`` where an end is open.
    """

    value: float
    low: float
    high: float
    error: float


def quantile(sums: EventSums, tau: float, *, z: float) -> Quantile:
    """Return a quantile with Woodruff's interval.

    Guarantee: asymptotic in units; at a fixed time with a normal quantile as ``z``, at every
    look with a sequential boundary. With buckets, ends are upper ends of buckets: exact to one
    bucket. Needs several units beyond the quantile on either side, else it is open there.

    Args:
        sums: Of one arm.
        tau: Above 0 and below 1.
        z: Half-width in standard errors, above 0.

    Raises:
        ValueError: A ``tau`` that is none, a ``z`` that is not above 0.
    """
    check_level("tau", tau)
    check_positive("z", z)
    share, error = distribution(sums)
    if not sums.events > 0.0:
        return Quantile(math.nan, math.nan, math.nan, math.nan)
    at = _first(share, tau)
    value, reach = float(sums.edges[at]), z * float(error[at])
    if math.isnan(reach):
        return Quantile(value, -math.inf, math.inf, math.nan)
    low = float(sums.edges[_first(share, tau - reach)]) if tau - reach > 0.0 else -math.inf
    high = float(sums.edges[_first(share, tau + reach)]) if tau + reach < 1.0 else math.inf
    width = (high - low) / (2.0 * z)
    return Quantile(value, low, high, width if math.isfinite(width) else math.nan)


def _first(share: Array, tau: float) -> int:
    """Return the first edge with a share of at least tau (rounding apart)."""
    return min(int(np.searchsorted(share, tau - 1e-12)), share.size - 1)


def later_z(control: EventSums, treatment: EventSums, tau: float) -> tuple[float, float]:
    """Return whether the treatment has more events above control's quantile, in standard errors.

    A comparison of two shares at one fixed edge: frozen before the comparison (from control's
    first day), it is a ratio metric, and all sequential theory holds for it.

    Guarantee: asymptotically normal at one edge chosen without the treatment's data. Chosen from
    the same control data, it is slightly off by the edge's own noise.

    Args:
        control: Its events.
        treatment: Its events at the same edges.
        tau: Quantile of control at whose edge is compared, above 0 and below 1.

    Returns:
        The edge, and z with "slower" positive; ``nan`` where a share or its error is undefined.

    Raises:
        ValueError: Other edges, a ``tau`` that is none.
    """
    check_level("tau", tau)
    if not np.array_equal(control.edges, treatment.edges):
        raise ValueError("shares at different edges cannot be compared: freeze the edges first")
    share_c, error_c = distribution(control)
    share_t, error_t = distribution(treatment)
    if not control.events > 0.0:
        return math.nan, math.nan
    at = int(np.argmin(np.abs(share_c - tau)))
    variance = float(error_c[at] ** 2 + error_t[at] ** 2)
    z = float(share_c[at] - share_t[at]) / math.sqrt(variance) if variance > 0.0 else math.nan
    return float(control.edges[at]), z
