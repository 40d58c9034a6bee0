"""Growing integer columns, and the events of a frame in them, chained by unit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
NONE = -1
_START = 1024


class Column:
    """An int64 array that grows by doubling; ``data[:size]`` is what is in it."""

    __slots__ = ("_fill", "data", "size")

    def __init__(self, fill: int = 0) -> None:
        self._fill = fill
        self.data: Ints = np.full(_START, fill, np.int64)
        self.size = 0

    def reserve(self, size: int) -> None:
        """Make room for ``size`` entries."""
        if size > self.data.shape[0]:
            larger = np.full(max(size, 2 * self.data.shape[0]), self._fill, np.int64)
            larger[: self.size] = self.data[: self.size]
            self.data = larger

    def extend(self, values: Sequence[int]) -> None:
        """Append values."""
        end = self.size + len(values)
        self.reserve(end)
        self.data[self.size : end] = values
        self.size = end

    def grow(self, size: int) -> None:
        """Append the fill value until there are ``size`` entries."""
        self.reserve(size)
        self.size = max(self.size, size)

    def dump(self) -> Ints:
        """Return what is in it; not a copy."""
        return self.data[: self.size]

    def restore(self, values: Ints) -> None:
        """Make these values, which are then its own, all that is in it."""
        self.data, self.size = values, values.shape[0]


@dataclass(slots=True)
class Gathered:
    """Events of some units, one row each: ``owner`` is the position of the unit asked for."""

    owner: Ints
    at: Ints
    name: Ints
    rows: Ints
    flags: Ints
    columns: "EventColumns"
    _by_name: dict[int, Ints] = field(default_factory=dict[int, Ints])

    def of_name(self, code: int) -> Ints:
        """Return the positions of the events of one name."""
        if code not in self._by_name:
            self._by_name[code] = np.flatnonzero(self.name == code)
        return self._by_name[code]

    def number(self, column: int, picked: Ints) -> Ints:
        """Return one number field of the picked events."""
        return self.columns.numbers[column].data[self.rows[picked]]

    def case(self, column: int, picked: Ints) -> Ints:
        """Return the case numbers of the picked events."""
        return self.columns.cases[column].data[self.rows[picked]]

    def seqs(self, picked: Ints) -> Ints:
        """Return the sequence numbers of the picked events."""
        return self.columns.seq.data[self.rows[picked]]

    def within(self, keep: NDArray[np.bool_]) -> "Gathered":
        """Return only the events marked."""
        return Gathered(
            self.owner[keep],
            self.at[keep],
            self.name[keep],
            self.rows[keep],
            self.flags[keep],
            self.columns,
        )


class EventColumns:
    """Events as rows of integers; each points to the previous event of its unit."""

    def __init__(self, number_columns: int, case_fields: Sequence[str]) -> None:
        self.at = Column()
        self.name = Column()
        self.flags = Column()
        self.seq = Column()
        self.previous = Column()
        self.numbers = [Column() for _ in range(number_columns)]
        self.cases = [Column() for _ in case_fields]

    @property
    def size(self) -> int:
        """Number of events."""
        return self.at.size

    def extend(self, batch: "Batch", heads: Column) -> None:
        """Append the events of a batch and make each the head of its unit's chain."""
        if not batch.at:
            return
        start, count = self.size, len(batch.at)
        self.at.extend(batch.at)
        self.name.extend(batch.name)
        self.flags.extend(batch.flags)
        self.seq.extend(batch.seq)
        self._chain(np.array(batch.unit, np.int64), start, heads)
        for column, sparse in zip(
            [*self.numbers, *self.cases], [*batch.numbers, *batch.cases], strict=True
        ):
            column.grow(start + count)
            if sparse.rows:
                column.data[np.array(sparse.rows) + start] = sparse.values

    def _chain(self, units: Ints, start: int, heads: Column) -> None:
        order = np.argsort(units, kind="stable")
        by_unit, rows = units[order], order + start
        previous = np.empty(units.shape[0], np.int64)
        previous[1:] = rows[:-1]
        new = np.ones(units.shape[0], np.bool_)
        new[1:] = by_unit[1:] != by_unit[:-1]
        previous[new] = heads.data[by_unit[new]]
        end = self.previous.size + units.shape[0]
        self.previous.grow(end)
        self.previous.data[rows] = previous
        heads.data[by_unit] = rows  # of one unit's rows the last is written last

    def link(self, rows: Ints, unit: int, heads: Column) -> None:
        """Make these rows the whole chain of a unit."""
        self.previous.data[rows[1:]] = rows[:-1]
        if rows.shape[0]:
            self.previous.data[rows[0]] = NONE
        heads.data[unit] = rows[-1] if rows.shape[0] else NONE

    def blank(self, rows: Ints) -> None:
        """Leave nothing of these events but their places."""
        for column in self.saved().values():
            column.data[rows] = 0
        self.previous.data[rows] = NONE

    def saved(self) -> dict[str, Column]:
        """Return every column by name, for saving and restoring."""
        numbers = {f"number {n}": column for n, column in enumerate(self.numbers)}
        cases = {f"case {n}": column for n, column in enumerate(self.cases)}
        fixed = {
            "at": self.at,
            "name": self.name,
            "flags": self.flags,
            "seq": self.seq,
            "previous": self.previous,
        }
        return fixed | numbers | cases

    def gather(self, heads: Ints) -> Gathered:
        """Return the events of the chains that start at ``heads``, one chain per owner."""
        owner = np.flatnonzero(heads >= 0)
        row = heads[owner]
        rows: list[Ints] = []
        owners: list[Ints] = []
        previous = self.previous.data
        while row.size:
            rows.append(row)
            owners.append(owner)
            row = previous[row]
            more = row >= 0
            if not more.all():
                row, owner = row[more], owner[more]
        every: Any = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        whose: Any = np.concatenate(owners) if owners else np.zeros(0, np.int64)
        return Gathered(
            whose,
            self.at.data[every],
            self.name.data[every],
            every,
            self.flags.data[every],
            self,
        )


@dataclass(slots=True)
class Sparse:
    """Values of the few events that have one; the others are 0."""

    rows: list[int] = field(default_factory=list[int])
    values: list[int] = field(default_factory=list[int])


@dataclass(slots=True)
class Batch:
    """Events about to be appended, one list per column."""

    numbers: list[Sparse]
    cases: list[Sparse]
    unit: list[int] = field(default_factory=list[int])
    at: list[int] = field(default_factory=list[int])
    name: list[int] = field(default_factory=list[int])
    flags: list[int] = field(default_factory=list[int])
    seq: list[int] = field(default_factory=list[int])

    @classmethod
    def empty(cls, number_columns: int, case_columns: int) -> "Batch":
        """Return a batch without events."""
        return cls(
            [Sparse() for _ in range(number_columns)], [Sparse() for _ in range(case_columns)]
        )


IdsOf = Callable[[Sequence[int]], Mapping[int, str]]
"""Looks up event ids by sequence number, to break ties of the cap."""
