"""Plain values the methods share, and what they refuse.

A parameter that makes no sense (a level of 2, shares that are none) is the caller's mistake and
raises. Data that cannot answer (no units, no variance) are no mistake: the answer is ``nan``.
"""

import math
from dataclasses import dataclass
from enum import StrEnum


class Side(StrEnum):
    """Which differences count as evidence, treatment minus control."""

    TWO_SIDED = "two-sided"
    GREATER = "greater"
    LESS = "less"


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the values not excluded; ``nan`` unknown, infinite ends unbounded."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One arm's units.

    Attributes:
        n: Units.
        mean: Their mean, or ratio of sums.
        variance: Of one unit (divided by n - 1), linearised if a ratio; ``nan`` below two units.
    """

    n: float
    mean: float
    variance: float

    @property
    def error_squared(self) -> float:
        """Variance of the mean; ``nan`` where fewer than two units tell it."""
        return self.variance / self.n if self.n >= 2.0 else math.nan  # noqa: PLR2004 - a variance needs two


def check_level(name: str, value: float) -> None:
    """Refuse a probability that is not strictly between 0 and 1.

    Raises:
        ValueError: It is not.
    """
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} must lie between 0 and 1, got {value!r}")


def check_positive(name: str, value: float) -> None:
    """Refuse a number that is not finite and above 0.

    Raises:
        ValueError: It is not.
    """
    if not 0.0 < value < math.inf:
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}")
