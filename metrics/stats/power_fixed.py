"""Power of one test at a fixed time: how the goal of an experiment is read at its end.

Source: statsmodels.stats (``NormalIndPower``, ``power_proportions_2indep``); imported late,
because that takes more than a second.
"""

import math
from collections.abc import Callable
from typing import Any

from metrics.stats.power import root

_MOST_UNITS = 1e12
_LEAST_UNITS = 2.0


def mean_power(
    change: float, sd: float, control: float, treatment: float, *, alpha: float
) -> float:
    """Return the power of the two-sided comparison of two means.

    Args:
        change: True difference.
        sd: Of one unit, in both arms.
        control: Units of control.
        treatment: Units of the treatment.
        alpha: Two-sided.
    """
    if min(control, treatment) < _LEAST_UNITS or not sd > 0.0:
        return math.nan
    from statsmodels.stats.power import NormalIndPower  # noqa: PLC0415 - see above

    test: Any = NormalIndPower()
    return float(test.power(change / sd, control, alpha, ratio=treatment / control))


def rate_power(
    change: float, rate: float, control: float, treatment: float, *, alpha: float
) -> float:
    """Return the power of the two-sided comparison of two rates, pooled under the null.

    ``nan`` where the treatment's rate would be no rate.

    Args:
        change: True difference of the rates.
        rate: Of control.
        control: Units of control.
        treatment: Units of the treatment.
        alpha: Two-sided.
    """
    if min(control, treatment) < _LEAST_UNITS or not 0.0 <= rate + change <= 1.0:
        return math.nan
    from statsmodels.stats.proportion import (  # noqa: PLC0415 - see above
        power_proportions_2indep,
    )

    ask: Any = power_proportions_2indep
    ratio = control / treatment
    return float(ask(change, rate, treatment, ratio=ratio, alpha=alpha, return_results=False))


Power = Callable[[float, float, float], float]
"""``(change, units of control, units of the treatment) -> power``."""


def smallest_change(
    power: Power, control: float, treatment: float, *, wanted: float, most: float
) -> float | None:
    """Return the smallest change that is found with the power wanted, ``None`` up to ``most``."""
    if min(control, treatment) < _LEAST_UNITS or not power(most, control, treatment) >= wanted:
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
        ``None`` where no number of units is enough.
    """

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
