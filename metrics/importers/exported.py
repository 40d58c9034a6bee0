"""Rows of `turnback export` as events in wire form, for whoever loads them back."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

COLUMNS = frozenset({"numbers", "texts", "booleans"})
"""A file with these columns in place of ``fields`` is one of an export."""


def wire_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return one row as the sender wrote it, and whether it was trusted.

    Args:
        row: With maps as lists of pairs, as pyarrow gives them.

    Raises:
        ValueError: A number has more digits than JSON's numbers carry.
    """
    numbers = {key: _number(key, value) for key, value in row["numbers"]}
    return {
        "id": row["id"],
        "trusted": row.get("trusted", True),
        "name": row["name"],
        "happened_at": row["happened_at"],
        "units": dict(row["units"]),
        "fields": {**dict(row["texts"]), **dict(row["booleans"]), **numbers},
    }


def _number(key: str, value: Decimal) -> int | float:
    if value == value.to_integral_value():
        return int(value)
    number = float(value)
    if Decimal(repr(number)) != value:
        raise ValueError(f"{key}: {value} has more digits than a number of JSON carries")
    return number
