"""Events: what applications send, checked and made exact. Pure.

The wire form is ``{id, name, happened_at, units: {order_id, user_id}, fields: {...}}``;
``unit`` (text) is short for the default unit type. A bad event never spoils its batch: it
becomes a `Rejection` that says which field is wrong and what was given.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, cast

import msgspec

from metrics.catalogue import FieldType
from metrics.cells import MICRO
from metrics.decoding import (
    MalformedBodyError,
    MalformedLine,
    altered,
    decode_events,
    decode_line,
    excerpt,
)
from metrics.wire import (
    EventLimits,
    FieldValue,
    RefusedError,
    default_schema,
    encodable,
    fields_of,
    instant_of,
    kind_of,
    scaled,
    text_of,
    timely,
    units_of,
)
from metrics.wording import gettext as _

__all__ = [
    "DERIVED",
    "EXPOSURE",
    "Event",
    "EventLimits",
    "FieldValue",
    "MalformedBodyError",
    "MalformedLine",
    "Rejection",
    "altered",
    "as_json",
    "borrowed",
    "decode_events",
    "decode_line",
    "derived_id",
    "excerpt",
    "exposure",
    "from_micros",
    "parse_event",
    "read_events",
    "scaled",
    "to_micros",
]

EXPOSURE = "exposure"
"""Name of the event that says a unit met its variant."""

DERIVED = "exposure:"
"""Ids of exposures derived from experiment, seed, unit and variant start with this."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NOTHING: Mapping[str, FieldValue] = MappingProxyType({})
_NO_FIELDS: Mapping[str, FieldType] = {}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to units. Counted once per (``id``, ``happened_at``).

    Attributes:
        id: 1 to 256 characters, any Unicode.
        name: What happened, for instance ``cancel_finished``; unknown names are kept.
        happened_at: Aware UTC, to the microsecond.
        units: Unit type to id; an experiment counts the event through its own unit type.
        fields: Text, booleans, and numbers as exact integers of 1e-6 (``exposure.seed``,
            an integer field, as it is).
        trusted: False when sent with a public client key: feeds only KPIs with trust ``any``.
    """

    id: str
    name: str
    happened_at: datetime
    units: Mapping[str, str]
    fields: Mapping[str, FieldValue]
    trusted: bool = True


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why one event was not counted; it is kept in quarantine.

    Attributes:
        index: Position in the batch, from 0.
        id: Its id where one could be read.
        field: The field at fault, for instance ``fields.score``; empty for the whole event.
        reason: What is wrong, what was given and what to do, for people.
        code: The same for machines, for instance ``wrong_type``.
        event: The original as JSON, at most 16 kB of it.
        trusted: Whether a secret key sent it; it may feed no more when it is sent again.
        number: What the store knows it by; 0 before it is kept.
    """

    index: int
    id: str | None
    field: str
    reason: str
    code: str
    event: str
    trusted: bool = False
    number: int = 0


def to_micros(instant: datetime) -> int:
    """Return whole microseconds since 1970-01-01 UTC, exactly."""
    return (instant - EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return the aware UTC instant of microseconds since 1970-01-01."""
    return EPOCH + timedelta(microseconds=micros)


class _Sent(msgspec.Struct, gc=False):
    """An event as it should be sent; whatever else is sent is looked at one by one."""

    id: str
    name: str
    happened_at: datetime
    units: dict[str, str] | None = None
    unit: str | None = None
    fields: dict[str, str | bool | int | float | None] | None = None


_sent = msgspec.json.Decoder(list[_Sent])
_sent_line = msgspec.json.Decoder(_Sent)


def read_events(
    body: bytes, *, ndjson: bool, now: datetime, limits: EventLimits, trusted: bool
) -> list[Event] | None:
    """Return the events of a body in which every event is good: one pass, twice as fast.

    Args:
        body: The body, already decompressed.
        ndjson: One JSON object per line instead of one array.
        now: The server's clock.
        limits: What is accepted.
        trusted: Whether a secret key sent it.

    Returns:
        What `decode_events` and `parse_event` give; ``None`` when anything in the body needs
        their closer look.
    """
    try:
        sent = _sent_line.decode_lines(body) if ndjson else _sent.decode(body)
        return [_event_of(each, now, limits, trusted) for each in sent]
    except (msgspec.MsgspecError, RefusedError, ValueError, OverflowError, RecursionError):
        return None


def _event_of(sent: _Sent, now: datetime, limits: EventLimits, trusted: bool) -> Event:  # noqa: FBT001 - a hot path
    """Return the event; raises whatever comes first when it is not as it should be."""
    event_id, name, instant, longest = sent.id, sent.name, sent.happened_at, limits.max_id
    if not (0 < len(event_id) <= longest and event_id.isascii()):
        text_of({"id": event_id}, "id", longest)
    if not (0 < len(name) <= longest and name.isascii()):
        text_of({"name": name}, "name", longest)
    if instant.tzinfo is not UTC:
        if instant.tzinfo is None:
            raise ValueError
        instant = instant.astimezone(UTC)
    return Event(
        event_id,
        name,
        timely(instant, now, limits),
        units_of({"units": sent.units, "unit": sent.unit}, limits),
        fields_of(sent.fields, limits.schema.get(name, _NO_FIELDS), limits),
        trusted,
    )


def parse_event(
    raw: Any, *, index: int, now: datetime, limits: EventLimits, trusted: bool
) -> Event | Rejection:
    """Return the event, or why it cannot be one.

    Unknown names and fields are kept: their numbers become integers of 1e-6 too, lists and
    objects become JSON text, nulls are dropped. Fields of the schema must have their type.

    Args:
        raw: One decoded element of the body.
        index: Its position, for the answer.
        now: The server's clock, for ``clock_skew`` and ``retention``.
        limits: What is accepted.
        trusted: Whether a secret key sent it.
    """
    try:
        return _parse(raw, now=now, limits=limits, trusted=trusted)
    except RefusedError as refused:
        given: Any = cast("dict[Any, Any]", raw).get("id") if isinstance(raw, dict) else None
        readable = given if isinstance(given, str) and encodable(given) else None
        readable = readable if readable is None else readable[: limits.max_id]
        return Rejection(
            index=index,
            id=readable,
            field=refused.path,
            reason=refused.reason,
            code=refused.code,
            event=excerpt(raw),
            trusted=trusted,
        )


def exposure(  # noqa: PLR0917 - the parts of the id, in their order everywhere
    experiment: str,
    seed: int,
    unit_type: str,
    unit_id: str,
    variant: str,
    at: datetime,
    *,
    source: str = "evaluation",
    said: Mapping[str, FieldValue] = _NOTHING,
) -> Event:
    """Return the exposure of a unit, with an id that is the same whoever derives it.

    The id depends on experiment, seed, unit and variant, so recording a unit's exposure again
    is idempotent (a store keeps the earliest), while a second variant of one unit stays visible.
    What it says of its unit (``metrics.segments``) is no part of the id.
    """
    return Event(
        id=_derived_id(experiment, seed, unit_type, unit_id, variant),
        name=EXPOSURE,
        happened_at=at,
        units={unit_type: unit_id},
        fields={
            "experiment": experiment,
            "seed": seed,
            "variant": variant,
            "source": source,
            **said,
        },
    )


def _derived_id(experiment: str, seed: int, unit_type: str, unit_id: str, variant: str) -> str:
    parts = msgspec.json.encode([experiment, seed, unit_type, unit_id, variant])
    return DERIVED + hashlib.blake2b(parts, digest_size=16).hexdigest()


def derived_id(event: Event, units: Mapping[str, str]) -> str | None:
    """Return the id of an exposure whose units are called otherwise; ``None`` of no exposure.

    Args:
        event: With the id that belongs to its own units, see `borrowed`.
        units: Other ids by the same unit types.
    """
    experiment, variant = str(event.fields.get("experiment")), str(event.fields.get("variant"))
    seed = event.fields.get("seed", 1)
    if event.name == EXPOSURE and not isinstance(seed, str):
        for kind, unit in event.units.items():
            if event.id == _derived_id(experiment, seed, kind, unit, variant):
                return _derived_id(experiment, seed, kind, units[kind], variant)
    return None


def borrowed(event: Event) -> str:
    """Return why an event may not have its id, empty when it may.

    Ids that start with ``exposure:`` say what exposure they are of. Under another event, or under
    the exposure of another unit or variant, such an id would keep the real exposure out.
    """
    if not event.id.startswith(DERIVED):
        return ""
    if derived_id(event, event.units) is not None:
        return ""
    return (
        f"id: {DERIVED!r} begins the ids of exposures that Turnback records, and {event.id!r:.80} "
        "is not the id of this event; give the event an id of its own, for instance a UUID"
    )


def as_json(event: Event, schema: Mapping[str, Mapping[str, FieldType]] | None = None) -> str:
    """Return an event in wire form as JSON text for the quarantine, at most 16 kB.

    Args:
        event: The event; read again, the text gives the same one.
        schema: Field types by event name under which it was read; the built-in ones by default.
    """
    types = (default_schema() if schema is None else schema).get(event.name, {})
    return excerpt(
        {
            "id": event.id,
            "name": event.name,
            "happened_at": event.happened_at.isoformat(),
            "units": dict(event.units),
            "fields": {
                key: value if types.get(key) is FieldType.INTEGER else _as_sent(value)
                for key, value in event.fields.items()
            },
        }
    )


def _as_sent(value: FieldValue) -> FieldValue | float:
    """Return a field as it was sent: an exact integer of 1e-6 as the number it stands for."""
    if isinstance(value, bool | str):
        return value
    return value // MICRO if value % MICRO == 0 else value / MICRO


def _parse(raw: Any, *, now: datetime, limits: EventLimits, trusted: bool) -> Event:
    if isinstance(raw, MalformedLine):
        said = _("no JSON ({error}); send one object per line", error=raw.reason)
        raise RefusedError("", "malformed", said)
    if not isinstance(raw, dict):
        raise RefusedError(
            "", "wrong_type", _("expected an object, got {given}", given=kind_of(raw))
        )
    record = cast("dict[str, Any]", raw)
    if "name" not in record and isinstance(record.get("events"), list):
        said = _(
            "an object that holds a list `events` is no event; send the bare array: {example}",
            example='[{"id": ..., "name": ...}]',
        )
        raise RefusedError("events", "wrapped", said)
    name = text_of(record, "name", limits.max_id)
    return Event(
        id=text_of(record, "id", limits.max_id),
        name=name,
        happened_at=instant_of(record, now, limits),
        units=units_of(record, limits),
        fields=fields_of(record.get("fields"), limits.schema.get(name, {}), limits),
        trusted=trusted,
    )
