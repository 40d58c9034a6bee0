"""Where a frame's totals go on from: memory, a file of the last stop, or the log from its start."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import numpy as np

from metrics.catalogue import PER_UNIT_CAP
from metrics.events import from_micros
from metrics.store import EventsGoneError, Frame
from metrics.stores.columns import Ints
from metrics.stores.exposures import FrameTimes
from metrics.stores.frames import FrameState, identity
from metrics.stores.log import EventLog
from metrics.stores.record import Record
from metrics.stores.rows import Rows, Stamped
from metrics.stores.saved import CarriedError, Ids, SavedTotals, frames_of, kept_ids, key_of
from metrics.upkeep import gone_before, told_gone

logger = logging.getLogger("turnback.store")

FRAMES_KEPT = 256
SAVE_EVERY = 50_000
"""Totals are saved once so many events have come since the last time."""

_LOOKED_UP = 1000

RowsOf = Callable[[FrameState, int], Iterator[Rows]]
"""Returns the rows a state needs to reach a sequence number."""


class Totals:
    """The running totals of a store. Not thread-safe: the store holds a lock.

    Attributes:
        frames: In memory, by identity; the least recently begun first.
    """

    def __init__(
        self,
        log: EventLog,
        record: Record,
        saved: SavedTotals,
        *,
        rows: RowsOf,
        newest: Callable[[], int],
    ) -> None:
        self.frames: dict[object, FrameState] = {}
        self._log = log
        self._record = record
        self._saved = saved
        self._rows = rows
        self._newest = newest
        self._kept_at: dict[object, int] = {}  # up to where the file of a frame goes

    def state(self, frame: Frame, upto: int) -> FrameState:
        """Return a state that has counted exactly up to ``upto``; the running one if it can be.

        Raises:
            EventsGoneError: Events that it needs have left the log.
        """
        key = identity(frame)
        state = self.frames.get(key)
        if state is not None and state.processed > upto:
            return self.advance(self.begin(frame, upto), upto)  # the past: beside the running one
        if state is None or not self._goes_on(state, frame, upto):
            self.frames.pop(key, None)
            state = self.begin(frame, upto)
            while len(self.frames) >= FRAMES_KEPT:
                self.frames.pop(next(iter(self.frames)))
            self.frames[key] = state
        return self.advance(state, upto)

    def advance(self, state: FrameState, upto: int) -> FrameState:
        """Return a state after it has counted up to ``upto``."""
        for chunk in self._rows(state, upto):
            state.ingest(chunk, chunk.newest)
        state.processed = max(state.processed, upto)
        return state

    def begin(self, frame: Frame, upto: int, *, saved: bool = True) -> FrameState:
        """Return a state that can go on to ``upto``, from as late as possible.

        Args:
            frame: What is counted.
            upto: No later than this.
            saved: Whether a copy of earlier totals may be used; if not, all is counted again.

        Raises:
            EventsGoneError: Events that it needs have left the log.
        """
        gone = self.gone(frame, upto)
        carried = None
        if gone is not None:
            carried = self._saved.carried(frame, upto)
            # more may have left since it was written, while it could not be read
            if carried is None or not self._goes_on(carried, frame, upto):
                newest = self._newest()
                raise EventsGoneError(
                    told_gone(frame.experiment, frame.seed, gone, upto, newest=newest)
                )
        latest = self._saved.latest(frame, upto) if saved else None
        if latest is not None and self._goes_on(latest, frame, upto):
            self._kept_at.setdefault(identity(frame), latest.processed)
            return latest
        return carried or FrameState(frame, Ids(self._log.ids_of))

    def gone(self, frame: Frame, upto: int, *, after: int = 0) -> datetime | None:
        """Return before when events are gone that a count from the log would need."""
        earliest = from_micros(FrameTimes.of(frame).earliest)
        return gone_before(self._record.erasures, earliest, upto, after=after)

    def _goes_on(self, state: FrameState, frame: Frame, upto: int) -> bool:
        """Return whether a state can be brought from where it is to ``upto``."""
        return self.gone(frame, upto, after=state.processed) is None and state.accepts(frame)

    def forget_running(self, frame: Frame) -> None:
        """Let go of a frame's totals in memory: they may be half changed."""
        self.frames.pop(identity(frame), None)

    def drop(self, frame: Frame) -> None:
        """Let go of a frame's running totals, in memory and beside the file."""
        self.frames.pop(identity(frame), None)
        self._kept_at.pop(identity(frame), None)
        self._saved.drop(frame)

    def replace(self, frame: Frame, state: FrameState) -> None:
        """Make a state the running one of its frame."""
        self.drop(frame)
        self.frames[identity(frame)] = state

    def save(self, *, every: int | None = None) -> None:
        """Save what has counted at least ``every`` events (`SAVE_EVERY`) since it was saved.

        Raises:
            StoreError: Something could not be saved; what follows was not tried.
        """
        least = SAVE_EVERY if every is None else every
        for key, state in self.frames.items():
            if state.processed - self._kept_at.get(key, 0) >= least:
                self._saved.save(state)
                self._kept_at[key] = state.processed

    # --- before events leave ----------------------------------------------------------------

    def carry_over(self, before: int, running: Sequence[Frame], upto: int) -> dict[str, str]:
        """Write what must be carried over when events from before an instant leave the log.

        Returns:
            The files from which frames go on, by key, for the record.

        Raises:
            StoreError: It could not be written, or what a running frame goes on from cannot be
                read: put back, it would miss what leaves now. Nothing may be removed.
        """
        carried: dict[str, str] = {}
        for key, name in self._record.carried.items():
            frame = self._saved.carried_frame(name)
            if frame is not None and _earliest(frame) >= before:
                carried[key] = name
        for frame in running:
            key = key_of(frame)
            if key not in self._record.carried and _earliest(frame) >= before:
                continue  # the log keeps all it needs
            try:
                state = self.state(frame, upto)
            except CarriedError as error:
                raise CarriedError(f"no event was removed: {error}") from error
            except EventsGoneError as error:
                logger.warning("not carried over: %s", error)
                continue
            self._keep_ids(state, before)
            carried[key] = self._saved.carry(state)
        return carried

    def after_retention(self, before: int) -> None:
        """Let go of the totals of frames that reach back further and were not carried over."""
        self._saved.clean()
        named = self._record.carried
        for state in list(self.frames.values()):
            if _earliest(state.frame) < before and key_of(state.frame) not in named:
                self.drop(state.frame)
        for path, frame in frames_of(self._saved.all_latest()):
            if frame is None:
                path.unlink(missing_ok=True)
            elif _earliest(frame) < before:
                self._saved.drop(frame)  # what was carried over is newer
                self._kept_at.pop(identity(frame), None)

    def carried_states(self, upto: int, running: Sequence[Frame]) -> dict[str, FrameState]:
        """Return states of all frames that the log no longer reaches, by key.

        They go on from what was carried over, whatever was asked since; where a running frame
        can be answered from that, they are of the frame as it is now.

        Raises:
            CarriedError: One of them cannot be used any more.
        """
        asked = {key_of(frame): frame for frame in running}
        states: dict[str, FrameState] = {}
        for key, name in self._record.carried.items():
            state = self._saved.open_carried(name)
            if key in asked:
                state.accepts(asked[key])
            states[key] = self.advance(state, upto)
        return states

    def carry_without(
        self, unit: str, states: Mapping[str, FrameState], leaving: Iterable[Stamped]
    ) -> dict[str, str]:
        """Forget a unit in states that are carried over, and write them.

        Args:
            unit: Who is forgotten.
            states: From `carried_states`.
            leaving: Events that leave the log. What other units did in them stays counted, so
                the ids by which it may be ordered are kept.

        Raises:
            StoreError: It could not be written; nothing may be removed.
        """
        leaving = list(leaving)
        carried: dict[str, str] = {}
        for key, state in states.items():
            its = state.frame.unit
            state.forget(unit)
            kept_ids(state).update(
                (seq, event.id)
                for seq, _, event in leaving
                if event.units.get(its) not in {None, unit}
            )
            carried[key] = self._saved.carry(state)
        return carried

    def forget(self, unit: str, leaving: Iterable[Stamped]) -> None:
        """Forget a unit in the running totals, while its events are still in the log.

        Totals that know other units by these events too are let go of, and counted again.
        """
        leaving = list(leaving)
        for key, state in list(self.frames.items()):
            its = state.frame.unit
            named = {event.units[its] for _, _, event in leaving if its in event.units}
            if named == {unit}:
                state.forget(unit)
            elif any(state.knows(each) for each in named):
                del self.frames[key]

    def after_forgetting(self, states: Mapping[str, FrameState]) -> None:
        """Go on from what was carried over."""
        self._saved.clean()
        self.frames.update((identity(state.frame), state) for state in states.values())

    def forget_copies(self) -> None:
        """Let go of all files that could be made again."""
        self._kept_at.clear()
        self._saved.drop_latest()

    def _keep_ids(self, state: FrameState, before: int) -> None:
        """Keep the ids that may still decide which events of a unit are its first twenty."""
        wanted: list[int] = []
        for times, names, seqs in state.crowded(PER_UNIT_CAP):
            wanted += _tied(times, names, seqs, before)
        for start in range(0, len(wanted), _LOOKED_UP):
            kept_ids(state).update(state.ids_of(wanted[start : start + _LOOKED_UP]))


def _earliest(frame: Frame) -> int:
    return FrameTimes.of(frame).earliest


def _tied(times: Ints, names: Ints, seqs: Ints, before: int) -> list[int]:
    """Return the events of one unit, from before an instant, that only their ids put in order.

    Of each name those at one instant among the first of which the twentieth may be: nothing
    from before the instant comes any more, so how many are earlier stays as it is.
    """
    tied: list[int] = []
    for name in np.unique(names).tolist():
        mine = (names == name) & (times < before)
        instants, counts = np.unique(times[mine], return_counts=True)
        doubtful = instants[(counts > 1) & (np.cumsum(counts) > PER_UNIT_CAP)]
        tied += seqs[mine & np.isin(times, doubtful)].tolist()
    return tied
