"""Which units a frame analyses, and where they belong. Pure; shared by the engines."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from metrics.events import EXPOSURE, Event, FieldValue, to_micros
from metrics.store import Frame
from metrics.values import microseconds

EXPOSURE_FIELDS = ("experiment", "seed", "variant")


@dataclass(frozen=True, slots=True)
class FrameTimes:
    """A frame's instants and durations in microseconds."""

    origin: int
    cohort: int
    until: int | None
    phases: tuple[int, ...]
    lag: int
    tolerance: int

    @classmethod
    def of(cls, frame: Frame) -> "FrameTimes":
        """Convert once; cohorts must have a length."""
        if microseconds(frame.cohort) <= 0:
            raise ValueError(f"frame {frame.experiment}: cohort must be positive: {frame.cohort}")
        return cls(
            origin=to_micros(frame.origin),
            cohort=microseconds(frame.cohort),
            until=None if frame.until is None else to_micros(frame.until),
            phases=tuple(to_micros(phase) for phase in frame.phases),
            lag=microseconds(frame.lag),
            tolerance=microseconds(frame.clock_tolerance),
        )

    def with_phases(self, phases: tuple[int, ...]) -> "FrameTimes":
        """Return the same times with other phases."""
        return replace(self, phases=phases)

    def admits(self, at: int) -> bool:
        """Return whether an exposure at this instant counts: between the origin and ``until``."""
        return bool(self.admit(at))

    def admit(self, at: Any) -> Any:
        """Return `admits` of one instant, or of an array of them."""
        since = at >= self.origin - self.tolerance
        return since if self.until is None else since & (at < self.until)

    @property
    def earliest(self) -> int:
        """Events before this instant can never count, whatever else arrives."""
        return self.origin - 2 * self.tolerance

    def phase_of(self, first: int) -> int:
        """Return the number of phase changes at or before a first exposure."""
        return bisect_right(self.phases, first)

    def cohort_of(self, first: int) -> int:
        """Return the cohort of a first exposure; cohort 0 includes the clock tolerance."""
        return max(0, (first - self.origin) // self.cohort)


def exposure_of(event: Event, frame: Frame) -> tuple[str, str] | None:
    """Return (unit, variant) when an event is an exposure of the frame's experiment and seed.

    Exposures of variants that the frame does not name are none; ``until`` is left to the caller.
    """
    if event.name != EXPOSURE:
        return None
    variant = variant_of(frame, *(event.fields.get(key) for key in EXPOSURE_FIELDS))
    unit = event.units.get(frame.unit)
    return None if unit is None or variant is None else (unit, frame.variants[variant])


def variant_of(
    frame: Frame, experiment: FieldValue | None, seed: FieldValue | None, variant: FieldValue | None
) -> int | None:
    """Return the position of the variant that an exposure names, ``None`` when it is another's."""
    if experiment != frame.experiment or seed != frame.seed or isinstance(seed, bool):
        return None
    return frame.variants.index(variant) if variant in frame.variants else None


def of_experiment(event: Event, experiment: str, seed: int) -> bool:
    """Return whether an exposure belongs to an experiment and seed."""
    given = event.fields.get("seed")
    return (
        event.fields.get("experiment") == experiment
        and given == seed
        and not isinstance(given, bool)
    )


def windows_of(frame: Frame) -> Sequence[int]:
    """Return the distinct window lengths of a frame in microseconds, ascending."""
    return sorted({microseconds(window) for _, windows in frame.kpis for window in windows})


def variants_of(
    exposures: Iterable[Event], experiment: str, seed: int
) -> Iterator[tuple[Event, str]]:
    """Return the exposures that are of an experiment, with the variant each names."""
    for event in exposures:
        variant = event.fields.get("variant")
        if isinstance(variant, str) and of_experiment(event, experiment, seed):
            yield event, variant


def first_variants(exposures: Iterable[tuple[Event, str]]) -> dict[str, str]:
    """Return unit -> variant of exposures with their variants; of several the first given."""
    units: dict[str, str] = {}
    for event, variant in exposures:
        for unit in event.units.values():
            units.setdefault(unit, variant)
    return units
