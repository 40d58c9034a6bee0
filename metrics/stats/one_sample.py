"""One arm against a fixed value: evidence that may be looked at as often as one likes.

The null hypothesis is "the true value is at most L" (``sign`` +1, a maximum) or "at least L"
(-1, a minimum).

A rate has an exact e-process, from the first unit on: the likelihood ratio of a rate beyond L,
averaged over a beta prior cut at L, against L itself. Each factor has mean 1 at L and at most 1
within it, so it is a supermartingale whatever the sample size and however the rate moves within
the limit; by Ville's inequality it ever reaches ``1 / alpha`` with probability at most ``alpha``.

A mean or ratio of sums has an asymptotic one: the one-sided normal mixture of the self-normalised
sum of ``e = y - L x``. Studentised skewness is corrected for where it would make the statistic
bolder than it may be.

What it cannot know is what has not been seen. An arm without a purchase in 120 units may have one
buyer in a hundred and a mean at the limit; a sample of a heavy tail seldom holds the values that
make up its mean. So values that are all alike prove nothing, and a side is decided only when the
skewness towards the other one, ``HIDDEN_SKEWNESS`` more than was seen, has worn off
(``MAX_TAIL``). That is a safeguard and no proof: rarer and larger values than it allows for, one
unit in hundreds that makes up a good part of the mean, stay invisible.

Source: STATISTICS 1(a), 1(j); Robbins (1970); Lindon & Malek (2022); Hall (1992), section 2.6.
"""

import math
from dataclasses import dataclass

import numpy as np

from metrics.cells import MICRO, Cell, Sums
from metrics.stats import beta_binomial, moments
from metrics.stats.contrasts import about, denominator_cv, unpooled_variance
from metrics.stats.mixtures import normal_log_mixture, normal_mixture_bound, tuned_rho
from metrics.stats.values import check_level

SHARPEST_AT = 500.0
"""Units of a mean or ratio at which its evidence is sharpest."""

RARE_EVENTS = 40.0
"""A rate's evidence is sharpest about where this many of the rarer outcome are due at the limit."""

HIDDEN_SKEWNESS = 2.0
"""Skewness of one unit's value that a sample is taken to hide: it shows less than there is."""

UNKNOWN_SKEWNESS = 4.0
"""Of one unit's value, where the third powers do not tell (see ``moments.arm``)."""

MAX_TAIL = 0.1
"""No decision while the skewness of the sum away from it, the hidden one added, is as large."""

LARGEST_LEVEL = 0.4
"""Tuning has no meaning at higher levels; tests at them are tuned as at this one."""

_ALIKE = 1e-12
_STEPS = 40
_TURN = 1.5


def _rho(units: float, alpha: float) -> float:
    return tuned_rho(units, min(alpha, LARGEST_LEVEL), one_sided=True)


def rate_log_e(events: float, units: float, limit: float, alpha: float) -> float:
    """Return the log e-value against "the rate is at most ``limit``".

    Guarantee: exact from the first unit, at any looks: a rate within the limit, even one that
    moves, ever reaches ``log(1 / alpha)`` with probability at most ``alpha``. Not valid where a
    unit counts more than once.

    Args:
        events: Units with the event.
        units: All units.
        limit: Rate, above 0 and below 1.
        alpha: Level for which it is tuned; it is valid at any.

    Returns:
        0 without units; ``nan`` for counts that are none; may be ``-inf`` where nothing speaks
        for a rate above the limit.

    Raises:
        ValueError: A limit that is no rate, a level that is none.

    Source: see ``beta_binomial.log_e``.
    """
    check_level("limit", limit)
    check_level("alpha", alpha)
    rho = max(_rho(RARE_EVENTS / min(limit, 1.0 - limit), alpha), 1.0)
    return beta_binomial.log_e(events, units, limit, rho, one_sided=True)


def rate_bound(events: float, units: float, alpha: float) -> float:
    """Return the largest limit that a rate is proven to be above.

    Guarantee: exact; over all looks together it is ever above a constant true rate with
    probability at most ``alpha``.

    Args:
        events: Units with the event.
        units: All units.
        alpha: Level.

    Returns:
        0 where nothing is proven (every rate is above 0 or at it), ``nan`` for counts that are
        none.

    Raises:
        ValueError: A level that is none.
    """
    check_level("alpha", alpha)
    if not 0.0 <= events <= units < math.inf:
        return math.nan
    needed = -math.log(alpha)
    low, high = 0.0, events / units if units > 0.0 else 0.0
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        if not 0.0 < middle < 1.0:
            return low
        if rate_log_e(events, units, middle, alpha) >= needed:
            low = middle
        else:
            high = middle
    return low


@dataclass(frozen=True, slots=True)
class OneSample:
    """Evidence of one arm about a fixed value.

    Attributes:
        usable: Whether it may be used for a decision: enough units, values that differ, known
            denominators, and a skewness the correction can cope with. Always true of a rate with
            a unit.
        log_beyond: Log e-value against "within the limit".
        log_within: Log e-value against "beyond the limit"; 0 where a tail may hide it.
        bound: What the value is proven to be past, on the side of the limit; ``nan`` unknown.
    """

    usable: bool
    log_beyond: float
    log_within: float
    bound: float


NOTHING = OneSample(usable=False, log_beyond=0.0, log_within=0.0, bound=math.nan)


def rate_evidence(sums: Sums, limit: float, sign: float, alpha: float) -> OneSample:
    """Return the evidence of one arm's rate about a limit, on both sides of it.

    Guarantee: each of ``log_beyond`` and ``log_within`` is an exact e-process against its own
    null, see ``rate_log_e``.

    Args:
        sums: Exact sums of the arm; numerators are events.
        limit: Rate, above 0 and below 1.
        sign: +1 for a maximum, -1 for a minimum.
        alpha: Level.

    Returns:
        ``NOTHING`` without units or with more events than units.

    Raises:
        ValueError: A limit that is no rate, a level that is none.
    """
    units, events = float(sums.n), sums.y / MICRO
    if not (units > 0.0 and 0.0 <= events <= units):
        return NOTHING
    if sign < 0.0:
        mirrored = rate_evidence(_complement(sums), 1.0 - limit, 1.0, alpha)
        bound = 1.0 - mirrored.bound
        return OneSample(mirrored.usable, mirrored.log_beyond, mirrored.log_within, bound)
    return OneSample(
        usable=True,
        log_beyond=rate_log_e(events, units, limit, alpha),
        log_within=rate_log_e(units - events, units, 1.0 - limit, alpha),
        bound=rate_bound(events, units, alpha),
    )


def _complement(sums: Sums) -> Sums:
    return Sums(n=sums.n, y=sums.n * MICRO - sums.y, x=sums.x)


def mean_evidence(
    sums: Sums,
    limit: float,
    sign: float,
    alpha: float,
    *,
    ratio: bool,
    min_units: int,
    max_skewness: float,
    max_cv: float,
) -> OneSample:
    """Return the evidence of a mean, or of a ratio of sums; none where all values are alike.

    Guarantee: asymptotic, at all looks together, once ``usable``: a value at its limit trips with
    probability about ``alpha``. Not where the tail is rarer than a sample shows, see above.

    Args:
        sums: Exact sums of the arm.
        limit: In the KPI's own unit.
        sign: +1 for a maximum, -1 for a minimum.
        alpha: Level.
        ratio: Whether denominators vary.
        min_units: No decision below.
        max_skewness: No decision while the skewness of the sum is as large.
        max_cv: Nor while a ratio's mean denominator is not known as well as this.

    Returns:
        ``NOTHING`` without units, denominators or spread; not ``usable`` (and a bound of ``nan``)
        below the gates.
    """
    if sums.n == 0:
        return NOTHING
    arm = moments.arm([Cell("", 0, 0, sums.n, sums)], sums, cohorts=1, phases=1, ratio=ratio).row(0)
    n, y, x = float(arm.n[0]), float(arm.y[0]), float(arm.x[0])
    squares, cubes = (float(m[0]) for m in about(arm, np.array([limit])))
    if not (x > 0.0 and squares > 0.0 and math.isfinite(squares)):
        return NOTHING
    z = sign * (y - limit * x) / math.sqrt(squares)
    seen = _skewness(n, (y - limit * x) / n, squares / n, cubes / n)
    if seen is None:
        return NOTHING
    unknown = -UNKNOWN_SKEWNESS / math.sqrt(n)
    beyond, within = (sign * seen, -sign * seen) if arm.cubes else (unknown, unknown)
    known = n >= min_units and abs(beyond) < max_skewness and float(denominator_cv(arm)) < max_cv
    usable = known and _worn_off(n, beyond)
    rho = _rho(SHARPEST_AT, alpha)

    def log_e(score: float) -> float:
        return float(normal_log_mixture(score * math.sqrt(n), n, rho, one_sided=True))

    radius = normal_mixture_bound(n, alpha, rho, one_sided=True) / math.sqrt(n)
    error = math.sqrt(max(float(unpooled_variance(arm)[0]), 0.0))
    return OneSample(
        usable=usable,
        log_beyond=log_e(_cautious(z, beyond)),
        log_within=log_e(_cautious(-z, within)) if _worn_off(n, within) else 0.0,
        bound=y / x - sign * radius * error if usable else math.nan,
    )


def _worn_off(n: float, kappa: float) -> bool:
    """Whether ``kappa``, negative for a tail that may hide the contrary, is small enough."""
    return HIDDEN_SKEWNESS / math.sqrt(n) - kappa < MAX_TAIL


def units_until_seen(skewness: float) -> float:
    """Return about how many units a mean needs before it is judged.

    Args:
        skewness: Of one unit's value, positive towards harm.

    Returns:
        0 where the tail towards harm is heavier than what a sample is taken to hide.
    """
    return (max(HIDDEN_SKEWNESS - skewness, 0.0) / MAX_TAIL) ** 2


def _skewness(n: float, mean: float, square: float, cube: float) -> float | None:
    """Return the skewness of the sum of residuals from their raw moments, none without spread."""
    variance = square - mean * mean
    if not variance > _ALIKE * square:
        return None
    third = cube - 3.0 * mean * square + 2.0 * mean**3
    return third / variance**1.5 / math.sqrt(n)


def _cautious(z: float, kappa: float) -> float:
    """Return a studentised statistic without what skewness adds to it.

    ``z + kappa (2 z^2 + 1) / 6`` is normal to second order. Where kappa is positive the plain
    one is on the safe side and is kept; the parabola is held at its turning point.
    """
    if kappa >= 0.0:
        return z
    held = min(z, _TURN / -kappa)
    return held + kappa * (2.0 * held * held + 1.0) / 6.0
