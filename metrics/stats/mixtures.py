"""Normal mixtures: evidence that may be looked at as often as one likes.

``S`` is a score with variance (intrinsic time) ``v``; on the z scale ``S = z sqrt v``.
The two-sided mixture puts a normal prior with precision ``rho`` on the drift, the
one-sided its positive half. Under no (positive) drift each mixture is a nonnegative
(super)martingale from 1, so by Ville's inequality it ever reaches ``1 / alpha`` with
probability at most ``alpha``.

Source:
    STATISTICS 1(a); Robbins (1970); Howard, Ramdas, McAuliffe & Sekhon (2021);
    Waudby-Smith et al. (2024), eq. (134).
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import lambertw, log_ndtr

from metrics.stats.values import check_level, check_positive

Array = npt.NDArray[np.float64]

_LN_2 = math.log(2.0)
_LARGEST_LEVEL = 0.8
_TOLERANCE = 1e-12
_ITERATIONS = 100


def normal_log_mixture(s: float | Array, v: float | Array, rho: float, *, one_sided: bool) -> Array:
    """Return the logarithm of the mixture, elementwise.

    Guarantee: an e-process of a normal score: under no drift (one-sided: none above 0) it ever
    reaches ``log(1 / alpha)`` with probability at most ``alpha``, at any looks. Not valid with a
    ``rho`` chosen by the data; asymptotic where the variance behind ``v`` is estimated.

    Args:
        s: Score; positive is evidence for the alternative.
        v: Intrinsic time, 0 or more and finite, broadcast against ``s``.
        rho: Prior precision in the unit of ``v``, see ``tuned_rho``.
        one_sided: Half-normal prior on a positive drift.

    Returns:
        0 for a score of 0 at time 0, ``nan`` where score or time is no number or time is below 0
        or infinite.

    Raises:
        ValueError: A ``rho`` that is not above 0.

    Source:
        Robbins (1970); Howard et al. (2021), section 3.
    """
    check_positive("rho", rho)
    time = np.asarray(v, dtype=np.float64)
    time = np.where((time >= 0.0) & (time < np.inf), time, np.nan)
    score, total = np.asarray(s, dtype=np.float64), time + rho
    log_m = 0.5 * (np.log(rho / total) + score * score / total)
    if one_sided:
        log_m = log_m + _LN_2 + log_ndtr(score / np.sqrt(total))
    return np.asarray(log_m)


def tuned_rho(v_opt: float, alpha: float, *, one_sided: bool, exact: bool = False) -> float:
    """Return the prior precision that makes the boundary tightest at ``v_opt``.

    Guarantee: of tightness only. A mixture is valid with any ``rho`` chosen before data arrive;
    four times too low costs next to nothing, ten times too high about half as many units again.

    Args:
        v_opt: Intrinsic time of the harm one wants to find (not the end), above 0.
        alpha: Level of the boundary. Above .4 (two-sided .8) tuning has no meaning: it is tuned
            as there.
        one_sided: Tune the one-sided mixture (the two-sided one at ``2 alpha``).
        exact: By Lambert's W; the default is the usual approximation.

    Raises:
        ValueError: A time that is not above 0, a level that is none.

    Source:
        Howard et al. (2021), section 3.5; the approximation is that of confseq.
    """
    check_positive("v_opt", v_opt)
    check_level("alpha", alpha)
    level = min(2.0 * alpha if one_sided else alpha, _LARGEST_LEVEL)
    if exact:
        w = complex(lambertw(-level * level / math.e, -1)).real  # pyright: ignore[reportArgumentType]
        return v_opt / (-w - 1.0)
    doubled = 2.0 * math.log(1.0 / level)
    return v_opt / (doubled + math.log1p(doubled))


def normal_mixture_bound(v: float, alpha: float, rho: float, *, one_sided: bool) -> float:
    """Return the score at which the mixture reaches ``1 / alpha``.

    Two-sided in closed form; one-sided by Newton's method from the closed-form upper
    bound of Waudby-Smith et al., from which it descends without overshooting because
    the log mixture is convex.

    Guarantee: as ``normal_log_mixture``; a score of no drift is ever beyond with probability at
    most ``alpha``.

    Args:
        v: Intrinsic time now, 0 or more.
        alpha: Probability of ever crossing wrongly.
        rho: Prior precision in the unit of ``v``.
        one_sided: A bound above only; else of the absolute score.

    Returns:
        ``nan`` for a time that is none (below 0, infinite, ``nan``).

    Raises:
        ValueError: A level that is none, a ``rho`` that is not above 0.

    Source:
        Howard et al. (2021), proposition 5; Waudby-Smith et al. (2024), eq. (134).
    """
    check_level("alpha", alpha)
    check_positive("rho", rho)
    if not 0.0 <= v < math.inf:
        return math.nan
    total = v + rho
    half_log = 0.5 * math.log(total / rho)
    log_1_a = math.log(1.0 / alpha)
    if not one_sided:
        return math.sqrt(2.0 * total * (half_log + log_1_a))
    root = math.sqrt(total)
    x = math.sqrt(2.0 * math.log1p(math.exp(half_log) / (2.0 * alpha)))
    target = log_1_a + half_log - _LN_2
    for _ in range(_ITERATIONS):
        log_tail, ratio = _log_phi(x)
        step = (0.5 * x * x + log_tail - target) / (x + ratio)
        x -= step
        if abs(step) < _TOLERANCE:
            break
    return x * root


def _log_phi(x: float) -> tuple[float, float]:
    """Return ln Phi(x) and phi(x) / Phi(x) of a positive x, without arrays."""
    phi = 0.5 * math.erfc(-x / math.sqrt(2.0))
    return math.log(phi), math.exp(-0.5 * x * x) / (math.sqrt(2.0 * math.pi) * phi)


def z_bound(information: float, alpha: float, rho: float) -> float:
    """Return the one-sided boundary on the z scale, at any look.

    Args:
        information: Now, in the unit of ``rho`` (effective units).
        alpha: Probability of ever crossing wrongly.
        rho: Prior precision, see ``tuned_rho``.

    Returns:
        ``inf`` without information: no z is enough; ``nan`` for information that is no number.

    Raises:
        ValueError: As ``normal_mixture_bound``.
    """
    check_level("alpha", alpha)
    check_positive("rho", rho)
    if information <= 0.0:
        return math.inf
    bound = normal_mixture_bound(information, alpha, rho, one_sided=True)
    return bound / math.sqrt(information)


def average_log_e(log_e: Sequence[float] | Array, monitors: int) -> float:
    """Return the logarithm of the mean of ``monitors`` e-processes that share a filtration.

    Monitors not listed have not started: each counts as 1. An average of
    e-processes is one, so watching many restarts costs a factor, not a union bound.

    Guarantee: as each of them, at any looks. Not valid for monitors in which a unit is known at
    different times (windows), nor for a number of monitors chosen by the data.

    Args:
        log_e: Of the monitors that have started, one-dimensional; may be empty.
        monitors: All that were planned, 1 or more and no fewer than listed.

    Returns:
        0 before any has started; ``nan`` where one of them is.

    Raises:
        ValueError: Fewer monitors than are listed, or none.

    Source: STATISTICS 1(n).
    """
    listed = np.asarray(log_e, dtype=np.float64)
    if monitors < max(listed.size, 1):
        raise ValueError(f"{listed.size} monitors listed of {monitors} planned: plan them all")
    if np.isinf(listed).any() and listed.max() == math.inf:
        return math.inf
    top = max(float(listed.max()), 0.0) if listed.size else 0.0
    waiting = (monitors - listed.size) * math.exp(-top)
    return top + math.log((float(np.exp(listed - top).sum()) + waiting) / monitors)
