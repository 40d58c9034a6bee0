"""Events: what applications send, checked and made exact. Pure.

The wire form is ``{id, name, happened_at, units: {order_id, user_id}, fields: {...}}``;
``unit`` (text) is short for the default unit type. A bad event never spoils its batch: it
becomes a `Rejection` that says which field is wrong and what was given.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Any, cast

import msgspec

from metrics.catalogue import FieldType, load_catalogue
from metrics.cells import MICRO

EXPOSURE = "exposure"
"""Name of the event that says a unit met its variant."""

DERIVED = "exposure:"
"""Ids of exposures derived from experiment, seed, unit and variant start with this."""

INT64_MAX = 2**63 - 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EXACT_FLOAT = 2**52
_QUARTER = 0.25
_EXCERPT = 4096

FieldValue = str | bool | int


class MalformedBodyError(ValueError):
    """A request body is no JSON array of events and no NDJSON; nothing of it was read."""


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
        event: The original as JSON, at most 4 kB of it.
    """

    index: int
    id: str | None
    field: str
    reason: str
    code: str
    event: str


@dataclass(frozen=True, slots=True)
class MalformedLine:
    """One line of NDJSON that is no JSON; `parse_event` rejects it."""

    text: str
    reason: str


@lru_cache(maxsize=1)
def default_schema() -> Mapping[str, Mapping[str, FieldType]]:
    """Return the field types of the built-in catalogue's events."""
    return load_catalogue().events


@dataclass(frozen=True, slots=True)
class EventLimits:
    """What is accepted.

    Attributes:
        default_unit: Unit type meant by ``unit``.
        clock_skew: How far in the future ``happened_at`` may lie.
        retention: Older events are refused as ``too_late``: what is forgotten never returns.
        max_id: Longest event id, unit id or name in characters.
        max_text: Longest text field in characters.
        max_fields: Most fields (and most unit types) of one event.
        schema: Field types by event name; fields not named there keep their JSON type.
    """

    default_unit: str = "order_id"
    clock_skew: timedelta = timedelta(minutes=5)
    retention: timedelta = timedelta(days=400)
    max_id: int = 256
    max_text: int = 4096
    max_fields: int = 64
    schema: Mapping[str, Mapping[str, FieldType]] = field(default_factory=default_schema)


class _RefusedError(Exception):
    """One field of one event cannot be accepted."""

    def __init__(self, path: str, code: str, reason: str) -> None:
        super().__init__(reason)
        self.path, self.code, self.reason = path, code, reason


def to_micros(instant: datetime) -> int:
    """Return whole microseconds since 1970-01-01 UTC, exactly."""
    return (instant - EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return the aware UTC instant of microseconds since 1970-01-01."""
    return EPOCH + timedelta(microseconds=micros)


def scaled(value: float) -> int | None:
    """Return a number as an integer of 1e-6, ``None`` when it is not finite or beyond 64 bits.

    The shortest decimal that reads back as ``value`` is what the sender wrote; it is rounded
    half to even at the sixth digit.
    """
    if isinstance(value, int):
        exact = value * MICRO
    elif not math.isfinite(value):
        return None
    else:
        product = value * MICRO
        if abs(product) >= _EXACT_FLOAT or abs(product - round(product)) >= _QUARTER:
            digits = Decimal(repr(value)).scaleb(6)
            exact = int(digits.to_integral_value(ROUND_HALF_EVEN))
        else:
            exact = round(product)
    return exact if -INT64_MAX <= exact <= INT64_MAX else None


def decode_events(body: bytes, *, ndjson: bool) -> list[Any]:
    """Return the raw events of a request body, for `parse_event` one by one.

    NaN and infinities, which are no JSON, are let through here so that they reject one event
    and not its batch. A single JSON object counts as an array of one.

    Args:
        body: The body, already decompressed.
        ndjson: One JSON object per line instead of one array; blank lines are skipped.

    Raises:
        MalformedBodyError: The body is no JSON array; says where it breaks.
    """
    if ndjson:
        return [_decode_line(line) for line in body.splitlines() if line.strip()]
    try:
        decoded: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        decoded = _decode_leniently(body)
    if isinstance(decoded, dict):
        return [decoded]
    if not isinstance(decoded, list):
        raise MalformedBodyError(
            f"body: expected a JSON array of events, got {type(decoded).__name__}; "
            "send [{...}, ...] or NDJSON with Content-Type application/x-ndjson"
        )
    return cast("list[Any]", decoded)


def _decode_leniently(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedBodyError(
            f"body: no JSON ({error}); send a JSON array of events, or NDJSON with "
            "Content-Type application/x-ndjson"
        ) from error


def _decode_line(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            return json.loads(line)
        except (ValueError, RecursionError) as error:
            return MalformedLine(line[:_EXCERPT].decode("utf-8", "replace"), str(error))


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
    except _RefusedError as refused:
        given: Any = cast("dict[Any, Any]", raw).get("id") if isinstance(raw, dict) else None
        readable = given if isinstance(given, str) and _encodable(given) else None
        readable = readable if readable is None else readable[: limits.max_id]
        return Rejection(
            index=index,
            id=readable,
            field=refused.path,
            reason=refused.reason,
            code=refused.code,
            event=excerpt(raw),
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
) -> Event:
    """Return the exposure of a unit, with an id that is the same whoever derives it.

    The id depends on experiment, seed, unit and variant, so recording a unit's exposure again
    is idempotent (a store keeps the earliest), while a second variant of one unit stays visible.
    """
    digest = hashlib.blake2b(
        msgspec.json.encode([experiment, seed, unit_type, unit_id, variant]), digest_size=16
    ).hexdigest()
    return Event(
        id=DERIVED + digest,
        name=EXPOSURE,
        happened_at=at,
        units={unit_type: unit_id},
        fields={"experiment": experiment, "seed": seed, "variant": variant, "source": source},
    )


def as_json(event: Event) -> str:
    """Return an event as JSON text for the quarantine, at most 4 kB."""
    return excerpt(
        {
            "id": event.id,
            "name": event.name,
            "happened_at": event.happened_at,
            "units": dict(event.units),
            "fields": dict(event.fields),
        }
    )


def excerpt(raw: Any) -> str:
    """Return anything decoded from JSON as text of at most 4 kB, whatever it holds."""
    if isinstance(raw, MalformedLine):
        text = raw.text
    else:
        try:
            text = json.dumps(raw, ensure_ascii=True, default=str)
        except (TypeError, ValueError, RecursionError):
            text = "(cannot be shown as JSON)"
    return text.encode("utf-8", "replace")[:_EXCERPT].decode("utf-8", "ignore")


def _parse(raw: Any, *, now: datetime, limits: EventLimits, trusted: bool) -> Event:
    if isinstance(raw, MalformedLine):
        raise _RefusedError("", "malformed", f"no JSON ({raw.reason}); send one object per line")
    if not isinstance(raw, dict):
        raise _RefusedError("", "wrong_type", f"expected an object, got {_kind(raw)}")
    record = cast("dict[str, Any]", raw)
    name = _text(record, "name", limits.max_id)
    return Event(
        id=_text(record, "id", limits.max_id),
        name=name,
        happened_at=_instant(record, now, limits),
        units=_units(record, limits),
        fields=_fields(record.get("fields"), limits.schema.get(name, {}), limits),
        trusted=trusted,
    )


def _text(record: Mapping[str, Any], key: str, longest: int, path: str = "") -> str:
    value = record.get(key)
    path = path or key
    if value is None:
        raise _RefusedError(path, "missing", f"{path} is missing; every event needs one")
    if not isinstance(value, str):
        raise _RefusedError(path, "wrong_type", f"{path}: expected text, got {_kind(value)}")
    if not 1 <= len(value) <= longest:
        raise _RefusedError(
            path, "bad_length", f"{path}: must have 1 to {longest} characters, got {len(value)}"
        )
    if not _encodable(value):
        raise _RefusedError(path, "bad_text", f"{path}: holds half a surrogate pair, no Unicode")
    return value


def _instant(record: Mapping[str, Any], now: datetime, limits: EventLimits) -> datetime:
    text = _text(record, "happened_at", limits.max_id)
    try:
        instant = msgspec.convert(text, datetime)
        if instant.tzinfo is None:
            raise _RefusedError(
                "happened_at",
                "no_time_zone",
                f"happened_at: {text!r} has no time zone; end it with Z or +00:00",
            )
        instant = instant.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError, ValueError) as error:
        raise _RefusedError(
            "happened_at",
            "bad_time",
            f"happened_at: {text[:64]!r} is no RFC 3339 instant; "
            "write it as 2026-01-31T12:00:00.000000Z",
        ) from error
    if instant - now > limits.clock_skew:
        raise _RefusedError(
            "happened_at",
            "in_future",
            f"happened_at: {text} is more than {limits.clock_skew} ahead of the server's clock "
            f"({now.isoformat()}); check the sender's clock",
        )
    if now - instant > limits.retention:
        raise _RefusedError(
            "happened_at",
            "too_late",
            f"happened_at: {text} is older than the retention of {limits.retention}",
        )
    return instant


def _units(record: Mapping[str, Any], limits: EventLimits) -> dict[str, str]:
    given: Any = record.get("units")
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise _RefusedError(
            "units", "wrong_type", f"units: expected an object of ids, got {_kind(given)}"
        )
    ids = cast("dict[str, Any]", given)
    if len(ids) > limits.max_fields:
        raise _RefusedError("units", "too_many", f"units: at most {limits.max_fields} unit types")
    units: dict[str, str] = {}
    for key in ids:
        _checked_key(key, "units", limits)
        units[key] = _text(ids, key, limits.max_id, f"units.{key}")
    if record.get("unit") is not None:
        units.setdefault(limits.default_unit, _text(record, "unit", limits.max_id))
    return units


def _fields(
    given: Any, types: Mapping[str, FieldType], limits: EventLimits
) -> dict[str, FieldValue]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise _RefusedError(
            "fields", "wrong_type", f"fields: expected an object, got {_kind(given)}"
        )
    items = cast("dict[str, Any]", given)
    if len(items) > limits.max_fields:
        raise _RefusedError("fields", "too_many", f"fields: at most {limits.max_fields}")
    fields: dict[str, FieldValue] = {}
    for key, value in items.items():
        if value is None:
            continue
        _checked_key(key, "fields", limits)
        fields[key] = _field(f"fields.{key}", value, types.get(key), limits)
    return fields


def _checked_key(key: str, path: str, limits: EventLimits) -> None:
    if not 1 <= len(key) <= limits.max_id or not _encodable(key):
        raise _RefusedError(
            path, "bad_text", f"{path}: a name must have 1 to {limits.max_id} Unicode characters"
        )


def _field(path: str, value: Any, expected: FieldType | None, limits: EventLimits) -> FieldValue:
    if expected is not None and not _fits(value, expected):
        raise _RefusedError(
            path, "wrong_type", f"{path}: expected {expected.value}, got {_kind(value)}"
        )
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        if expected is FieldType.INTEGER:
            return _whole(path, cast("int", value))
        exact = scaled(value)
        if exact is None:
            raise _RefusedError(
                path,
                "out_of_range",
                f"{path}: {value!r:.40} is no finite number of at most 9.2e12 with 6 digits",
            )
        return exact
    text = value if isinstance(value, str) else _nested(path, value)
    if len(text) > limits.max_text:
        raise _RefusedError(
            path, "bad_length", f"{path}: at most {limits.max_text} characters, got {len(text)}"
        )
    if not _encodable(text):
        raise _RefusedError(path, "bad_text", f"{path}: holds half a surrogate pair, no Unicode")
    return text


def _fits(value: Any, expected: FieldType) -> bool:
    if expected is FieldType.BOOLEAN:
        return isinstance(value, bool)
    if expected is FieldType.TEXT:
        return isinstance(value, str)
    if isinstance(value, bool):
        return False
    return isinstance(value, int if expected is FieldType.INTEGER else (int, float))


def _whole(path: str, value: int) -> int:
    if not -INT64_MAX <= value <= INT64_MAX:
        raise _RefusedError(path, "out_of_range", f"{path}: must fit 64 bits")
    return value


def _nested(path: str, value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise _RefusedError(path, "wrong_type", f"{path}: cannot be kept as JSON") from error


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: Any) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list"}
    if value is None:
        return "null"
    return names.get(cast("type[Any]", type(value)), "an object")
