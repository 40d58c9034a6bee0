"""Lengths, odds and small shares in words, for pages that look back. Pure."""

import json
import math
from datetime import datetime, timedelta
from typing import Any

import msgspec

from metrics.wording import gettext as _
from metrics.wording import ngettext

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_MINUTE = timedelta(minutes=1)
_MANY = 1e6
_LONGEST = 160


def of_a_demo() -> str:
    """Return what whoever sees anything of a demo must know."""
    return _("A demo: shop, people and clock are simulated.")


def rough(length: timedelta) -> str:
    """Return a length by its two largest parts: ``3 days 13 hours``, ``45 minutes``."""
    if length < _MINUTE:
        return ngettext("{n} second", "{n} seconds", max(0, int(length.total_seconds())))
    days, hours, minutes = length // _DAY, length % _DAY // _HOUR, length % _HOUR // _MINUTE
    parts: list[str] = []
    if days:
        parts.append(ngettext("{n} day", "{n} days", days))
    if hours and len(parts) < 2:  # noqa: PLR2004 - the two largest
        parts.append(ngettext("{n} hour", "{n} hours", hours))
    if minutes and not days:
        parts.append(ngettext("{n} minute", "{n} minutes", minutes))
    return " ".join(parts)


def ago(at: datetime | None, now: datetime) -> str:
    """Return how long ago an instant was, in words."""
    if at is None:
        return _("never")
    if now - at < _MINUTE:
        return _("just now")
    return _("{length} ago", length=rough(now - at))


def fine_share(share: float) -> str:
    """Return a small share with up to three digits after the point: ``0.417%``."""
    return f"{100 * share:.3f}".rstrip("0").rstrip(".") + "%"


def odds(e_value: float) -> str:
    """Return how many to one the evidence is."""
    if not math.isfinite(e_value) or e_value >= _MANY:
        return _("more than a million to 1")
    return _("{odds} to 1", odds=f"{e_value:,.0f}" if e_value >= 10 else f"{e_value:.1f}")  # noqa: PLR2004 - below it the digit after the point says something


def size_of(count: float) -> str:
    """Return a number of bytes: ``12 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004 - a thousand of each
            return f"{count:,.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"  # noqa: PLR2004 - two digits that say something
        count /= 1000
    return f"{count:,.1f} TB"


def short_json(value: Any) -> str:
    """Return JSON in one line, cut where it is long."""
    text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
