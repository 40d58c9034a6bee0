"""Relative effects for display: Fieller's set of ratios that are not rejected.

Decisions never use it: they test a linear contrast.

Source: STATISTICS 1(a), "Relative lift"; Fieller (1954).
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RelativeEffect:
    """Treatment against control: ``effect`` -0.05 is 5% lower; infinite ends are unbounded."""

    effect: float
    low: float
    high: float


def fieller(
    control: float, treatment: float, var_control: float, var_treatment: float, z: float
) -> RelativeEffect:
    """Return the relative effect and its Fieller interval.

    Guarantee: holds every ratio that is not rejected at ``z``, so it covers as z does: at one
    look with a normal quantile, at every look with a sequential boundary. Exact for normal means
    of known variance, else asymptotic in the units of both arms.

    Args:
        control: Mean, rate or ratio of control.
        treatment: The same of the treatment.
        var_control: Variance of ``control``.
        var_treatment: Variance of ``treatment``.
        z: Half-width in standard errors; a sequential boundary makes it valid at every look.

    Returns:
        ``nan`` where control is not positive or a mean is not finite; ``nan`` ends where a
        variance is unknown; ends at +-``inf`` where control cannot be told from 0 (the set is then
        unbounded).
    """
    if not 0.0 < control < math.inf or not math.isfinite(treatment):
        return RelativeEffect(math.nan, math.nan, math.nan)
    effect = treatment / control - 1.0
    if not (min(var_control, var_treatment) >= 0.0 and z >= 0.0):
        return RelativeEffect(effect, math.nan, math.nan)
    square = z * z
    a = control * control - square * var_control
    if not a > 0.0 or math.isinf(z):
        return RelativeEffect(effect, -math.inf, math.inf)
    middle = treatment * control
    c = treatment * treatment - square * var_treatment
    root = math.sqrt(max(middle * middle - a * c, 0.0))
    return RelativeEffect(effect, (middle - root) / a - 1.0, (middle + root) / a - 1.0)


def log_delta(
    control: float, treatment: float, var_control: float, var_treatment: float, z: float
) -> RelativeEffect:
    """Return the relative effect and its interval from the delta method on the logarithm.

    Guarantee: asymptotic coverage at one look while both means are many standard errors above
    0; near 0 it is too short, where Fieller's is honest ("unbounded"). Never wider than what is
    possible: the low end stays above -1.

    Args:
        control: Mean, rate or ratio of control.
        treatment: The same of the treatment.
        var_control: Variance of ``control``.
        var_treatment: Variance of ``treatment``.
        z: Half-width in standard errors, a normal or t quantile.

    Returns:
        ``nan`` where control is not positive or a mean is not finite; ``nan`` ends where the
        treatment is not positive or a variance is unknown.

    Source:
        STATISTICS 1(a); tea-tasting's relative interval.
    """
    if not 0.0 < control < math.inf or not math.isfinite(treatment):
        return RelativeEffect(math.nan, math.nan, math.nan)
    ratio = treatment / control
    if not (treatment > 0.0 and min(var_control, var_treatment) >= 0.0):
        return RelativeEffect(ratio - 1.0, math.nan, math.nan)
    error = math.sqrt(var_treatment / treatment**2 + var_control / control**2)
    reach = z * error
    return RelativeEffect(
        ratio - 1.0, ratio * math.exp(-reach) - 1.0, ratio * math.exp(reach) - 1.0
    )
