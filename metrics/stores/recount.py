"""Counting again: what running totals say against what the log says, and the log against itself."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

from metrics.cells import Snapshot
from metrics.events import from_micros, to_micros
from metrics.store import AsOf, EventsGoneError, Frame, StoreError
from metrics.stores.frames import FrameState, identity
from metrics.stores.log import EventLog
from metrics.stores.refused import Refused
from metrics.stores.saved import DamagedError, SavedTotals
from metrics.stores.totals import Totals
from metrics.upkeep import Difference, Progress, Rebuilt, Verified, differences

_TOLD = 5
"""Examples told of one kind of finding."""

_ASCENDING = (
    "SELECT seq FROM (SELECT seq, lag(seq) OVER (ORDER BY rowid) AS before FROM events) "
    "WHERE before >= seq LIMIT 5"
)
_REPEATED = (
    "SELECT id, happened_at, count(*) FROM events GROUP BY id, happened_at "
    "HAVING count(*) > 1 LIMIT 5"
)
_NUMBERED = "SELECT number FROM quarantine GROUP BY number HAVING count(*) > 1 LIMIT 5"


class Recount:
    """Counts beside the running totals; the lock of checks is held only to compare."""

    def __init__(
        self,
        log: EventLog,
        totals: Totals,
        saved: SavedTotals,
        reads: AbstractContextManager[object],
        newest: Callable[[], int],
    ) -> None:
        self._log = log
        self._totals = totals
        self._saved = saved
        self._reads = reads
        self._newest = newest

    def rebuilt(self, frame: Frame, *, now: datetime, progress: Progress) -> Rebuilt:
        """Count a frame again, compare it with its running totals, and replace them."""
        whole = self._totals.gone(frame, self._newest()) is None
        try:
            counted = self._totals.begin(frame, self._newest(), saved=False)
            events = self._count(counted, self._newest(), progress)
            with self._reads:
                found = self._replaced(frame, counted, now)
        except Exception as error:  # noqa: BLE001 - what cannot be counted is told beside the others
            words = str(error) if isinstance(error, StoreError) else _uncounted(frame, error)
            return Rebuilt(frame.experiment, frame.seed, 0, whole, (), words)
        return Rebuilt(frame.experiment, frame.seed, events, whole, found)

    def _replaced(self, frame: Frame, counted: FrameState, now: datetime) -> tuple[Difference, ...]:
        upto = self._newest()
        self._totals.advance(counted, upto)
        try:
            found = self._compared(self._totals.state(frame, upto), counted, now)
        except Exception as error:  # noqa: BLE001 - totals that cannot be read are a difference
            found = (Difference("running totals", f"cannot be read ({error!r})", "counted"),)
        self._totals.replace(frame, counted)
        return found

    def replayed(self, asked: Iterable[AsOf], progress: Progress) -> Generator[Snapshot]:
        """Answer questions about the past in order, from the log and nothing saved."""
        state: FrameState | None = None
        for each in asked:
            upto = max(0, min(each.seq, self._newest()))
            if state is None or not self._leads_to(state, each.frame, upto):
                state = self._totals.begin(each.frame, upto, saved=False)
            self._count(state, upto, progress)
            yield state.snapshot(to_micros(each.now))

    def _leads_to(self, state: FrameState, frame: Frame, upto: int) -> bool:
        """Return whether a count of the past can go on to a later question."""
        same = identity(state.frame) == identity(frame)
        return same and state.processed <= upto and state.accepts(frame)

    def verified(self, *, now: datetime, horizon: int, progress: Progress) -> Verified:
        """Look at every row and at all totals."""
        findings = [self._log.missing] if self._log.missing else []
        events = 0
        for step in (self._order, self._repeats, lambda: self._early(horizon)):
            findings += step()
        for count, words in self._readable(progress):
            events += count
            findings += words
        refused, words = self._refused()
        findings += words
        frames, words = self._frames(now, progress)
        return Verified(events, refused, frames, (*findings, *words))

    def _compared(
        self, running: FrameState, counted: FrameState, now: datetime
    ) -> tuple[Difference, ...]:
        at = max(to_micros(now), running.now or 0)
        return differences(running.snapshot(at), counted.snapshot(at))

    def _count(self, state: FrameState, upto: int, progress: Progress) -> int:
        """Bring a state up to date from the log and say how far it is; returns events read."""
        what = f"counting {state.frame.experiment}"
        total = self._log.count(state.processed, upto, since=state.earliest)
        done = 0
        progress(what, 0, total)
        for chunk in self._log.read(state.processed, upto, since=state.earliest):
            state.ingest(chunk, chunk.newest)
            done += len(chunk)
            progress(what, done, total)
        state.processed = max(state.processed, upto)
        return done

    def _order(self) -> list[str]:
        rows = self._log.rows(_ASCENDING)
        found = [
            f"event {seq} does not follow the one before it: its number is not larger"
            for (seq,) in rows
        ]
        largest = self._log.rows("SELECT coalesce(max(seq), 0) FROM events")[0][0]
        if largest > self._newest():
            found.append(f"event {largest} has a larger number than was ever given")
        return found

    def _repeats(self) -> list[str]:
        return [
            f"event {event_id!r} at {from_micros(at).isoformat()} is kept {count} times"
            for event_id, at, count in self._log.rows(_REPEATED)
        ]

    def _early(self, horizon: int) -> list[str]:
        query = "SELECT count(*) FROM events WHERE happened_at < ?"
        ((count,),) = self._log.rows(query, [horizon])
        before = from_micros(max(horizon, 0)).isoformat()
        return [f"{count} events happened before {before} and should have left"] if count else []

    def _readable(self, progress: Progress) -> Iterator[tuple[int, list[str]]]:
        total = self._log.count(0, self._newest(), since=-(2**62))
        done = faulty = 0
        for seqs in self._log.read_each(self._newest()):
            words: list[str] = []
            for seq, problem in seqs:
                done += 1
                if problem:
                    faulty += 1
                    if faulty <= _TOLD:
                        words.append(f"event {seq} cannot be read: {problem}")
            progress("reading events", done, total)
            yield len(seqs), words
        if faulty > _TOLD:
            yield 0, [f"{faulty - _TOLD} more events cannot be read"]

    def _refused(self) -> tuple[int, list[str]]:
        found = [f"two refused events have the number {n}" for (n,) in self._log.rows(_NUMBERED)]
        try:
            count = len(Refused(self._log).newest(2**31, None, None))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
            return 0, [*found, f"the quarantine cannot be read: {error}"]
        return count, found

    def _frames(self, now: datetime, progress: Progress) -> tuple[int, list[str]]:
        """Compare all totals with a recount: in memory, saved, and carried over."""
        found: list[str] = []
        counted: dict[object, FrameState] = {}
        for path in self._saved.all_latest():
            found += self._saved_equal(path, now, counted, progress)
        with self._reads:
            running = [state.frame for state in self._totals.frames.values()]
        compared = {*counted, *(identity(frame) for frame in running)}
        for frame in running:
            found += self._running_equal(frame, now, counted.get(identity(frame)), progress)
        for name in self._saved.all_carried():
            try:
                self._saved.open_carried(name)
            except EventsGoneError as error:
                found.append(str(error))
        return len(compared), found

    def _saved_equal(
        self, path: Path, now: datetime, done: dict[object, FrameState], progress: Progress
    ) -> list[str]:
        """Compare the totals of a file with a recount, which is added to ``done``."""
        try:
            state = self._saved.open(path)
        except (DamagedError, OSError) as error:
            return [f"{path}: {error}; it is not used, its events are counted again"]
        try:
            counted = self._totals.begin(state.frame, state.processed, saved=False)
            self._count(counted, state.processed, progress)
            found = self._compared(state, counted, now)
            done[identity(state.frame)] = counted
        except EventsGoneError:
            if self._saved.carries(state.frame):
                return []  # it is older than what was carried over, which is used instead
            return [f"{path}: nothing was carried over for it; it is not used"]
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
            return [_uncounted(state.frame, error)]
        return _told(state.frame, found, "saved")

    def _running_equal(
        self, frame: Frame, now: datetime, done: FrameState | None, progress: Progress
    ) -> list[str]:
        """Compare running totals with a recount, which goes on from ``done`` if it can."""
        try:
            counted = done
            if counted is None or not counted.accepts(frame):
                counted = self._totals.begin(frame, self._newest(), saved=False)
            self._count(counted, self._newest(), progress)
            with self._reads:
                if identity(frame) not in self._totals.frames:
                    return []
                upto = self._newest()
                running = self._totals.state(frame, upto)
                found = self._compared(running, self._totals.advance(counted, upto), now)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
            return [_uncounted(frame, error)]
        return _told(frame, found, "running")


def _uncounted(frame: Frame, error: Exception) -> str:
    name = f"experiment {frame.experiment}, seed {frame.seed}"
    return (
        f"{name}: it cannot be counted: {error if isinstance(error, StoreError) else repr(error)}"
    )


def _told(frame: Frame, found: tuple[Difference, ...], which: str) -> list[str]:
    if not found:
        return []
    name = f"experiment {frame.experiment}, seed {frame.seed}"
    words = [f"{name}: the {which} totals: {each}" for each in found[:_TOLD]]
    if len(found) > _TOLD:
        words.append(f"{name}: {len(found) - _TOLD} more numbers differ")
    return words
