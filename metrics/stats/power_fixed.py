"""Power of one test at a fixed time: how the goal of an experiment is read at its end.

Source: statsmodels.stats (``NormalIndPower``, ``power_proportions_2indep``); imported late,
because that takes more than a second.
"""

import math
from collections.abc import Callable
from typing import Any

from metrics.stats.power import root
from metrics.stats.values import check_level

_MOST_UNITS = 1e12
_LEAST_UNITS = 2.0
_BOTH = 2.0  # two rates of 1


def mean_power(
    change: float, sd: float, control: float, treatment: float, *, alpha: float
) -> float:
    """Return the power of the two-sided comparison of two means.

    Guarantee: exact for normal means of known spread, read once at the end; a t test needs about
    two units more. A rejection in the wrong direction counts as one.

    Args:
        change: True difference.
        sd: Of one unit, in both arms.
        control: Units of control.
        treatment: Units of the treatment.
        alpha: Two-sided.

    Returns:
        ``alpha`` for no change; ``nan`` below two units in an arm, without spread, or for anything
        that is not finite.

    Raises:
        ValueError: An ``alpha`` that is no level.

    Source:
        statsmodels, ``NormalIndPower``.
    """
    check_level("alpha", alpha)
    if not (_enough(control, treatment) and 0.0 < sd < math.inf and math.isfinite(change)):
        return math.nan
    from statsmodels.stats.power import NormalIndPower  # noqa: PLC0415 - see above

    test: Any = NormalIndPower()
    return float(test.power(change / sd, control, alpha, ratio=treatment / control))


def rate_power(
    change: float, rate: float, control: float, treatment: float, *, alpha: float
) -> float:
    """Return the power of the two-sided comparison of two rates, pooled under the null.

    Guarantee: asymptotic, for one look at the end; rough below ten events in an arm.

    Args:
        change: True difference of the rates.
        rate: Of control.
        control: Units of control.
        treatment: Units of the treatment.
        alpha: Two-sided.

    Returns:
        ``nan`` where a rate would be no rate, where both are 0 or both 1 (no spread), below two
        units in an arm, or for anything that is not finite.

    Raises:
        ValueError: An ``alpha`` that is no level.

    Source:
        statsmodels, ``power_proportions_2indep``.
    """
    check_level("alpha", alpha)
    changed = rate + change
    rates = 0.0 <= rate <= 1.0 and 0.0 <= changed <= 1.0 and 0.0 < rate + changed < _BOTH
    if not (_enough(control, treatment) and rates):
        return math.nan
    from statsmodels.stats.proportion import (  # noqa: PLC0415 - see above
        power_proportions_2indep,
    )

    ask: Any = power_proportions_2indep
    ratio = control / treatment
    return float(ask(change, rate, treatment, ratio=ratio, alpha=alpha, return_results=False))


def _enough(control: float, treatment: float) -> bool:
    return min(control, treatment) >= _LEAST_UNITS and math.isfinite(control + treatment)


Power = Callable[[float, float, float], float]
"""``(change, units of control, units of the treatment) -> power``."""


def smallest_change(
    power: Power, control: float, treatment: float, *, wanted: float, most: float
) -> float | None:
    """Return the smallest change that is found with the power wanted.

    Args:
        power: Of the test, growing with the change.
        control: Units of control.
        treatment: Units of the treatment.
        wanted: Power, above the test's level and below 1.
        most: Largest change looked at; its sign is the direction.

    Returns:
        The size of the change, without its sign; ``None`` where even ``most`` is not found as
        often.
    """
    if not _enough(control, treatment) or not power(most, control, treatment) >= wanted:
        return None
    tiny = abs(most) * 1e-9

    def missing(size: float) -> float:
        return power(math.copysign(size, most), control, treatment) - wanted

    return root(missing, tiny, abs(most), xtol=abs(most) * 1e-9)


def units_needed(
    power: Power, change: float, *, control: float, treatment: float, wanted: float
) -> float | None:
    """Return the units of all arms at which a change is found with the power wanted.

    Args:
        power: Of the test.
        change: To be found.
        control: Share of control among all units.
        treatment: Share of the treatment.
        wanted: Power.

    Returns:
        ``None`` where no number of units is enough, or an arm has no share.
    """
    if not min(control, treatment) > 0.0:
        return None

    def missing(log_units: float) -> float:
        units = math.exp(log_units)
        return power(change, units * control, units * treatment) - wanted

    least = math.log(_LEAST_UNITS / min(control, treatment)) + 1e-9
    most = math.log(_MOST_UNITS)
    if not missing(most) > 0.0:
        return None
    if missing(least) >= 0.0:
        return math.exp(least)
    return math.exp(root(missing, least, most, xtol=1e-6))
