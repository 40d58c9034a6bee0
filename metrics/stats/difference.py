"""Two arms at one fixed time: Welch's test and its intervals.

Valid for one look that was planned beforehand, as the goal of a run is read at its end. Whoever
looks more than once needs ``confidence`` or ``group_sequential``.

Source: Welch (1947); STATISTICS 1(a), "Relative lift", for the logarithmic interval.
"""

import math
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit

from metrics.stats.relative import RelativeEffect, log_delta
from metrics.stats.values import Interval, Sample, Side, check_level


@dataclass(frozen=True, slots=True)
class Comparison:
    """Treatment minus control at a fixed time; every field ``nan`` where it is undefined.

    Attributes:
        effect: Difference of means with its confidence interval.
        relative: The same as a share of control's mean.
        statistic: Welch's t.
        df: Its degrees of freedom (Satterthwaite), not a whole number.
        p_value: Of the side asked for.
    """

    effect: Interval
    relative: RelativeEffect
    statistic: float
    df: float
    p_value: float


def welch(
    control: Sample, treatment: Sample, *, alpha: float = 0.05, side: Side = Side.TWO_SIDED
) -> Comparison:
    """Compare two means whose variances may differ.

    Guarantee: at one planned look the interval covers with probability ``1 - alpha`` and equal
    means are rejected with probability ``alpha``; exact nowhere, asymptotic in the units of both
    arms. Not valid: at looks chosen by what was seen; for a small arm beside a large one with
    skewed values (a canary), where ``contrasts`` pools the variance.

    Args:
        control: Its units.
        treatment: Its units.
        alpha: 1 - coverage of the interval.
        side: ``LESS`` and ``GREATER`` give one bound; the other end is infinite.

    Returns:
        ``nan`` throughout (but the plain difference) with fewer than two units in an arm,
        without any variance in either (no test of two constants exists) or with a mean that is not
        finite. A relative interval is ``nan`` where a mean is not positive.

    Raises:
        ValueError: An ``alpha`` that is no level.
    """
    check_level("alpha", alpha)
    difference = treatment.mean - control.mean
    v_c, v_t = control.error_squared, treatment.error_squared
    variance = v_c + v_t
    known = min(v_c, v_t) >= 0.0 and math.isfinite(difference)
    if not (known and 0.0 < variance < math.inf):
        undefined = Interval(difference, math.nan, math.nan)
        relative = log_delta(control.mean, treatment.mean, math.nan, math.nan, math.nan)
        return Comparison(undefined, relative, math.nan, math.nan, math.nan)
    df = _satterthwaite(v_c, v_t, control.n, treatment.n)
    statistic = difference / math.sqrt(variance)
    tail = alpha / 2.0 if side is Side.TWO_SIDED else alpha
    radius = float(-stdtrit(df, tail)) * math.sqrt(variance)
    effect = Interval(difference, difference - radius, difference + radius)
    relative = _relative(control, treatment, tail)
    return Comparison(
        _open(effect, side),
        _open_relative(relative, side),
        statistic,
        df,
        _p_value(statistic, df, side),
    )


def _satterthwaite(v_c: float, v_t: float, n_c: float, n_t: float) -> float:
    return (v_c + v_t) ** 2 / (v_c**2 / (n_c - 1.0) + v_t**2 / (n_t - 1.0))


def _relative(control: Sample, treatment: Sample, tail: float) -> RelativeEffect:
    """Return the logarithmic interval; its degrees of freedom are those of the logarithms."""
    v_c, v_t = control.error_squared, treatment.error_squared
    width = math.nan
    if control.mean > 0.0 and treatment.mean > 0.0:
        log_c, log_t = v_c / control.mean**2, v_t / treatment.mean**2
        width = float(-stdtrit(_satterthwaite(log_c, log_t, control.n, treatment.n), tail))
    return log_delta(control.mean, treatment.mean, v_c, v_t, width)


def _p_value(statistic: float, df: float, side: Side) -> float:
    if side is Side.LESS:
        return float(stdtr(df, statistic))
    if side is Side.GREATER:
        return float(stdtr(df, -statistic))
    return 2.0 * float(stdtr(df, -abs(statistic)))


def _open(interval: Interval, side: Side) -> Interval:
    low = -math.inf if side is Side.LESS else interval.low
    high = math.inf if side is Side.GREATER else interval.high
    return Interval(interval.estimate, low, high)


def _open_relative(relative: RelativeEffect, side: Side) -> RelativeEffect:
    opened = _open(Interval(relative.effect, relative.low, relative.high), side)
    return RelativeEffect(opened.estimate, opened.low, opened.high)
