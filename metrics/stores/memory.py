"""The readable specification of a metric store: keeps events, computes from scratch."""

import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from metrics.catalogue import KpiDefinition
from metrics.cells import Cell, Reach, Snapshot, Sums
from metrics.events import EXPOSURE, Event, Rejection, from_micros, to_micros
from metrics.store import Appended, Frame, StoreError
from metrics.stores.admission import admit
from metrics.stores.exposures import FrameTimes, exposure_of, of_experiment
from metrics.values import microseconds, unit_value

QUARANTINE_KEPT = 10_000


@dataclass(slots=True)
class _Unit:
    """What a frame knows of one unit."""

    first: int | None = None
    variants: set[str] = field(default_factory=set[str])
    events: list[tuple[int, Event]] = field(default_factory=list[tuple[int, Event]])


class MemoryMetricStore:
    """Events in a list. For tests, examples and as the definition the engines must equal."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._log: list[Event] = []
        self._known: dict[str, list[int]] = {}
        self._quarantine: deque[Rejection] = deque(maxlen=QUARANTINE_KEPT)
        self._numbers = 0
        self._closed = False

    def append(self, events: Sequence[Event], *, received_at: datetime) -> Appended:  # noqa: ARG002 - kept by durable engines
        """Keep events, each (id, happened_at) once."""
        with self._lock:
            self._check_open()
            times = [to_micros(event.happened_at) for event in events]
            admission = admit(events, times, self._known)
            for event, at in admission.accepted:
                self._log.append(event)
                self._known.setdefault(event.id, []).append(at)
            self._keep(admission.rejected)
            return Appended(
                accepted=len(admission.accepted),
                duplicates=len(admission.repeated),
                rejected=admission.rejected,
                watermark=len(self._log),
                repeated=admission.repeated,
            )

    def quarantine(self, rejections: Sequence[Rejection], *, received_at: datetime) -> None:  # noqa: ARG002 - kept by durable engines
        """Keep rejections; the newest 10,000."""
        with self._lock:
            self._check_open()
            self._keep(rejections)

    def quarantined(
        self, *, limit: int = 100, code: str | None = None, before: int | None = None
    ) -> Sequence[Rejection]:
        """Return the newest rejections, newest first."""
        with self._lock:
            found = [
                each
                for each in reversed(self._quarantine)
                if (code is None or each.code == code) and (before is None or each.number < before)
            ]
        return found[:limit]

    def held(self, numbers: Sequence[int]) -> Sequence[Rejection]:
        """Return the rejections of these numbers that are in quarantine, ascending."""
        wanted = set(numbers)
        with self._lock:
            return [each for each in self._quarantine if each.number in wanted]

    def release(self, numbers: Sequence[int]) -> int:
        """Remove rejections from quarantine; returns how many there were."""
        wanted = set(numbers)
        with self._lock:
            self._check_open()
            kept = [each for each in self._quarantine if each.number not in wanted]
            gone = len(self._quarantine) - len(kept)
            self._quarantine = deque(kept, maxlen=QUARANTINE_KEPT)
            return gone

    def quarantine_counts(self) -> Mapping[str, int]:
        """Return how many events are in quarantine by code, the most frequent first."""
        with self._lock:
            return dict(Counter(each.code for each in self._quarantine).most_common())

    def watermark(self) -> int:
        """Return the number of events kept."""
        with self._lock:
            return len(self._log)

    def snapshot(self, frame: Frame, *, now: datetime, as_of: int | None = None) -> Snapshot:
        """Return all cells of an experiment, computed from the events alone."""
        with self._lock:
            self._check_open()
            log = self._log[: len(self._log) if as_of is None else max(0, as_of)]
        units = _units(frame, log)
        counted = {unit: seen for unit, seen in units.items() if len(seen.variants) == 1}
        return Snapshot(
            at=now,
            watermark=len(log),
            cells={
                (kpi.key, window): _cells(frame, kpi, window, counted, now)
                for kpi, windows in frame.kpis
                for window in windows
            },
            reach=_reach(frame, counted),
            conflicted=sum(len(seen.variants) > 1 for seen in units.values()),
        )

    def exposure_counts(
        self, experiment: str, seed: int, *, since: datetime, until: datetime
    ) -> Mapping[str, int]:
        """Return exposure events by variant with ``since <= happened_at < until``."""
        counts: dict[str, int] = {}
        for event in self._exposures(experiment, seed):
            variant = event.fields.get("variant")
            if isinstance(variant, str) and since <= event.happened_at < until:
                counts[variant] = counts.get(variant, 0) + 1
        return counts

    def exposed_units(self, experiment: str, seed: int) -> Mapping[str, str]:
        """Return unit -> variant of every recorded exposure; of several the first recorded."""
        units: dict[str, str] = {}
        for event in self._exposures(experiment, seed):
            variant = event.fields.get("variant")
            if isinstance(variant, str):
                for unit in event.units.values():
                    units.setdefault(unit, variant)
        return units

    def close(self) -> None:
        """Refuse further use; idempotent."""
        self._closed = True

    def _keep(self, rejections: Iterable[Rejection]) -> None:
        for each in rejections:
            self._numbers += 1
            self._quarantine.append(replace(each, number=self._numbers))

    def _exposures(self, experiment: str, seed: int) -> Iterable[Event]:
        with self._lock:
            self._check_open()
            log = list(self._log)
        return (e for e in log if e.name == EXPOSURE and of_experiment(e, experiment, seed))

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the metric store is closed; open it again")


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
