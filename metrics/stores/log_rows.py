"""Events and rejections as rows of the log, and back. Pure."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa

from metrics.events import Event, Rejection, from_micros

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
_encode = msgspec.json.Encoder().encode
_units = msgspec.json.Decoder(dict[str, str]).decode
_fields = msgspec.json.Decoder(dict[str, str | bool | int]).decode


Stamped = tuple[int, int, Event]
"""Sequence number, time in microseconds, event."""


def event(row: Sequence[Any]) -> Stamped:
    """Return the event of a row: seq, id, time, name, units, fields, trusted."""
    seq, event_id, at, name, units, fields, trusted = row
    return seq, at, Event(event_id, name, from_micros(at), _units(units), _fields(fields), trusted)


def problem(row: Sequence[Any]) -> str:
    """Return why a row is no event, empty when it is one."""
    try:
        event(row)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        return str(error) or type(error).__name__
    return ""


def event_table(events: Sequence[Stamped], received_at: int) -> Any:
    """Return events as an Arrow table of the table ``events``."""
    columns: list[Any] = [
        [seq for seq, _, _ in events],
        [event.id for _, _, event in events],
        [at for _, at, _ in events],
        [received_at] * len(events),
        [event.name for _, _, event in events],
        [_encode(event.units).decode() for _, _, event in events],
        [_encode(event.fields).decode() for _, _, event in events],
        [event.trusted for _, _, event in events],
    ]
    return _table(columns, _EVENTS)


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
    arrays = [pa.array(values, part.type) for values, part in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)
