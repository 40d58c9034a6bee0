"""Cells of a frame, kept up to date by adding and taking away units."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrics.cells import MICRO, MILLI, Cell, Sums
from metrics.stores.columns import Ints
from metrics.stores.evaluate import Values
from metrics.stores.plan import FramePlan, KpiPlan

Place = tuple[int, int, int]
"""Variant (position), phase and cohort."""

_SAFE = 2**62


@dataclass(frozen=True, slots=True)
class Groups:
    """Some units by place.

    Attributes:
        order: Brings the units of one place together.
        starts: Where in that order each place begins.
        places: The places, one per start.
    """

    order: Ints
    starts: Ints
    places: tuple[Place, ...]


class Ledger:
    """Exact sums by (KPI, window) and place: units entered, then the ten fields of `Sums`."""

    def __init__(self, plan: FramePlan, variants: tuple[str, ...]) -> None:
        self.rows: list[dict[Place, tuple[int, ...]]] = [{} for _ in plan.kpis]
        self._variants = variants
        self._cells: list[dict[Place, Cell]] = [{} for _ in plan.kpis]
        self._sorted: list[tuple[Cell, ...] | None] = [None for _ in plan.kpis]

    def book(self, plan: KpiPlan, values: Values, groups: Groups, *, take_away: bool) -> None:
        """Add units to their cells, or take them away.

        Args:
            plan: The KPI and window.
            values: Of all units.
            groups: The units of each cell.
            take_away: Whether these units leave the cells.
        """
        rows, cells = self.rows[plan.index], self._cells[plan.index]
        self._sorted[plan.index] = None
        sign = -1 if take_away else 1
        for place, more in zip(groups.places, _sums(values, groups), strict=True):
            cells.pop(place, None)
            old = rows.get(place)
            new = tuple(
                [sign * each for each in more]
                if old is None
                else [each + sign * other for each, other in zip(old, more, strict=True)]
            )
            if new[0]:
                rows[place] = new
            else:
                rows.pop(place, None)

    def dump(self) -> list[list[list[int]]]:
        """Return all cells as integers; `restore` takes them back."""
        return [[[*place, *row] for place, row in rows.items()] for rows in self.rows]

    def restore(self, dumped: Sequence[Sequence[Sequence[int]]]) -> None:
        """Become what was dumped; this one is new."""
        self.rows = [
            {(variant, phase, cohort): tuple(row) for variant, phase, cohort, *row in rows}
            for rows in dumped
        ]

    def cells(self, plan: FramePlan) -> dict[tuple[str, timedelta], tuple[Cell, ...]]:
        """Return all cells, sorted."""
        answer: dict[tuple[str, timedelta], tuple[Cell, ...]] = {}
        for each in plan.kpis:
            ready = self._sorted[each.index]
            if ready is None:
                ready = self._sorted[each.index] = self._made(each.index)
            answer[each.kpi.key, timedelta(microseconds=each.window)] = ready
        return answer

    def _made(self, index: int) -> tuple[Cell, ...]:
        rows, cells = self.rows[index], self._cells[index]
        for place, row in rows.items():
            if place not in cells:
                cells[place] = Cell(
                    self._variants[place[0]], place[1], place[2], row[0], Sums(*row[1:])
                )
        return tuple(cells[place] for place in sorted(rows))


def _sums(values: Values, groups: Groups) -> list[tuple[int, ...]]:
    """Return by place the units entered and the exact sums of those that have a value."""
    count = groups.order.shape[0]
    entered = np.diff(groups.starts, append=count)
    y, x, defined = (each[groups.order] for each in values)
    if defined.all():
        n, starts, filled = entered, groups.starts, slice(None)
    else:
        n = np.add.reduceat(defined.astype(np.int64), groups.starts)
        starts = (np.cumsum(n) - n)[n > 0]
        y, x, filled = y[defined], x[defined], n > 0
    columns = np.zeros((10, n.shape[0]), np.object_)
    columns[0] = n
    if starts.shape[0]:
        columns[1:, filled] = _moments(y, x, n[filled], starts)
    return list(zip(entered.tolist(), *columns.tolist(), strict=True))


def _moments(y: NDArray[Any], x: NDArray[Any], n: Ints, starts: Ints) -> list[list[int]]:
    """Return the fields of `Sums` after ``n``, by group."""
    a = y // MILLI
    first, squares = add_up(starts, y), add_up(starts, y, y)
    cubes, thousandths, products = add_up(starts, a, a, a), add_up(starts, a), add_up(starts, a, a)
    if (x == MICRO).all():  # so the sums of x follow from the count
        counts = n.tolist()
        return [
            first,
            [k * MICRO for k in counts],
            squares,
            [each * MICRO for each in first],
            [k * MICRO**2 for k in counts],
            cubes,
            [each * MILLI for each in products],
            [each * MILLI**2 for each in thousandths],
            [k * MILLI**3 for k in counts],
        ]
    b = x // MILLI
    return [
        first,
        add_up(starts, x),
        squares,
        add_up(starts, x, y),
        add_up(starts, x, x),
        cubes,
        add_up(starts, b, a, a),
        add_up(starts, b, b, a),
        add_up(starts, b, b, b),
    ]


def add_up(starts: Ints, *factors: NDArray[Any]) -> list[int]:
    """Return the exact sum of a product by group, whatever its size.

    A product that might not fit 64 bits is split: the largest factor is one part of high bits
    and one of low bits.
    """
    if any(each.dtype == np.object_ for each in factors):
        product: Any = 1
        for each in factors:
            product = product * each.astype(np.object_)
        return np.add.reduceat(product, starts).tolist()
    sizes = [max(int(each.max()), -int(each.min())) for each in factors]
    bound = 1
    for size in sizes:
        bound *= max(size, 1)
    if bound < _SAFE:
        product = factors[0]
        for each in factors[1:]:
            product = product * each
        return _grouped(starts, product, bound)
    position = sizes.index(max(sizes))
    bits = max(sizes).bit_length() // 2
    others = [*factors[:position], *factors[position + 1 :]]
    high = add_up(starts, factors[position] >> bits, *others)
    low = add_up(starts, factors[position] & ((1 << bits) - 1), *others)
    return [(each << bits) + other for each, other in zip(high, low, strict=True)]


def _grouped(starts: Ints, values: Ints, bound: int) -> list[int]:
    if bound * values.shape[0] < _SAFE:
        return np.add.reduceat(values, starts).tolist()
    high: Sequence[int] = np.add.reduceat(values >> 31, starts).tolist()
    low: Sequence[int] = np.add.reduceat(values & (2**31 - 1), starts).tolist()
    return [(each << 31) + other for each, other in zip(high, low, strict=True)]
