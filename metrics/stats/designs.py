"""Classical group-sequential designs with equal looks: constants, power, sample-size inflation.

They are what the recursion is held against; the engine itself uses spending
curves, which need no equal looks.

Source:
    STATISTICS 1(b), 1(i); Jennison & Turnbull (2000), ch. 2; Wang & Tsiatis (1987).
"""

import itertools
import math
from collections.abc import Sequence

from scipy.special import ndtri

from metrics.stats.group_sequential import (
    Progress,
    advance,
    exit_probabilities,
    solve_boundary,
    spacing_for,
)
from metrics.stats.power import root
from metrics.stats.values import check_level

_XTOL = 1e-12


def _equal(looks: int) -> tuple[float, ...]:
    return tuple((k + 1) / looks for k in range(looks))


def _shape(looks: int, delta: float) -> tuple[float, ...]:
    return tuple(t ** (delta - 0.5) for t in _equal(looks))


def wang_tsiatis_constant(
    looks: int, alpha: float, delta: float, *, two_sided: bool = True
) -> float:
    """Return C of the boundaries ``z_k = C (k/K)^(delta - 1/2)`` with total error ``alpha``.

    Guarantee: exact for equal steps of information, and for no others.

    Args:
        looks: K equally spaced looks, 1 or more.
        alpha: Total error, of both sides if two-sided.
        delta: 0 is O'Brien-Fleming, 0.5 Pocock.
        two_sided: Whether crossing either of +-z_k counts.

    Raises:
        ValueError: No look, a level that is none.

    Source:
        Wang & Tsiatis (1987); Jennison & Turnbull (2000), section 2.7.
    """
    check_level("alpha", alpha)
    if looks < 1:
        raise ValueError(f"a design needs 1 look or more, got {looks!r}")
    information, shape = _equal(looks), _shape(looks, delta)

    def unspent(constant: float) -> float:
        upper = [constant * s for s in shape]
        lower = [-b for b in upper] if two_sided else None
        return alpha - exit_probabilities(information, upper, lower).total

    least = -float(ndtri(alpha / 2.0 if two_sided else alpha))
    return root(unspent, least - 1e-6, least + math.log(looks) + 1e-6, xtol=_XTOL)


def pocock_constant(looks: int, alpha: float, *, two_sided: bool = True) -> float:
    """Return C_P: the same boundary at every look (arguments as ``wang_tsiatis_constant``)."""
    return wang_tsiatis_constant(looks, alpha, 0.5, two_sided=two_sided)


def obrien_fleming_constant(looks: int, alpha: float, *, two_sided: bool = True) -> float:
    """Return C_B of ``z_k = C_B sqrt(K/k)`` (arguments as ``wang_tsiatis_constant``)."""
    return wang_tsiatis_constant(looks, alpha, 0.0, two_sided=two_sided)


def drift_for_power(
    information: Sequence[float],
    upper: Sequence[float],
    lower: Sequence[float] | None,
    power: float,
) -> float:
    """Return theta at which the upper boundary is crossed with probability ``power``.

    Exits below count as not detected, whether the lower boundary is the other
    side of a two-sided test or futility.

    Args:
        information: Of the looks, increasing, 1 or more.
        upper: Upper boundaries in z.
        lower: Lower boundaries or ``None``.
        power: Above the design's error and below 1.

    Returns:
        Theta; the statistic has mean ``theta sqrt(I)``.

    Raises:
        ValueError: A power that is none, or that no drift above 0 has: it is below the error, or
            the boundaries cannot be crossed.
    """
    check_level("power", power)

    def missing(theta: float) -> float:
        exits = exit_probabilities(information, upper, lower, drift=theta)
        return math.fsum(exits.upper) - power

    scale = 1.0 / math.sqrt(information[-1])
    return root(missing, 0.0, 12.0 * scale, xtol=_XTOL)


def inflation(
    information: Sequence[float],
    upper: Sequence[float],
    lower: Sequence[float] | None,
    *,
    alpha_side: float,
    power: float,
) -> float:
    """Return maximum information relative to the fixed-sample test of the same power.

    Args:
        information: Of the looks.
        upper: Upper boundaries.
        lower: Lower boundaries or ``None``.
        alpha_side: One-sided error of the fixed test (half of a two-sided alpha).
        power: To be reached by both tests.

    Raises:
        ValueError: As ``drift_for_power``; an error that is no level.

    Source:
        Jennison & Turnbull (2000), section 2.3.
    """
    check_level("alpha_side", alpha_side)
    theta = drift_for_power(information, upper, lower, power)
    fixed = float(ndtri(1.0 - alpha_side) + ndtri(power))
    return theta * theta * information[-1] / (fixed * fixed)


def haybittle_peto_last(looks: int, alpha: float, early: float) -> float:
    """Return the last boundary of a one-sided test whose earlier looks all use ``early``.

    Guarantee: the whole test has error ``alpha``, exact for equal steps of information.

    Args:
        looks: K, 1 or more.
        alpha: One-sided error of all looks.
        early: Boundary in z of the looks before the last, for instance 3.

    Returns:
        ``inf`` where the earlier looks have spent all.

    Raises:
        ValueError: No look, a level that is none.
    """
    check_level("alpha", alpha)
    if looks < 1:
        raise ValueError(f"a design needs 1 look or more, got {looks!r}")
    progress = Progress()
    information = _equal(looks)
    for now, after in itertools.pairwise(information):
        progress, _, _ = advance(progress, now, early, spacing=spacing_for(now, after))
    return solve_boundary(progress, information[-1], alpha)


def futility_design(
    information: Sequence[float],
    alpha: Sequence[float],
    beta: Sequence[float],
) -> tuple[float, tuple[float, ...], tuple[float, ...]]:
    """Return drift and boundaries of a one-sided test that also stops for futility (binding).

    Guarantee: error ``alpha[-1]`` under no drift and ``beta[-1]`` under the drift returned, if
    the test does stop whenever it falls below.

    Args:
        information: Of the looks, the last is the maximum.
        alpha: Cumulative error to be spent above under no drift.
        beta: Cumulative error to be spent below under the drift sought.

    Returns:
        The drift at which both boundaries meet at the last look, upper and lower boundaries.
    """

    def meet(theta: float) -> float:
        upper, lower = _both_boundaries(information, alpha, beta, theta)
        return lower[-1] - upper[-1]

    scale = 1.0 / math.sqrt(information[-1])
    theta = root(meet, 0.5 * scale, 8.0 * scale, xtol=_XTOL)
    upper, lower = _both_boundaries(information, alpha, beta, theta)
    return theta, upper, lower


def _both_boundaries(
    information: Sequence[float], alpha: Sequence[float], beta: Sequence[float], theta: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return boundaries that spend alpha under no drift and beta under ``theta``."""
    null, harmed = Progress(), Progress()
    upper, lower = list[float](), list[float]()
    error, missed = 0.0, 0.0
    for now, after, a, b in zip(information, [*information[1:], None], alpha, beta, strict=True):
        spacing = spacing_for(now, after)
        high = solve_boundary(null, now, null.spent + a - error)
        # the mirror image turns the lower boundary under drift into an upper one
        mirrored = Progress(harmed.information, 0.0, -harmed.grid, harmed.mass)
        root = math.sqrt(now)
        low = theta * root - _solve_mirrored(mirrored, now, b - missed, theta)
        upper.append(high)
        lower.append(low)
        if low >= high:  # they have met: the drift is at least the one sought
            break
        null, up, _ = advance(null, now, high, lower=low, spacing=spacing)
        harmed, _, down = advance(harmed, now, high, lower=low, drift=theta, spacing=spacing)
        error, missed = error + up, missed + down
    return tuple(upper), tuple(lower)


def _solve_mirrored(
    progress: Progress, information: float, increment: float, theta: float
) -> float:
    """Return ``theta sqrt(I) - z`` of the lower boundary that spends ``increment`` under drift."""
    centred = Progress(
        progress.information,
        0.0,
        progress.grid + theta * math.sqrt(progress.information),
        progress.mass,
    )
    return solve_boundary(centred, information, increment)
