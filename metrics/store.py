"""What every metric store promises. The engines are in ``metrics.stores``."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from metrics.catalogue import KpiDefinition
from metrics.cells import Snapshot
from metrics.events import Event, Rejection
from metrics.exposure_kinds import ExposureKind
from metrics.segments import Asked, Dimension
from metrics.upkeep import Erasure, Progress, Rebuilt, Verified, in_silence


class StoreError(Exception):
    """The metric store could not do what was asked; nothing was acknowledged."""


class EventsGoneError(StoreError):
    """It cannot be counted any more: events that it needs have left the log."""


class StoreLockedError(StoreError):
    """Another process holds the store; the message says which and what to do.

    Attributes:
        what: What is held, and by whom.
        hint: What to do.
    """

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(f"{what}; {hint}")
        self.what = what
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Frame:
    """Which units and values an experiment analyses: the question put to a store.

    Attributes:
        experiment: Key.
        seed: Exposures count for one seed; a raised seed starts the analysis over.
        unit: Unit type that is analysed, for instance ``order_id``.
        variants: Arms in order, control first.
        origin: Start of the first cohort. The analysis starts here: exposures more than
            ``clock_tolerance`` earlier do not count.
        cohort: Length of a cohort of first exposures.
        until: First exposures from here on do not count; ``None`` while open.
        phases: Instants at which the shares between arms changed, ascending;
            a unit's phase is the number of them at or before its first exposure.
        kpis: KPIs with the windows asked for.
        lag: Ingestion lag: a unit enters at first exposure + window + lag.
        clock_tolerance: Events up to this long before the first exposure count as after it.
    """

    experiment: str
    seed: int
    unit: str
    variants: tuple[str, ...]
    origin: datetime
    cohort: timedelta
    until: datetime | None
    phases: tuple[datetime, ...]
    kpis: tuple[tuple[KpiDefinition, tuple[timedelta, ...]], ...]
    lag: timedelta = timedelta(minutes=5)
    clock_tolerance: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class AsOf:
    """A question about the past.

    Attributes:
        frame: What is counted.
        now: The instant.
        seq: Sequence number of the newest event that counts.
    """

    frame: Frame
    now: datetime
    seq: int


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of one batch.

    Attributes:
        accepted: Events now durable, counted once.
        duplicates: Events that were already there (same id and time): also acknowledged.
        rejected: Events kept in quarantine instead, with index, field and reason.
        watermark: Sequence number of the newest event after this batch.
        repeated: Positions of the duplicates in the batch, ascending.
    """

    accepted: int
    duplicates: int
    rejected: tuple[Rejection, ...]
    watermark: int
    repeated: tuple[int, ...] = ()


class MetricStore(Protocol):
    """Durable events in, exact integer cells out.

    One process per store. Every method may be called from any thread.
    """

    def append(self, events: Sequence[Event], *, received_at: datetime) -> Appended:
        """Make events durable, each (id, happened_at) once; may be retried safely.

        Returns after commit and fsync. The same id with another time within 24 h is
        quarantined as ``id_reused``.

        Raises:
            StoreError: Nothing of the batch was kept.
        """
        ...

    def quarantine(self, rejections: Sequence[Rejection], *, received_at: datetime) -> None:
        """Keep events that were refused, with field and reason, for people to look at."""
        ...

    def quarantined(
        self, *, limit: int = 100, code: str | None = None, before: int | None = None
    ) -> Sequence[Rejection]:
        """Return the newest rejections with their numbers, newest first.

        Args:
            limit: At most so many.
            code: Only those refused for this reason.
            before: Only those with a smaller number: the next page after a number.
        """
        ...

    def held(self, numbers: Sequence[int] = (), *, ids: Sequence[str] = ()) -> Sequence[Rejection]:
        """Return the rejections in quarantine of these numbers or event ids, ascending."""
        ...

    def release(self, numbers: Sequence[int]) -> int:
        """Remove rejections from quarantine; returns how many there were."""
        ...

    def quarantine_counts(self) -> Mapping[str, int]:
        """Return how many events are in quarantine by code, the most frequent first."""
        ...

    def watermark(self) -> int:
        """Return the sequence number of the newest event, 0 when empty."""
        ...

    def snapshot(self, frame: Frame, *, now: datetime, as_of: int | None = None) -> Snapshot:
        """Return all cells of an experiment at ``now``.

        A pure function of {events with seq <= as_of (default: all)} and ``now``:
        the same integers whatever the engine, the order of arrival or the history of calls.

        Raises:
            EventsGoneError: A retention has removed events that this question needs.
            StoreError: It could not be counted.
        """
        ...

    def segments(
        self, frame: Frame, *, by: Sequence[str], asked: Asked, now: datetime
    ) -> tuple[Dimension, ...]:
        """Return all units of an experiment by what their first exposures say of them.

        Counted when asked, which takes a second or two per million units; checks and events
        wait for no more than a part of it. Where several exposures of a unit are the first at
        the same instant, the least of their values counts. Units whose first exposure has left
        the log are unknown. The same integers whatever the engine and the order of arrival,
        as long as nothing is appended meanwhile.

        Args:
            frame: Which units and values.
            by: Names of the attributes: the fields ``segment.NAME`` of exposures.
            asked: KPIs and windows of the frame.
            now: The instant.

        Raises:
            EventsGoneError: A retention has removed events that this question needs.
            StoreError: It could not be counted, or totals were begun anew meanwhile.
        """
        ...

    def replay(self, asked: Iterable[AsOf], progress: Progress = in_silence) -> Generator[Snapshot]:
        """Count the past again from the log, beside the running totals, one question at a time.

        Answers are those that ``snapshot`` gives. Events are taken and checks run meanwhile; what
        removes events waits until all are answered or the generator is closed: close it in the
        thread that asks. It is cheapest when the questions come in the order of their ``seq``.

        Raises:
            EventsGoneError: A retention has removed events that a question needs.
            StoreError: It could not be counted.
        """
        ...

    def exposure_counts(
        self, experiment: str, seed: int, *, since: datetime, until: datetime
    ) -> Mapping[str, int]:
        """Return exposure events by variant with ``since <= happened_at < until``."""
        ...

    def exposure_kinds(
        self, experiment: str, seed: int, *, since: datetime, until: datetime
    ) -> Mapping[tuple[str, ExposureKind], int]:
        """Return what ``exposure_counts`` does by (variant, kind of client)."""
        ...

    def exposed_units(self, experiment: str, seed: int) -> Mapping[str, str]:
        """Return unit -> variant of every recorded exposure, for the first-seen set."""
        ...

    def received_until(self, doubt: timedelta) -> datetime | None:
        """Return the instant up to which receipts vouch for the clock; ``None`` without events.

        Receipts within ``doubt`` of the newest may all come from a clock that has jumped: they
        vouch for no more than ``doubt`` after the newest receipt before them (where there is
        none, after the oldest of all).
        """
        ...

    def retain(self, before: datetime, *, running: Sequence[Frame], now: datetime) -> Erasure:
        """Remove the events that happened before an instant, and refuse such events from now on.

        What ``running`` frames had counted stays counted: it is carried over, and from then on
        they are counted from what was carried and the newer events. As-of reads go back to that
        point. Totals of all other frames that reach back further are removed too. What was
        refused before that instant leaves the quarantine of engines that keep it for long.

        Returns:
            What left; sequence numbers never return.

        Raises:
            StoreError: Nothing left.
        """
        ...

    def stored_as(self, unit: str) -> str:
        """Return what stands for a unit in everything that is kept of it: itself, or a hash."""
        ...

    def forget(self, unit: str, *, now: datetime, running: Sequence[Frame] = ()) -> Erasure:
        """Remove every event that names a unit, of whatever unit type, also from quarantine.

        The unit leaves all totals. What other units did in an event that named it too leaves
        with it, except from totals that were carried over by a retention: those are carried over
        again, of ``running`` frames as they are now.

        Returns:
            What left; it does not name the unit, and neither does the record that is kept.

        Raises:
            StoreError: Nothing left.
        """
        ...

    def attention(self) -> tuple[str, ...]:
        """Return what a person should know: acknowledged events that were gone at the opening."""
        ...

    def erasures(self) -> Sequence[Erasure]:
        """Return everything that ever left the log, oldest first."""
        ...

    def rebuild(
        self, frames: Sequence[Frame], *, now: datetime, progress: Progress = in_silence
    ) -> Sequence[Rebuilt]:
        """Count frames again from the log, compare with the running totals, and replace them.

        Events are taken and checks run meanwhile.
        """
        ...

    def verify(self, *, now: datetime, progress: Progress = in_silence) -> Verified:
        """Look at everything that is kept, and say in words what is wrong with it.

        Sequence numbers ascending and unique, every (id, happened_at) once, every event and
        every refused one readable, all running totals equal to a recount. Changes nothing.
        """
        ...

    def save(self) -> None:
        """Keep running totals for the next start, where an engine has them.

        Raises:
            StoreError: They were not kept: the next start counts more of the log again.
        """
        ...

    def close(self) -> None:
        """Finish writes and release the store; idempotent."""
        ...
