"""Numbers and states as people read them. Unknown is said in words, never shown as 0. Pure."""

import math
import re
from datetime import datetime, timedelta

UNKNOWN = "not known yet"
SMALLEST_EFFECT = 0.0005
"""Effects that round to 0.0%."""

LARGEST_EFFECT = 10
"""Beyond tenfold the digits say nothing: the interval is as good as open."""

STATE_WORDS = {
    "running": "Running",
    "paused": "Paused",
    "observing": "Watching the last units",
    "finished": "Finished",
    "stopped": "Stopped",
    "live": "Live",
    "rolled_back": "Turned back",
    "control": "Control",
}
OUTCOME_WORDS = {
    "pass": "Proven safe",
    "breach": "Harm proven",
    "inconclusive": "Not decided",
    "no_data": "No data",
    "error": "Cannot see",
}
QUERY_WORDS = {
    "pass": "Within its limit",
    "breach": "Beyond its limit",
    "inconclusive": "Beyond at times",
    "error": "Cannot see",
}
ALERT_WORDS = {
    "pass": "Resolved",
    "breach": "Firing",
    "inconclusive": "Nothing counts",
}
WATCH_WORDS = {
    "pass": "As it should be",
    "breach": "Not as it should be",
    "inconclusive": "Not known yet",
    "error": "Cannot see",
}
ACTION_WORDS = {
    "rollback": "turns back",
    "hold": "holds the ramp",
    "alert": "only alerts",
    "stop": "stops the experiment",
}


def state_words(state: str) -> str:
    """Return a state of an experiment or treatment in words."""
    return STATE_WORDS.get(state, state.replace("_", " ").capitalize())


def instant(at: datetime | None) -> str:
    """Return an instant as ``5 Jan 2026, 14:00 UTC``."""
    if at is None:
        return UNKNOWN
    return f"{at.day} {at.strftime('%b %Y, %H:%M')} UTC"


def duration(length: timedelta) -> str:
    """Return a length as ``1 hour``, ``14 days``, ``90 seconds``."""
    seconds = int(length.total_seconds())
    for size, word in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            count = seconds // size
            return f"{count} {word}{'' if count == 1 else 's'}"
    return f"{seconds} seconds"


def share(value: float) -> str:
    """Return a share as ``5%``, ``12.5%``: at most two digits after the point."""
    return f"{100 * value:.2f}".rstrip("0").rstrip(".") + "%"


def count(number: int, word: str) -> str:
    """Return ``1 unit``, ``2,400 units``."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def value(number: float | None, unit: str) -> str:
    """Return a KPI's value in its unit."""
    if number is None or not math.isfinite(number):
        return UNKNOWN
    if unit == "share":
        return f"{100 * number:.1f}%"
    if unit == "seconds":
        return f"{number:,.1f} s"
    if unit == "hours":
        return f"{number:,.2f} h"
    if unit == "per hour":
        return f"{number:,.2f} / h"
    return f"{number:,.2f}"


def rate(number: float | None) -> str:
    """Return units an hour: ``103``, ``0.4``."""
    if number is None or not math.isfinite(number):
        return "unknown"
    return f"{number:,.1f}".removesuffix(".0")


def effect(size: float | None) -> str:
    """Return a relative effect: ``5.1% lower``, ``unchanged``."""
    if size is None or not math.isfinite(size):
        return UNKNOWN
    if abs(size) < SMALLEST_EFFECT:
        return "unchanged"
    return f"{100 * abs(size):.1f}% {'lower' if size < 0 else 'higher'}"


def moved(size: float) -> str:
    """Return a relative effect as something that happened: ``fell by 5.1%``."""
    if abs(size) < SMALLEST_EFFECT:
        return "did not change"
    return f"{'fell' if size < 0 else 'rose'} by {100 * abs(size):.1f}%"


def interval(low: float, high: float) -> str:
    """Return an effect's interval: ``-7.3% to -2.9%``; empty where it is unbounded."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"{_signed(low)} to {_signed(high)}".replace("-", "\u2212")


def _signed(size: float) -> str:
    if abs(size) > LARGEST_EFFECT:
        return (
            f"more than {LARGEST_EFFECT:+.0%}" if size > 0 else f"less than {-LARGEST_EFFECT:+.0%}"
        )
    return f"{100 * size:+.1f}%"


def joined(words: tuple[str, ...]) -> str:
    """Return ``a``, ``a and b``, ``a, b and c``."""
    if len(words) < 2:  # noqa: PLR2004 - nothing to join
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


_HAPPENED = {
    "draft": "The experiment was applied as a draft",
    "paused": "The experiment was paused",
    "observing": "The last new units came; they are watched until their windows close",
    "finished": "The experiment is finished",
    "stopped": "The experiment was stopped",
    "note": "A note",
}


def happened(variant: str | None, before: str, after: str) -> str:
    """Return what a transition means, as a sentence without its full stop."""
    if variant is None and after in _HAPPENED:
        return _HAPPENED[after]
    step = re.fullmatch(r"step ([0-9]+) approved", after)
    if step is not None:
        return f"Step {step[1]} of the ramp was approved"
    traffic = [re.fullmatch(r"traffic ([0-9.e-]+)", end) for end in (before, after)]
    shares = [share(float(end[1])) for end in traffic if end is not None]
    if len(shares) == len(traffic):
        return f"The ramp went from {shares[0]} to {shares[1]} of the traffic"
    if re.fullmatch(r"revision [0-9]+", after):
        return f"{after.capitalize()} was applied"
    subject = variant or "The experiment"
    return f"{subject} went from {before or 'new'} to {after}".replace("_", " ")
