"""Many hypotheses at once: families of p-values, families of e-values.

Holm controls the probability of any false rejection, Benjamini-Hochberg the expected share of
false ones among the rejected; both are statsmodels' (about .1 s a call in a large process). The
p-values must be valid at the moment they are read: at a planned end, or always-valid ones of
``confidence``. e-values need neither independence nor a planned moment.

A hypothesis whose p- or e-value is ``nan`` was asked and has no answer: it counts in the size of
the family and is not rejected.

Source:
    STATISTICS 1(g); Holm (1979); Benjamini & Hochberg (1995); Wang & Ramdas (2022), "False
    discovery rate control with e-values"; Vovk & Wang (2021) for the closed average.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from metrics.stats.values import check_level

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Family:
    """What a family of hypotheses allows to be said, in the order given.

    Attributes:
        rejected: Per hypothesis.
        adjusted: p-values to be compared with ``alpha``, ``nan`` where none was given.
    """

    rejected: Flags
    adjusted: Array


def holm(p_values: npt.ArrayLike, *, alpha: float = 0.05) -> Family:
    """Reject so that any false rejection at all has probability at most ``alpha``.

    Guarantee: under any dependence of the p-values.

    Args:
        p_values: One-dimensional, 0 to 1 or ``nan``; may be empty.
        alpha: Of the whole family.

    Returns:
        In the order given; ``nan`` is not rejected and has no adjusted value.

    Raises:
        ValueError: p-values that are none, an ``alpha`` that is no level.
    """
    return _family(p_values, alpha, "holm")


def benjamini_hochberg(p_values: npt.ArrayLike, *, rate: float = 0.1) -> Family:
    """Reject so that the expected share of false rejections is at most ``rate``.

    Guarantee: for independent or positively dependent p-values; under any dependence use
    ``e_bh``. It promises nothing about one hypothesis picked out afterwards.

    Args:
        p_values: As for ``holm``.
        rate: False-discovery rate.

    Raises:
        ValueError: As ``holm``.
    """
    return _family(p_values, rate, "fdr_bh")


def _family(p_values: npt.ArrayLike, alpha: float, method: str) -> Family:
    check_level("alpha" if method == "holm" else "rate", alpha)
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or np.any((p < 0.0) | (p > 1.0)):
        raise ValueError(f"p-values must be a list of numbers from 0 to 1, got {p_values!r}")
    if p.size == 0:
        return Family(np.zeros(0, dtype=np.bool_), p)
    from statsmodels.stats.multitest import (  # noqa: PLC0415 - takes more than a second
        multipletests,
    )

    known = ~np.isnan(p)
    found: Any = multipletests(np.where(known, p, 1.0), alpha=alpha, method=method)
    return Family(np.asarray(found[0]), np.where(known, found[1], np.nan))


def e_bh(log_e: npt.ArrayLike, *, rate: float = 0.1) -> Flags:
    """Reject by e-values so that the expected share of false rejections is at most ``rate``.

    The largest k with ``k e_(k) / m >= 1 / rate``: its k largest e-values.

    Guarantee: under any dependence, and at any moment somebody chooses to stop.

    Args:
        log_e: Logarithms, one-dimensional; ``nan`` has no evidence.
        rate: False-discovery rate.

    Raises:
        ValueError: A ``rate`` that is no level.
    """
    check_level("rate", rate)
    e = _evidence(log_e)
    order = np.argsort(-e, kind="stable")
    ranks = np.arange(1, e.size + 1)
    with np.errstate(divide="ignore"):
        enough = e[order] + np.log(ranks) - math.log(max(e.size, 1)) >= -math.log(rate)
    count = int(ranks[enough].max(initial=0))
    rejected = np.zeros(e.size, dtype=np.bool_)
    rejected[order[:count]] = True
    return rejected


def closed_average(log_e: npt.ArrayLike, *, alpha: float = 0.05) -> Flags:
    """Reject by e-values so that any false rejection has probability at most ``alpha``.

    A hypothesis falls where the average e-value of every group it belongs to reaches
    ``1 / alpha``; the worst group joins it with the smallest others.

    Guarantee: under any dependence, for e-values of one moment. Never weaker than comparing each
    with ``m / alpha``.

    Args:
        log_e: Logarithms, one-dimensional; ``nan`` has no evidence.
        alpha: Of the whole family.

    Raises:
        ValueError: An ``alpha`` that is no level.
    """
    check_level("alpha", alpha)
    e = _evidence(log_e)
    # beyond it every average passes anyway; exp would overflow
    value = np.exp(np.minimum(e, math.log(max(e.size, 1) / alpha) + 1.0))
    rejected = np.zeros(e.size, dtype=np.bool_)
    for i in range(e.size):
        others = np.sort(np.delete(value, i))
        averages = (value[i] + np.concatenate([[0.0], np.cumsum(others)])) / np.arange(
            1, e.size + 1
        )
        rejected[i] = averages.min() >= 1.0 / alpha
    return rejected


def _evidence(log_e: npt.ArrayLike) -> Array:
    e = np.asarray(log_e, dtype=np.float64)
    if e.ndim != 1:
        raise ValueError(f"e-values must be a list, got shape {e.shape}")
    return np.where(np.isnan(e), -np.inf, e)
