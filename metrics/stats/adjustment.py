"""Less variance from what was known of a unit before: CUPED and Lin's adjustment.

Everything is computed from means and covariances of columns, so sums are all that must be kept.
Column 0 of a ``Joint`` is the outcome, the others are covariates. A covariate must be fixed before
first exposure: one the treatment can move turns an effect into nothing. Missing covariates are
the caller's: 0 and an indicator column.

Not yet used by the product: a flow that starts with the experiment has no pre-period.

Source:
    STATISTICS 1(e); Deng, Xu, Kohavi & Walker (2013); Lin (2013), "Agnostic notes on regression
    adjustments to experimental data".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metrics.stats.values import Sample

Array = npt.NDArray[np.float64]

_DEPENDENT = 1e-10  # covariates whose correlation matrix has a smaller eigenvalue say the same


@dataclass(frozen=True, slots=True)
class Joint:
    """Several columns of one arm's units.

    Attributes:
        n: Units.
        mean: Of each column, shape ``(k,)``.
        covariance: Divided by n - 1, shape ``(k, k)``.
    """

    n: float
    mean: Array
    covariance: Array

    @classmethod
    def of(cls, rows: npt.ArrayLike) -> "Joint":
        """Return the moments of units in rows, shape ``(n, k)``; ``nan`` where undefined.

        Raises:
            ValueError: Not two-dimensional, or a value that is not finite.
        """
        table = np.asarray(rows, dtype=np.float64)
        if table.ndim != 2 or not np.isfinite(table).all():  # noqa: PLR2004 - rows and columns
            raise ValueError(f"rows must be a table of finite numbers, got shape {table.shape}")
        n, k = table.shape
        if n == 0:
            return cls(0.0, np.full(k, math.nan), np.full((k, k), math.nan))
        mean = table.mean(axis=0)
        centred = table - mean
        below = n - 1.0 if n > 1 else math.nan
        return cls(float(n), mean, centred.T @ centred / below)

    def __add__(self, other: "Joint") -> "Joint":
        if self.n == 0.0 or other.n == 0.0:
            return other if self.n == 0.0 else self
        n = self.n + other.n
        apart = other.mean - self.mean
        squares = _squares(self) + _squares(other)
        squares = squares + np.outer(apart, apart) * (self.n * other.n / n)
        return Joint(n, self.mean + apart * (other.n / n), squares / (n - 1.0))

    def columns(self, chosen: Sequence[int]) -> "Joint":
        """Return some columns in the order given."""
        index = list(chosen)
        return Joint(self.n, self.mean[index], self.covariance[np.ix_(index, index)])

    def ratios(self, pairs: Sequence[tuple[int, int]]) -> "Joint":
        """Return ratios of column means, linearised by the delta method.

        Args:
            pairs: (numerator, denominator) of each new column.

        Returns:
            ``nan`` in a column whose mean denominator is 0.
        """
        top, below = [a for a, _ in pairs], [b for _, b in pairs]
        under = np.where(self.mean[below] != 0.0, self.mean[below], np.nan)
        ratio = self.mean[top] / under
        weights = np.zeros((len(pairs), self.mean.size))
        for row, (a, b) in enumerate(pairs):
            weights[row, a] += 1.0 / under[row]
            weights[row, b] -= ratio[row] / under[row]
        return Joint(self.n, ratio, weights @ self.covariance @ weights.T)


def _squares(joint: Joint) -> Array:
    if joint.n == 1.0:  # its covariance is undefined, its squares about its own mean are 0
        return np.zeros_like(joint.covariance)
    return joint.covariance * (joint.n - 1.0)


@dataclass(frozen=True, slots=True)
class Adjusted:
    """Two arms after adjustment.

    Attributes:
        control: Adjusted mean and the residual variance of one unit.
        treatment: The same.
        slopes: Of control and of the treatment, per covariate; alike for CUPED.
        shared_variance: Part of the contrast's variance that belongs to neither arm: that of
            the common covariate mean, 0 for CUPED.
    """

    control: Sample
    treatment: Sample
    slopes: tuple[Array, Array]
    shared_variance: float

    @property
    def effect(self) -> float:
        """Adjusted treatment minus control."""
        return self.treatment.mean - self.control.mean

    @property
    def variance(self) -> float:
        """Variance of ``effect``; ``nan`` below two units in an arm."""
        return self.control.error_squared + self.treatment.error_squared + self.shared_variance


def slope(spread: Array) -> Array:
    """Return the regression slopes of column 0 on the others from their covariances (or sums).

    A covariate without variance gets slope 0, covariates that say the same share one: they
    cannot reduce variance, and they do no harm.

    Args:
        spread: Shape ``(k, k)``, symmetric, the outcome first.

    Returns:
        Shape ``(k - 1,)``, least squares; ``nan`` where a covariance is not finite.
    """
    xx, xy = spread[1:, 1:], spread[1:, 0]
    if not np.isfinite(spread).all():
        return np.full(xy.shape, math.nan)
    scale = np.sqrt(np.diag(xx))
    known = np.where(scale > 0.0, scale, 1.0)
    inverse = np.linalg.pinv(xx / np.outer(known, known), rcond=_DEPENDENT, hermitian=True)
    return (inverse @ (xy / known)) / known


def cuped(control: Joint, treatment: Joint, *, total: Joint | None = None) -> Adjusted:
    """Adjust both arms with one common slope.

    Guarantee: unbiased to first order whatever the true relation, and with equal shares of arms
    never a larger asymptotic variance: it falls by the squared correlation. With unequal shares
    and slopes that differ it can rise; ``lin`` cannot. Re-estimating the slope at every look is
    fine; information stays counted in units. Not valid for a covariate seen after exposure.

    Args:
        control: Outcome and covariates.
        treatment: The same columns.
        total: The union of both arms, where slope and centre are to be taken from it (as
            tea-tasting does; needed for ratios, whose union is no average of theirs). By default
            the slope is pooled within arms.

    Returns:
        Samples for ``difference.welch``; ``nan`` without two units in an arm.
    """
    if total is None:
        spread = _squares(control) + _squares(treatment)
        weight = treatment.n / (control.n + treatment.n) if treatment.n else 0.0
        centre = control.mean[1:] + weight * (treatment.mean[1:] - control.mean[1:])
    else:
        spread, centre = total.covariance, total.mean[1:]
    common = slope(spread)
    arms = [_residual(arm, common, centre, arm.n - 1.0) for arm in (control, treatment)]
    return Adjusted(arms[0], arms[1], (common, common), 0.0)


def lin(control: Joint, treatment: Joint) -> Adjusted:
    """Adjust each arm with its own slopes, about the common covariate mean.

    The same as the regression on treatment, centred covariates and their products.

    Guarantee: consistent without any model, never asymptotically worse than the plain difference
    or CUPED, whatever the shares. Its variance holds for units drawn from a population; it needs
    more units per arm than covariates + 1, and many more to be good.

    Args:
        control: Outcome and covariates.
        treatment: The same columns.

    Returns:
        ``nan`` where an arm has not more units than covariates + 1.
    """
    both = control + treatment
    slopes = [slope(arm.covariance) for arm in (control, treatment)]
    k = both.mean.size - 1
    arms = [
        _residual(arm, own, both.mean[1:], arm.n - 1.0 - k)
        for arm, own in zip((control, treatment), slopes, strict=True)
    ]
    apart = slopes[1] - slopes[0]
    within = (_squares(control) + _squares(treatment))[1:, 1:] / max(both.n - 2.0, 1.0)
    shared = float(apart @ within @ apart) / both.n if both.n else math.nan
    return Adjusted(arms[0], arms[1], (slopes[0], slopes[1]), shared)


def _residual(arm: Joint, slopes: Array, centre: Array, df: float) -> Sample:
    mean = float(arm.mean[0] - slopes @ (arm.mean[1:] - centre))
    weights = np.concatenate([[1.0], -slopes])
    variance = math.nan
    if df > 0.0:
        variance = max(float(weights @ arm.covariance @ weights), 0.0) * (arm.n - 1.0) / df
    return Sample(arm.n, mean if df > 0.0 else math.nan, variance)
