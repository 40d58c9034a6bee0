"""The group-sequential recursion: exact boundaries and exit probabilities, look by look.

The standardised statistic of a sequence of looks at information ``I_1 < I_2 < ...``
is a Brownian motion seen at those times. ``Progress`` is the density of not having
crossed yet, on a grid of z; it is all that must be stored between two looks, so a
look costs the same however many came before (about a millisecond).

    g_k(z) = Int g_{k-1}(u) sqrt(I_k/d_k) phi((z sqrt I_k - u sqrt I_{k-1} - theta d_k)/sqrt d_k) du
    P_k(b) = Int g_{k-1}(u) [1 - Phi((b sqrt I_k - u sqrt I_{k-1} - theta d_k)/sqrt d_k)] du

with ``d_k = I_k - I_{k-1}``, by Simpson's rule.

Source:
    STATISTICS 1(b); Armitage, McPherson & Rowe (1969); Jennison & Turnbull (2000), ch. 19.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

Array = npt.NDArray[np.float64]

STEP = 0.06
"""Widest grid spacing in z. It resolves the next kernel by itself if information grows by 2%."""

_RESOLVE = 0.45  # spacing in standard deviations of the next kernel
_REACH = 8.5  # the normal density beyond is 1e-16 of its centre
_Z_MAX = 38.0  # 1 - Phi is still a positive number here; beyond, a boundary is infinite
_NOTHING = 1e-12  # an increment below this share of the total is rounding, not alpha
_TOLERANCE = 1e-12
_ITERATIONS = 200
_PHI_0 = 1.0 / math.sqrt(2.0 * math.pi)


def _point(value: float) -> Array:
    return np.array([value])


@dataclass(frozen=True, slots=True)
class Progress:
    """The law of the statistic at the last look, on paths that have not crossed.

    Attributes:
        information: Information of the last look, 0 before the first.
        spent: Probability, under no drift, of having crossed so far.
        grid: Points z.
        mass: Density times quadrature weight at those points; sums to 1 - exits.
    """

    information: float = 0.0
    spent: float = 0.0
    grid: Array = field(default_factory=lambda: _point(0.0))
    mass: Array = field(default_factory=lambda: _point(1.0))


@dataclass(frozen=True, slots=True)
class Exits:
    """Exit probabilities per look: ``upper`` through the upper boundary, ``lower`` the lower."""

    upper: tuple[float, ...]
    lower: tuple[float, ...]

    @property
    def total(self) -> float:
        """Probability of leaving at any look."""
        return math.fsum(self.upper) + math.fsum(self.lower)

    def expected_information(self, information: Sequence[float]) -> float:
        """Return the mean information at which a test stops, the last look included.

        ``nan`` without looks.
        """
        if not information:
            return math.nan
        left = 1.0 - self.total
        at_exit = (
            i * (u + low) for i, u, low in zip(information, self.upper, self.lower, strict=True)
        )
        return math.fsum(at_exit) + left * information[-1]


def _standardised(progress: Progress, information: float, drift: float) -> tuple[Array, float]:
    """Return ``c`` and ``r`` such that a path from u ends above b if N(0,1) > r b - c(u)."""
    if not progress.information < information < math.inf:
        raise ValueError(
            f"information must grow from look to look: {information!r} after "
            f"{progress.information!r}; merge looks without new units, and keep it finite"
        )
    gained = information - progress.information
    root = math.sqrt(gained)
    centre = (progress.grid * math.sqrt(progress.information) + drift * gained) / root
    return centre, math.sqrt(information) / root


def _tails(progress: Progress, centre: Array, scale: float, bound: float) -> tuple[float, float]:
    """Return the probability above ``bound`` and the density there."""
    x = scale * bound - centre
    above = float(progress.mass @ ndtr(-x))
    density = scale * _PHI_0 * float(progress.mass @ np.exp(-0.5 * x * x))
    return above, density


def solve_boundary(
    progress: Progress, information: float, cumulative: float, *, two_sided: bool = False
) -> float:
    """Return the z that brings the alpha spent to ``cumulative`` at this look.

    Newton's method on the logarithm of the exit probability, which is concave: from the right it
    never overshoots, and the unconditional normal quantile is on the right.

    Guarantee: with the boundaries before, crossed under no drift with probability ``cumulative``,
    to 1e-9.

    Args:
        progress: After the look before.
        information: Of this look, finite, more than of the last.
        cumulative: Alpha to have been spent, 0 to 1, one- or two-sided total.
        two_sided: Whether crossing either of +-z counts.

    Returns:
        ``inf`` where nothing is left to spend: a look that cannot cross; -38 (0 if two-sided)
        where more is asked for than there is.

    Raises:
        ValueError: Information that did not grow, an alpha that is ``nan``.
    """
    if math.isnan(cumulative):
        raise ValueError("alpha spent must lie from 0 to 1, got nan")
    increment = cumulative - progress.spent
    if increment <= _NOTHING * cumulative or increment <= 0.0:
        return math.inf
    side = 0.5 * increment if two_sided else increment
    centre, scale = _standardised(progress, information, 0.0)
    low, high = (0.0 if two_sided else -_Z_MAX), _Z_MAX
    bound = min(max(-float(ndtri(side)), low), high)
    for _ in range(_ITERATIONS):
        above, density = _tails(progress, centre, scale, bound)
        if above > side:
            low = bound
        else:
            high = bound
        step = math.inf
        if above > 0.0 and density > 0.0:
            step = above / density * math.log(above / side)
        new = bound + step
        if not low <= new <= high:
            new = 0.5 * (low + high)
        if abs(new - bound) < _TOLERANCE:
            return new if new < _Z_MAX - 1.0 else math.inf
        bound = new
    return bound


def _simpson(low: float, high: float, spacing: float) -> tuple[Array, Array]:
    """Return points and weights of Simpson's rule, none for an empty interval."""
    if high <= low:
        return np.empty(0), np.empty(0)
    intervals = 2 * max(1, math.ceil((high - low) / (2.0 * spacing)))
    points = np.linspace(low, high, intervals + 1)
    weights = np.full(intervals + 1, 2.0)
    weights[1::2] = 4.0
    weights[0] = weights[-1] = 1.0
    return points, weights * ((high - low) / (3.0 * intervals))


def advance(
    progress: Progress,
    information: float,
    bound: float,
    *,
    lower: float = -math.inf,
    drift: float = 0.0,
    spacing: float = STEP,
) -> tuple[Progress, float, float]:
    """Move past one look and return the next progress and the exits above and below.

    Args:
        progress: After the look before.
        information: Of this look; must be larger than the last.
        bound: Upper boundary in z; ``inf`` for none.
        lower: Lower boundary in z; ``-bound`` for a symmetric two-sided test.
        drift: theta; the statistic has mean ``theta sqrt(I)``.
        spacing: Of the grid; at most 0.45 standard deviations of the next step.

    Returns:
        Progress, and the probabilities of leaving above and below at this look: right to 1e-9
        under no drift, to a few millionths in all under one.

    Raises:
        ValueError: Information did not grow, a boundary that is ``nan``, a drift that is not
            finite.
    """
    if math.isnan(bound) or math.isnan(lower) or not math.isfinite(drift):
        raise ValueError(
            "boundaries must be numbers or infinite and the drift finite, got "
            f"{bound!r}, {lower!r} and {drift!r}"
        )
    centre, scale = _standardised(progress, information, drift)
    above = float(progress.mass @ ndtr(centre - scale * bound))
    below = float(progress.mass @ ndtr(scale * lower - centre))
    mean = drift * math.sqrt(information)
    start = max(lower, min(mean, 0.0) - _REACH)
    stop = min(bound, max(mean, 0.0) + _REACH)
    grid, weights = _simpson(start, stop, spacing)
    x = np.subtract.outer(scale * grid, centre)
    np.multiply(x, x, out=x)
    np.multiply(x, -0.5, out=x)
    np.exp(x, out=x)
    mass = weights * (scale * _PHI_0) * (x @ progress.mass)
    return Progress(information, progress.spent + above + below, grid, mass), above, below


def spacing_for(information: float, next_information: float | None) -> float:
    """Return the grid spacing at ``information`` that resolves a step to the next look.

    Args:
        information: Of a look, above 0.
        next_information: Of the next one, larger; ``None``: at least 2% more, or none.

    Returns:
        In z, at most ``STEP``.
    """
    if next_information is None:
        return STEP
    return min(STEP, _RESOLVE * math.sqrt((next_information - information) / information))


def look(
    progress: Progress,
    information: float,
    cumulative: float,
    *,
    two_sided: bool = False,
    next_information: float | None = None,
) -> tuple[float, Progress]:
    """Take one look: return its boundary and the progress after it.

    Guarantee: the alpha spent by all looks so far is ``cumulative`` to 1e-9, however many there
    were. Not valid where the moment of a look depended on the effect seen.

    Args:
        progress: After the look before, ``Progress()`` before the first.
        information: Of this look, larger than the last.
        cumulative: Alpha the spending curve allows by now, one- or two-sided total.
        two_sided: Whether crossing either of +-boundary counts.
        next_information: Of the next look if known; unneeded while growth is 2% or more.

    Returns:
        The boundary in z, ``inf`` where nothing is left to spend, and all that must be stored.

    Raises:
        ValueError: Information that did not grow, an alpha that is none.
    """
    if not cumulative <= 1.0:
        raise ValueError(f"alpha spent must lie from 0 to 1, got {cumulative!r}")
    bound = solve_boundary(progress, information, cumulative, two_sided=two_sided)
    after, _, _ = advance(
        progress,
        information,
        bound,
        lower=-bound if two_sided else -math.inf,
        spacing=spacing_for(information, next_information),
    )
    return bound, after


def boundaries(
    information: Sequence[float], cumulative: Sequence[float], *, two_sided: bool = False
) -> tuple[float, ...]:
    """Return the boundaries of a whole schedule with given cumulative alpha.

    Guarantee: the test crosses with probability ``cumulative[-1]`` under no drift, to 1e-9,
    whatever the spacing of the looks. Not valid where a look's time depended on the effect seen.

    Args:
        information: Of the looks, increasing, above 0; may be empty.
        cumulative: Alpha spent by each look, nondecreasing; one- or two-sided total.
        two_sided: Whether crossing either of +-boundary counts.

    Returns:
        One z per look, ``inf`` where nothing is left to spend.

    Raises:
        ValueError: Information that does not grow, lists of different lengths.
    """
    progress, found = Progress(), list[float]()
    following = [*information, None][1:]
    for now, alpha, after in zip(information, cumulative, following, strict=True):
        bound, progress = look(progress, now, alpha, two_sided=two_sided, next_information=after)
        found.append(bound)
    return tuple(found)


def exit_probabilities(
    information: Sequence[float],
    upper: Sequence[float],
    lower: Sequence[float] | None = None,
    *,
    drift: float = 0.0,
) -> Exits:
    """Return the exit probabilities of given boundaries under a drift.

    With drift 0 they are the error spent at each look; otherwise the law of the
    stopping look, whose sum is the power.

    Args:
        information: Of the looks, increasing.
        upper: Upper boundaries in z.
        lower: Lower boundaries; none means a one-sided test.
        drift: theta; at information 1 the statistic has mean theta.

    Returns:
        Right to 1e-9 under no drift, to a few millionths in all under one; empty without looks.

    Raises:
        ValueError: Information that does not grow, a boundary that is ``nan``, lists of different
            lengths.
    """
    progress, above, below = Progress(), list[float](), list[float]()
    floors = [-math.inf] * len(upper) if lower is None else lower
    following = [*information, None][1:]
    for now, bound, floor, after in zip(information, upper, floors, following, strict=True):
        progress, up, down = advance(
            progress, now, bound, lower=floor, drift=drift, spacing=spacing_for(now, after)
        )
        above.append(up)
        below.append(down)
    return Exits(tuple(above), tuple(below))
