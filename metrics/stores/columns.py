"""Growing integer columns, and the events of a frame in them, chained by unit and name."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
NONE = -1
_START = 1024


class Column:
    """An integer array that grows; ``data[:size]`` is what is in it.

    It starts with a narrow type where one is given, and turns to 64 bits with the first value
    that needs them.
    """

    __slots__ = ("_fill", "data", "size")

    def __init__(self, fill: int = 0, dtype: Any = np.int64) -> None:
        self._fill = fill
        self.data: NDArray[Any] = np.full(_START, fill, dtype)
        self.size = 0

    def reserve(self, size: int) -> None:
        """Make room for ``size`` entries."""
        room = self.data.shape[0]
        if size > room:
            larger = np.empty(max(size, room + room // 2), self.data.dtype)
            larger[: self.size] = self.data[: self.size]
            larger[self.size :] = self._fill
            self.data = larger

    def extend(self, values: NDArray[Any]) -> None:
        """Append values."""
        end = self.size + values.shape[0]
        self.reserve(end)
        start, self.size = self.size, end
        self.put(slice(start, end), values)

    def grow(self, size: int) -> None:
        """Append the fill value until there are ``size`` entries."""
        self.reserve(size)
        self.size = max(self.size, size)

    def dump(self) -> NDArray[Any]:
        """Return what is in it; not a copy."""
        return self.data[: self.size]

    def restore(self, values: NDArray[Any]) -> None:
        """Make these values, which are then its own, all that is in it."""
        self.data, self.size = values, values.shape[0]

    def put(self, where: Any, values: NDArray[Any]) -> None:
        """Set entries that are there already."""
        if values.shape[0] and self.data.dtype != np.int64:
            limits = np.iinfo(self.data.dtype)
            if values.max() > limits.max or values.min() < limits.min:
                self.data = self.data.astype(np.int64)
        self.data[where] = values


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
        return self.columns.cases[column].data[self.rows[picked]].astype(np.int64)

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


@dataclass(slots=True)
class Sparse:
    """Values of the few events that have one; the others are 0."""

    rows: list[Ints] = field(default_factory=list[Ints])
    values: list[Ints] = field(default_factory=list[Ints])


@dataclass(slots=True)
class Batch:
    """Events about to be appended, one array per column; exposures apart.

    Attributes:
        unit: Positions of the events' units; ``at``, ``seq``, ``name`` and ``flags`` likewise.
        numbers: Number fields by column.
        cases: Cases by column.
        exposed: Positions of the exposures' units, ``exposed_at`` and ``variant`` likewise.
    """

    unit: Ints
    at: Ints
    seq: Ints
    name: Ints
    flags: Ints
    numbers: list[Sparse]
    cases: list[Sparse]
    exposed: Ints
    exposed_at: Ints
    variant: Ints


class EventColumns:
    """Events as rows of integers; each points to the previous one of its unit and name.

    Args:
        width: Names there are, the unknown one included.
        number_columns: Number fields of one event at most.
        case_fields: Fields that name cases.
    """

    def __init__(self, width: int, number_columns: int, case_fields: Sequence[str]) -> None:
        self.width = width
        self.at = Column()
        self.name = Column(dtype=np.int8)
        self.flags = Column(dtype=np.int8)
        self.seq = Column(dtype=np.int32)
        self.previous = Column(NONE, np.int32)
        self.heads = Column(NONE, np.int32)
        self.numbers = [Column() for _ in range(number_columns)]
        self.cases = [Column(dtype=np.int32) for _ in case_fields]

    @property
    def size(self) -> int:
        """Number of events."""
        return self.at.size

    def extend(self, batch: Batch, units: int) -> Gathered:
        """Append a batch; every event becomes the head of its chain. ``owner`` is the unit."""
        self.heads.grow(units * self.width)
        start, count = self.size, batch.at.shape[0]
        for column, values in (
            (self.at, batch.at),
            (self.name, batch.name),
            (self.flags, batch.flags),
            (self.seq, batch.seq),
        ):
            column.extend(values)
        self._chain(batch.unit * self.width + batch.name, start)
        for column, sparse in zip(
            [*self.numbers, *self.cases], [*batch.numbers, *batch.cases], strict=True
        ):
            column.grow(start + count)
            for rows, values in zip(sparse.rows, sparse.values, strict=True):
                column.put(rows + start, values)
        rows = np.arange(start, start + count)
        return Gathered(batch.unit, batch.at, batch.name, rows, batch.flags, self)

    def _chain(self, keys: Ints, start: int) -> None:
        order = np.argsort(keys, kind="stable")
        by_key, rows = keys[order], order + start
        previous = np.empty(keys.shape[0], np.int64)
        previous[1:] = rows[:-1]
        new = np.ones(keys.shape[0], np.bool_)
        new[1:] = by_key[1:] != by_key[:-1]
        previous[new] = self.heads.data[by_key[new]]
        self.previous.grow(self.previous.size + keys.shape[0])
        self.previous.put(rows, previous)
        last = np.ones(keys.shape[0], np.bool_)
        last[:-1] = new[1:]
        self.heads.put(by_key[last], rows[last])

    def link(self, rows: Ints, unit: int, code: int) -> None:
        """Make these rows the whole chain of a unit and name."""
        self.previous.put(rows[1:], rows[:-1])
        if rows.shape[0]:
            self.previous.data[rows[0]] = NONE
        self.heads.data[unit * self.width + code] = rows[-1] if rows.shape[0] else NONE

    def forget(self, unit: int) -> None:
        """Leave nothing of a unit's events but their places."""
        rows = self.gather(np.array([unit])).rows
        for column in self.saved().values():
            column.data[rows] = 0
        self.previous.data[rows] = NONE
        self.heads.data[unit * self.width : (unit + 1) * self.width] = NONE

    def saved(self) -> dict[str, Column]:
        """Return every column of events by name, for saving and restoring; not the heads."""
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

    def gather(self, units: Ints, codes: Iterable[int] | None = None) -> Gathered:
        """Return the events of units, of some names or of all; ``owner`` is where in ``units``."""
        wanted = range(self.width) if codes is None else codes
        rows: list[Ints] = []
        owners: list[Ints] = []
        previous = self.previous.data
        for code in wanted:
            row = self.heads.data[units * self.width + code]
            owner = np.flatnonzero(row >= 0)
            row = row[owner]
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
            self.flags.data[every].astype(np.int64),
            self,
        )


IdsOf = Callable[[Sequence[int]], Mapping[int, str]]
"""Looks up event ids by sequence number, to break ties of the cap."""
