"""Cells of a frame, kept up to date by adding and taking away units."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from metrics.catalogue import KpiDefinition
from metrics.cells import Cell, Sums
from metrics.kinds import KINDS
from metrics.stores.columns import Ints
from metrics.stores.evaluate import Values
from metrics.stores.plan import FramePlan, KpiPlan

Place = tuple[int, int, int]
"""Variant (position), phase and cohort."""


class Ledger:
    """Exact sums by (KPI, window) and place."""

    def __init__(self, plan: FramePlan, variants: tuple[str, ...]) -> None:
        self._variants = variants
        self._cells: list[dict[Place, Cell]] = [{} for _ in plan.kpis]
        self._sorted: list[tuple[Cell, ...] | None] = [() for _ in plan.kpis]

    def book(
        self,
        plan: KpiPlan,
        values: Values | None,
        places: Mapping[Place, Ints],
        *,
        take_away: bool,
    ) -> None:
        """Add units to their cells, or take them away.

        Args:
            plan: The KPI and window.
            values: Of all units; ``None`` where every unit has the default.
            places: Positions of the units of each cell.
            take_away: Whether these units leave the cells.
        """
        cells = self._cells[plan.index]
        self._sorted[plan.index] = None
        for place, units in places.items():
            sums = (
                _times(plan.default, units.shape[0])
                if values is None
                else _sums(plan.kpi, values, units)
            )
            old = cells.get(place)
            entered = units.shape[0]
            if old is None:
                old = Cell(self._variants[place[0]], place[1], place[2], 0, Sums())
            new = replace(
                old,
                entered=old.entered + (-entered if take_away else entered),
                sums=old.sums - sums if take_away else old.sums + sums,
            )
            if new.entered:
                cells[place] = new
            else:
                cells.pop(place, None)

    def dump(self) -> list[list[list[int]]]:
        """Return all cells as integers; `restore` takes them back."""
        return [
            [[*place, cell.entered, *astuple(cell.sums)] for place, cell in cells.items()]
            for cells in self._cells
        ]

    def restore(self, dumped: Sequence[Sequence[Sequence[int]]]) -> None:
        """Become what was dumped."""
        self._cells = [
            {
                (variant, phase, cohort): Cell(
                    self._variants[variant], phase, cohort, entered, Sums(*sums)
                )
                for variant, phase, cohort, entered, *sums in cells
            }
            for cells in dumped
        ]
        self._sorted = [None for _ in self._cells]

    def cells(self, plan: FramePlan) -> dict[tuple[str, timedelta], tuple[Cell, ...]]:
        """Return all cells, sorted."""
        answer: dict[tuple[str, timedelta], tuple[Cell, ...]] = {}
        for each in plan.kpis:
            ready = self._sorted[each.index]
            if ready is None:
                cells = self._cells[each.index]
                ready = self._sorted[each.index] = tuple(cells[place] for place in sorted(cells))
            answer[each.kpi.key, timedelta(microseconds=each.window)] = ready
        return answer


def _sums(kpi: KpiDefinition, values: Values, units: Ints) -> Sums:
    y, x, defined = values
    mine: NDArray[np.int64] = units[defined[units]]
    if not mine.shape[0]:
        return Sums()
    return KINDS[kpi.kind].sums(y[mine].tolist(), x[mine].tolist())


def _times(value: tuple[int, int] | None, count: int) -> Sums:
    if value is None:
        return Sums()
    one = Sums.of(*value)
    return Sums(
        count,
        one.y * count,
        one.x * count,
        one.yy * count,
        one.xy * count,
        one.xx * count,
        one.yyy * count,
        one.xyy * count,
        one.xxy * count,
        one.xxx * count,
    )
