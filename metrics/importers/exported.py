"""Rows of `turnback export` as events in wire form, for whoever loads them back."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_EXACT = 2**53
COLUMNS = frozenset({"numbers", "texts", "booleans"})
"""A file with these columns in place of ``fields`` is one of an export."""


def wire_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return one row as the sender wrote it, and whether it was trusted.

    Args:
        row: With maps as lists of pairs, as pyarrow gives them; numbers of any type.

    Raises:
        ValueError: A map is none, or a number has more digits than JSON's numbers carry.
    """
    maps = {name: _pairs(row, name) for name in ("units", "numbers", "texts", "booleans")}
    numbers = {key: _number(key, value) for key, value in maps["numbers"].items()}
    return {
        "id": row["id"],
        "trusted": row.get("trusted", True),
        "name": row["name"],
        "happened_at": row["happened_at"],
        "units": maps["units"],
        "fields": {**maps["texts"], **maps["booleans"], **numbers},
    }


def _pairs(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    try:
        return dict(row[name] or ())
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected a map, got {row[name]!r:.60}") from None


def _number(key: str, value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    if not isinstance(value, Decimal):
        return value  # what is no number is refused where it is read
    if value == value.to_integral_value():
        return int(value)
    number = float(value)
    if Decimal(repr(number)) != value:
        raise ValueError(f"{key}: {value} has more digits than a number of JSON carries")
    return number
