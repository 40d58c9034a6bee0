"""Units of an experiment by what was known of them when they met their variant. Pure values.

An exposure may carry attributes of its unit, each as a field ``segment.NAME``: short text, of
names that the experiment's file declares. What a unit's first exposure said is what it is,
whatever later ones say. Nothing of this enters a check.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from itertools import groupby

from metrics.cells import Cell, Sums

PREFIX = "segment."
"""Fields of an exposure whose names begin so say what its unit is."""

LONGEST_VALUE = 64
"""Characters of such a value; a longer one is not kept."""

MOST_LEVELS = 20
"""Levels of a dimension that are told apart: the largest. The others are one."""


class Part(StrEnum):
    """What a level is."""

    VALUE = "value"  # units of one value
    OTHER = "other"  # units of all values that are not among the largest
    UNKNOWN = "unknown"  # units whose first exposure said nothing


@dataclass(frozen=True, slots=True)
class Level:
    """One part of a dimension; levels do not overlap, and together they are all units.

    Attributes:
        part: What it is.
        name: Its value; empty unless it is one.
    """

    part: Part
    name: str = ""


OTHER = Level(Part.OTHER)
UNKNOWN = Level(Part.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Dimension:
    """The units of an experiment, split by one attribute.

    Attributes:
        name: Of the attribute, for instance ``country``.
        levels: With the units exposed so far that count: values, the largest first, then
            ``OTHER`` and ``UNKNOWN`` where there are such units.
        values: Different values there are, those in ``OTHER`` too.
        cells: By KPI, window and level, in order of (variant, phase); the cohort is always 0.
    """

    name: str
    levels: Mapping[Level, int]
    values: int
    cells: Mapping[tuple[str, timedelta, Level], tuple[Cell, ...]]


Asked = Sequence[tuple[str, timedelta]]
"""KPIs, each with a window; both as the frame has them."""


def ranked(counts: Mapping[str, int], unknown: int) -> dict[Level, int]:
    """Return the levels of a dimension with their units.

    Args:
        counts: Units by value.
        unknown: Units without one.
    """
    order = sorted((value for value in counts if counts[value]), key=lambda v: (-counts[v], v))
    levels = {Level(Part.VALUE, value): counts[value] for value in order[:MOST_LEVELS]}
    others = sum(counts[value] for value in order[MOST_LEVELS:])
    return levels | ({OTHER: others} if others else {}) | ({UNKNOWN: unknown} if unknown else {})


def level_of(value: str | None, levels: Mapping[Level, int]) -> Level:
    """Return the level that units of a value belong to, ``None`` being no value."""
    if value is None:
        return UNKNOWN
    named = Level(Part.VALUE, value)
    return named if named in levels else OTHER


def merged(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """Return cells with all cohorts as one, in order of (variant, phase) as they come first.

    Args:
        cells: Sorted by variant and phase.
    """
    found: list[Cell] = []
    for (variant, phase), same in groupby(cells, key=lambda cell: (cell.variant, cell.phase)):
        some = list(same)
        sums = sum((cell.sums for cell in some), Sums())
        found.append(Cell(variant, phase, 0, sum(cell.entered for cell in some), sums))
    return tuple(found)
