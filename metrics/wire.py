"""The checks of one event's parts: text, instants, units and fields. Pure.

Each raises `RefusedError` with the path of the part, a code, and words that say what was given.
"""

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Any, cast

import msgspec

from metrics.catalogue import FieldType, load_catalogue
from metrics.cells import MICRO
from metrics.mistyped import mistyped
from metrics.wording import gettext as _
from metrics.wording import marked

INT64_MAX = 2**63 - 1
_EXACT_FLOAT = 2**52
_EXACT_INTEGER = 2**53
_QUARTER = 0.25

FieldValue = str | bool | int

_TEXT, _NUMBER = FieldType.TEXT, FieldType.NUMBER
_PYTHON_TYPES: Mapping[FieldType, frozenset[type[Any]]] = {
    FieldType.BOOLEAN: frozenset({bool}),
    FieldType.TEXT: frozenset({str}),
    FieldType.INTEGER: frozenset({int}),
    FieldType.NUMBER: frozenset({int, float}),
}


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


class RefusedError(Exception):
    """One field of one event cannot be accepted."""

    def __init__(self, path: str, code: str, reason: str) -> None:
        super().__init__(reason)
        self.path, self.code, self.reason = path, code, reason


def scaled(value: float) -> int | None:
    """Return a number as an integer of 1e-6, ``None`` when it is not finite or beyond 64 bits.

    The shortest decimal that reads back as ``value`` is what the sender wrote; it is rounded
    half to even at the sixth digit.
    """
    if isinstance(value, int):
        exact = value * MICRO
    else:
        product = value * MICRO
        if abs(product) < _EXACT_FLOAT:  # no NaN is
            exact = round(product)
            if abs(product - exact) < _QUARTER:
                return exact
        if not math.isfinite(value):
            return None
        digits = Decimal(repr(value)).scaleb(6)
        exact = int(digits.to_integral_value(ROUND_HALF_EVEN))
    return exact if -INT64_MAX <= exact <= INT64_MAX else None


def text_of(record: Mapping[str, Any], key: str, longest: int, path: str = "") -> str:
    """Return a required text of 1 to ``longest`` characters; ``path`` names it in messages."""
    value = record.get(key)
    path = path or key
    if value is None:
        raise RefusedError(
            path, "missing", _("{path} is missing; every event needs one", path=path)
        )
    if not isinstance(value, str):
        said = _("{path}: expected text, got {given}", path=path, given=kind_of(value))
        if type(value) in {int, float}:
            said = _("{path}: expected text, got a number; send it in quotes", path=path)
        raise RefusedError(path, "wrong_type", said)
    if not 1 <= len(value) <= longest:
        raise RefusedError(
            path,
            "bad_length",
            _(
                "{path}: must have 1 to {longest} characters, got {number}",
                path=path,
                longest=longest,
                number=len(value),
            ),
        )
    if not encodable(value):
        raise RefusedError(path, "bad_text", _half(path))
    return value


def _half(path: str) -> str:
    return _("{path}: holds half a surrogate pair, no Unicode", path=path)


def instant_of(record: Mapping[str, Any], now: datetime, limits: EventLimits) -> datetime:
    """Return ``happened_at`` in UTC, neither ahead of the clock nor beyond the retention."""
    given = record.get("happened_at")
    if given is not None and not isinstance(given, str):
        raise RefusedError(
            "happened_at",
            "wrong_type",
            _(
                "happened_at: expected text, got {given}; write the instant as "
                '"2026-01-31T12:00:00Z"',
                given=kind_of(given),
            ),
        )
    text = text_of(record, "happened_at", sys.maxsize)
    try:
        instant = msgspec.convert(text, datetime)
        if instant.tzinfo is None:
            raise RefusedError(
                "happened_at",
                "no_time_zone",
                _("happened_at: {text} has no time zone; end it with Z or +00:00", text=repr(text)),
            )
        instant = instant.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError, ValueError) as error:
        raise RefusedError(
            "happened_at",
            "bad_time",
            _(
                "happened_at: {text} is no RFC 3339 instant; write it as "
                "2026-01-31T12:00:00.000000Z",
                text=repr(text[:64]),
            ),
        ) from error
    return timely(instant, now, limits, text)


def timely(instant: datetime, now: datetime, limits: EventLimits, text: str = "") -> datetime:
    """Return an instant that is neither ahead of the clock nor beyond the retention.

    Args:
        instant: In UTC.
        now: The server's clock.
        limits: What is accepted.
        text: What was sent, for messages.
    """
    if instant - now > limits.clock_skew:
        raise RefusedError(
            "happened_at",
            "in_future",
            _(
                "happened_at: {text} is more than {length} ahead of the server's clock ({now}); "
                "check the sender's clock",
                text=text[:64],
                length=limits.clock_skew,
                now=now.isoformat(),
            ),
        )
    if now - instant > limits.retention:
        raise RefusedError(
            "happened_at",
            "too_late",
            _(
                "happened_at: {text} is older than the retention of {length}",
                text=text[:64],
                length=limits.retention,
            ),
        )
    return instant


def units_of(record: Mapping[str, Any], limits: EventLimits) -> dict[str, str]:
    """Return the ids by unit type; ``unit`` fills the default type where it is not named."""
    given: Any = record.get("units")
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise RefusedError(
            "units",
            "wrong_type",
            _("units: expected an object of ids, got {given}", given=kind_of(given)),
        )
    ids = cast("dict[str, Any]", given)
    if len(ids) > limits.max_fields:
        said = _("units: at most {number} unit types", number=limits.max_fields)
        raise RefusedError("units", "too_many", said)
    units: dict[str, str] = {}
    longest = limits.max_id
    for key, value in ids.items():
        if not (0 < len(key) <= longest and key.isascii()):
            _checked_key(key, "units", limits)
        # the usual case without a call and a path for a message that is not needed
        usual = type(value) is str and 0 < len(value) <= longest and value.isascii()
        units[key] = value if usual else text_of(ids, key, longest, f"units.{key}")
    if record.get("unit") is not None:
        units.setdefault(limits.default_unit, text_of(record, "unit", limits.max_id))
    return units


def fields_of(
    given: Any, types: Mapping[str, FieldType], limits: EventLimits
) -> dict[str, FieldValue]:
    """Return the fields, exact and of the types the schema asks for; nulls are dropped."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise RefusedError(
            "fields",
            "wrong_type",
            _("fields: expected an object, got {given}", given=kind_of(given)),
        )
    items = cast("dict[str, Any]", given)
    if len(items) > limits.max_fields:
        said = _("fields: at most {number}", number=limits.max_fields)
        raise RefusedError("fields", "too_many", said)
    fields: dict[str, FieldValue] = {}
    longest = limits.max_id
    for key, value in items.items():
        if value is None:
            continue
        if not (0 < len(key) <= longest and key.isascii()):
            _checked_key(key, "fields", limits)
        fields[key] = _field(key, value, types.get(key), limits)
    return fields


def _checked_key(key: str, path: str, limits: EventLimits) -> None:
    if not 1 <= len(key) <= limits.max_id or not encodable(key):
        raise RefusedError(
            path,
            "bad_text",
            _(
                "{path}: a name must have 1 to {number} Unicode characters",
                path=path,
                number=limits.max_id,
            ),
        )


def _field(key: str, value: Any, expected: FieldType | None, limits: EventLimits) -> FieldValue:
    kind: type[Any] = type(value)
    if kind is str and (expected is None or expected is _TEXT):
        if len(value) <= limits.max_text and value.isascii():
            return value
    elif kind is float and (expected is None or expected is _NUMBER):
        exact = scaled(value)
        if exact is not None:
            return exact
    return _checked_field(key, value, expected, limits)


def _checked_field(
    key: str, value: Any, expected: FieldType | None, limits: EventLimits
) -> FieldValue:
    """Return a field's value; the usual ones do not get here."""
    if expected is FieldType.INTEGER and type(value) is float:
        value = _integer(key, value)
    kind: type[Any] = type(value)
    if expected is not None and kind not in _PYTHON_TYPES[expected]:
        raise RefusedError(
            f"fields.{key}",
            "wrong_type",
            mistyped(key, value, kind_of(value), expected),
        )
    if kind is bool:
        return value
    if kind is int or kind is float:
        if expected is FieldType.INTEGER:
            return _whole(f"fields.{key}", value)
        exact = scaled(value)
        if exact is None:
            raise RefusedError(
                f"fields.{key}",
                "out_of_range",
                _(
                    "fields.{field}: {given} is no finite number of at most 9.2e12 with 6 digits",
                    field=key,
                    given=f"{value!r:.40}",
                ),
            )
        return exact
    text: str = value if kind is str else _nested(f"fields.{key}", value)
    if len(text) > limits.max_text:
        raise RefusedError(
            f"fields.{key}",
            "bad_length",
            _(
                "fields.{field}: at most {longest} characters, got {number}",
                field=key,
                longest=limits.max_text,
                number=len(text),
            ),
        )
    if not encodable(text):
        raise RefusedError(f"fields.{key}", "bad_text", _half(f"fields.{key}"))
    return text


def _integer(key: str, value: float) -> int:
    """Return 1 for 1.0: JSON knows one kind of number, and some encoders write all with a point."""
    if not math.isfinite(value) or not value.is_integer():
        raise RefusedError(
            f"fields.{key}",
            "wrong_type",
            _("fields.{field}: expected a whole number, got {given}", field=key, given=repr(value)),
        )
    if abs(value) > _EXACT_INTEGER:
        raise RefusedError(
            f"fields.{key}",
            "out_of_range",
            _(
                "fields.{field}: {given} is too large to be exact; send it without point or "
                "exponent",
                field=key,
                given=repr(value),
            ),
        )
    return int(value)


def _whole(path: str, value: int) -> int:
    if not -INT64_MAX <= value <= INT64_MAX:
        raise RefusedError(path, "out_of_range", _("{path}: must fit 64 bits", path=path))
    return value


def _nested(path: str, value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        said = _("{path}: cannot be kept as JSON", path=path)
        raise RefusedError(path, "wrong_type", said) from error


def encodable(text: str) -> bool:
    """Return whether a text is Unicode that can be stored: no half of a surrogate pair."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def kind_of(value: Any) -> str:
    """Return what a JSON value is, in words."""
    if value is None:
        return "null"
    return _(_KINDS.get(cast("type[Any]", type(value)), _AN_OBJECT))


_AN_OBJECT = marked("an object")
_KINDS: Mapping[type[Any], str] = {
    bool: marked("a boolean"),
    int: marked("a number"),
    float: marked("a number"),
    str: marked("text"),
    list: marked("a list"),
}
