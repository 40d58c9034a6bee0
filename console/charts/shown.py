"""What a chart shows and how it looks, and the same in words. Pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from console.i18n import instant
from metrics.wording import gettext as _

Point = tuple[datetime, float, float | None, float | None, float | None]
"""A stored look: when, evidence (1 proves harm), effect against control and its interval."""

SIZES: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {"wide": (560, 250), "narrow": (330, 230)}
)
"""Whole width and height in pixels: beside another chart on a desk, and on a phone."""

FONT: Final = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Noto Sans CJK SC', sans-serif"
)
SHOWN_EVIDENCE: Final = 1.3
"""The evidence axis ends here at least, so that the boundary at 1 is always seen."""

_NAMES: Final = ("accent", "bad", "warn", "muted", "line", "panel")
PAGE: Final[Mapping[str, str]] = MappingProxyType({name: f"var(--{name})" for name in _NAMES})
"""Colours of the page around: a chart follows its light and dark."""
LIGHT: Final[Mapping[str, str]] = MappingProxyType(
    dict(
        zip(_NAMES, ("#2f5fc4", "#a83029", "#7d5206", "#5a6474", "#d6dbe3", "#ffffff"), strict=True)
    )
)
DARK: Final[Mapping[str, str]] = MappingProxyType(
    dict(
        zip(_NAMES, ("#8fb0f5", "#f4968d", "#e8bb66", "#a3adbd", "#364050", "#1b212b"), strict=True)
    )
)
PALETTES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {"page": PAGE, "light": LIGHT, "dark": DARK}
)

KINDS: Final = ("evidence", "effect")

NUMBERS: Final = 24
"""Looks that are listed below a chart."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the charts of one guardrail and treatment show.

    Attributes:
        points: Stored looks, oldest first.
        proof: Whether evidence 1 proves harm; else it is the share of samples beyond a limit.
        margin: Largest tolerated effect relative to control, signed in the direction of harm.
        past: Effect that must be exceeded with proof for a rollback, signed alike.
        turned_back_at: When the treatment was turned back, ``None`` when it was not.
    """

    points: tuple[Point, ...]
    proof: bool = True
    margin: float | None = None
    past: float | None = None
    turned_back_at: datetime | None = None

    @property
    def version(self) -> str:
        """A token of everything that is shown: another one where a chart is another."""
        return hashlib.blake2b(repr(self).encode(), digest_size=6).hexdigest()


@dataclass(frozen=True, slots=True)
class Style:
    """How a chart looks: a palette of `PALETTES`, a size of `SIZES`, and whether it answers."""

    palette: str = "page"
    size: str = "wide"
    interactive: bool = False


def caption(kind: str, shown: Shown) -> str:
    """Return in words what a chart shows; empty without two looks."""
    known = [p for p in shown.points if kind == "evidence" or p[2] is not None]
    if len(known) < 2:  # noqa: PLR2004 - no chart
        return ""
    last, span = known[-1], {"start": instant(known[0][0]), "end": instant(known[-1][0])}
    if kind == "evidence":
        most = max(known, key=lambda p: p[1])
        text = (
            _("Evidence of harm, where 100% proves it: {now} at the end, {most} at most.")
            if shown.proof
            else _("Samples beyond the limit: {now} at the end, {most} at most.")
        ).format(now=_percent(last[1]), most=_percent(most[1]))
    else:
        text = _("Effect against control: {now} at the end").format(now=_signed(last[2]))
        if last[3] is not None and last[4] is not None:
            text = _("{effect}, interval {low} to {high}").format(
                effect=text, low=_signed(last[3]), high=_signed(last[4])
            )
        text = (
            _("{said}; the margin is {margin}.").format(said=text, margin=_signed(shown.margin))
            if shown.margin
            else f"{text}."
        )
    return _("{said} From {start} to {end}.").format(said=text, **span)


def numbers(shown: Shown) -> list[tuple[str, str, str, str]]:
    """Return the newest looks as written: when, evidence, effect, interval; the newest first."""
    rows: list[tuple[str, str, str, str]] = []
    for at, evidence, effect, low, high in reversed(shown.points[-NUMBERS:]):
        known = low is not None and high is not None
        span = _("{low} to {high}").format(low=_signed(low), high=_signed(high)) if known else ""
        moved = "" if effect is None else _signed(effect)
        rows.append((instant(at), _percent(evidence), moved, span))
    return rows


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def _signed(effect: float | None) -> str:
    return f"{100 * (effect or 0.0):+.1f}%".replace("-", "\N{MINUS SIGN}")
