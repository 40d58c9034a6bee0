"""Log rows as columns: the newest ones from memory, older ones from the file."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, Protocol, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from metrics.events import Event, FieldValue
from metrics.stores.columns import Ints

T = TypeVar("T")

Stamped = tuple[int, int, Event]
"""Sequence number, time in microseconds, event."""

Fields = Mapping[str, Sequence[FieldValue | None]]
"""Columns of fields by name; ``None`` where an event has none."""


class Rows(Protocol):
    """Some log rows, at least one; nothing is read of an event before it is asked for."""

    def __len__(self) -> int: ...

    @property
    def seq(self) -> Ints:
        """Sequence numbers."""
        ...

    @property
    def at(self) -> Ints:
        """Times in microseconds."""
        ...

    @property
    def trusted(self) -> NDArray[np.bool_]:
        """Whether a secret key sent each event."""
        ...

    @property
    def newest(self) -> int:
        """The largest sequence number."""
        ...

    def codes(self, names: Mapping[str, int], default: int) -> Ints:
        """Return the number of every event's name, ``default`` where it has none."""
        ...

    def ids(self, unit_type: str) -> list[str | None]:
        """Return the id of every event's unit of one type."""
        ...

    def fields(self, picked: Ints, names: Sequence[str]) -> Fields:
        """Return some fields of the rows at these positions."""
        ...

    def once(self, asked: Hashable, find: Callable[[], T]) -> T:
        """Return what is found of these rows; it may be kept for others who ask the same."""
        ...


class EventRows:
    """Rows of events that are still in memory; what many frames ask of them is found once."""

    __slots__ = ("_events", "_found", "_ids", "_names", "at", "seq", "trusted")

    def __init__(self, rows: Sequence[Stamped]) -> None:
        seq, at, events = zip(*rows, strict=True)
        self.seq: Ints = np.array(seq, np.int64)
        self.at: Ints = np.array(at, np.int64)
        self._events: tuple[Event, ...] = events
        self.trusted = np.array([event.trusted for event in self._events], np.bool_)
        numbers: dict[str, int] = {}
        which = [numbers.setdefault(event.name, len(numbers)) for event in self._events]
        self._names = tuple(numbers), np.array(which, np.int64)
        self._ids: dict[str, list[str | None]] = {}
        self._found: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return len(self._events)

    @property
    def newest(self) -> int:
        """The largest sequence number."""
        return int(self.seq.max())

    def codes(self, names: Mapping[str, int], default: int) -> Ints:
        """Return the number of every event's name, ``default`` where it has none."""
        known, which = self._names
        return np.array([names.get(name, default) for name in known], np.int64)[which]

    def ids(self, unit_type: str) -> list[str | None]:
        """Return the id of every event's unit of one type; not to be changed."""
        if unit_type not in self._ids:
            self._ids[unit_type] = [event.units.get(unit_type) for event in self._events]
        return self._ids[unit_type]

    def fields(self, picked: Ints, names: Sequence[str]) -> Fields:
        """Return some fields of the rows at these positions."""
        fields = [self._events[position].fields for position in picked.tolist()]
        return {name: [each.get(name) for each in fields] for name in names}

    def once(self, asked: Hashable, find: Callable[[], T]) -> T:
        """Return what is found of these rows, once for all who ask the same."""
        if asked not in self._found:
            self._found[asked] = find()
        return self._found[asked]


class LogRows:
    """Rows as the file keeps them, units and fields as JSON text.

    Args:
        columns: Arrow columns seq, happened_at, name, units, fields and trusted.
    """

    __slots__ = ("_fields", "_names", "_units", "at", "seq", "trusted")

    def __init__(self, columns: Any) -> None:
        self.seq: Ints = columns.column("seq").to_numpy()
        self.at: Ints = columns.column("happened_at").to_numpy()
        self.trusted: NDArray[np.bool_] = columns.column("trusted").to_numpy(zero_copy_only=False)
        self._names = columns.column("name").dictionary_encode()
        self._units = columns.column("units")
        self._fields = columns.column("fields")

    def __len__(self) -> int:
        return self.seq.shape[0]

    @property
    def newest(self) -> int:
        """The largest sequence number."""
        return int(self.seq.max())

    def codes(self, names: Mapping[str, int], default: int) -> Ints:
        """Return the number of every event's name, ``default`` where it has none."""
        known = [names.get(name, default) for name in self._names.dictionary.to_pylist()]
        return np.array(known, np.int64)[self._names.indices.to_numpy()]

    def ids(self, unit_type: str) -> list[str | None]:
        """Return the id of every event's unit of one type."""
        return decoded(self._units.to_pylist(), (unit_type,))[unit_type]

    def fields(self, picked: Ints, names: Sequence[str]) -> Fields:
        """Return some fields of the rows at these positions."""
        return decoded(self._fields.take(picked).to_pylist(), tuple(names))

    def once(self, asked: Hashable, find: Callable[[], T]) -> T:  # noqa: ARG002 - one frame asks
        """Return what is found of these rows; nobody else reads them."""
        return find()


def decoded(texts: Sequence[str], names: tuple[str, ...]) -> dict[str, list[Any]]:
    """Return members of JSON objects by name; ``None`` where an object has none."""
    decode, getters = _decoder(names)
    objects = [decode(text) for text in texts]
    return {name: list(map(get, objects)) for name, get in getters.items()}


@lru_cache(maxsize=256)
def _decoder(names: tuple[str, ...]) -> tuple[Callable[[str], Any], Mapping[str, Any]]:
    """Return how to read some members and skip the others: twice as fast as a dict of all."""
    attributes = [f"a{number}" for number in range(len(names))]
    members: list[Any] = [
        (attribute, str | bool | int | None, msgspec.field(name=name, default=None))
        for attribute, name in zip(attributes, names, strict=True)
    ]
    try:
        wanted = msgspec.defstruct("_Wanted", members, gc=False)
    except ValueError:  # a name that JSON would escape
        slow = msgspec.json.Decoder(dict[str, str | bool | int]).decode
        return slow, {name: _get(name) for name in names}
    getters = {name: attrgetter(each) for name, each in zip(names, attributes, strict=True)}
    return msgspec.json.Decoder(wanted).decode, getters


def _get(name: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda members: members.get(name)
