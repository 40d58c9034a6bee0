"""Normal Bayesian summaries of an estimate: how probable, how costly. Advice, never a trigger.

A posterior probability watched until it passes 95% is the repeated z-test: it turns back a third
of all harmless treatments. So nothing here decides while a run goes on.

Source:
    STATISTICS 1(l); Gelman et al., "Bayesian Data Analysis", section 2.5; Stucchio (2015) for the
    expected loss.
"""

import math
from dataclasses import dataclass

from scipy.special import ndtr, ndtri

from metrics.stats.values import Interval, check_level, check_positive


@dataclass(frozen=True, slots=True)
class Posterior:
    """What is believed of an effect after an estimate of it; ``nan`` without one.

    Attributes:
        effect: Posterior mean with its central credible interval.
        sd: Posterior standard deviation.
        positive: Probability that the effect is above 0.
        loss_of_shipping: Expected harm of shipping, ``E max(-effect, 0)``, in the effect's unit.
        loss_of_staying: Expected gain forgone, ``E max(effect, 0)``.
    """

    effect: Interval
    sd: float
    positive: float
    loss_of_shipping: float
    loss_of_staying: float


def normal_posterior(
    estimate: float,
    variance: float,
    *,
    prior_sd: float,
    prior_mean: float = 0.0,
    level: float = 0.95,
) -> Posterior:
    """Combine a normal prior with an estimate.

    Guarantee: exact for a normal estimate of known variance, given the prior. It is no error rate:
    the interval covers on average over effects drawn from the prior, not for the one at hand,
    and not at looks chosen by what was seen unless the prior is true.

    Args:
        estimate: Higher is better; a difference, or a relative one.
        variance: Of the estimate; infinite means it says nothing.
        prior_sd: Of effects of this kind, above 0 (relative: .02 to .05, better from history).
        prior_mean: Of effects of this kind.
        level: Of the credible interval.

    Returns:
        ``nan`` where estimate or variance is, or the variance is 0 or below.

    Raises:
        ValueError: A prior without width, a level that is none.
    """
    check_positive("prior_sd", prior_sd)
    check_level("level", level)
    if math.isinf(variance) and variance > 0.0:
        precision, mean = prior_sd**-2, prior_mean
    elif variance > 0.0 and math.isfinite(estimate):
        precision = 1.0 / variance + prior_sd**-2
        mean = (estimate / variance + prior_mean * prior_sd**-2) / precision
    else:
        nothing = Interval(math.nan, math.nan, math.nan)
        return Posterior(nothing, math.nan, math.nan, math.nan, math.nan)
    sd = 1.0 / math.sqrt(precision)
    reach = float(ndtri(0.5 + 0.5 * level)) * sd
    return Posterior(
        effect=Interval(mean, mean - reach, mean + reach),
        sd=sd,
        positive=float(ndtr(mean / sd)),
        loss_of_shipping=_expected_excess(-mean, sd),
        loss_of_staying=_expected_excess(mean, sd),
    )


def _expected_excess(mean: float, sd: float) -> float:
    """Return ``E max(X, 0)`` of a normal X."""
    z = mean / sd
    density = math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    return max(sd * density + mean * float(ndtr(z)), 0.0)


def log_bayes_factor(estimate: float, variance: float, *, prior_sd: float) -> float:
    """Return the log Bayes factor of "some effect, normal about 0" against "none".

    The same number as the two-sided mixture's e-value with ``rho = 1 / prior_sd^2`` in the unit
    of the information ``1 / variance``: one prior serves posterior, e-value and confidence
    sequence, and as an e-value it may be watched.

    Args:
        estimate: Of the effect.
        variance: Of the estimate.
        prior_sd: Above 0.

    Returns:
        ``nan`` where estimate or variance is, or the variance is 0 or below.

    Raises:
        ValueError: A prior without width.
    """
    check_positive("prior_sd", prior_sd)
    if not (variance > 0.0 and math.isfinite(estimate)):
        return math.nan
    if math.isinf(variance):
        return 0.0
    total = variance + prior_sd**2
    share = prior_sd**2 / total
    return 0.5 * (math.log(variance / total) + estimate * estimate * share / variance)
