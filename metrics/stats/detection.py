"""What a sequential test will find, and when: power, smallest effect, detection time.

One unit of account throughout: information is effective units ``m = nC nT / (nC + nT)`` of one
comparison, so a difference ``change`` between values of standard deviation ``sd`` has z of mean
``change / sd * sqrt(m)``. Everything comes from the recursion, nothing from simulation.

Source: STATISTICS 1(b), 1(i); Jennison & Turnbull (2000), ch. 19; Wald (1945) for the floor.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from metrics.stats.group_sequential import exit_probabilities
from metrics.stats.power import Monitor, monitor
from metrics.stats.spending import Curve
from metrics.stats.values import check_level, check_positive

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Detection:
    """The law of the look at which a change is found.

    Attributes:
        power: Probability of finding it by the last look.
        mean: Mean information at which the test stops, the last look included where it finds
            nothing; ``nan`` without looks.
        median: Information by which it is found with probability one half; ``inf`` if never.
        p90: The same for nine tenths.
    """

    power: float
    mean: float
    median: float
    p90: float


def spending_monitor(
    information: Sequence[float] | Array,
    curve: Curve,
    *,
    alpha: float,
    planned: float,
    **parameters: float,
) -> Monitor:
    """Return the one-sided test that spends ``alpha`` along a curve.

    Args:
        information: Of the looks, increasing, above 0.
        curve: Of ``spending``, in information / planned information.
        alpha: One-sided level; half of a symmetric two-sided one, whose other side is then
            counted as not found.
        planned: Information at which the curve's fraction is 1.
        parameters: Of the curve (``tau``, ``power``, ``gamma``).

    Raises:
        ValueError: Information that does not grow, levels that are none.
    """
    check_level("alpha", alpha)
    check_positive("planned", planned)
    looks = [float(i) for i in information]
    return monitor(looks, [curve(i / planned, alpha, **parameters) for i in looks])


def drift_of(change: float, sd: float) -> float:
    """Return theta of a difference ``change`` (harm positive) between values of spread ``sd``.

    Where arms differ in spread, ``sd`` is the root of ``(var_T nC + var_C nT) / (nC + nT)``.

    Raises:
        ValueError: An ``sd`` that is not above 0.
    """
    check_positive("sd", sd)
    return change / sd


def detection(test: Monitor, change: float, sd: float) -> Detection:
    """Return when a change is found.

    Guarantee: exact for a normal statistic with these looks. Looks in time follow information
    only while units arrive as planned.

    Args:
        test: A one-sided test, see ``spending_monitor``.
        change: True difference, harm positive; may be 0 or negative.
        sd: Of one unit, above 0.

    Returns:
        ``nan`` for a change that is not finite; never found without looks.

    Raises:
        ValueError: An ``sd`` that is not above 0.
    """
    theta = drift_of(change, sd)
    if not math.isfinite(theta):
        return Detection(math.nan, math.nan, math.nan, math.nan)
    if not test.information.size:
        return Detection(0.0, math.nan, math.inf, math.inf)
    # not by the monitor's own laws: they end at z = 8.5, where O'Brien-Fleming only begins
    looks = test.information.tolist()
    exits = exit_probabilities(looks, test.boundary.tolist(), drift=theta)
    by = np.minimum(np.cumsum(exits.upper), 1.0)  # quadrature is right to millionths
    mean = exits.expected_information(looks)
    return Detection(float(by[-1]), mean, *(found_with(test, by, p) for p in (0.5, 0.9)))


def found_with(test: Monitor, found_by: Array, probability: float) -> float:
    """Return the first look's information by which ``probability`` is reached, ``inf`` if never.

    Args:
        test: Whose looks.
        found_by: Probability of having found it by each look (``Monitor.found_by``).
        probability: Above 0 and below 1.
    """
    check_level("probability", probability)
    enough = np.flatnonzero(found_by >= probability)
    return float(test.information[enough[0]]) if enough.size else math.inf


def smallest_effect(test: Monitor, sd: float, *, power: float = 0.8) -> float:
    """Return the smallest change found by the last look with this power.

    Guarantee: exact for a normal statistic with these looks.

    Args:
        test: A one-sided test, see ``spending_monitor``.
        sd: Of one unit, above 0.
        power: Above the test's error and below 1.

    Returns:
        ``inf`` where no look can find anything, ``nan`` where even no change is "found" as often.

    Raises:
        ValueError: An ``sd`` or a power that is none.
    """
    check_level("power", power)
    check_positive("sd", sd)
    return test.drift_for(power) * sd


def hours_until(
    information: float,
    *,
    control_per_hour: float,
    treatment_per_hour: float,
    window_hours: float = 0.0,
    check_hours: float = 0.0,
) -> float:
    """Return the hours after the start at which a comparison has this information.

    Args:
        information: In effective units; ``inf`` stays ``inf``.
        control_per_hour: Units entering control that will have a value.
        treatment_per_hour: The same of the treatment.
        window_hours: A unit counts only when its window has closed (lag included).
        check_hours: Between two checks: on average half of it is waited for.

    Raises:
        ValueError: Rates that are not above 0.
    """
    check_positive("control_per_hour", control_per_hour)
    check_positive("treatment_per_hour", treatment_per_hour)
    per_hour = control_per_hour * treatment_per_hour / (control_per_hour + treatment_per_hour)
    return information / per_hour + window_hours + 0.5 * check_hours


def fixed_units(
    change: float, var_control: float, var_treatment: float, *, alpha: float, power: float
) -> float:
    """Return the units per arm (arms of equal size) of one one-sided test at a fixed time.

    ``(z_(1-alpha) + z_power)^2 (var_C + var_T) / change^2``: the classical n, the natural scale
    of every sequential test of the same change.

    Args:
        change: True difference.
        var_control: Variance of one unit of control.
        var_treatment: The same of the treatment.
        alpha: One-sided.
        power: Probability of finding it.

    Returns:
        ``inf`` for no change: nothing finds it. ``nan`` without variance, or for anything that is
        not finite.

    Raises:
        ValueError: Levels that are none.
    """
    check_level("alpha", alpha)
    check_level("power", power)
    variance, square = _spread(var_control, var_treatment), change * change
    if math.isnan(variance) or not math.isfinite(change):
        return math.nan
    if square == 0.0:
        return math.inf
    z: Any = ndtri(1.0 - alpha) + ndtri(power)
    return float(z * z) * variance / square


def _spread(var_control: float, var_treatment: float) -> float:
    """Return the sum of two variances, ``nan`` where there is none to speak of."""
    variance = var_control + var_treatment
    usable = min(var_control, var_treatment) >= 0.0 and 0.0 < variance < math.inf
    return variance if usable else math.nan


def floor_units(change: float, var_control: float, var_treatment: float, *, alpha: float) -> float:
    """Return the mean units per arm below which no test of level ``alpha`` can find a change.

    Wald's test with power 1 that knows the change: ``2 (var_C + var_T) ln(1/alpha) / change^2``,
    overshoot left out. What a monitor needs above it is the price of not knowing the change.

    Args:
        change: True difference.
        var_control: Variance of one unit of control.
        var_treatment: The same of the treatment.
        alpha: One-sided.

    Returns:
        ``inf`` for no change, ``nan`` without variance, or for anything that is not finite.

    Raises:
        ValueError: A level that is none.
    """
    check_level("alpha", alpha)
    variance, square = _spread(var_control, var_treatment), change * change
    if math.isnan(variance) or not math.isfinite(change):
        return math.nan
    if square == 0.0:
        return math.inf
    return 2.0 * variance * math.log(1.0 / alpha) / square
