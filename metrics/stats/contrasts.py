"""The one statistic of every comparison: a linear contrast with the margin inside.

The null hypothesis is ``R_T = q R_C + s`` where ``R`` is a mean, a rate or a ratio of
sums: a harm of just so much. Because the contrast is linear it is a difference of
means, and all sequential theory holds for it. Its variance and skewness are taken
about the null fit and pooled over arms, so an arm without any variance (a total
failure) is no obstacle and a small canary is not misjudged.

    U = sum m_h D_h,  V = sum m_h^2 Var(D_h),  kappa = third cumulant / V^1.5
    z0 = U / sqrt V,  z = z0 - kappa (z0^2 - 1) / 6

over allocation phases h with ``m_h = nT nC / (nT + nC)``.

Source: STATISTICS 0a, 1(a), 1(d), 1(j).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metrics.stats.moments import Arm

Array = npt.NDArray[np.float64]

_TURN = 3.0  # kappa z0 at which the skewness correction stops growing


@dataclass(frozen=True, slots=True)
class Null:
    """``R_T = ratio R_C + shift``; harm is positive for ``sign`` +1 (a rise) and -1 (a drop).

    All may be arrays that broadcast against the moments, ``sign`` with one phase.
    """

    ratio: float | Array
    shift: float | Array
    sign: float | Array


@dataclass(frozen=True, slots=True)
class Statistic:
    """The statistic per row (phases summed up).

    Attributes:
        z: Skew-corrected harm statistic, ``nan`` without variance.
        kappa: Its skewness, ``nan`` without variance.
        information: ``sum m_h``, in effective units.
    """

    z: Array
    kappa: Array
    information: Array


def _null(
    null: Null, treatment: tuple[Array, Array], control: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Return the pooled fit (R0_T, R0_C) under the null, per phase."""
    (y_t, x_t), (y_c, x_c) = treatment, control
    below = null.ratio * x_t + x_c
    fit = (y_t + y_c - null.shift * x_t) / np.where(below > 0.0, below, 1.0)
    return null.ratio * fit + null.shift, fit


def _effective(n_t: Array, n_c: Array) -> Array:
    return n_t * n_c / np.maximum(n_t + n_c, 1.0)


def skew_corrected(z0: Array, kappa: Array) -> Array:
    """Return ``z0 - kappa (z0^2 - 1) / 6``, held at its turning point.

    The second-order correction is a parabola; past ``kappa z0 = 3`` it would turn
    back and read the largest harm as none (12% to 0% in a small canary), so from
    there on it keeps its extreme value.

    Guarantee: normal to second order while ``|kappa|`` is below .3. Never falls as z0 grows on
    the side of harm.

    Args:
        z0: Statistic with pooled variance.
        kappa: Its skewness, broadcast against ``z0``.

    Returns:
        ``nan`` where either is.

    Source:
        Hall (1992), section 2.6 (Cornish-Fisher).
    """
    turned = kappa * z0 > _TURN
    z = np.where(turned, _TURN / np.where(turned, kappa, 1.0), z0)
    return z - kappa * (z * z - 1.0) / 6.0


def _of_all_phases(value: float | Array) -> Array:
    """Return what concerns all phases as it stands beside their sums."""
    given = np.asarray(value)
    return given[..., 0] if given.ndim else given


def _combine(null: Null, m: Array, harm: Array, variance: Array, third: Array) -> Statistic:
    """Sum phases: ``variance`` and ``third`` are cumulants of the harm contrast per phase."""
    weighted = m * m
    u = np.asarray((m * harm).sum(axis=-1))
    v = np.asarray((weighted * variance).sum(axis=-1))
    k = _of_all_phases(null.sign) * np.asarray((weighted * m * third).sum(axis=-1))
    known = v > 0.0
    root = np.sqrt(np.where(known, v, 1.0))
    kappa = np.where(known, k / (root * root * root), np.nan)
    z0 = np.where(known, u / root, np.nan)
    return Statistic(skew_corrected(z0, kappa), kappa, np.asarray(m.sum(axis=-1)))


def proportion_statistic(
    treatment: tuple[Array, Array], control: tuple[Array, Array], null: Null
) -> Statistic:
    """Return the statistic of two rates from (units, events), each ``(..., phases)``.

    The null fixes each arm's own variance, ``p (1 - p)`` at ``p_T0 = q p_C0 + s``, so these
    Bernoulli moments are used. Pooling control's values times q instead would take the
    variance at one common rate: with a 19:1 split, p = .9 and q < 1 the treatment's variance,
    nearly all of the contrast's, would be understated (``p (1 - p)`` grows as p falls). With
    q = 1 and s = 0 both are the same.

    Guarantee: standard normal at the null from ten expected events and ten expected non-events
    in the smaller arm and ``|kappa| < .3``, whatever the shares of arms, phases being strata.
    Without these gates it is no test.

    Args:
        treatment: Units and events of the treatment, whole numbers of 0 or more.
        control: The same of control, same shapes.
        null: A harm of just so much, broadcast against them.

    Returns:
        One value per leading index; ``nan`` (and information 0) where no phase has both arms or
        the rate under the null is 0 or 1 everywhere.

    Source:
        STATISTICS 0a; with q = 1 the pooled two-proportion z.
    """
    (n_t, y_t), (n_c, y_c) = treatment, control
    m = _effective(n_t, n_c)
    one_t, one_c = np.maximum(n_t, 1.0), np.maximum(n_c, 1.0)
    harm = null.sign * (y_t / one_t - null.ratio * (y_c / one_c) - null.shift)
    _, fit = _null(null, (y_t, n_t), (y_c, n_c))
    p_c = np.clip(fit, 0.0, 1.0)
    p_t = np.clip(null.ratio * p_c + null.shift, 0.0, 1.0)
    v_t, v_c = p_t * (1.0 - p_t) / one_t, p_c * (1.0 - p_c) / one_c
    square = null.ratio * null.ratio
    variance = v_t + square * v_c
    third = v_t * (1.0 - 2.0 * p_t) / one_t - square * null.ratio * v_c * (1.0 - 2.0 * p_c) / one_c
    return _combine(null, m, harm, variance, third)


def about(a: Arm, ratio: Array) -> tuple[Array, Array]:
    """Return the sums of e^2 and e^3 over an arm's units, ``e = y - ratio x``.

    Args:
        a: Moments, any leading axes.
        ratio: Broadcast against them.

    Returns:
        Arrays of that shape; 0 without units. Cubes mean nothing where ``a.cubes`` is false.
    """
    k = a.y0 - ratio * a.x0
    kk = k * k
    first, second, third = a.u, a.uu, a.uuu
    if a.v is not None and a.uv is not None and a.vv is not None:
        r2 = ratio * ratio
        first = first - ratio * a.v
        second = second - 2.0 * ratio * a.uv + r2 * a.vv
        if a.uuv is not None and a.uvv is not None and a.vvv is not None:
            third = third - 3.0 * ratio * a.uuv + 3.0 * r2 * a.uvv - r2 * ratio * a.vvv
    squares = second + 2.0 * k * first + a.n * kk
    return np.maximum(squares, 0.0), third + 3.0 * k * second + 3.0 * kk * first + a.n * k * kk


def linear_statistic(treatment: Arm, control: Arm, null: Null) -> Statistic:
    """Return the statistic of two means or ratios of sums, phases on the last axis.

    A unit's residual about the null fit, divided by its arm's mean denominator, is the
    delta method's linearised value; control's is multiplied by q. Squares and cubes are
    pooled over both arms. Only units with a value are in the sums.

    Guarantee: standard normal at the null, asymptotically in the units of the smaller arm, from
    100 units, ``|kappa| < .3`` and denominators known to 5%; phases are strata. Not for tails
    rarer than a sample shows.

    Args:
        treatment: Moments of the treatment.
        control: The same of control, same shapes.
        null: A harm of just so much, broadcast against them.

    Returns:
        One value per leading index; ``nan`` where no phase has both arms with a denominator above
        0, or no value differs from the null's.

    Source:
        STATISTICS 0a, 1(d); Fieller (1954) for the contrast.
    """
    y_t, x_t, y_c, x_c = treatment.y, treatment.x, control.y, control.x
    usable = (x_t > 0.0) & (x_c > 0.0)
    m = np.where(usable, _effective(treatment.n, control.n), 0.0)
    x_t, x_c = np.where(usable, x_t, 1.0), np.where(usable, x_c, 1.0)
    harm = null.sign * (y_t / x_t - null.ratio * (y_c / x_c) - null.shift)
    fit_t, fit_c = _null(null, (y_t, x_t), (y_c, x_c))
    n_t, n_c = np.maximum(treatment.n, 1.0), np.maximum(control.n, 1.0)
    scale_t, scale_c = n_t / x_t, null.ratio * n_c / x_c
    square_t, cube_t = about(treatment, fit_t)
    square_c, cube_c = about(control, fit_c)
    units = n_t + n_c
    squares = (square_t * scale_t * scale_t + square_c * scale_c * scale_c) / units
    variance = squares * (1.0 / n_t + 1.0 / n_c)
    cubes = (cube_t * scale_t**3 + cube_c * scale_c**3) / units
    third = cubes * (1.0 / (n_t * n_t) - 1.0 / (n_c * n_c))
    third = np.where(np.logical_and(treatment.cubes, control.cubes), third, 0.0)
    return _combine(null, m, harm, variance, third)


def unpooled_variance(a: Arm) -> Array:
    """Return the variance of an arm's own mean or ratio per phase (delta method), for display.

    Guarantee: asymptotic. Never decides: a canary's own variance is too small as often as its
    few units are too much alike.

    Args:
        a: Moments, phases on the last axis.

    Returns:
        0 where all values are alike; means nothing below two units or without a denominator.
    """
    x = a.x
    x = np.where(x > 0.0, x, 1.0)
    n = np.maximum(a.n, 1.0)
    squares, _ = about(a, a.y / x)
    return squares / (x * x) * (n / np.maximum(n - 1.0, 1.0))


def linearised_spread(a: Arm) -> tuple[Array, Array]:
    """Return standard deviation and skewness of one unit's linearised value, phases apart.

    The value of a mean's unit, the delta method's of a ratio's. Descriptive: for plans and
    baselines.

    Args:
        a: Moments, phases on the last axis.

    Returns:
        ``nan`` without units or spread, and for a skewness whose third powers mean nothing.
    """
    x = np.where(a.x > 0.0, a.x, np.nan)
    n = np.maximum(a.n, 1.0)
    squares, cubes = about(a, a.y / x)
    variance = np.where(squares > 0.0, squares / n, np.nan)
    third = cubes / n if a.cubes else np.full_like(variance, np.nan)
    return np.sqrt(variance) * n / x, third / variance**1.5


def denominator_cv(a: Arm) -> Array:
    """Return the coefficient of variation of an arm's mean denominator, phases together.

    Args:
        a: Moments, phases on the last axis.

    Returns:
        0 where every unit has denominator 1; ``inf`` without units or with a mean of 0: such a
        denominator is not known at all.
    """
    n = a.n.sum(axis=-1)
    if a.v is None or a.vv is None:
        return np.where(n > 0.0, 0.0, np.inf)
    one = np.maximum(n, 1.0)
    mean_v = a.v.sum(axis=-1) / one
    variance = np.maximum(a.vv.sum(axis=-1) / one - mean_v * mean_v, 0.0)
    mean = _of_all_phases(a.x0) + mean_v
    positive = (n > 0.0) & (mean > 0.0)
    return np.where(positive, np.sqrt(variance / one) / np.where(positive, mean, 1.0), np.inf)
