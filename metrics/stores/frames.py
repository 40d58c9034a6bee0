"""One frame's cells, kept up to date from new log rows only.

Invariant: the ledger holds exactly the counted units whose window has closed at ``now``, each
with the value its events so far give it. A change of units is therefore three steps: take the
entered units it touches out of the ledger, apply it, book them again. Nothing depends on the
order of arrival, and the cost depends on the units touched, never on the history: a unit's
value follows from running totals, and only the few it cannot follow from need their events.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from metrics.cells import Cell, Snapshot
from metrics.events import from_micros, to_micros
from metrics.store import Frame
from metrics.stores.columns import Batch, Column, EventColumns, Gathered, IdsOf, Ints
from metrics.stores.evaluate import Values, may_count, total_values, unit_values
from metrics.stores.exposures import FrameTimes
from metrics.stores.forgetting import nobody
from metrics.stores.ledger import Ledger
from metrics.stores.plan import FramePlan, KpiPlan, WindowPlan, plan_of
from metrics.stores.reading import Reader
from metrics.stores.rows import Rows
from metrics.stores.unit_totals import LARGE, UnitTotals
from metrics.stores.units import Changes, Units

CHUNK = 65_536
"""Units evaluated at a time, so that a rebuild needs little memory."""


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
        self._reader = Reader(frame, self._plan)
        self._events = EventColumns(
            len(self._plan.names) + 1, self._plan.number_columns, self._plan.case_fields
        )
        self._totals = UnitTotals(self._plan)
        self._ledger = Ledger(self._plan, frame.variants)
        self._now: int | None = None

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
            newest = self._reader.newest_exposure
            if newest is not None and newest >= min(bounds):
                return False
        if frame.phases != self._frame.phases and self._units.replace(FrameTimes.of(frame).phases):
            self._ledger = self._from_scratch(self._now)
        self._units.times = FrameTimes.of(frame)
        self._frame = frame
        return True

    def ingest(self, rows: Rows, upto: int) -> None:
        """Take new log rows; ``upto`` is the newest sequence number then known."""
        units = self._units
        batch = self._reader.read(rows, units)
        self._totals.grow(units.size)
        changes = units.changes(batch.exposed, batch.exposed_at, batch.variant)
        touched = self._touched(batch, changes)
        self._book_entered(touched, take_away=True)
        again = units.apply(changes)
        events = self._events.extend(batch, units.size)
        units.see(batch.unit, batch.at)
        self._add(batch, events, again)
        self._book_entered(touched, take_away=False)
        self._prune(batch.unit)
        self.processed = max(self.processed, upto)

    def split(self, kpi: str, window: int, by: Sequence[Ints], now: int) -> list[tuple[Cell, ...]]:
        """Return the cells of one KPI and window with a number in place of every unit's cohort.

        Nothing that is kept changes.

        Args:
            kpi: Key.
            window: Its length in microseconds.
            by: Of each answer the number of every unit, 0 or more, by position.
            now: Only units count whose window has closed by then.
        """
        plan = next(p for p in self._plan.kpis if (p.kpi.key, p.window) == (kpi, window))
        positions = self._units.between(None, now - window - self._units.times.lag)
        ledgers = [Ledger(self._plan, self._frame.variants) for _ in by]
        for start in range(0, positions.shape[0], CHUNK):
            chunk = positions[start : start + CHUNK]
            values = self._values(plan, chunk)
            for ledger, numbers in zip(ledgers, by, strict=True):
                groups = self._units.groups(chunk, numbers[chunk])
                ledger.book(plan, values, groups, take_away=False)
        asked = kpi, timedelta(microseconds=window)
        return [ledger.cells(self._plan)[asked] for ledger in ledgers]

    def at_first(self, units: Sequence[str], at: Ints) -> Ints:
        """Return the positions of units that count and were first exposed just then, else -1."""
        known = self._units.position
        found = np.array([known.get(unit, -1) for unit in units], np.int64)
        its = np.maximum(found, 0)
        if not self._units.size:
            return found
        right = (found >= 0) & (self._units.first.data[its] == at)
        return np.where(right & (self._units.variant.data[its] >= 0), found, -1)

    @property
    def counted(self) -> Ints:
        """The positions of all units that count so far."""
        return np.flatnonzero(self._units.variant.data[: self._units.size] >= 0)

    @property
    def size(self) -> int:
        """Units met, exposed or not."""
        return self._units.size

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
        everything = {kpi.index: alone for kpi in self._plan.kpis}
        self._book_entered(everything, take_away=True)
        self._events.forget(position)
        self._totals.forget(position)
        self._units.forget(unit)
        cases = self._reader.cases
        used = {int(n) for column in self._events.cases for n in np.unique(column.dump())}
        for case, number in list(cases.items()):
            if number not in used:
                del cases[case]
                cases[nobody(number)] = number

    def crowded(self, limit: int) -> Iterator[tuple[Ints, Ints, Ints]]:
        """Return (times, name codes, sequence numbers) of each unit with more events than that."""
        for position in np.flatnonzero(self._units.chained.dump() > limit).tolist():
            events = self._events.gather(np.array([position]))
            yield events.at, events.name, self._events.seq.data[events.rows]

    def dump(self) -> Dumped:
        """Return everything from which `restore` makes a state that goes on the same.

        The columns are those of the state: write them before it changes.
        """
        names = [""] * len(self._units.position)
        for name, position in self._units.position.items():
            names[position] = name
        cases = [""] * len(self._reader.cases)
        for case, number in self._reader.cases.items():
            cases[number - 1] = case
        return Dumped(
            facts={
                "processed": self.processed,
                "now": self._now,
                "newest exposure": self._reader.newest_exposure,
                "units": self._units.dump(),
                "cells": self._ledger.dump(),
            },
            names={"units": names, "cases": cases},
            columns={
                table: {name: each.dump() for name, each in columns.items()}
                for table, columns in self._saved().items()
            },
        )

    def _saved(self) -> dict[str, dict[str, Column]]:
        """Return every column by table, those of one table with the same number of rows."""
        return {
            "units": self._units.saved(),
            "events": self._events.saved(),
            "heads": {"head": self._events.heads},
            "totals": self._totals.saved(),
        }

    def restore(self, dumped: Dumped) -> None:
        """Become what was dumped by a state of the same frame and plan; this one is new."""
        for table, columns in self._saved().items():
            for name, column in columns.items():
                column.restore(dumped.columns[table][name])
        facts = dumped.facts
        self._units.restore(facts["units"], dumped.names["units"])
        self._ledger.restore(facts["cells"])
        self._reader.cases = {case: number for number, case in enumerate(dumped.names["cases"], 1)}
        self._now = facts["now"]
        self._reader.newest_exposure = facts["newest exposure"]
        self.processed = facts["processed"]

    def _from_scratch(self, now: int | None) -> Ledger:
        ledger = Ledger(self._plan, self._frame.variants)
        if now is not None:
            self._enter(ledger, None, now)
        return ledger

    def _enter(self, ledger: Ledger, before: int | None, now: int) -> None:
        """Book the units whose windows closed after ``before`` and by ``now``."""
        if before == now:
            return
        for plan in self._plan.by_window.values():
            age = plan.window + self._units.times.lag
            entering = self._units.between(None if before is None else before - age, now - age)
            for kpi in plan.kpis:
                self._book(ledger, kpi, entering, take_away=False)

    def _touched(self, batch: Batch, changes: Changes) -> dict[int, Ints]:
        """Return by KPI and window the units whose booked value may change.

        An event changes an entered unit's value only when it is late: it happened before the
        window closed and arrives after. An exposure may change everything.
        """
        if self._now is None:
            return {}
        first, exposed = self._units.first.data[batch.unit], changes.units
        touched: dict[int, Ints] = {}
        for plan in self._plan.by_window.values():
            closed = self._now - plan.window - self._units.times.lag
            late = np.flatnonzero((first <= closed) & (batch.at <= first + plan.window))
            touched |= self._late(plan, batch, late, exposed)
        return touched

    def _late(self, plan: WindowPlan, batch: Batch, late: Ints, exposed: Ints) -> dict[int, Ints]:
        """Return the units of late events by the KPIs that use these, and all exposed ones."""
        names, flags, units = batch.name[late], batch.flags[late], batch.unit[late]
        touched: dict[int, Ints] = {}
        for kpi in plan.kpis:
            masks = np.zeros(self._events.width, np.int64)
            masks[list(kpi.masks)] = list(kpi.masks.values())
            used = units[(masks[names] & flags) != 0]
            touched[kpi.index] = np.unique(np.concatenate([used, exposed]))
        return touched

    def _book_entered(self, touched: Mapping[int, Ints], *, take_away: bool) -> None:
        now, units = self._now, self._units
        if now is None:
            return
        for index, positions in touched.items():
            kpi = self._plan.kpis[index]
            entered = units.variant.data[positions] >= 0
            entered &= units.first.data[positions] <= now - kpi.window - units.times.lag
            self._book(self._ledger, kpi, positions[entered], take_away=take_away)

    def _book(self, ledger: Ledger, plan: KpiPlan, positions: Ints, *, take_away: bool) -> None:
        for start in range(0, positions.shape[0], CHUNK):
            chunk = positions[start : start + CHUNK]
            values, groups = self._values(plan, chunk), self._units.groups(chunk)
            ledger.book(plan, values, groups, take_away=take_away)

    def _values(self, plan: KpiPlan, positions: Ints) -> Values:
        """Return the values of exposed units for one KPI and window."""
        if plan.from_events:
            return self._valued(plan, positions)
        totals = self._totals
        unfit = np.flatnonzero(totals.unfit(plan, positions))
        values = total_values(plan, totals.of(plan, positions), positions.shape[0])
        if unfit.shape[0]:
            others = self._valued(plan, positions[unfit])
            values = _replaced(values, unfit, others)
        return values

    def _valued(self, plan: KpiPlan, positions: Ints) -> Values:
        """Return the values of exposed units from their events."""
        first = self._units.first.data[positions]
        ends, starts = first + plan.window, first - self._units.times.tolerance
        events = self._events.gather(positions, plan.masks)
        events = events.within(
            (events.at >= starts[events.owner]) & (events.at <= ends[events.owner])
        )
        values = unit_values(plan, events, ends, self._ids_of)
        if values is None:
            y, x = plan.default or (0, 0)
            count, defined = positions.shape[0], plan.default is not None
            return np.full(count, y), np.full(count, x), np.full(count, defined)
        return values

    def _add(self, batch: Batch, events: Gathered, again: Ints) -> None:
        """Add a batch to the running totals, and count units again whose exposure moved."""
        units, totals = self._units, self._totals
        for sparse in batch.numbers:
            for rows, values in zip(sparse.rows, sparse.values, strict=True):
                large = (values >= LARGE) | (values <= -LARGE)
                totals.large.data[batch.unit[rows[large]]] = 1
        if again.shape[0]:
            every = self._events.gather(again)
            units.recount(again, every.owner, every.at)
            totals.clear(again)
            whose = again[every.owner]
            totals.add(every, whose, units.first.data[whose], units.times.tolerance)
        counted = units.variant.data[batch.unit] >= 0
        if again.shape[0]:
            counted &= ~np.isin(batch.unit, again)
        mine = events.within(counted)
        totals.add(mine, mine.owner, units.first.data[mine.owner], units.times.tolerance)

    def _prune(self, units: Ints) -> None:
        """Shorten the chains of units with more events than can ever count.

        The totals of a unit whose id is ``unknown`` or who is a robot must not cost more with
        every event.
        """
        for position in self._units.longer(units):
            start = int(self._units.first.data[position]) - self._units.times.tolerance
            events = self._events.gather(np.array([position]))
            alive = may_count(events, start, self._plan.selections)
            for code in np.unique(events.name[~alive]).tolist():
                kept = events.rows[alive & (events.name == code)]
                self._events.link(kept, position, code)
            self._units.shorten(position, events.at[~alive], int(alive.sum()))


def _replaced(values: Values, where: Ints, others: Values) -> Values:
    """Return values with some of them replaced; numbers beyond 64 bits make all of them objects."""
    (y, x, defined), (new_y, new_x, new_defined) = values, others
    y, x = (
        old.astype(np.object_) if new.dtype == np.object_ else old
        for old, new in ((y, new_y), (x, new_x))
    )
    y[where], x[where], defined[where] = new_y, new_x, new_defined
    return y, x, defined
