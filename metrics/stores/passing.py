"""A store of one run that nobody returns to: running totals over events in memory."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from metrics.cells import Snapshot
from metrics.events import to_micros
from metrics.store import Frame
from metrics.stores.frames import FrameState, identity
from metrics.stores.memory import MemoryMetricStore
from metrics.stores.rows import EventRows


class PassingMetricStore(MemoryMetricStore):
    """Counts new events only, as the engine on disk does; keeps events as the one in memory does.

    For a replay whose data are thrown away: nothing is written, so nothing is waited for. What
    was asked of the past, and everything after an erasure, is counted from the events alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self._frames: dict[object, FrameState] = {}

    def snapshot(self, frame: Frame, *, now: datetime, as_of: int | None = None) -> Snapshot:
        """Return all cells of an experiment, by what came since it was asked for last."""
        with self._lock:
            self._check_open()
            if as_of is not None or self._erasures:
                return super().snapshot(frame, now=now, as_of=as_of)
            key = identity(frame)
            state = self._frames.pop(key, None)  # after an exception it may be half changed
            if state is None or not state.accepts(frame):
                state = FrameState(frame, self._ids_of)
            # nothing was ever erased: the event of number n is the nth
            new = self._log[state.processed :]
            if new:
                rows = [(seq, to_micros(event.happened_at), event) for seq, event in new]
                state.ingest(EventRows(rows), self._seq)
            found = state.snapshot(to_micros(now))
            self._frames[key] = state
            return found

    def _ids_of(self, seqs: Sequence[int]) -> Mapping[int, str]:
        return {seq: self._log[seq - 1][1].id for seq in seqs}
