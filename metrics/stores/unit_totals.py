"""Running totals per unit and window: what a unit's value follows from, without its events.

They hold for units whose events fit: no more than 20 of a name count, and no number is so large
that 20 of them exceed 64 bits. The few others are told apart (`UnitTotals.unfit`) and valued from
their events.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrics.catalogue import PER_UNIT_CAP
from metrics.stores.columns import Column, Gathered, Ints
from metrics.stores.plan import FramePlan, KpiPlan, TotalPlan, WindowPlan

LARGE = 2**57
"""Numbers from here on: 20 of them might not fit 64 bits."""

_MOST = 255


class UnitTotals:
    """One column per total and window, one row per unit; counts stop at 255."""

    def __init__(self, plan: FramePlan) -> None:
        self._plan = plan
        self.counts = {w: [Column(0, np.uint8) for _ in p.counts] for w, p in _windows(plan)}
        self.sums = {w: [Column() for _ in p.sums] for w, p in _windows(plan)}
        self.large = Column(0, np.uint8)

    def grow(self, units: int) -> None:
        """Make room for units."""
        self.large.grow(units)
        for columns in (*self.counts.values(), *self.sums.values()):
            for column in columns:
                column.grow(units)

    def clear(self, units: Ints) -> None:
        """Forget the totals of units, but not that they had large numbers."""
        for columns in (*self.counts.values(), *self.sums.values()):
            for column in columns:
                column.data[units] = 0

    def forget(self, unit: int) -> None:
        """Let go of everything about a unit."""
        for column in self.saved().values():
            column.data[unit] = 0

    def saved(self) -> dict[str, Column]:
        """Return every column by name, for saving and restoring."""
        named = {"large": self.large}
        for kind, windows in (("count", self.counts), ("sum", self.sums)):
            for window, columns in windows.items():
                named |= {f"{kind} {n} of {window}": each for n, each in enumerate(columns)}
        return named

    def add(self, events: Gathered, units: Ints, first: Ints, tolerance: int) -> None:
        """Add events of exposed units.

        Args:
            events: The events.
            units: Position of each one's unit.
            first: First exposure of each one's unit.
            tolerance: Clock tolerance before it.
        """
        since = events.at >= first - tolerance
        for window, plan in self._plan.by_window.items():
            inside = since & (events.at <= first + window)
            ends = first + window
            for total, column in zip(plan.counts, self.counts[window], strict=True):
                rows = _matching(total, events, inside, ends)
                if rows.size:
                    whose, many = np.unique(units[rows], return_counts=True)
                    column.data[whose] = np.minimum(column.data[whose] + many, _MOST)
            for total, column in zip(plan.sums, self.sums[window], strict=True):
                rows = _matching(total, events, inside, ends)
                if rows.size:
                    numbers = events.number(total.column or 0, rows)
                    numbers = numbers if total.cap is None else np.minimum(numbers, total.cap)
                    np.add.at(column.data, units[rows], numbers)

    def of(self, plan: KpiPlan, units: Ints) -> dict[str, Ints]:
        """Return every measure of a KPI for units."""
        return {
            name: self._column(plan.window, total).data[units].astype(np.int64)
            for name, total in plan.totals.items()
        }

    def unfit(self, plan: KpiPlan, units: Ints) -> NDArray[np.bool_]:
        """Return which units must be valued from their events."""
        unfit: NDArray[Any] = self.large.data[units] != 0
        for total in plan.selected:
            unfit |= self._column(plan.window, total).data[units] > PER_UNIT_CAP
        return unfit

    def _column(self, window: int, total: TotalPlan) -> Column:
        columns = self.counts if total.column is None else self.sums
        return columns[window][total.index]


def _windows(plan: FramePlan) -> list[tuple[int, WindowPlan]]:
    return list(plan.by_window.items())


def _matching(total: TotalPlan, events: Gathered, inside: NDArray[np.bool_], ends: Ints) -> Ints:
    rows = events.of_name(total.code)
    rows = rows[inside[rows] & ((events.flags[rows] & total.bits) != 0)]
    if total.before_close is not None:
        rows = rows[events.at[rows] <= ends[rows] - total.before_close]
    return rows
