"""One frame's cells, kept up to date from new log rows only.

Invariant: the ledger holds exactly the counted units whose window has closed at ``now``, each
with the value its events so far give it. A change of units is therefore three steps: take the
entered units it touches out of the ledger, apply it, book them again. Nothing depends on the
order of arrival, and the cost depends on the units touched, never on the history.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrics.cells import Snapshot
from metrics.events import EXPOSURE, Event, from_micros, to_micros
from metrics.store import Frame
from metrics.stores.columns import Batch, EventColumns, IdsOf, Ints
from metrics.stores.evaluate import may_count, unit_values
from metrics.stores.exposures import FrameTimes, exposure_of
from metrics.stores.forgetting import nobody
from metrics.stores.ledger import Ledger
from metrics.stores.plan import FramePlan, plan_of
from metrics.stores.units import Units
from metrics.values import case_of

CHUNK = 16_384
"""Units evaluated at a time, so that a rebuild needs little memory."""

_UNKNOWN_NAME = 0

Row = tuple[int, int, Event]
"""Sequence number, time in microseconds, event."""


def identity(frame: Frame) -> object:
    """Return what names a frame's state; `FrameState.accepts` compares the rest."""
    return (
        frame.experiment,
        frame.seed,
        frame.unit,
        frame.variants,
        frame.origin,
        frame.cohort,
        frame.lag,
        frame.clock_tolerance,
        tuple((kpi.key, windows) for kpi, windows in frame.kpis),
    )


@dataclass(frozen=True, slots=True)
class Dumped:
    """All that is in a state: numbers of any size, names, and columns by table."""

    facts: Mapping[str, Any]
    names: Mapping[str, Sequence[str]]
    columns: Mapping[str, Mapping[str, Ints]]


class FrameState:
    """Incremental totals of one frame. Not thread-safe: its store holds a lock.

    After an exception out of any method the totals may be half changed: drop the state.
    """

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

    @property
    def earliest(self) -> int:
        """Rows that happened before this instant need not be read."""
        return self._units.times.earliest

    def accepts(self, frame: Frame) -> bool:
        """Take a frame that may differ in phases and ``until``.

        Returns:
            Whether the state goes on; if not, it must be built again from the log.
        """
        if frame.kpis != self._frame.kpis:
            return False
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
        batch = Batch.empty(self._plan.number_columns, len(self._plan.case_fields))
        exposures: list[tuple[int, int, int]] = []
        earliest = self.earliest
        for seq, at, event in rows:
            unit = event.units.get(self._frame.unit)
            if unit is None or at < earliest:
                continue
            if event.name != EXPOSURE:
                self._read(batch, seq, at, event, unit)
            elif (variant := self._variant_of(event, at)) is not None:
                exposures.append((self._units.find(unit), at, variant))
        units, times = np.array(batch.unit, np.int64), np.array(batch.at, np.int64)
        touched = self._touched(units, times, [position for position, _, _ in exposures])
        self._book_entered(touched, take_away=True)
        again = [
            position for position, at, variant in exposures if self._expose(position, at, variant)
        ]
        self._events.extend(batch, self._units.head)
        self._units.see(units, times)
        for position in again:
            self._units.recount(position, self._events.gather(self._head(position)).at)
        self._book_entered(touched, take_away=False)
        self._prune(units)
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

    @property
    def frame(self) -> Frame:
        """The frame as it was last asked for."""
        return self._frame

    @property
    def now(self) -> int | None:
        """The latest instant it was asked about, in microseconds."""
        return self._now

    @property
    def ids_of(self) -> IdsOf:
        """Looks up event ids by sequence number."""
        return self._ids_of

    def knows(self, unit: str) -> bool:
        """Return whether anything was ever read about a unit that was not forgotten."""
        return unit in self._units.position

    def forget(self, unit: str) -> None:
        """Let go of a unit; the totals are then those of the other units."""
        if not self.knows(unit):
            return
        position = self._units.position[unit]
        alone = np.array([position], np.int64)
        self._book_entered(dict.fromkeys(self._plan.by_window, alone), take_away=True)
        self._events.blank(self._events.gather(self._head(position)).rows)
        self._units.forget(unit)
        used = {int(n) for column in self._events.cases for n in np.unique(column.dump())}
        for case, number in list(self._cases.items()):
            if number not in used:
                del self._cases[case]
                self._cases[nobody(number)] = number

    def crowded(self, limit: int) -> Iterator[tuple[Ints, Ints, Ints]]:
        """Return (times, name codes, sequence numbers) of each unit with more events than that."""
        heads = self._units.head.dump()
        chains = self._units.saved()["chain"].dump()
        for position in np.flatnonzero(chains > limit).tolist():
            events = self._events.gather(heads[position : position + 1])
            yield events.at, events.name, self._events.seq.data[events.rows]

    def dump(self) -> Dumped:
        """Return everything from which `restore` makes a state that goes on the same.

        The columns are those of the state: write them before it changes.
        """
        names = [""] * len(self._units.position)
        for name, position in self._units.position.items():
            names[position] = name
        cases = [""] * len(self._cases)
        for case, number in self._cases.items():
            cases[number - 1] = case
        return Dumped(
            facts={
                "processed": self.processed,
                "now": self._now,
                "newest exposure": self._newest_exposure,
                "units": self._units.dump(),
                "cells": self._ledger.dump(),
            },
            names={"units": names, "cases": cases},
            columns={
                "units": {name: each.dump() for name, each in self._units.saved().items()},
                "events": {name: each.dump() for name, each in self._events.saved().items()},
            },
        )

    def restore(self, dumped: Dumped) -> None:
        """Become what was dumped by a state of the same frame and plan; this one is new."""
        for column, values in dumped.columns["units"].items():
            self._units.saved()[column].restore(values)
        for column, values in dumped.columns["events"].items():
            self._events.saved()[column].restore(values)
        facts = dumped.facts
        self._units.restore(facts["units"], dumped.names["units"])
        self._ledger.restore(facts["cells"])
        self._cases = {case: number for number, case in enumerate(dumped.names["cases"], 1)}
        self._now = facts["now"]
        self._newest_exposure = facts["newest exposure"]
        self.processed = facts["processed"]

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

    def _touched(self, units: Ints, times: Ints, exposed: list[int]) -> dict[int, Ints]:
        """Return by window the units whose booked value may change.

        An event changes an entered unit's value only when it is late: it happened before the
        window closed and arrives after. An exposure may change everything.
        """
        if self._now is None:
            return {}
        first = self._units.first.data[units]
        exposures = np.array(exposed, np.int64)
        touched: dict[int, Ints] = {}
        for window in self._plan.by_window:
            closed = self._now - window - self._units.times.lag
            late = units[(first <= closed) & (times <= first + window)]
            touched[window] = np.unique(np.concatenate([late, exposures]))
        return touched

    def _book_entered(self, touched: Mapping[int, Ints], *, take_away: bool) -> None:
        now, units = self._now, self._units
        if now is None:
            return
        for window, positions in touched.items():
            counted = positions[units.variant.data[positions] >= 0]
            entered = counted[units.first.data[counted] <= now - window - units.times.lag]
            self._book(self._ledger, window, entered, take_away=take_away)

    def _book(self, ledger: Ledger, window: int, positions: Ints, *, take_away: bool) -> None:
        for start in range(0, positions.shape[0], CHUNK):
            chunk = positions[start : start + CHUNK]
            first = self._units.first.data[chunk]
            ends = first + window
            events = self._events.gather(self._units.head.data[chunk])
            starts = first - self._units.times.tolerance
            events = events.within(
                (events.at >= starts[events.owner]) & (events.at <= ends[events.owner])
            )
            places = self._units.by_place(chunk)
            for plan in self._plan.by_window[window]:
                values = unit_values(plan, events, ends, self._ids_of)
                ledger.book(plan, values, places, take_away=take_away)

    def _prune(self, units: Ints) -> None:
        """Shorten the chains of units with more events than can ever count.

        The totals of a unit whose id is ``unknown`` or who is a robot must not cost more with
        every event.
        """
        for position in self._units.longer(np.unique(units)).tolist():
            start = int(self._units.first.data[position]) - self._units.times.tolerance
            events = self._events.gather(self._head(position))
            alive = may_count(events, start, self._plan.selections)
            self._events.link(events.rows[alive], position, self._units.head)
            self._units.shorten(position, events.at[~alive], int(alive.sum()))

    def _head(self, position: int) -> Ints:
        return self._units.head.data[position : position + 1]

    def _expose(self, position: int, at: int, variant: int) -> bool:
        """Record an exposure; returns whether earlier events of the unit must be counted again."""
        changed = self._units.expose(position, at, variant)
        return changed and bool(self._head(position)[0] >= 0)

    def _variant_of(self, event: Event, at: int) -> int | None:
        """Return the variant's position when an exposure counts."""
        seen = exposure_of(event, self._frame)
        if seen is None:
            return None
        if self._newest_exposure is None or at > self._newest_exposure:
            self._newest_exposure = at
        if not self._units.times.admits(at):
            return None
        return self._frame.variants.index(seen[1])

    def _read(self, batch: Batch, seq: int, at: int, event: Event, unit: str) -> None:
        """Add one event's columns to the batch."""
        plan = self._plan.names.get(event.name)
        batch.unit.append(self._units.find(unit))
        batch.at.append(at)
        batch.seq.append(seq)
        if plan is None:
            batch.name.append(_UNKNOWN_NAME)
            batch.flags.append(0)
            return
        row = len(batch.name)
        batch.name.append(plan.code)
        batch.flags.append(plan.flags(event, unit))
        for key, column in plan.numbers.items():
            value = event.fields.get(key)
            if isinstance(value, int) and not isinstance(value, bool):
                batch.numbers[column].rows.append(row)
                batch.numbers[column].values.append(value)
        for key, column in plan.cases.items():
            case = case_of(event.fields.get(key))
            if case is not None:
                batch.cases[column].rows.append(row)
                number = self._cases.setdefault(case, len(self._cases) + 1)
                batch.cases[column].values.append(number)
