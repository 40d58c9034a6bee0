"""An effect and its interval drawn to scale against the margin, as places in percent. Pure.

Every bar reaches the same number of margins to either side, so that the margins of all KPIs stand
below each other and an interval that is past its margin is seen at once.
"""

import math
from dataclasses import dataclass
from typing import Final

from console.views import words
from guardrails.outcome import WindowFinding
from metrics.wording import gettext as _

REACH: Final = 3.0
"""Margins from the middle to either end."""

_ROOM: Final = 1.1
"""How much further than its interval a bar without a margin reaches."""

_SMALLEST: Final = 0.005


@dataclass(frozen=True, slots=True)
class Bar:
    """Places from 0 at the left end to 100 at the right; no effect is 50.

    Attributes:
        at: The estimate.
        low: Lower end of the interval, cut at the end of the bar.
        high: Upper end.
        margin: The margin; ``None`` where no guardrail judges.
        past: What harm must exceed with proof, likewise.
        cut_low: Whether the interval goes on to the left.
        cut_high: Whether it goes on to the right.
        tone: ``bad`` where the interval is past what is tolerated with proof, ``good`` where it
            is inside the margin, else ``quiet``.
        words: All of it, for those who do not see it.
    """

    at: float
    low: float
    high: float
    margin: float | None
    past: float | None
    cut_low: bool
    cut_high: bool
    tone: str
    words: str


def bar_of(window: WindowFinding, margin: float | None, past: float | None) -> Bar | None:
    """Return the bar of an effect; ``None`` without an effect, an end or a margin.

    Args:
        window: With effect and interval.
        margin: Largest tolerated effect, signed in the direction of harm.
        past: Effect that must be exceeded with proof, signed alike; the margin by default.
    """
    if not margin or not math.isfinite(window.effect):
        return None
    past = margin if past is None else past
    low, high = window.effect_low, window.effect_high
    low = low if math.isfinite(low) else -math.inf
    high = high if math.isfinite(high) else math.inf
    if math.isinf(low) and math.isinf(high):
        return None
    reach = REACH * abs(margin)

    def place(value: float) -> float:
        return round(50 + 50 * max(-1.0, min(1.0, value / reach)), 2)

    return Bar(
        at=place(window.effect),
        low=place(low),
        high=place(high),
        margin=place(margin),
        past=place(past),
        cut_low=low < -reach,
        cut_high=high > reach,
        tone=_tone(low, high, margin, past),
        words=_words(window, margin),
    )


def free_bar(
    size: float, low: float, high: float, *, effect_words: str, interval_words: str
) -> Bar:
    """Return the bar of an effect without a margin: it reaches as far as its finite interval.

    Args:
        size: The effect, relative or in the KPI's own unit.
        low: The lower end of its interval, in the same.
        high: The upper end.
        effect_words: The effect, for those who do not see the bar.
        interval_words: The interval, likewise.
    """
    reach = _ROOM * max(abs(size), abs(low), abs(high), _SMALLEST)

    def place(value: float) -> float:
        return round(50 + 50 * value / reach, 2)

    said = {"effect": effect_words, "interval": interval_words}
    return Bar(
        at=place(size),
        low=place(low),
        high=place(high),
        margin=None,
        past=None,
        cut_low=False,
        cut_high=False,
        tone="quiet",
        words=_("effect {effect}, interval {interval}; no margin", **said),
    )


def _tone(low: float, high: float, margin: float, past: float) -> str:
    if margin < 0:
        return "bad" if high < past else "good" if low > margin else "quiet"
    return "bad" if low > past else "good" if high < margin else "quiet"


def _words(window: WindowFinding, margin: float) -> str:
    span = words.interval(window.effect_low, window.effect_high)
    said = {"effect": words.signed(window.effect), "margin": words.signed(margin)}
    if not span:
        return _("effect {effect}, its interval is still open; margin {margin}", **said)
    return _("effect {effect}, interval {interval}; margin {margin}", interval=span, **said)
