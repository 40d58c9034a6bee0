"""Cells: the exact integer sums that leave a metric store. Pure values.

A *cell* is what a store knows of one KPI and window for the units of one
variant, first exposed in one allocation phase and one cohort, whose window has
closed. Cells add up: the whole run is the sum of all cohorts, "since a
restart" the sum of the last ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

MICRO = 1_000_000
"""Values are 64-bit integers of 1e-6; first and second powers are sums of those."""

MILLI = 1_000
"""Third powers are formed from values of 1e-3 (``milli()``), so they fit 128 bits."""


def milli(micros: int) -> int:
    """Return a value of 1e-6 as one of 1e-3, rounded towards minus infinity."""
    return micros // 1000


@dataclass(frozen=True, slots=True)
class Sums:
    """Exact sums over the units that have a value.

    ``y`` is a unit's numerator, ``x`` its denominator, both in 1e-6. For a
    proportion or a mean every unit has ``x = 1_000_000`` exactly, so one set
    of formulas serves every kind.

    Attributes:
        n: Units with a value (for a ratio: units whose denominator is not 0).
        y: Sum of numerators, 1e-6.
        x: Sum of denominators, 1e-6.
        yy: Sum of squared numerators, 1e-12.
        xy: Sum of products, 1e-12.
        xx: Sum of squared denominators, 1e-12.
        yyy: Sum of ``milli(y)**3``, 1e-9. ``xyy``, ``xxy``, ``xxx`` likewise.
    """

    n: int = 0
    y: int = 0
    x: int = 0
    yy: int = 0
    xy: int = 0
    xx: int = 0
    yyy: int = 0
    xyy: int = 0
    xxy: int = 0
    xxx: int = 0

    @classmethod
    def of(cls, y: int, x: int = MICRO) -> "Sums":
        """Return the sums of one unit with numerator ``y`` and denominator ``x`` (1e-6)."""
        a, b = milli(y), milli(x)
        return cls(1, y, x, y * y, x * y, x * x, a * a * a, b * a * a, b * b * a, b * b * b)

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            self.n + other.n,
            self.y + other.y,
            self.x + other.x,
            self.yy + other.yy,
            self.xy + other.xy,
            self.xx + other.xx,
            self.yyy + other.yyy,
            self.xyy + other.xyy,
            self.xxy + other.xxy,
            self.xxx + other.xxx,
        )

    def __sub__(self, other: "Sums") -> "Sums":
        return Sums(
            self.n - other.n,
            self.y - other.y,
            self.x - other.x,
            self.yy - other.yy,
            self.xy - other.xy,
            self.xx - other.xx,
            self.yyy - other.yyy,
            self.xyy - other.xyy,
            self.xxy - other.xxy,
            self.xxx - other.xxx,
        )


@dataclass(frozen=True, slots=True)
class Cell:
    """The sums of one variant, allocation phase and cohort.

    Attributes:
        variant: Arm.
        phase: Index of the allocation phase of the first exposure, from 0.
        cohort: Index of the cohort of the first exposure, from 0.
        entered: Units whose window has closed, with or without a value.
        sums: Exact sums over those of them that have a value.
    """

    variant: str
    phase: int
    cohort: int
    entered: int
    sums: Sums


@dataclass(frozen=True, slots=True)
class Reach:
    """How far one variant's data reach, for freshness and display.

    Attributes:
        exposed: Units first exposed so far (units seen in two variants are in none).
        events: Events (not exposures) of those units counted so far.
        last_exposure_at: Newest first exposure, ``None`` without any.
        last_event_at: Newest event of an exposed unit, ``None`` without any.
        exposed_since_last_event: Units first exposed after ``last_event_at`` of any arm.
    """

    exposed: int = 0
    events: int = 0
    last_exposure_at: datetime | None = None
    last_event_at: datetime | None = None
    exposed_since_last_event: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A store's answer for one experiment at one instant: a pure function of log and ``at``.

    Attributes:
        at: The instant asked for.
        watermark: Sequence number of the last event counted.
        cells: By KPI key and window, in order of (variant, phase, cohort).
        reach: By variant.
        conflicted: Units seen in two variants, dropped from both.
    """

    at: datetime
    watermark: int
    cells: Mapping[tuple[str, timedelta], tuple[Cell, ...]]
    reach: Mapping[str, Reach]
    conflicted: int = 0
