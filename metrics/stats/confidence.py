"""Confidence sequences and e-values: intervals that may be looked at as often as one likes.

An estimate with its standard error, studentised, times the root of the information is a score;
the normal mixture of ``mixtures`` says how far it may ever stray. Anybody may look at any time,
for any reason, and stop or go on: the guarantee is for all looks together.

It is asymptotic where the standard error is estimated: take no look below ``MIN_UNITS`` of
``comparison`` in the smaller arm, and none at small counts of rare events.

Source:
    STATISTICS 1(a); Robbins (1970); Howard, Ramdas, McAuliffe & Sekhon (2021); Waudby-Smith,
    Arbour, Sinha, Kennedy & Ramdas (2024). With ``rho`` the sample size it is tuned for, this is
    the sequential interval known as GAVI or mSPRT.
"""

import math

import numpy as np
import numpy.typing as npt

from metrics.stats.mixtures import normal_log_mixture, normal_mixture_bound
from metrics.stats.values import Interval, Side, check_level, check_positive

Array = npt.NDArray[np.float64]


def radius(information: float, *, alpha: float, rho: float, side: Side = Side.TWO_SIDED) -> float:
    """Return the half-width in standard errors, valid at every look.

    Args:
        information: Now, in the unit of ``rho`` (effective units ``nT nC / (nT + nC)``).
        alpha: Probability that the true value is ever outside.
        rho: Prior precision, see ``mixtures.tuned_rho``; chosen before data arrive.
        side: A one-sided bound is tighter at the same ``alpha``.

    Returns:
        ``inf`` without information.

    Raises:
        ValueError: An ``alpha`` that is no level, a ``rho`` that is not above 0.
    """
    check_level("alpha", alpha)
    check_positive("rho", rho)
    if not information > 0.0:
        return math.inf
    one_sided = side is not Side.TWO_SIDED
    bound = normal_mixture_bound(information, alpha, rho, one_sided=one_sided)
    return bound / math.sqrt(information)


def confidence_sequence(
    estimate: float,
    standard_error: float,
    information: float,
    *,
    alpha: float,
    rho: float,
    side: Side = Side.TWO_SIDED,
) -> Interval:
    """Return the values not excluded now; all looks together miss the truth with ``alpha``.

    Guarantee: the true value is inside at every look with probability ``1 - alpha`` (Ville), for
    any rule of looking and stopping. Not valid: with ``rho`` chosen by the data; for units that
    enter twice or before their window has closed.

    Args:
        estimate: Of the difference (or of the linear contrast).
        standard_error: Its own, now.
        information: Now, never less than before, in the unit of ``rho``.
        alpha: Probability of ever being wrong.
        rho: Prior precision.
        side: ``GREATER`` gives a lower bound, ``LESS`` an upper one; the other end is infinite.

    Returns:
        ``nan`` ends where the standard error is undefined or 0: without variance nothing is
        known, least of all exactly. Infinite ends without information.

    Raises:
        ValueError: As ``radius``.
    """
    reach = radius(information, alpha=alpha, rho=rho, side=side)
    if not (0.0 < standard_error < math.inf and math.isfinite(estimate)):
        return Interval(estimate, math.nan, math.nan)
    low = -math.inf if side is Side.LESS else estimate - reach * standard_error
    high = math.inf if side is Side.GREATER else estimate + reach * standard_error
    return Interval(estimate, low, high)


def log_e_value(
    z: npt.ArrayLike, information: npt.ArrayLike, *, rho: float, side: Side = Side.TWO_SIDED
) -> Array:
    """Return the log e-value against "no difference" (one-sided: "none in this direction").

    Guarantee: an e-process; under the null it ever reaches ``1 / alpha`` with probability at most
    ``alpha``. It is at ``1 / alpha`` exactly where the confidence sequence touches 0. Averages of
    e-values are e-values; averages of e-processes need a common filtration.

    Args:
        z: Estimate in standard errors.
        information: At the same looks, broadcast against ``z``.
        rho: Prior precision.
        side: Which differences count.

    Returns:
        At most 0 (an e-value of 1) without information, ``nan`` where z or information is no
        finite number.

    Raises:
        ValueError: A ``rho`` that is not above 0.
    """
    check_positive("rho", rho)
    statistic = np.asarray(z, dtype=np.float64)
    statistic = np.where(np.isfinite(statistic), statistic, np.nan)
    v = np.maximum(np.asarray(information, dtype=np.float64), 0.0)
    v = np.where(np.isfinite(v), v, np.nan)
    score = (-statistic if side is Side.LESS else statistic) * np.sqrt(v)
    return normal_log_mixture(score, v, rho, one_sided=side is not Side.TWO_SIDED)


def always_valid_p(log_e: npt.ArrayLike) -> Array:
    """Return p-values that may be read at any look: ``min(1, 1 / largest e-value so far)``.

    Guarantee: under the null, at most ``alpha`` at any look with probability at most ``alpha``,
    however the look was chosen (Ville). Nothing beyond that of the e-process given.

    Args:
        log_e: Of the looks in their order along the last axis.

    Returns:
        Never rising; ``nan`` until the first look whose evidence is defined, undefined looks
        after it change nothing.
    """
    largest = np.fmax.accumulate(np.asarray(log_e, dtype=np.float64), axis=-1)
    return np.asarray(np.minimum(1.0, np.exp(-largest)))
