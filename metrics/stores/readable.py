"""The cells of a frame from its events alone: what every engine must equal. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from metrics.catalogue import KpiDefinition
from metrics.cells import Cell, Reach, Snapshot, Sums
from metrics.events import EXPOSURE, Event, from_micros, to_micros
from metrics.segments import PREFIX, Asked, Dimension, level_of, merged, ranked
from metrics.store import Frame
from metrics.stores.exposures import FrameTimes, exposure_of
from metrics.values import microseconds, unit_value


@dataclass(slots=True)
class _Unit:
    """What a frame knows of one unit."""

    first: int | None = None
    variants: set[str] = field(default_factory=set[str])
    events: list[tuple[int, Event]] = field(default_factory=list[tuple[int, Event]])


def counted(frame: Frame, events: Iterable[Event], *, now: datetime, watermark: int) -> Snapshot:
    """Return all cells of an experiment, computed from the events alone, in any order."""
    units = _units(frame, events)
    counted = {unit: seen for unit, seen in units.items() if len(seen.variants) == 1}
    return Snapshot(
        at=now,
        watermark=watermark,
        cells={
            (kpi.key, window): _cells(frame, kpi, window, counted, now)
            for kpi, windows in frame.kpis
            for window in windows
        },
        reach=_reach(frame, counted),
        conflicted=sum(len(seen.variants) > 1 for seen in units.values()),
    )


def segmented(
    frame: Frame,
    events: Iterable[Event],
    log: Iterable[Event],
    *,
    by: Sequence[str],
    asked: Asked,
    now: datetime,
) -> tuple[Dimension, ...]:
    """Return the units of an experiment by attributes, computed from the events alone.

    Args:
        frame: Which units.
        events: All that count for the frame.
        log: Events that say what units are: those that have not left the log.
        by: Names of the attributes.
        asked: KPIs and windows of the frame.
        now: The instant.
    """
    units = {u: s for u, s in _units(frame, events).items() if len(s.variants) == 1}
    kpis = {kpi.key: kpi for kpi, _ in frame.kpis}
    said = [event for event in log if exposure_of(event, frame)]
    dimensions: list[Dimension] = []
    for name in by:
        values = _values(name, frame, units, said)
        counts = Counter(values.values())
        levels = ranked(counts, len(units) - len(values))
        parts: dict[object, dict[str, _Unit]] = {level: {} for level in levels}
        for unit, seen in units.items():
            parts[level_of(values.get(unit), levels)][unit] = seen
        cells = {
            (key, window, level): merged(_cells(frame, kpis[key], window, parts[level], now))
            for key, window in asked
            for level in levels
        }
        dimensions.append(Dimension(name, levels, len(counts), cells))
    return tuple(dimensions)


def _values(
    name: str, frame: Frame, units: Mapping[str, _Unit], said: Iterable[Event]
) -> dict[str, str]:
    """Return what the first exposure of each unit says; of several at that instant the least."""
    values: dict[str, str] = {}
    for event in said:
        unit, value = event.units[frame.unit], event.fields.get(PREFIX + name)
        seen = units.get(unit)
        first = seen is not None and seen.first == to_micros(event.happened_at)
        if first and isinstance(value, str):
            values[unit] = min(value, values.get(unit, value))
    return values


def _units(frame: Frame, log: Iterable[Event]) -> dict[str, _Unit]:
    units: dict[str, _Unit] = {}
    times = FrameTimes.of(frame)
    for event in log:
        unit = event.units.get(frame.unit)
        if unit is None:
            continue
        at = to_micros(event.happened_at)
        if event.name != EXPOSURE:
            units.setdefault(unit, _Unit()).events.append((at, event))
        elif (seen := exposure_of(event, frame)) and times.admits(at):
            known = units.setdefault(unit, _Unit())
            known.first = at if known.first is None else min(known.first, at)
            known.variants.add(seen[1])
    return units


def _cells(
    frame: Frame,
    kpi: KpiDefinition,
    window: timedelta,
    units: Mapping[str, _Unit],
    now: datetime,
) -> tuple[Cell, ...]:
    times = FrameTimes.of(frame)
    closed = to_micros(now) - microseconds(window) - times.lag
    entered: dict[tuple[int, int, int], list[Sums | None]] = {}
    for unit, seen in units.items():
        if seen.first is None or seen.first > closed:
            continue
        (variant,) = seen.variants
        value = unit_value(
            kpi,
            window,
            unit=unit,
            first=seen.first,
            tolerance=times.tolerance,
            events=[event for _, event in seen.events],
        )
        place = (
            frame.variants.index(variant),
            times.phase_of(seen.first),
            times.cohort_of(seen.first),
        )
        entered.setdefault(place, []).append(None if value is None else Sums.of(*value))
    return tuple(
        Cell(
            variant=frame.variants[place[0]],
            phase=place[1],
            cohort=place[2],
            entered=len(values),
            sums=sum((each for each in values if each is not None), Sums()),
        )
        for place, values in sorted(entered.items())
    )


def _reach(frame: Frame, units: Mapping[str, _Unit]) -> dict[str, Reach]:
    tolerance = FrameTimes.of(frame).tolerance
    firsts: dict[str, list[int]] = {variant: [] for variant in frame.variants}
    events: dict[str, list[int]] = {variant: [] for variant in frame.variants}
    for seen in units.values():
        (variant,) = seen.variants
        if seen.first is not None:
            firsts[variant].append(seen.first)
            events[variant] += [at for at, _ in seen.events if at >= seen.first - tolerance]
    newest = max((at for times in events.values() for at in times), default=None)
    return {
        variant: Reach(
            exposed=len(firsts[variant]),
            events=len(events[variant]),
            last_exposure_at=from_micros(max(firsts[variant])) if firsts[variant] else None,
            last_event_at=from_micros(max(events[variant])) if events[variant] else None,
            exposed_since_last_event=sum(
                newest is None or first > newest for first in firsts[variant]
            ),
        )
        for variant in frame.variants
    }
