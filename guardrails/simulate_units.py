"""Units of a simulated experiment: what each kind of unit shows in each window. Pure."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt

from metrics.cells import MICRO, Sums

Array = npt.NDArray[np.float64]

SCORES = (1, 2, 3, 4, 5)

_NEWTON_STEPS = 60


@dataclass(frozen=True, slots=True)
class UnitKind:
    """Units that show the same.

    Attributes:
        share: Of all units.
        values: Numerator and denominator (1e-6) by window; a window without is one in which
            the unit has no value.
    """

    share: float
    values: Mapping[timedelta, tuple[int, int]]


@dataclass(frozen=True)
class Population:
    """All kinds of units of one arm; their shares sum to 1."""

    kinds: tuple[UnitKind, ...]

    @cached_property
    def shares(self) -> Array:
        """Shares of the kinds."""
        found = np.array([kind.share for kind in self.kinds])
        return found / found.sum()

    @cached_property
    def _sums(self) -> dict[timedelta, tuple[tuple[int, tuple[int, ...]], ...]]:
        windows = {length for kind in self.kinds for length in kind.values}
        return {
            length: tuple(
                (index, _powers(*kind.values[length]))
                for index, kind in enumerate(self.kinds)
                if length in kind.values
            )
            for length in windows
        }

    def sums(self, length: timedelta, counts: Sequence[int]) -> Sums:
        """Return the exact sums of so many units of each kind whose window has closed."""
        total = [0] * 10
        for index, powers in self._sums.get(length, ()):
            if count := counts[index]:
                for place, power in enumerate(powers):
                    total[place] += count * power
        return Sums(*total)


def _powers(y: int, x: int) -> tuple[int, ...]:
    one = Sums.of(y, x)
    return (
        one.n, one.y, one.x, one.yy, one.xy, one.xx, one.yyy, one.xyy, one.xxy, one.xxx,
    )  # fmt: skip


def score_shares(mean: float, sd: float) -> Array:
    """Return shares of the scores 1 to 5 with a given mean and sd (the most even ones).

    Raises:
        ValueError: No such distribution was found.
    """
    s = np.array(SCORES, dtype=np.float64) - mean
    features = np.stack([s, s * s - sd * sd])
    weights = np.zeros(2)
    for _ in range(_NEWTON_STEPS):  # maximum entropy: minimise ln sum exp(w . features)
        p = np.exp(weights @ features)
        p /= p.sum()
        gradient = features @ p
        if float(np.abs(gradient).max()) < 1e-13:  # noqa: PLR2004 - rounding
            return p
        centred = features - gradient[:, None]
        weights = weights - np.linalg.solve((centred * p) @ centred.T, gradient)
    raise ValueError(f"no distribution on 1 to 5 found with mean {mean!r} and sd {sd!r}")


def ratings_of(mean: float, sd: float, answering: Mapping[timedelta, float]) -> Population:
    """Return units of which some give one score from 1 to 5, early or late.

    Args:
        mean: Of the scores.
        sd: Of the scores.
        answering: Share of the units that have answered by the end of each window.
    """
    points = [
        (float(share), score * MICRO, MICRO)
        for share, score in zip(score_shares(mean, sd), SCORES, strict=True)
    ]
    return values_of(points, answering)


def values_of(
    points: Sequence[tuple[float, int, int]], answering: Mapping[timedelta, float]
) -> Population:
    """Return units with one value each that is there from some window on, or never.

    Args:
        points: Shares, numerators and denominators (1e-6) of the distribution of a value.
        answering: Share of the units with a value by the end of each window, not falling.
    """
    lengths = sorted(answering)
    kinds: list[UnitKind] = []
    before = 0.0
    for index, length in enumerate(lengths):
        new = max(0.0, answering[length] - before)
        before = max(before, answering[length])
        later = lengths[index:]
        kinds += [UnitKind(new * share, dict.fromkeys(later, (y, x))) for share, y, x in points]
    kinds.append(UnitKind(max(0.0, 1.0 - before), {}))
    return Population(tuple(kinds))


def events_of(rates: Mapping[timedelta, float]) -> Population:
    """Return units of which a share has an event by the end of each window.

    Args:
        rates: Share by window: rising with the window (an event), or falling (its absence, as
            of a save that does not last).
    """
    lengths = sorted(rates)
    if rates[lengths[-1]] < rates[lengths[0]]:
        absent = events_of({length: 1.0 - rate for length, rate in rates.items()})
        return Population(
            tuple(
                UnitKind(kind.share, {at: (MICRO - y, x) for at, (y, x) in kind.values.items()})
                for kind in absent.kinds
            )
        )
    kinds: list[UnitKind] = []
    before = 0.0
    for index in range(len(lengths) + 1):
        until = rates[lengths[index]] if index < len(lengths) else 1.0
        values = {length: (MICRO if at >= index else 0, MICRO) for at, length in enumerate(lengths)}
        kinds.append(UnitKind(max(0.0, until - before), values))
        before = max(before, until)
    return Population(tuple(kinds))


def amounts_of(parts: Mapping[timedelta, Sequence[tuple[float, int]]]) -> Population:
    """Return units with a value that grows from window to window by independent parts.

    Args:
        parts: Shares and values (1e-6) of what a window adds to the one before.
    """
    lengths = sorted(parts)
    kinds: list[UnitKind] = []
    for combination in itertools.product(*(parts[length] for length in lengths)):
        share, total = 1.0, 0
        values: dict[timedelta, tuple[int, int]] = {}
        for length, (chance, value) in zip(lengths, combination, strict=True):
            share, total = share * chance, total + value
            values[length] = total, MICRO
        kinds.append(UnitKind(share, values))
    return Population(tuple(kinds))


def amount_points(mean: float, sd: float, *, something: float) -> tuple[tuple[float, int], ...]:
    """Return an amount that is 0 for most: shares and values (1e-6) with a mean and sd.

    Args:
        mean: Of all units, above 0.
        sd: Of all units; at least that of one single amount.
        something: Share of the units with an amount.

    Raises:
        ValueError: The spread is too small for so many zeros.
    """
    one = mean / something
    inside = (sd * sd + mean * mean) / something - one * one
    if inside < 0.0:
        raise ValueError(f"sd {sd!r} is too small for {something!r} of the units at mean {mean!r}")
    half = inside**0.5
    return (
        (1.0 - something, 0),
        (something / 2.0, round((one - half) * MICRO)),
        (something / 2.0, round((one + half) * MICRO)),
    )
