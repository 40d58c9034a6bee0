"""Lengths, shares, values and effects as people write them. Pure."""

import math
from datetime import datetime, timedelta
from typing import Final

from guardrails.lifts import lift_of
from guardrails.outcome import WindowFinding
from metrics.wording import gettext as _
from metrics.wording import marked

_MANY: Final = 1e6

_UNITS = (
    (86400, marked("{n} d")),
    (3600, marked("{n} h")),
    (60, marked("{n} min")),
    (1, marked("{n} s")),
)
_ONE_UNIT = 100  # more than this many of one unit are hard to read


def duration(length: timedelta) -> str:
    """Return a length as people write it: ``90 s``, ``36 h``, ``14 d``, ``14 d 5 min``."""
    seconds = int(length.total_seconds())
    for size, written in _UNITS:
        if seconds >= size and seconds % size == 0 and seconds // size < _ONE_UNIT:
            return _(written, n=seconds // size)
    parts: list[str] = []
    for size, written in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(_(written, n=count))
    return " ".join(parts) or _("{n} s", n=0)


def points(size: float) -> str:
    """Return a difference of shares: ``1 percentage point``, ``0.5 percentage points``."""
    number = f"{100 * size:.4g}"
    if math.isclose(size, 0.01):
        return _("{number} percentage point", number=number)
    return _("{number} percentage points", number=number)


def command(name: str, of: str) -> str:
    """Return a command as it is typed; every one of those that change something wants a reason."""
    return f'turnback {name} {of} --reason "..."'


def again_words(seed: int) -> str:
    """Return how a run that proved nothing is tried for longer: its own plan of looks is over."""
    return _(
        "To try on, write `seed: {seed}` and a longer `ends` into the file (turnback plan FILE "
        "says how long it takes) and apply it: turnback apply FILE.",
        seed=seed + 1,
    )


def instant(at: datetime) -> str:
    """Return an instant as ``2026-01-04 02:00 UTC``."""
    return at.strftime("%Y-%m-%d %H:%M UTC")


def percent(share: float, *, digits: int = 1) -> str:
    """Return a share as a percentage without needless zeros; ``unknown`` when undefined."""
    if not math.isfinite(share):
        return _("unknown")
    text = f"{100 * share:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "%"


def amount(value: float) -> str:
    """Return a KPI value with four significant digits; ``unknown`` when undefined."""
    return f"{value:,.4g}" if math.isfinite(value) else _("unknown")


def odds(e_value: float) -> str:
    """Return how many to one the evidence is."""
    return f"{e_value:,.0f}" if e_value < _MANY else _("more than a million")


def effect_words(window: WindowFinding) -> str:
    """Return the measured effect: ``5.1% lower (between 2.9% and 7.3% lower)``."""
    if not math.isfinite(window.effect):
        apart = lift_of(window.control_value, window.treatment_value).difference
        return _("not measured") if apart is None else difference_words(apart)
    text = _signed(window.effect)
    low, high = window.effect_low, window.effect_high
    if not (math.isfinite(low) and math.isfinite(high)):
        return text
    return _(
        "{effect} (between {low} and {high})", effect=text, low=_signed(low), high=_signed(high)
    )


def difference_words(apart: float) -> str:
    """Return a difference in a KPI's own unit: ``1.95 lower``, ``unchanged``."""
    size = amount(abs(apart))
    if not apart:
        return _("unchanged")
    return _("{size} lower", size=size) if apart < 0 else _("{size} higher", size=size)


def _signed(effect: float) -> str:
    if abs(effect) < 0.0005:  # noqa: PLR2004 - rounds to 0.0%
        return _("unchanged")
    size = percent(abs(effect))
    return _("{size} lower", size=size) if effect < 0 else _("{size} higher", size=size)
