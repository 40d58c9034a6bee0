"""Units that look as control's numbers say, and under a harm: from baselines to kinds of units.

A plan knows a KPI by its value, spread and skewness; here units are drawn that have exactly these.
A unit that has a value over a short window keeps it over a longer one where the windows agree.
Pure.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from guardrails.planning.baselines import Baseline
from guardrails.planning.guardrail import answering_of
from guardrails.simulate_units import Population, UnitKind
from metrics.catalogue import Kind
from metrics.cells import MICRO

_LEAST = 1e-12  # a smaller share of the units is rounding
_NEAREST_TO_ZERO = 0.9  # of its mean a denominator may fall, at most

_Law = Sequence[tuple[float, float]]
"""Shares and values, ascending by value."""


@dataclass(frozen=True, slots=True)
class Change:
    """How a treatment's values differ from control's.

    Attributes:
        size: With its sign, -0.05 is lower.
        absolute: Whether it is in the KPI's own unit; else a part of control's value.
    """

    size: float
    absolute: bool = False

    def of(self, value: float) -> float:
        """Return the treatment's value where control's is this one."""
        return value + self.size * (1.0 if self.absolute else value)


NONE = Change(0.0)


def impossible(kind: Kind, baselines: Mapping[timedelta, Baseline], change: Change) -> bool:
    """Tell whether no KPI can change so: a share stays between 0 and 1."""
    values = [change.of(_value(baseline)) for baseline in baselines.values()]
    return kind is Kind.PROPORTION and not all(0.0 <= value <= 1.0 for value in values)


def units_like(
    kind: Kind, baselines: Mapping[timedelta, Baseline], change: Change = NONE
) -> Population:
    """Return units whose KPI is as the baselines say, changed.

    A value has one of two sizes, so that its mean, standard deviation and skewness are those of
    the baseline; a ratio's denominator likewise. A change that raises a mean or a ratio raises
    its spread in proportion, one that lowers it leaves the spread: as a plan takes it.

    Args:
        kind: How the KPI summarises units.
        baselines: Control's numbers by window; each must have what a plan needs.
        change: Of the treatment.
    """
    lengths = sorted(baselines)
    known = [baselines[length] for length in lengths]
    kinds: dict[tuple[tuple[timedelta, tuple[int, int]], ...], float] = {}
    for has_chance, since in _answered([answering_of(b) for b in known]):
        for value_chance, values in _values(kind, known, change):
            shown = tuple(zip(lengths[since:], values[since:], strict=True))
            kinds[shown] = kinds.get(shown, 0.0) + has_chance * value_chance
    return Population(
        tuple(UnitKind(share, dict(shown)) for shown, share in kinds.items() if share > _LEAST)
    )


def _value(baseline: Baseline) -> float:
    return baseline.value.value if baseline.value is not None else math.nan


def _answered(answering: Sequence[float]) -> list[tuple[float, int]]:
    """Return shares of the units, and the first window in which they have a value.

    A value that is there stays: where a longer window is said to have fewer, it has as many.
    """
    found, before = list[tuple[float, int]](), 0.0
    for index, share in enumerate(answering):
        if share > before:
            found.append((share - before, index))
            before = share
    return [*found, (max(0.0, 1.0 - before), len(answering))]


def _values(
    kind: Kind, known: Sequence[Baseline], change: Change
) -> list[tuple[float, tuple[tuple[int, int], ...]]]:
    """Return shares and (numerator, denominator) over every window, in 1e-6."""
    if kind is Kind.PROPORTION:
        rates = [change.of(_value(baseline)) for baseline in known]
        laws = [((1.0 - rate, 0.0), (rate, 1.0)) for rate in rates]
        return [
            (chance, tuple((round(y * MICRO), MICRO) for y in ys))
            for chance, ys in _along(laws, [1.0] * len(laws))
        ]
    noise = [_noise(baseline, change) for baseline in known]
    kept = [1.0, *(_kept(short, long) for short, long in itertools.pairwise(known))]
    means = [change.of(_value(baseline)) for baseline in known]
    below = [_denominator(baseline) for baseline in known]
    return [
        (
            chance * x_chance,
            tuple(
                (round((mean * x + e) * MICRO), round(x * MICRO))
                for mean, e, x in zip(means, es, xs, strict=True)
            ),
        )
        for chance, es in _along(noise, kept)
        for x_chance, xs in _along(below, [1.0] * len(below))
    ]


def _noise(baseline: Baseline, change: Change) -> _Law:
    """Return a unit's (linearised) value around the mean: sd and skewness as given."""
    control = _value(baseline)
    sd = baseline.sd.value if baseline.sd is not None else math.nan
    if control > 0.0:
        sd *= max(1.0, change.of(control) / control)
    skewness = baseline.skewness.value if baseline.skewness is not None else 0.0
    high = 0.5 * (1.0 - skewness / math.sqrt(skewness * skewness + 4.0))
    return _two(high, sd)


def _denominator(baseline: Baseline) -> _Law:
    """Return a unit's denominator: mean 1, the spread given, above 0."""
    cv = baseline.denominator_cv.value if baseline.denominator_cv is not None else 0.0
    if not cv > 0.0:
        return ((1.0, 1.0),)
    down = min(1.0, _NEAREST_TO_ZERO / cv)
    high = down * down / (1.0 + down * down)
    return [(share, 1.0 + off) for share, off in _two(high, cv)]


def _two(high: float, sd: float) -> _Law:
    """Return two values around 0 with a standard deviation; ``high`` of them are the larger."""
    odds = math.sqrt((1.0 - high) / high)
    return ((1.0 - high, -sd / odds), (high, sd * odds))


def _kept(short: Baseline, long: Baseline) -> float:
    """Return the correlation of a unit's values over two windows, as a plan takes it.

    What the smaller spread holds is part of the larger one.
    """
    sds = sorted(b.sd.value for b in (short, long) if b.sd is not None)
    return sds[0] / sds[-1] if sds and sds[-1] > 0.0 else 1.0


def _along(laws: Sequence[_Law], kept: Sequence[float]) -> list[tuple[float, tuple[float, ...]]]:
    """Return shares and values over all windows.

    From one window to the next a unit keeps its rank with the probability given, or draws a new
    one.
    """
    edges = sorted({0.0, *(min(1.0, at) for law in laws for at in _cumulated(law))})
    ranks = [(b - a, 0.5 * (a + b)) for a, b in itertools.pairwise(edges) if b - a > _LEAST]
    found: list[tuple[float, float, tuple[float, ...]]] = [(1.0, math.nan, ())]
    for number, (law, keep) in enumerate(zip(laws, kept, strict=True)):
        following: list[tuple[float, float, tuple[float, ...]]] = []
        for chance, rank, values in found:
            if number and keep > 0.0:
                following.append((chance * keep, rank, (*values, _at_rank(law, rank))))
            if not number or keep < 1.0:
                new = chance * (1.0 - keep if number else 1.0)
                following += [(new * w, r, (*values, _at_rank(law, r))) for w, r in ranks]
        found = following
    return [(chance, values) for chance, _, values in found]


def _cumulated(law: _Law) -> list[float]:
    return list(itertools.accumulate(share for share, _ in law))


def _at_rank(law: _Law, rank: float) -> float:
    """Return the value of the unit of this rank, 0 to 1 from the lowest value."""
    for at, (_, value) in zip(_cumulated(law), law, strict=True):
        if rank < at:
            return value
    return law[-1][1]
