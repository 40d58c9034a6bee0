"""The embedded metric store: a durable log in one DuckDB file, exact totals in memory."""

import logging
import threading
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from metrics.cells import Snapshot
from metrics.events import Event, Rejection, to_micros
from metrics.exposure_kinds import ExposureKind, kinds_of
from metrics.segments import Asked, Dimension
from metrics.store import Appended, AsOf, EventsGoneError, Frame, StoreError
from metrics.stores.admission import REUSE, admit, key_of, keys_against
from metrics.stores.copying import Frozen, freeze
from metrics.stores.exposures import first_variants, variants_of
from metrics.stores.forgetting import too_old
from metrics.stores.frames import FrameState
from metrics.stores.log import EventLog
from metrics.stores.recent import EVERYTHING, RecentIds
from metrics.stores.record import Record
from metrics.stores.recount import Recount
from metrics.stores.refused import Refused
from metrics.stores.rows import Rows
from metrics.stores.saved import SavedTotals
from metrics.stores.seen import SeenIds
from metrics.stores.splitting import Splitting
from metrics.stores.tail import Tail
from metrics.stores.totals import Totals
from metrics.stores.unit_names import AS_KEPT, Wanted
from metrics.upkeep import Erasure, ErasureKind, Progress, Rebuilt, Verified, in_silence

logger = logging.getLogger("turnback.store")

RECENT_IDS = 300_000
SEEN_AT_START = 5_000_000
"""Ids of the last two days that are read at a start: a few seconds."""

_ALL_TIME = 2**62


class DuckDBMetricStore:
    """Events are durable when `append` returns; `snapshot` costs what is new, not what is old.

    Args:
        path: The file; it is created with its directory. One process may have it open.
        recent_ids: Ids kept in memory to recognise repeats without a look-up.
        units: How unit ids are to be kept.

    Raises:
        StoreLockedError: Another process, or this one, has the file open.
        StoreError: The file cannot be opened or was written by another version.
    """

    def __init__(
        self, path: str | Path, *, recent_ids: int = RECENT_IDS, units: Wanted = AS_KEPT
    ) -> None:
        self._log = EventLog(Path(path))
        self._refused = Refused(self._log)
        self._writes = threading.RLock()
        self._reads = threading.RLock()
        self._upkeep = threading.RLock()  # taken first: one of retain, forget, rebuild, verify
        self._capacity = recent_ids
        self._tail = Tail()  # its last row has seq == self._seq
        try:
            self._seq = self._log.newest()
            self._recent, self._seen = self._remember()
            self._known_all = True  # false while ids in the file may be missing from memory
            self._record = Record(self._log)
            self._horizon = self._record.horizon
            self._names = self._record.names(units, empty=not self._seq)
            saved = SavedTotals(Path(path).resolve(), self._log, self._record)
            saved.clean()
        except BaseException:
            self._log.close()
            raise
        self._totals = Totals(
            self._log, self._record, saved, rows=self._rows, newest=self.watermark
        )
        self._frames = self._totals.frames
        self._recount = Recount(self._log, self._totals, saved, self._reads, self.watermark)
        self._splitting = Splitting(self._log, self._totals, self._reads, self.watermark)

    def append(self, events: Sequence[Event], *, received_at: datetime) -> Appended:
        """Make events durable: one look-up, one transaction, one fsync."""
        times = [to_micros(event.happened_at) for event in events]
        sent, events = events, [self._names.event(event) for event in events]
        self._mend()
        with self._writes:
            admission = admit(
                events,
                times,
                self._known(events, times),
                refused=too_old(events, times, self._horizon),
            )
            admission = admission.telling(sent)
            rows = [
                (self._seq + number, at, event)
                for number, (event, at) in enumerate(admission.accepted, 1)
            ]
            if rows or admission.rejected:
                self._log.write(rows, admission.rejected, to_micros(received_at))
            self._seq += len(rows)  # first: what is committed keeps its numbers, come what may
            try:
                keys = [key_of(event.id, event.trusted) for _, _, event in rows]
                at_times = [at for _, at, _ in rows]
                self._recent.add(zip(keys, at_times, strict=True))
                self._seen.add(keys, at_times)
                self._tail.add(rows)
            except BaseException:
                self._tail.clear()  # frames then read these rows from the log
                self._recent.horizon = self._seen.horizon = _ALL_TIME  # and ids are looked up there
                raise
            return Appended(
                accepted=len(rows),
                duplicates=len(admission.repeated),
                rejected=admission.rejected,
                watermark=self._seq,
                repeated=admission.repeated,
            )

    def quarantine(self, rejections: Sequence[Rejection], *, received_at: datetime) -> None:
        """Make rejections durable."""
        if rejections:
            self._mend()
            with self._writes:
                self._log.write((), rejections, to_micros(received_at))

    def quarantined(
        self, *, limit: int = 100, code: str | None = None, before: int | None = None
    ) -> Sequence[Rejection]:
        """Return the newest rejections, newest first."""
        self._mend()
        return self._refused.newest(limit, code, before)

    def held(self, numbers: Sequence[int] = (), *, ids: Sequence[str] = ()) -> Sequence[Rejection]:
        """Return the rejections in quarantine of these numbers or event ids, ascending."""
        self._mend()
        return self._refused.held(numbers, ids)

    def release(self, numbers: Sequence[int]) -> int:
        """Remove rejections from quarantine; returns how many there were."""
        self._mend()
        with self._writes:
            return self._refused.release(numbers)

    def quarantine_counts(self) -> Mapping[str, int]:
        """Return how many events are in quarantine by code, the most frequent first."""
        self._mend()
        return self._refused.counts()

    def watermark(self) -> int:
        """Return the sequence number of the newest durable event."""
        with self._writes:
            return self._seq

    def snapshot(self, frame: Frame, *, now: datetime, as_of: int | None = None) -> Snapshot:
        """Return all cells of an experiment; see `metrics.stores.frames` for the cost.

        Raises:
            StoreError: It could not be counted. Running totals that may be half changed are
                forgotten, so the next call counts from the log again.
        """
        self._mend()
        with self._reads:
            newest = self.watermark()
            upto = newest if as_of is None else max(0, min(as_of, newest))
            try:
                return self._totals.state(frame, upto).snapshot(to_micros(now))
            except EventsGoneError:
                raise  # before anything was changed
            except StoreError:
                self._totals.forget_running(frame)
                raise
            except BaseException as error:
                self._totals.drop(frame)
                if not isinstance(error, Exception):
                    raise
                raise StoreError(
                    f"experiment {frame.experiment}, seed {frame.seed}: its cells could not be "
                    f"counted ({error!r}); nothing of the attempt is kept, the next snapshot "
                    "counts from the log"
                ) from error

    def segments(
        self, frame: Frame, *, by: Sequence[str], asked: Asked, now: datetime
    ) -> tuple[Dimension, ...]:
        """Return the units of an experiment by attributes; checks wait for one KPI at most."""
        self._mend()
        with self._upkeep:
            return self._splitting.split(frame, by=by, asked=asked, now=now)

    def replay(self, asked: Iterable[AsOf], progress: Progress = in_silence) -> Generator[Snapshot]:
        """Count the past again from the log, each answer going on from the one before it."""
        self._mend()
        with self._upkeep:
            yield from self._recount.replayed(asked, progress)

    def exposure_counts(
        self, experiment: str, seed: int, *, since: datetime, until: datetime
    ) -> Mapping[str, int]:
        """Return exposure events by variant with ``since <= happened_at < until``."""
        self._mend()
        exposures = self._log.exposures(experiment, to_micros(since), to_micros(until))
        return dict(Counter(variant for _, variant in variants_of(exposures, experiment, seed)))

    def exposure_kinds(
        self, experiment: str, seed: int, *, since: datetime, until: datetime
    ) -> Mapping[tuple[str, ExposureKind], int]:
        """Return what ``exposure_counts`` does by (variant, kind of client)."""
        self._mend()
        exposures = self._log.exposures(experiment, to_micros(since), to_micros(until))
        return kinds_of(variants_of(exposures, experiment, seed))

    def exposed_units(self, experiment: str, seed: int) -> Mapping[str, str]:
        """Return unit -> variant of every recorded exposure; of several the first recorded."""
        self._mend()
        exposures = self._log.exposures(experiment, -_ALL_TIME, _ALL_TIME)
        return first_variants(variants_of(exposures, experiment, seed))

    @contextmanager
    def frozen(self) -> Generator[Frozen]:
        """Lend the history as it is now, for copies; writers wait only while it begins."""
        self._mend()
        with ExitStack() as stack:
            with self._reads, self._writes:
                cursor = stack.enter_context(self._log.reader())
                held = freeze(self._log.path, self._seq, cursor, stack)
            yield held

    def received_until(self, doubt: timedelta) -> datetime | None:
        """Return the instant up to which receipts vouch for the clock."""
        self._mend()
        return self._record.received_until(doubt)

    def retain(self, before: datetime, *, running: Sequence[Frame], now: datetime) -> Erasure:
        """Remove what happened before an instant, after running totals were carried over."""
        self._mend()
        limit = to_micros(before)
        with self._upkeep, self._reads:
            with self._writes:
                # from here on nothing older comes, so what is carried over has all of it
                self._horizon = max(self._horizon, limit)
                upto = self._seq
            try:
                carried = dict(self._record.carried)
                if self._record.older(limit):
                    carried = self._totals.carry_over(limit, running, upto)
                with self._writes:
                    erased = self._record.erase_before(before, upto, now=now, carried=carried)
                    if erased.events:
                        self._after_erasing()
            except BaseException:
                self._frames.clear()  # they may be half changed
                raise
            finally:
                self._horizon = self._record.horizon
            if erased.events:
                self._totals.after_retention(limit)
            return erased

    def forget(self, unit: str, *, now: datetime, running: Sequence[Frame] = ()) -> Erasure:
        """Remove a unit from log, quarantine and totals. Events wait meanwhile."""
        self._mend()
        with self._upkeep, self._reads, self._writes:
            refused = self._record.refused_of(unit)  # those are as they were sent
            unit = self.stored_as(unit)
            leaving = self._record.naming(unit)
            states = self._totals.carried_states(self._seq, running)
            known = bool(leaving) or any(state.knows(unit) for state in states.values())
            if not known and not refused:
                return Erasure(now, ErasureKind.FORGOTTEN, None, 0, 0, 0)
            try:
                carried = dict(self._record.carried)
                if known:
                    self._totals.forget_copies()
                    carried = self._totals.carry_without(unit, states, leaving)
                    self._totals.forget(unit, leaving)
                erased = self._record.erase(leaving, refused, now=now, carried=carried)
                if known:
                    self._totals.after_forgetting(states)
                    self._after_erasing()
            except BaseException:
                self._frames.clear()  # they may or may not know what may or may not have left
                raise
            return erased

    def stored_as(self, unit: str) -> str:
        """Return what stands for a unit in everything that is kept of it."""
        return self._names.of(unit)

    def attention(self) -> tuple[str, ...]:
        """Return what was wrong when the store was opened and cannot be mended, in words."""
        return (self._log.missing,) if self._log.missing else ()

    def erasures(self) -> Sequence[Erasure]:
        """Return everything that ever left the log, oldest first."""
        return self._record.erasures

    def rebuild(
        self, frames: Sequence[Frame], *, now: datetime, progress: Progress = in_silence
    ) -> Sequence[Rebuilt]:
        """Count frames again beside the running totals, compare, and replace them."""
        self._mend()
        with self._upkeep:
            return [self._recount.rebuilt(frame, now=now, progress=progress) for frame in frames]

    def verify(self, *, now: datetime, progress: Progress = in_silence) -> Verified:
        """Look at every row and at all totals."""
        self._mend()
        with self._upkeep:
            return self._recount.verified(now=now, horizon=self._record.horizon, progress=progress)

    def save(self) -> None:
        """Save running totals that have counted enough since the last time."""
        self._mend()
        with self._reads:
            with self._writes:
                self._log.opening()
            self._totals.save()

    def close(self) -> None:
        """Save totals, finish writes, checkpoint the log and release it; idempotent."""
        with self._upkeep, self._reads, self._writes:
            if not self._log.closed:
                try:
                    self._log.opening()
                    self._totals.save(every=1)
                except StoreError as error:
                    logger.warning("the next start counts from the log again: %s", error)
            self._log.close()

    def _mend(self) -> None:
        """Open the file again if the engine gave it up, and learn anew what is in it.

        The batch after which it did so may be there although nothing of it was acknowledged:
        sent again, it is recognised.

        Raises:
            StoreError: The file cannot be opened yet; the next call tries again.
        """
        if self._known_all and not self._log.lost:
            return
        with self._reads, self._writes:
            self._known_all = False
            if self._log.lost:
                self._log.reopen()
            self._tail.clear()
            self._seq = max(self._seq, self._log.newest())
            self._recent, self._seen = self._remember()
            self._known_all = True

    def _remember(self) -> tuple[RecentIds, SeenIds]:
        """Return what is known of the ids in the log: all of them, or the newest."""
        capacity = self._capacity
        if self._log.one("SELECT count(*) FROM events") <= capacity:
            recent, seen = RecentIds(capacity, EVERYTHING), SeenIds(EVERYTHING)
            stored = self._log.ids()
            recent.add(stored)
            seen.add([key for key, _ in stored], [at for _, at in stored])
            return recent, seen
        newest = self._log.one("SELECT max(happened_at) FROM events")
        since = newest - 2 * REUSE
        if self._log.count(0, self._seq, since=since) > SEEN_AT_START:
            return RecentIds(capacity, newest + 1), SeenIds(newest + 1)
        seen = SeenIds(since)
        for keys in self._log.keys_since(since):
            seen.add(keys, [newest])
        return RecentIds(capacity, newest + 1), seen

    def _after_erasing(self) -> None:
        self._tail.clear()
        self._recent, self._seen = self._remember()
        self._log.checkpoint()

    def _known(self, events: Sequence[Event], times: Sequence[int]) -> Mapping[str, Iterable[int]]:
        """Return the stored times a batch is held against, from memory or by one look-up."""
        known: dict[str, Iterable[int]] = dict(
            self._recent.known(key for event in events for key in keys_against(event))
        )
        horizon = self._recent.horizon
        if not times or min(times) - REUSE >= horizon:
            return known
        old = [(event, at) for event, at in zip(events, times, strict=True) if at - REUSE < horizon]
        since, until = min(times) - REUSE, max(at for _, at in old) + REUSE
        keys = [key for event, _ in old for key in keys_against(event)]
        if since >= self._seen.horizon:
            keys = self._seen.maybe(keys)
        if keys:
            known |= self._log.times_of(keys, since, until)
        return known

    def _rows(self, state: FrameState, upto: int) -> Iterator[Rows]:
        """Return the rows a state needs to reach ``upto``, from memory when they are recent."""
        after = state.processed
        if after >= upto:
            return
        with self._writes:
            rows = self._tail.rows(after, upto, newest=self._seq)
        if rows is not None:
            yield rows
        else:
            yield from self._log.read(after, upto, since=state.earliest)
