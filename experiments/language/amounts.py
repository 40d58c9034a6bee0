"""Percent and durations as people write them."""

import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final

PERCENT_PATTERN: Final = r"^[0-9]{1,6}(\.[0-9]{1,6})?%$"
SIGNED_PATTERN: Final = r"^[+-][0-9]{1,6}(\.[0-9]{1,6})?(%|pp)$"
MARGIN_PATTERN: Final = r"^[0-9]{1,6}(\.[0-9]{1,6})?(%|pp)$"
DURATION_PATTERN: Final = r"^([0-9]{1,5}d)?([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?$"
"""At least one part is needed beside the pattern: the empty text is no duration."""

_UP_TO: Final = {"100": r"100(\.0{1,6})?|[0-9]{1,2}", "50": r"50(\.0{1,6})?|[0-4]?[0-9]"}
_NOT_ZERO: Final = r"(?!0+(\.0+)?%)"

_AMOUNT = re.compile(r"([+-]?)([0-9]{1,6}(?:\.[0-9]{1,6})?)\s?(%|pp)")
_DURATION = re.compile(
    r"(?:([0-9]{1,5})d)?(?:([0-9]{1,5})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,8})s)?", re.ASCII
)
_HUNDRED = Decimal(100)


def percent_pattern(*, most: str, zero: bool) -> str:
    """Return the pattern of a percent up to ``most``: exact for 100 and 50, with or without 0."""
    if most not in _UP_TO:
        return PERCENT_PATTERN
    whole, _, below = _UP_TO[most].partition("|")
    return f"^{'' if zero else _NOT_ZERO}0{{0,4}}({whole}|({below})(\\.[0-9]{{1,6}})?)%$"


@dataclass(frozen=True, slots=True)
class Amount:
    """A percent: exact, as written.

    Attributes:
        percent: 5 for ``5%`` and ``5pp``, negative where written so.
        absolute: Written in percentage points (``pp``).
        signed: Written with ``+`` or ``-``.
    """

    percent: Decimal
    absolute: bool = False
    signed: bool = False

    @property
    def share(self) -> float:
        """The nearest float: 0.05 for ``5%``."""
        return float(self.percent / _HUNDRED)


def parse_amount(text: str) -> Amount | None:
    """Return the percent or percentage points a text says, ``None`` when it says none."""
    found = _AMOUNT.fullmatch(text.strip())
    if not found:
        return None
    percent = Decimal(found[2])
    return Amount(
        -percent if found[1] == "-" else percent,
        absolute=found[3] == "pp",
        signed=bool(found[1]),
    )


def parse_duration(text: str) -> timedelta | None:
    """Return the length a text says (``90s 30m 6h 14d 1h30m``), ``None`` when it says none."""
    found = _DURATION.fullmatch(text.strip())
    if not found or not text.strip():
        return None
    days, hours, minutes, seconds = (int(part) if part else 0 for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def format_percent(percent: Decimal) -> str:
    """Return ``12.5%`` for 12.5, without needless zeros."""
    text = f"{percent:f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}%"


def format_duration(length: timedelta) -> str:
    """Return ``1d12h`` and the like: what ``parse_duration`` reads back to whole seconds."""
    total = int(length.total_seconds())
    parts: list[str] = []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")):
        count, total = divmod(total, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
