"""The readable specification of a metric store: keeps events, computes from scratch."""

import threading
from collections import Counter, deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from metrics.cells import Snapshot
from metrics.events import EXPOSURE, Event, Rejection, from_micros, to_micros
from metrics.exposure_kinds import ExposureKind, kinds_of
from metrics.segments import Asked, Dimension
from metrics.store import Appended, AsOf, EventsGoneError, Frame, StoreError
from metrics.stores.admission import admit, key_of
from metrics.stores.exposures import FrameTimes, exposure_of, of_experiment
from metrics.stores.forgetting import NEVER, speaks_of, too_old
from metrics.stores.frames import identity
from metrics.stores.readable import counted, segmented
from metrics.upkeep import (
    Erasure,
    ErasureKind,
    Progress,
    Rebuilt,
    Verified,
    gone_before,
    in_silence,
    told_gone,
    vouched,
)

QUARANTINE_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class _Carried:
    """What a running frame had counted when events it needs left the log.

    Attributes:
        frame: As it was then.
        upto: Everything up to this sequence number is in ``events``, or forgotten.
        events: Of the frame's unit type.
        newest_exposure: Of the frame's experiment, whether it counted or not.
    """

    frame: Frame
    upto: int
    events: tuple[Event, ...]
    newest_exposure: int

    def answers(self, frame: Frame) -> bool:
        """Return whether the events are all that the frame needs of those that left."""
        if frame.kpis != self.frame.kpis:
            return False
        if frame.until == self.frame.until:
            return True
        # exposures from ``until`` on were not carried: another one may not be earlier than they
        bounds = [to_micros(each) for each in (frame.until, self.frame.until) if each]
        return self.newest_exposure < min(bounds)

    def frame_for(self, frame: Frame) -> Frame:
        """Return a frame if it can be answered, else the one it was carried over for."""
        return frame if self.answers(frame) else self.frame

    def knows(self, unit: str) -> bool:
        """Return whether anything is about a unit."""
        return any(event.units[self.frame.unit] == unit for event in self.events)

    def without(self, unit: str) -> "_Carried":
        """Return the same without what is about a unit."""
        its = self.frame.unit
        return replace(self, events=tuple(e for e in self.events if e.units[its] != unit))


class MemoryMetricStore:
    """Events in a list. For tests, examples and as the definition the engines must equal."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._log: list[tuple[int, Event]] = []  # with sequence numbers, ascending
        self._seq = 0
        self._known: dict[str, list[int]] = {}
        self._quarantine: deque[Rejection] = deque(maxlen=QUARANTINE_KEPT)
        self._numbers = 0
        self._horizon = NEVER  # events from before it are refused
        self._erasures: list[Erasure] = []
        self._carried: dict[object, _Carried] = {}
        self._received: dict[int, int] = {}  # by sequence number of events in the log
        self._closed = False

    def append(self, events: Sequence[Event], *, received_at: datetime) -> Appended:
        """Keep events, each (id, happened_at) once."""
        with self._lock:
            self._check_open()
            times = [to_micros(event.happened_at) for event in events]
            admission = admit(
                events, times, self._known, refused=too_old(events, times, self._horizon)
            )
            for event, at in admission.accepted:
                self._seq += 1
                self._log.append((self._seq, event))
                self._received[self._seq] = to_micros(received_at)
                self._known.setdefault(key_of(event.id, event.trusted), []).append(at)
            self._keep(admission.rejected)
            return Appended(
                accepted=len(admission.accepted),
                duplicates=len(admission.repeated),
                rejected=admission.rejected,
                watermark=self._seq,
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

    def held(self, numbers: Sequence[int] = (), *, ids: Sequence[str] = ()) -> Sequence[Rejection]:
        """Return the rejections in quarantine of these numbers or event ids, ascending."""
        wanted, named = set(numbers), set(ids)
        with self._lock:
            return [r for r in self._quarantine if r.number in wanted or r.id in named]

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
        """Return the sequence number of the newest event, 0 when there never was one."""
        with self._lock:
            return self._seq

    def snapshot(self, frame: Frame, *, now: datetime, as_of: int | None = None) -> Snapshot:
        """Return all cells of an experiment, computed from the events alone."""
        with self._lock:
            self._check_open()
            upto = self._seq if as_of is None else max(0, min(as_of, self._seq))
            log = self._events_of(frame, upto)
        return counted(frame, log, now=now, watermark=upto)

    def segments(
        self, frame: Frame, *, by: Sequence[str], asked: Asked, now: datetime
    ) -> tuple[Dimension, ...]:
        """Return the units of an experiment by attributes, computed from the events alone."""
        with self._lock:
            self._check_open()
            events = self._events_of(frame, self._seq)
            log = [event for _, event in self._log]
        return segmented(frame, events, log, by=by, asked=asked, now=now)

    def replay(self, asked: Iterable[AsOf], progress: Progress = in_silence) -> Generator[Snapshot]:
        """Count the past again: here every answer is counted from the events alone."""
        for done, each in enumerate(asked):
            progress(f"counting {each.frame.experiment}", done, done + 1)
            yield self.snapshot(each.frame, now=each.now, as_of=each.seq)

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

    def exposure_kinds(
        self, experiment: str, seed: int, *, since: datetime, until: datetime
    ) -> Mapping[tuple[str, ExposureKind], int]:
        """Return what ``exposure_counts`` does by (variant, kind of client)."""
        return kinds_of(
            (event, variant)
            for event in self._exposures(experiment, seed)
            if since <= event.happened_at < until
            and isinstance(variant := event.fields.get("variant"), str)
        )

    def exposed_units(self, experiment: str, seed: int) -> Mapping[str, str]:
        """Return unit -> variant of every recorded exposure; of several the first recorded."""
        units: dict[str, str] = {}
        for event in self._exposures(experiment, seed):
            variant = event.fields.get("variant")
            if isinstance(variant, str):
                for unit in event.units.values():
                    units.setdefault(unit, variant)
        return units

    def received_until(self, doubt: timedelta) -> datetime | None:
        """Return the instant up to which receipts vouch for the clock."""
        with self._lock:
            self._check_open()
            received = [self._received[seq] for seq, _ in self._log]
            if not received:
                return None
            sure = max(received) - doubt // timedelta(microseconds=1)
            before = max((each for each in received if each < sure), default=None)
            return vouched(min(received), before, max(received), doubt)

    def retain(self, before: datetime, *, running: Sequence[Frame], now: datetime) -> Erasure:
        """Remove what happened before an instant, and carry over what running frames counted."""
        with self._lock:
            self._check_open()
            gone = [(seq, event) for seq, event in self._log if event.happened_at < before]
            self._horizon = max(self._horizon, to_micros(before))
            if gone:
                self._carry_over(before, running)
            return self._erase(gone, ErasureKind.RETENTION, before, now)

    def forget(self, unit: str, *, now: datetime, running: Sequence[Frame] = ()) -> Erasure:
        """Remove what names a unit, and the unit from what was carried over."""
        with self._lock:
            self._check_open()
            gone = [(seq, event) for seq, event in self._log if unit in event.units.values()]
            asked = {identity(frame): frame for frame in running}
            again = {
                key: self._carry(carried.frame_for(asked.get(key, carried.frame)))
                for key, carried in self._carried.items()
            }
            if gone or any(carried.knows(unit) for carried in again.values()):
                self._carried = {key: carried.without(unit) for key, carried in again.items()}
            kept = [each for each in self._quarantine if not speaks_of(each.event, unit)]
            refused = len(self._quarantine) - len(kept)
            self._quarantine = deque(kept, maxlen=QUARANTINE_KEPT)
            erasure = self._erase(gone, ErasureKind.FORGOTTEN, None, now)
            return replace(erasure, quarantined=refused)

    def stored_as(self, unit: str) -> str:
        """Return the unit as it is: nothing outlives the process."""
        return unit

    def attention(self) -> tuple[str, ...]:
        """Return nothing: there is nothing to lose."""
        return ()

    def erasures(self) -> Sequence[Erasure]:
        """Return everything that ever left the log, oldest first."""
        with self._lock:
            return tuple(self._erasures)

    def rebuild(
        self,
        frames: Sequence[Frame],
        *,
        now: datetime,
        progress: Progress = in_silence,
    ) -> Sequence[Rebuilt]:
        """Count every frame: there are no running totals that could differ."""
        rebuilt: list[Rebuilt] = []
        for done, frame in enumerate(frames):
            progress(f"counting {frame.experiment}", done, len(frames))
            failure = ""
            try:
                self.snapshot(frame, now=now)
            except StoreError as error:
                failure = str(error)
            whole = self._gone(frame, self._seq) is None
            count = sum(frame.unit in event.units for _, event in self._log)
            rebuilt.append(Rebuilt(frame.experiment, frame.seed, count, whole, (), failure))
        return rebuilt

    def verify(self, *, now: datetime, progress: Progress = in_silence) -> Verified:  # noqa: ARG002 - there are no running totals to compare at an instant
        """Look at sequence numbers and repeats."""
        with self._lock:
            self._check_open()
            seqs = [seq for seq, _ in self._log]
            pairs = {(event.id, event.happened_at) for _, event in self._log}
            findings: list[str] = []
            if any(later <= earlier for earlier, later in pairwise(seqs)):
                findings.append("sequence numbers are not ascending")
            if len(pairs) < len(self._log):
                findings.append("events are kept more than once")
            return Verified(len(self._log), len(self._quarantine), 0, tuple(findings))

    def save(self) -> None:
        """Do nothing: there is no next start."""

    def close(self) -> None:
        """Refuse further use; idempotent."""
        self._closed = True

    def _keep(self, rejections: Iterable[Rejection]) -> None:
        for each in rejections:
            self._numbers += 1
            self._quarantine.append(replace(each, number=self._numbers))

    def _events_of(self, frame: Frame, upto: int) -> list[Event]:
        """Return what a frame counts up to a sequence number, carried over or in the log."""
        gone = self._gone(frame, upto)
        if gone is None:
            return [event for seq, event in self._log if seq <= upto]
        carried = self._carried.get(identity(frame))
        if carried is None or upto < carried.upto or not carried.answers(frame):
            raise EventsGoneError(
                told_gone(frame.experiment, frame.seed, gone, upto, newest=self._seq)
            )
        newer = [event for seq, event in self._log if carried.upto < seq <= upto]
        return [*carried.events, *newer]

    def _gone(self, frame: Frame, upto: int) -> datetime | None:
        earliest = from_micros(FrameTimes.of(frame).earliest)
        return gone_before(self._erasures, earliest, upto)

    def _carry_over(self, before: datetime, running: Sequence[Frame]) -> None:
        """Carry over what running frames counted so far; let go of what others did."""
        kept = {
            key: carried
            for key, carried in self._carried.items()
            if from_micros(FrameTimes.of(carried.frame).earliest) >= before
        }
        for frame in running:
            key = identity(frame)
            if key in self._carried or from_micros(FrameTimes.of(frame).earliest) < before:
                with suppress(EventsGoneError):  # what it needs is gone already
                    kept[key] = self._carry(frame)
        self._carried = kept

    def _carry(self, frame: Frame) -> _Carried:
        times = FrameTimes.of(frame)
        mine = [
            (to_micros(event.happened_at), event)
            for event in self._events_of(frame, self._seq)
            if frame.unit in event.units and to_micros(event.happened_at) >= times.earliest
        ]
        exposures = [at for at, event in mine if exposure_of(event, frame)]
        carried = self._carried.get(identity(frame))
        return _Carried(
            frame=frame,
            upto=self._seq,
            events=tuple(
                event
                for at, event in mine
                if event.name != EXPOSURE or (exposure_of(event, frame) and times.admits(at))
            ),
            newest_exposure=max(
                [*exposures, NEVER if carried is None else carried.newest_exposure]
            ),
        )

    def _erase(
        self,
        gone: Sequence[tuple[int, Event]],
        kind: ErasureKind,
        before: datetime | None,
        now: datetime,
    ) -> Erasure:
        left = {seq for seq, _ in gone}
        self._log = [(seq, event) for seq, event in self._log if seq not in left]
        for seq, event in gone:
            del self._received[seq]
            times = self._known[key_of(event.id, event.trusted)]
            times.remove(to_micros(event.happened_at))
        first, last = (gone[0][0], gone[-1][0]) if gone else (0, 0)
        erasure = Erasure(now, kind, before, len(gone), first, last)
        if gone:
            self._erasures.append(erasure)
        return erasure

    def _exposures(self, experiment: str, seed: int) -> Iterable[Event]:
        with self._lock:
            self._check_open()
            log = [event for _, event in self._log]
        return (e for e in log if e.name == EXPOSURE and of_experiment(e, experiment, seed))

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the metric store is closed; open it again")
