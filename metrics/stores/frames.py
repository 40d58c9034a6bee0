"""One frame's cells, kept up to date from new log rows only.

Invariant: the ledger holds exactly the counted units whose window has closed at ``now``, each
with the value its events so far give it. A change of units is therefore three steps: take the
entered units it touches out of the ledger, apply it, book them again. Nothing depends on the
order of arrival, and the cost depends on the units touched, never on the history.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from metrics.cells import Snapshot
from metrics.events import EXPOSURE, Event, from_micros, to_micros
from metrics.store import Frame
from metrics.stores.columns import Batch, EventColumns, IdsOf, Ints
from metrics.stores.evaluate import unit_values
from metrics.stores.exposures import FrameTimes, exposure_of
from metrics.stores.ledger import Ledger
from metrics.stores.plan import NO_CASE, FramePlan, plan_of
from metrics.stores.units import Units
from metrics.values import case_of

CHUNK = 16_384
"""Units evaluated at a time, so that a rebuild needs little memory."""

_UNKNOWN_NAME = 0

Row = tuple[int, Event]
"""Sequence number and event."""


def identity(frame: Frame) -> Frame:
    """Return what must not change for a `FrameState` to go on: all but phases and ``until``."""
    return replace(frame, phases=(), until=None)


class FrameState:
    """Incremental totals of one frame. Not thread-safe: its store holds a lock."""

    def __init__(self, frame: Frame, ids_of: IdsOf) -> None:
        self.processed = 0
        self._frame = frame
        self._ids_of = ids_of
        self._plan: FramePlan = plan_of(frame)
        self._units = Units(FrameTimes.of(frame), frame.variants)
        self._events = EventColumns(self._plan.number_columns, self._plan.case_fields)
        self._ledger = Ledger(self._plan, frame.variants)
        self._cases: dict[str, int] = {}
        self._now: int | None = None
        self._newest_exposure: int | None = None

    def accepts(self, frame: Frame) -> bool:
        """Take a frame that may differ in phases and ``until``.

        Returns:
            Whether the state goes on; if not, it must be built again from the log.
        """
        if frame.until != self._frame.until:
            bounds = [to_micros(each) for each in (frame.until, self._frame.until) if each]
            if self._newest_exposure is not None and self._newest_exposure >= min(bounds):
                return False
        if frame.phases != self._frame.phases and self._units.replace(FrameTimes.of(frame).phases):
            self._ledger = self._from_scratch(self._now)
        self._units.times = FrameTimes.of(frame)
        self._frame = frame
        return True

    def ingest(self, rows: Iterable[Row], upto: int) -> None:
        """Take new log rows, ascending; ``upto`` is the newest sequence number then known."""
        mine = [
            (seq, event, self._units.find(unit))
            for seq, event in rows
            if (unit := event.units.get(self._frame.unit)) is not None
        ]
        touched = np.unique(np.array([position for _, _, position in mine], np.int64))
        self._book_entered(self._ledger, touched, self._now, take_away=True)
        self._append(mine)
        self._book_entered(self._ledger, touched, self._now)
        self.processed = max(self.processed, upto)

    def snapshot(self, now: int) -> Snapshot:
        """Return the answer at ``now`` (microseconds); earlier than before costs a full pass."""
        if self._now is not None and now < self._now:
            ledger = self._from_scratch(now)
        else:
            ledger = self._ledger
            self._enter(ledger, self._now, now)
            self._now = now
        return Snapshot(
            at=from_micros(now),
            watermark=self.processed,
            cells=ledger.cells(self._plan),
            reach=self._units.reach(),
            conflicted=self._units.conflicted,
        )

    def _from_scratch(self, now: int | None) -> Ledger:
        ledger = Ledger(self._plan, self._frame.variants)
        if now is not None:
            self._enter(ledger, None, now)
        return ledger

    def _enter(self, ledger: Ledger, before: int | None, now: int) -> None:
        """Book the units whose windows closed after ``before`` and by ``now``."""
        for window in self._plan.by_window:
            age = window + self._units.times.lag
            entering = self._units.between(None if before is None else before - age, now - age)
            self._book(ledger, window, entering, take_away=False)

    def _book_entered(
        self, ledger: Ledger, touched: Ints, now: int | None, *, take_away: bool = False
    ) -> None:
        if now is None:
            return
        units = self._units
        counted = touched[units.variant.data[touched] >= 0]
        first = units.first.data[counted]
        for window in self._plan.by_window:
            entered = counted[first <= now - window - units.times.lag]
            self._book(ledger, window, entered, take_away=take_away)

    def _book(self, ledger: Ledger, window: int, positions: Ints, *, take_away: bool) -> None:
        for start in range(0, positions.shape[0], CHUNK):
            chunk = positions[start : start + CHUNK]
            first = self._units.first.data[chunk]
            ends = first + window
            events = self._events.gather(self._units.head.data[chunk])
            starts = first - self._units.times.tolerance
            events = events.within(
                (events.at >= starts[events.owner]) & (events.at < ends[events.owner])
            )
            places = self._units.by_place(chunk)
            for plan in self._plan.by_window[window]:
                values = unit_values(plan, events, ends, self._ids_of)
                ledger.book(plan, values, places, take_away=take_away)

    def _append(self, rows: Sequence[tuple[int, Event, int]]) -> None:
        batch = Batch.empty(self._plan.number_columns, len(self._plan.case_fields))
        recount: set[int] = set()
        size = self._events.size
        for seq, event, position in rows:
            at = to_micros(event.happened_at)
            if event.name == EXPOSURE:
                if self._expose(event, position, at):
                    recount.add(position)
                continue
            self._read(batch, seq, event, at)
            batch.previous.append(int(self._units.head.data[position]))
            self._units.head.data[position] = size + len(batch.at) - 1
            self._units.see(position, at)
        self._events.extend(batch)
        for position in recount:
            self._recount(position)

    def _recount(self, position: int) -> None:
        head = self._units.head.data[position : position + 1]
        if head[0] >= 0:
            self._units.recount(position, self._events.gather(head).at)

    def _expose(self, event: Event, position: int, at: int) -> bool:
        seen = exposure_of(event, self._frame)
        if seen is None:
            return False
        if self._newest_exposure is None or at > self._newest_exposure:
            self._newest_exposure = at
        until = self._units.times.until
        if until is not None and at >= until:
            return False
        return self._units.expose(position, at, self._frame.variants.index(seen[1]))

    def _read(self, batch: Batch, seq: int, event: Event, at: int) -> None:
        """Add one event's columns to the batch."""
        plan = self._plan.names.get(event.name)
        batch.at.append(at)
        batch.seq.append(seq)
        batch.name.append(_UNKNOWN_NAME if plan is None else plan.code)
        fields = event.fields
        flags = 0 if plan is None else plan.flags(event, event.units[self._frame.unit])
        batch.flags.append(flags)
        for numbers in batch.numbers:
            numbers.append(0)
        if plan is not None:
            for key, column in plan.numbers.items():
                value = fields.get(key)
                if isinstance(value, int) and not isinstance(value, bool):
                    batch.numbers[column][-1] = value
        for key, cases in zip(self._plan.case_fields, batch.cases, strict=True):
            case = case_of(fields.get(key))
            cases.append(
                NO_CASE if case is None else self._cases.setdefault(case, len(self._cases) + 1)
            )
