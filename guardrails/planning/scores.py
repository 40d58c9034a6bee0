"""How the statistic of a comparison behaves when the harm is known. Pure.

With ``I`` effective units the statistic's mean is ``drift sqrt(I)`` and its standard deviation
``spread``: the contrast of ``metrics.stats.contrasts``, with its margin, its pooled null variance
and its skewness, at the values a harm gives both arms.

Source: STATISTICS 0a, 1(d), 1(i), 1(j).
"""

import math
from dataclasses import dataclass

from guardrails.levels import Comparison
from guardrails.planning.baselines import Baseline
from metrics.catalogue import Kind
from metrics.stats.comparison import MAX_DENOMINATOR_CV, MAX_SKEWNESS, MIN_EVENTS, MIN_UNITS


@dataclass(frozen=True, slots=True)
class Arms:
    """Planned shares of both arms among all units, 0 to 1."""

    control: float
    treatment: float

    @property
    def effective(self) -> float:
        """Effective units per unit of all arms: the information one exposed unit brings."""
        return self.control * self.treatment / (self.control + self.treatment)

    @property
    def smaller(self) -> float:
        """Units of the smaller arm per effective unit."""
        return min(self.control, self.treatment) / self.effective


@dataclass(frozen=True, slots=True)
class Score:
    """The statistic under one harm.

    Attributes:
        drift: Its mean per square root of an effective unit, in null standard deviations.
        spread: Its true standard deviation; the null's is 1.
        corrected: kappa, times the square root of the effective units, by which it is corrected.
        skewness: Its true skewness, times the square root of the effective units.
        gate: Effective units from which it may be used.
    """

    drift: float
    spread: float
    corrected: float
    skewness: float
    gate: float


@dataclass(frozen=True, slots=True)
class _Values:
    """Values of both arms, and of the null hypothesis nearest to them."""

    control: float
    treatment: float
    null_control: float
    null_treatment: float
    ratio: float  # the q of the contrast
    harm: float  # the contrast itself, harm positive


def treatment_value(comparison: Comparison, control: float, harm: float) -> float:
    """Return the treatment's value under a harm, in the unit of the margin (a share, or ``pp``)."""
    sign = 1.0 if comparison.side == "rise" else -1.0
    return control + sign * harm * (1.0 if comparison.absolute else control)


def possible(comparison: Comparison, control: float, harm: float) -> bool:
    """Tell whether a KPI can be harmed so much: a share stays between 0 and 1."""
    value = treatment_value(comparison, control, harm)
    return comparison.kind is not Kind.PROPORTION or 0.0 <= value <= 1.0


def _values(comparison: Comparison, arms: Arms, control: float, harm: float) -> _Values:
    sign = 1.0 if comparison.side == "rise" else -1.0
    past = sign * comparison.prove_past * comparison.margin
    ratio, shift = (1.0, past) if comparison.absolute else (1.0 + past, 0.0)
    treatment = treatment_value(comparison, control, harm)
    fit = (arms.treatment * (treatment - shift) + arms.control * control) / (
        ratio * arms.treatment + arms.control
    )
    return _Values(
        control=control,
        treatment=treatment,
        null_control=fit,
        null_treatment=ratio * fit + shift,
        ratio=ratio,
        harm=sign * (treatment - ratio * control - shift),
    )


def score_under(
    comparison: Comparison, baseline: Baseline, arms: Arms, *, harm: float
) -> Score | None:
    """Return how the statistic behaves, ``None`` where it has no meaning.

    A harm that raises a mean or a ratio is taken to raise its spread in proportion (times and
    amounts do), one that lowers it to leave the spread (scores do): whatever finds it later.

    Args:
        comparison: What is compared.
        baseline: Control's value, spread and skewness; all a plan needs.
        arms: Shares of both arms.
        harm: In the unit of the margin: 0.05 is 5% of control's value, or 5 percentage points.
    """
    if baseline.value is None or not possible(comparison, baseline.value.value, harm):
        return None
    proportion = comparison.kind is Kind.PROPORTION
    if not (proportion or comparison.absolute) and baseline.value.value <= 0.0:
        return None
    v = _values(comparison, arms, baseline.value.value, harm)
    if proportion:
        moments = _rates(v, arms)
    else:
        sd = baseline.sd.value if baseline.sd is not None else math.nan
        skewness = baseline.skewness.value if baseline.skewness is not None else 0.0
        moments = _means(v, arms, (sd, _raised(sd, v)), skewness)
    null_variance, variance, null_third, third = moments
    if not null_variance > 0.0:
        return None
    sign = 1.0 if comparison.side == "rise" else -1.0
    corrected = sign * null_third / null_variance**1.5
    return Score(
        drift=v.harm / math.sqrt(null_variance),
        spread=math.sqrt(variance / null_variance),
        corrected=corrected,
        skewness=sign * third / variance**1.5 if variance > 0.0 else 0.0,
        gate=_gate(comparison, baseline, arms, v, corrected),
    )


def _rates(v: _Values, arms: Arms) -> tuple[float, float, float, float]:
    """Return variance and third moment of the contrast per effective unit, null and true."""
    w_t, w_c = _shares(arms)

    def second(p_t: float, p_c: float) -> float:
        return w_c * p_t * (1.0 - p_t) + w_t * v.ratio**2 * p_c * (1.0 - p_c)

    def third(p_t: float, p_c: float) -> float:
        skew_t = p_t * (1.0 - p_t) * (1.0 - 2.0 * p_t)
        skew_c = p_c * (1.0 - p_c) * (1.0 - 2.0 * p_c)
        return w_c**2 * skew_t - w_t**2 * v.ratio**3 * skew_c

    p_c = min(1.0, max(0.0, v.null_control))
    p_t = min(1.0, max(0.0, v.null_treatment))
    return (
        second(p_t, p_c),
        second(v.treatment, v.control),
        third(p_t, p_c),
        third(v.treatment, v.control),
    )


def _means(
    v: _Values, arms: Arms, sds: tuple[float, float], skewness: float
) -> tuple[float, float, float, float]:
    """Return the same of a mean or a ratio; ``sds`` of control and of the treatment."""
    w_t, w_c = _shares(arms)
    square_c, square_t = (sd * sd for sd in sds)
    cube_c, cube_t = (skewness * sd**3 for sd in sds)
    off_t, off_c = v.treatment - v.null_treatment, v.control - v.null_control
    pooled = w_t * (square_t + off_t**2) + w_c * v.ratio**2 * (square_c + off_c**2)
    pooled_cube = w_t * (cube_t + 3.0 * square_t * off_t + off_t**3) + w_c * v.ratio**3 * (
        cube_c + 3.0 * square_c * off_c + off_c**3
    )
    return (
        pooled,
        w_c * square_t + w_t * v.ratio**2 * square_c,
        pooled_cube * (w_c**2 - w_t**2),
        w_c**2 * cube_t - w_t**2 * v.ratio**3 * cube_c,
    )


def _raised(sd: float, v: _Values) -> float:
    return sd * max(1.0, v.treatment / v.control) if v.control > 0.0 else sd


def _shares(arms: Arms) -> tuple[float, float]:
    both = arms.treatment + arms.control
    return arms.treatment / both, arms.control / both


def _gate(
    comparison: Comparison, baseline: Baseline, arms: Arms, v: _Values, corrected: float
) -> float:
    """Return the effective units from which the engine's gates are open, as expected."""
    smaller = float(MIN_UNITS)
    if comparison.kind is Kind.PROPORTION:
        w_t, w_c = _shares(arms)
        events = w_t * v.treatment + w_c * v.control
        rarer = min(events, 1.0 - events)
        smaller = max(smaller, MIN_EVENTS / rarer if rarer > 0.0 else math.inf)
    elif baseline.denominator_cv is not None:
        smaller = max(smaller, (baseline.denominator_cv.value / MAX_DENOMINATOR_CV) ** 2)
    return max(smaller / arms.smaller, (corrected / MAX_SKEWNESS) ** 2)


def same_units(kind: Kind, short: Baseline, long: Baseline) -> float:
    """Return the correlation of a unit's parts in the statistics of two of its windows.

    What happened by the end of the short window is part of what happened by the end of the long
    one. A proportion: whoever had the event early has it late too (or, where the share falls with
    time, the other way round). A mean: the long window adds something independent. A ratio: the
    units with a value early are among those with one late, and keep it but for what is added.
    """
    if short.value is None or long.value is None:
        return 0.0
    if kind is Kind.PROPORTION:
        low, high = sorted((short.value.value, long.value.value))
        inside = math.sqrt(low * (1.0 - high) / (high * (1.0 - low)))
    else:
        sds = sorted((_number(short, "sd"), _number(long, "sd")))
        inside = sds[0] / sds[1]
    answers = sorted((_number(short, "answering"), _number(long, "answering")))
    return inside * math.sqrt(answers[0] / answers[1])


def _number(baseline: Baseline, name: str) -> float:
    number = getattr(baseline, name)
    return 1.0 if number is None else number.value
