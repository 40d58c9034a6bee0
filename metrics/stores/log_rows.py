"""Events and rejections as rows of the log, and back. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from metrics.events import Event, Rejection, from_micros
from metrics.stores.rows import Stamped

_EVENTS = pa.schema(
    [
        ("seq", pa.int64()),
        ("id", pa.string()),
        ("happened_at", pa.int64()),
        ("received_at", pa.int64()),
        ("name", pa.string()),
        ("units", pa.string()),
        ("fields", pa.string()),
        ("trusted", pa.bool_()),
    ]
)
_QUARANTINE = pa.schema(
    [
        ("number", pa.int64()),
        ("received_at", pa.int64()),
        ("position", pa.int64()),
        ("id", pa.string()),
        ("field", pa.string()),
        ("reason", pa.string()),
        ("code", pa.string()),
        ("event", pa.string()),
        ("trusted", pa.bool_()),
    ]
)
_encode_lines = msgspec.json.Encoder().encode_lines
_units = msgspec.json.Decoder(dict[str, str]).decode
_fields = msgspec.json.Decoder(dict[str, str | bool | int]).decode


def event(row: Sequence[Any]) -> Stamped:
    """Return the event of a row: seq, id, time, name, units, fields, trusted."""
    seq, event_id, at, name, units, fields, trusted = row
    return seq, at, Event(event_id, name, from_micros(at), _units(units), _fields(fields), trusted)


def as_written(name: str, value: str) -> str:
    """Return how a field with this value stands in the text of an event's fields."""
    return msgspec.json.encode({name: value}).decode()[1:-1]


def problem(row: Sequence[Any]) -> str:
    """Return why a row is no event, empty when it is one."""
    try:
        event(row)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        return str(error) or type(error).__name__
    return ""


def event_table(events: Sequence[Stamped], received_at: int) -> Any:
    """Return events as an Arrow table of the table ``events``."""
    every = [event for _, _, event in events]
    columns: list[Any] = [
        np.array([seq for seq, _, _ in events], np.int64),
        [event.id for event in every],
        np.array([at for _, at, _ in events], np.int64),
        np.full(len(events), received_at, np.int64),
        [event.name for event in every],
        _json([event.units for event in every]),
        _json([event.fields for event in every]),
        [event.trusted for event in every],
    ]
    return _table(columns, _EVENTS)


def _json(objects: Sequence[Mapping[str, Any]]) -> Any:
    """Return JSON texts: all encoded in one go, since a line break is never part of one."""
    lines = _encode_lines(objects).split(b"\n")
    return pa.array(lines[: len(objects)], pa.binary()).cast(pa.string())


def rejection_table(rejections: Sequence[Rejection], received_at: int, number: int) -> Any:
    """Return rejections as an Arrow table, numbered after ``number``."""
    columns: list[Any] = [
        list(range(number + 1, number + 1 + len(rejections))),
        [received_at] * len(rejections),
        [each.index for each in rejections],
        [each.id for each in rejections],
        [each.field for each in rejections],
        [each.reason for each in rejections],
        [each.code for each in rejections],
        [each.event for each in rejections],
        [each.trusted for each in rejections],
    ]
    return _table(columns, _QUARANTINE)


def _table(columns: Sequence[Any], schema: Any) -> Any:
    arrays = [
        values if isinstance(values, pa.Array) else pa.array(values, part.type)
        for values, part in zip(columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
