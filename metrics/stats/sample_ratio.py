"""Whether units enter the arms in the planned shares, looked at as often as one likes.

The evidence against the plan is the ratio of a Dirichlet mixture of all shares, centred on the
planned ones, to the planned shares. Units dealt as planned make it a martingale from 1, so by
Ville's inequality it ever reaches ``1 / alpha`` with probability at most ``alpha``. Only the
counts so far are needed.

Source:
    STATISTICS 1(c); Lindon & Malek (2022), "Anytime-valid inference for multinomial count data".
"""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from metrics.stats.values import check_level, check_positive

Array = npt.NDArray[np.float64]

CONCENTRATION = 1000.0
"""Prior weight in units. Evidence at level .001 is strongest for errors that take about 16
times as many units to find; 10 times more or less costs little."""

ALPHA = 0.001
"""Level of the sample-ratio alarm: it blocks advances and turns nothing back."""

_SUM_TOLERANCE = 1e-6
_BISECTIONS = 100


def log_e_value(
    counts: npt.ArrayLike, shares: Sequence[float], *, concentration: float = CONCENTRATION
) -> Array:
    """Return the logarithm of the evidence against the planned shares.

    Guarantee: exact, at any looks: units dealt at random with these shares ever reach
    ``log(1 / alpha)`` with probability at most ``alpha``. Not valid over a change of shares: one
    phase at a time, see ``log_e_value_of_phases``.

    Args:
        counts: Units of each arm so far along the last axis, each 0 or more.
        shares: Planned share of each arm, above 0; they sum to 1.
        concentration: Prior weight of the planned shares, in units, above 0.

    Returns:
        One value per row of counts; 0 without any unit, ``nan`` for counts that are none (below
        0, not finite). The alarm at ``alpha`` is raised where it reaches ``log(1 / alpha)``.

    Raises:
        ValueError: Shares that are no such shares, or another number of counts.
    """
    n, planned = np.asarray(counts, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    check_positive("concentration", concentration)
    fits = planned.ndim == 1 and bool(np.all(planned > 0))
    if not (fits and abs(planned.sum() - 1) <= _SUM_TOLERANCE):
        raise ValueError(f"shares must be above 0 and sum to 1, got {list(shares)}")
    if n.shape[-1:] != planned.shape:
        raise ValueError(f"{len(planned)} shares, but counts of shape {n.shape}")
    known = np.asarray(((n >= 0.0) & np.isfinite(n)).all(axis=-1))
    n = np.where(known[..., None], n, 0.0)
    prior, total = concentration * planned, n.sum(axis=-1)
    mixture = (gammaln(prior + n) - gammaln(prior)).sum(axis=-1)
    mixture = mixture + gammaln(concentration) - gammaln(concentration + total)
    return np.where(known, mixture - (n * np.log(planned)).sum(axis=-1), np.nan)


def log_e_value_of_phases(
    phases: Iterable[tuple[Sequence[float], Sequence[float]]],
    *,
    concentration: float = CONCENTRATION,
) -> float:
    """Return the logarithm of the evidence over phases with planned shares of their own.

    Guarantee: as ``log_e_value``; a product of e-processes over phases that follow each other is
    one.

    Args:
        phases: Counts and planned shares of each, units counted in the phase they entered.
        concentration: As in ``log_e_value``.

    Returns:
        0 without phases, ``nan`` where the counts of one are none.
    """
    return math.fsum(
        float(log_e_value(counts, shares, concentration=concentration)) for counts, shares in phases
    )


def share_interval(
    count: int,
    others: int,
    share: float,
    *,
    alpha: float,
    concentration: float = CONCENTRATION,
) -> tuple[float, float]:
    """Return the shares of one arm that the counts do not exclude, valid at every look.

    Guarantee: exact; over all looks together the true share is ever outside with probability at
    most ``alpha``, while it does not change.

    Args:
        count: Units of the arm.
        others: Units of all other arms.
        share: Planned share of the arm, above 0 and below 1, on which the prior is centred.
        alpha: Probability that the true share is ever outside.
        concentration: As in ``log_e_value``.

    Returns:
        Lower and upper bound, ``(0, 1)`` without any unit; ``nan`` for counts below 0.

    Raises:
        ValueError: A share or a level that is none.
    """
    check_level("alpha", alpha)
    check_level("share", share)
    if min(count, others) < 0:
        return math.nan, math.nan
    evidence = float(log_e_value((count, others), (share, 1 - share), concentration=concentration))
    mixture = evidence + _log_likelihood(count, others, share)
    limit = math.log(1 / alpha)

    def excluded(candidate: float) -> bool:
        return mixture - _log_likelihood(count, others, candidate) >= limit

    if count + others == 0:
        return 0.0, 1.0
    seen = count / (count + others)
    lower = 0.0 if count == 0 else _boundary(excluded, outside=0.0, inside=seen)
    upper = 1.0 if others == 0 else _boundary(excluded, outside=1.0, inside=seen)
    return lower, upper


def _log_likelihood(count: int, others: int, share: float) -> float:
    if (count and share <= 0) or (others and share >= 1):
        return -math.inf
    hits = count * math.log(share) if count else 0.0
    return hits + (others * math.log1p(-share) if others else 0.0)


def _boundary(excluded: Callable[[float], bool], *, outside: float, inside: float) -> float:
    """Return where exclusion ends between a share that is excluded and one that is not."""
    for _ in range(_BISECTIONS):
        middle = (outside + inside) / 2
        last = middle in {outside, inside}  # no number is left between them
        if excluded(middle):
            outside = middle
        else:
            inside = middle
        if last:
            break
    return inside
