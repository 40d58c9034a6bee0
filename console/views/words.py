"""Numbers and states as people read them. Unknown is said in words, never shown as 0. Pure."""

import math
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from console import i18n
from guardrails.extending import ends_at
from guardrails.plain_words import points
from metrics.wording import gettext as _
from metrics.wording import language, marked, ngettext

UNKNOWN: Final = marked("not known yet")
SMALLEST_EFFECT = 0.0005
"""Effects that round to 0.0%."""

LARGEST_EFFECT = 10
"""Beyond tenfold the digits say nothing: the interval is as good as open."""

MINUS: Final = "\N{MINUS SIGN}"

STATE_WORDS = MappingProxyType(
    {
        "draft": marked("Draft"),
        "running": marked("Running"),
        "paused": marked("Paused"),
        "observing": marked("Watching the last units"),
        "finished": marked("Finished"),
        "stopped": marked("Stopped"),
        "live": marked("Live"),
        "rolled_back": marked("Turned back"),
        "control": marked("Control"),
    }
)
OUTCOME_WORDS = MappingProxyType(
    {
        "pass": marked("Proven safe"),
        "breach": marked("Harm proven"),
        "inconclusive": marked("Not decided"),
        "no_data": marked("No data"),
        "error": marked("Cannot see"),
    }
)
QUERY_WORDS = MappingProxyType(
    {
        "pass": marked("Within its limit"),
        "breach": marked("Beyond its limit"),
        "inconclusive": marked("Beyond at times"),
        "error": marked("Cannot see"),
    }
)
ALERT_WORDS = MappingProxyType(
    {
        "pass": marked("Resolved"),
        "breach": marked("Firing"),
        "inconclusive": marked("Nothing counts"),
    }
)
WATCH_WORDS = MappingProxyType(
    {
        "pass": marked("As it should be"),
        "breach": marked("Not as it should be"),
        "inconclusive": marked("Not known yet"),
        "error": marked("Cannot see"),
    }
)
ACTION_WORDS = MappingProxyType(
    {
        "rollback": marked("turns back"),
        "hold": marked("holds the ramp"),
        "alert": marked("only alerts"),
        "stop": marked("stops the experiment"),
    }
)


def unknown() -> str:
    """Return that something is not known yet."""
    return _(UNKNOWN)


def state_words(state: str) -> str:
    """Return a state of an experiment or treatment in words."""
    known = STATE_WORDS.get(state)
    return state.replace("_", " ").capitalize() if known is None else _(known)


def instant(at: datetime | None) -> str:
    """Return an instant as ``5 Jan 2026, 14:00 UTC``."""
    return unknown() if at is None else i18n.instant(at)


def duration(length: timedelta) -> str:
    """Return a length as ``1 hour``, ``14 days``, ``90 seconds``."""
    seconds = int(length.total_seconds())
    if seconds >= 86_400 and seconds % 86_400 == 0:  # noqa: PLR2004 - a day
        return ngettext("{n} day", "{n} days", seconds // 86_400)
    if seconds >= 3_600 and seconds % 3_600 == 0:  # noqa: PLR2004 - an hour
        return ngettext("{n} hour", "{n} hours", seconds // 3_600)
    if seconds >= 60 and seconds % 60 == 0:  # noqa: PLR2004 - a minute
        return ngettext("{n} minute", "{n} minutes", seconds // 60)
    return ngettext("{n} second", "{n} seconds", seconds)


def roughly(length: timedelta) -> str:
    """Return a length in its largest unit: ``3 days``, ``5 hours``, ``12 minutes``."""
    for unit in (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)):
        if length >= unit:
            return duration(unit * (length // unit))
    return _("less than a minute")


def share(value: float) -> str:
    """Return a share as ``5%``, ``12.5%``: at most two digits after the point."""
    text = i18n.decimal(100 * value, 2)
    return text.rstrip("0").rstrip(".") + "%"


def units(number: int) -> str:
    """Return ``1 unit``, ``2,400 units``."""
    return ngettext("{n} unit", "{n} units", number)


def value(number: float | None, unit: str) -> str:
    """Return a KPI's value in its unit."""
    if number is None or not math.isfinite(number):
        return unknown()
    if unit == "share":
        return f"{i18n.decimal(100 * number, 1)}%"
    if unit == "seconds":
        return _("{number} s", number=i18n.decimal(number, 1))
    if unit == "hours":
        return _("{number} h", number=i18n.decimal(number, 2))
    if unit == "per hour":
        return _("{number} / h", number=i18n.decimal(number, 2))
    return i18n.decimal(number, 2)


def rate(number: float | None) -> str:
    """Return units an hour: ``103``, ``0.4``."""
    if number is None or not math.isfinite(number):
        return _("unknown")
    return i18n.decimal(number, 1).removesuffix(".0")


def percent(size: float) -> str:
    """Return the size of an effect: ``5.1%``."""
    return f"{i18n.decimal(100 * abs(size), 1)}%"


def effect(size: float | None) -> str:
    """Return a relative effect: ``5.1% lower``, ``unchanged``."""
    if size is None or not math.isfinite(size):
        return unknown()
    if abs(size) < SMALLEST_EFFECT:
        return _("unchanged")
    if size < 0:
        return _("{size} lower", size=percent(size))
    return _("{size} higher", size=percent(size))


def lift(effect_: float | None, apart: float | None, unit: str) -> str:
    """Return a lift in percent, or in the KPI's unit where percent has no meaning; maybe empty."""
    if effect_ is not None:
        return effect(effect_)
    return "" if apart is None else difference(apart, unit)


def difference(apart: float, unit: str) -> str:
    """Return a difference in a KPI's own unit: ``1.95 lower``, ``unchanged``."""
    size = _apart(abs(apart), unit)
    if size == _apart(0.0, unit):
        return _("unchanged")
    return _("{size} lower", size=size) if apart < 0 else _("{size} higher", size=size)


def difference_interval(low: float, high: float, unit: str) -> str:
    """Return a difference's interval: ``-4.20 to +0.30``; empty where it is unbounded."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    ends = [f"{'+' if end >= 0 else MINUS}{_apart(abs(end), unit)}" for end in (low, high)]
    return _("{low} to {high}", low=ends[0], high=ends[1])


def _apart(size: float, unit: str) -> str:
    return points(size) if unit == "share" else value(size, unit)


def signed(size: float) -> str:
    """Return a relative effect with its sign: ``+1.2%``, ``-5.1%``."""
    if abs(size) > LARGEST_EFFECT:
        most = f"{i18n.decimal(100 * LARGEST_EFFECT, 0)}%"
        more, less = _("more than +{size}", size=most), _("less than \u2212{size}", size=most)
        return more if size > 0 else less
    return f"{'+' if size >= 0 else MINUS}{percent(size)}"


def interval(low: float, high: float) -> str:
    """Return an effect's interval: ``-7.3% to -2.9%``; empty where it is unbounded."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return _("{low} to {high}", low=signed(low), high=signed(high))


def capital(text: str) -> str:
    """Return a text as a sentence begins, in languages that write it so: names keep their own."""
    return f"{text[:1].upper()}{text[1:]}" if language() == "en" else text


def sentence(text: str) -> str:
    """Return a text as a sentence of its own, empty for an empty one."""
    return _("{said}.", said=capital(text)) if text else ""


def joined(words: Sequence[str]) -> str:
    """Return ``a``, ``a and b``, ``a, b and c``."""
    if len(words) < 2:  # noqa: PLR2004 - nothing to join
        return "".join(words)
    return _("{most} and {last}", most=_(", ").join(words[:-1]), last=words[-1])


_HAPPENED = MappingProxyType(
    {
        "draft": marked("The experiment was applied as a draft"),
        "paused": marked("The experiment was paused"),
        "observing": marked("The last new units came; they are watched until their windows close"),
        "finished": marked("The experiment is finished"),
        "stopped": marked("The experiment was stopped"),
        "note": marked("A note"),
    }
)


def happened(variant: str | None, before: str, after: str) -> str:
    """Return what a transition means, as a sentence without its full stop."""
    if variant is None and after in _HAPPENED:
        return _(_HAPPENED[after])
    if planned := _planned(before, after):
        return planned
    ends = {
        "before": _(before.replace("_", " ")) if before else _("new"),
        "after": _(after.replace("_", " ")),
    }
    if variant is None:
        return _("The experiment went from {before} to {after}", **ends)
    return _("{variant} went from {before} to {after}", variant=variant, **ends)


def _planned(before: str, after: str) -> str:
    """Return what became of a run's plan: a step, traffic, its end, its file; empty for none."""
    step = re.fullmatch(r"step ([0-9]+) approved", after)
    if step is not None:
        return _("Step {step} of the ramp was approved", step=step[1])
    traffic = [re.fullmatch(r"traffic ([0-9.e-]+)", end) for end in (before, after)]
    shares = [share(float(end[1])) for end in traffic if end is not None]
    if len(shares) == len(traffic):
        said = _("The ramp went from {before} to {after} of the traffic")
        return said.format(before=shares[0], after=shares[1])
    later = [instant(at) for end in (before, after) if (at := ends_at(end)) is not None]
    if len(later) == len(traffic):
        return _("The end was moved from {before} to {after}", before=later[0], after=later[1])
    revision = re.fullmatch(r"revision ([0-9]+)", after)
    return "" if revision is None else _("Revision {number} was applied", number=revision[1])
