"""The charts of a guardrail, one definition for pages, reports and pictures: Vega-Lite by Altair.

Two charts explain a rollback: the evidence over time against its boundary, and the effect with
its interval against the margin, each with the moment of the rollback. A page shows them as SVG
drawn here, which needs no script and prints; where a script runs, the same definition becomes
interactive with the JavaScript that vl-convert brings. Its expressions are interpreted (Vega's
``ast`` mode), so that a policy without ``unsafe-eval`` lets it run.

Words in a chart are in the language of the context (`metrics.wording`).
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any, Final

from console.i18n import instant
from metrics.wording import gettext as _
from metrics.wording import language

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


@dataclass(frozen=True, slots=True)
class Style:
    """How a chart looks: a palette of `PALETTES`, a size of `SIZES`, and whether it answers."""

    palette: str = "page"
    size: str = "wide"
    interactive: bool = False


def definition(kind: str, shown: Shown, style: Style | None = None) -> dict[str, Any] | None:
    """Return a chart as Vega-Lite; ``None`` without two looks to draw a line between.

    Args:
        kind: ``evidence`` or ``effect``.
        shown: What to show.
        style: How; for a page by default.
    """
    style = style or Style()
    layers = _evidence(shown, style) if kind == "evidence" else _effect(shown, style)
    return None if layers is None else _whole(layers, style)


def svg(kind: str, shown: Shown, style: Style | None = None) -> str:
    """Return a chart as an SVG element; empty without two looks."""
    return _svg(kind, shown, style or Style(), language())


@lru_cache(maxsize=256)
def _svg(kind: str, shown: Shown, style: Style, _language: str) -> str:
    import vl_convert  # noqa: PLC0415 - loads a JavaScript engine, only where a chart is drawn

    spec = definition(kind, shown, style)
    if spec is None:
        return ""
    drawn: str = vl_convert.vegalite_to_svg(vl_spec=spec, vl_version=_version())
    # ids of several charts in one page must not meet
    token = hashlib.blake2b(json.dumps(spec).encode(), digest_size=4).hexdigest()
    return drawn.replace("clip", f"c{token}-")


def image(kind: str, shown: Shown, *, theme: str = "system", size: str = "wide") -> str:
    """Return a chart as an SVG file that stands alone; empty without two looks.

    Args:
        kind: ``evidence`` or ``effect``.
        shown: What to show.
        theme: ``light``, ``dark``, or ``system`` for what the viewer's system prefers.
        size: One of `SIZES`.
    """
    drawn = svg(kind, shown, Style(size=size))
    if not drawn:
        return ""
    day, night = (_variables(palette) for palette in (LIGHT, DARK))
    styles = {
        "light": f"svg{{{day}}}",
        "dark": f"svg{{{night}}}",
        "system": f"svg{{{day}}}@media(prefers-color-scheme:dark){{svg{{{night}}}}}",
    }
    end = drawn.index(">") + 1
    return f"{drawn[:end]}<style>{styles[theme]}</style>{drawn[end:]}"


def png(kind: str, shown: Shown, *, theme: str = "light", size: str = "wide") -> bytes:
    """Return a chart as a picture on its own ground, at twice its size; empty without two looks."""
    import vl_convert  # noqa: PLC0415 - as above

    spec = definition(kind, shown, Style(theme, size))
    if spec is None:
        return b""
    spec["background"] = PALETTES[theme]["panel"]
    return vl_convert.vegalite_to_png(vl_spec=spec, vl_version=_version(), scale=2)


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


@cache
def javascript() -> bytes:
    """Return the script that makes charts interactive: Vega and its like as vl-convert has them."""
    import vl_convert  # noqa: PLC0415 - as above

    return vl_convert.javascript_bundle(
        "window.turnbackEmbed = vegaEmbed;", vl_version=_version()
    ).encode()


def _variables(palette: Mapping[str, str]) -> str:
    return ";".join(f"--{name}:{colour}" for name, colour in palette.items())


@cache
def _version() -> str:
    """Return the version of Vega-Lite that Altair writes, as vl-convert names it."""
    import altair as alt  # noqa: PLC0415 - takes a second to load

    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def _evidence(shown: Shown, style: Style) -> list[Any] | None:
    import altair as alt  # noqa: PLC0415 - as above

    if len(shown.points) < 2:  # noqa: PLR2004 - a line needs two points
        return None
    colours = PALETTES[style.palette]
    rows = [{"at": _ms(at), "evidence": round(e, 4)} for at, e, *_rest in shown.points]
    top = max(SHOWN_EVIDENCE, *(1.08 * row["evidence"] for row in rows))
    title, boundary = (
        (_("evidence of harm"), _("harm is proven"))
        if shown.proof
        else (_("beyond the limit"), _("always beyond"))
    )
    y = alt.Y(
        "evidence:Q",
        scale=alt.Scale(domain=[0, top], nice=False, clamp=True),
        axis=alt.Axis(title=title, tickCount=5, labelExpr="format(datum.value, '.0%')"),
    )
    data = alt.Data(values=rows)
    colour = colours["bad" if rows[-1]["evidence"] >= 1 else "accent"]
    base = alt.Chart(data).encode(x=_time(style), y=y)
    layers = [
        base.mark_area(color=colours["accent"], fillOpacity=0.12),
        base.mark_line(color=colours["accent"], strokeWidth=2),
        *_boundary(1.0, boundary, colours["bad"], above=True),
        *_rollback(shown, style, low=True),
        alt.Chart(alt.Data(values=rows[-1:]))
        .mark_point(filled=True, size=60, opacity=1, color=colour)
        .encode(x=_time(style), y=y),
    ]
    if style.interactive:
        said = [_tip("at", _("at"), "time"), _tip("evidence", title, ".0%")]
        layers.append(_hovered(base, said, colours["accent"]))
    return layers


def _effect(shown: Shown, style: Style) -> list[Any] | None:
    import altair as alt  # noqa: PLC0415 - as above

    known = [(at, e, low, high) for at, _e, e, low, high in shown.points if e is not None]
    if len(known) < 2:  # noqa: PLR2004 - a line needs two points
        return None
    colours = PALETTES[style.palette]
    reach = _reach([e for _at, e, _low, _high in known], shown.margin)
    # an interval that is unbounded or far beyond the picture is cut at its edge
    rows = [
        {
            "at": _ms(at),
            "effect": _cut(effect, reach),
            "low": _cut(-math.inf if low is None else low, reach),
            "high": _cut(math.inf if high is None else high, reach),
            **({"measured": effect, "from": low, "to": high} if style.interactive else {}),
        }
        for at, effect, low, high in known
    ]
    title = _("effect against control")
    label = "datum.value == 0 ? '0%' : format(datum.value, '+.0%')"
    if reach < 0.03:  # noqa: PLR2004 - whole percents would repeat on the axis
        label = label.replace("+.0%", "+.1%")
    axes: dict[str, Any] = {
        "scale": alt.Scale(domain=[-reach, reach], nice=False, clamp=True),
        "axis": alt.Axis(title=title, tickCount=5, labelExpr=label),
    }
    y = alt.Y("effect:Q", **axes)
    base = alt.Chart(alt.Data(values=rows)).encode(x=_time(style), y=y)
    layers = [
        base.mark_area(color=colours["accent"], fillOpacity=0.16).encode(
            y=alt.Y("low:Q", **axes), y2="high:Q"
        ),
        *_boundary(0.0, "", colours["muted"], above=True),
        base.mark_line(color=colours["accent"], strokeWidth=2),
        *_limits(shown, colours),
        *_rollback(shown, style, low=(shown.margin or -1.0) > 0),
    ]
    if style.interactive:
        said = [
            _tip("at", _("at"), "time"),
            _tip("measured", title, "+.1%"),
            _tip("from", _("interval from"), "+.1%"),
            _tip("to", _("to"), "+.1%"),
        ]
        layers.append(_hovered(base, said, colours["accent"]))
    return layers


def _limits(shown: Shown, colours: Mapping[str, str]) -> list[Any]:
    """Return the margin, and what must be exceeded with proof where that is another line."""
    layers: list[Any] = []
    if shown.margin:
        layers += _boundary(
            shown.margin, _("margin"), colours["bad"], above=shown.margin < 0, late=True
        )
    if shown.past and shown.past != shown.margin:
        said = _("proof must pass this")
        layers += _boundary(shown.past, said, colours["warn"], above=shown.past < 0, late=True)
    return layers


def _boundary(at: float, text: str, colour: str, *, above: bool, late: bool = False) -> list[Any]:
    """Return a line across and its words, at its end where estimates are seldom beside it."""
    import altair as alt  # noqa: PLC0415 - as above

    base = alt.Chart(alt.Data(values=[{}])).encode(y=alt.YDatum(at, type="quantitative"))
    line = base.mark_rule(color=colour, strokeDash=[5, 4] if text else [1, 0], strokeWidth=1.2)
    if not text:
        return [line]
    label = base.mark_text(
        text=text,
        color=colour,
        align="right" if late else "left",
        x=alt.ExprRef("width - 8") if late else 5,
        dy=-8 if above else 10,
        fontSize=12,
    )
    return [line, label]


def _rollback(shown: Shown, style: Style, *, low: bool) -> list[Any]:
    """Return the moment of the rollback, where it is inside the picture; words below or above."""
    import altair as alt  # noqa: PLC0415 - as above

    at = shown.turned_back_at
    first, last = shown.points[0][0], shown.points[-1][0]
    if at is None or not first <= at <= last:
        return []
    colour = PALETTES[style.palette]["bad"]
    base = alt.Chart(alt.Data(values=[{"at": _ms(at)}])).encode(x=_time(style))
    late = (at - first) > 0.5 * (last - first)
    return [
        base.mark_rule(color=colour, strokeWidth=2),
        base.mark_text(
            text=_("turned back"),
            color=colour,
            fontWeight="bold",
            fontSize=12,
            align="right" if late else "left",
            dx=-6 if late else 6,
            y=alt.ExprRef("height - 14") if low else 8,
        ),
    ]


def _hovered(base: Any, said: Sequence[Any], colour: str) -> Any:
    """Return the point nearest to the pointer, with its numbers."""
    import altair as alt  # noqa: PLC0415 - as above

    nearest = alt.selection_point(
        name="nearest", on="pointerover", nearest=True, fields=["at"], empty=False
    )
    return (
        base.mark_point(filled=True, size=70, color=colour)
        .encode(opacity=alt.condition(nearest, alt.value(1), alt.value(0)), tooltip=list(said))
        .add_params(nearest)
    )


def _tip(field: str, title: str, written: str) -> Any:
    import altair as alt  # noqa: PLC0415 - as above

    if written == "time":
        return alt.Tooltip(f"utcyearmonthdatehoursminutes({field}):T", title=title, format=_dates())
    return alt.Tooltip(f"{field}:Q", title=title, format=written)


def _dates() -> str:
    return "%Y年%-m月%-d日 %H:%M UTC" if language() == "zh" else "%-d %b %Y, %H:%M UTC"


def _time(style: Style) -> Any:
    import altair as alt  # noqa: PLC0415 - as above

    days = "%-m月%-d日" if language() == "zh" else "%-d %b"
    return alt.X(
        "at:T",
        scale=alt.Scale(type="utc"),
        axis=alt.Axis(
            title=None,
            tickCount=5 if style.size == "wide" else 4,
            grid=False,
            labelOverlap="greedy",
            labelSeparation=8,
            labelExpr=f"utcFormat(datum.value, utchours(datum.value) ? '%H:%M' : '{days}')",
        ),
    )


def _whole(layers: Sequence[Any], style: Style) -> dict[str, Any]:
    import altair as alt  # noqa: PLC0415 - as above

    colours = PALETTES[style.palette]
    width, height = SIZES[style.size]
    chart = (
        alt.layer(*layers)
        .properties(
            width="container" if style.interactive else width,
            height=height,
            autosize=alt.AutoSizeParams(type="fit", contains="padding"),
            background="transparent",
            padding={"left": 4, "right": 10, "top": 6, "bottom": 4},
        )
        .configure(font=FONT)
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=colours["muted"],
            titleColor=colours["muted"],
            tickColor=colours["line"],
            domainColor=colours["line"],
            gridColor=colours["line"],
            gridOpacity=0.6,
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
        )
    )
    # the shape is our own and drawn by tests: checking every value takes ten times as long
    return chart.to_dict(validate=False)


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def _signed(effect: float | None) -> str:
    return f"{100 * (effect or 0.0):+.1f}%".replace("-", "\N{MINUS SIGN}")


def _reach(effects: Sequence[float], margin: float | None) -> float:
    """Return how far the effect axis goes: the last estimates and the margin fill most of it."""
    latest = effects[-max(3, len(effects) // 2) :]
    return 1.6 * max(abs(margin or 0.0), *(abs(e) for e in latest), 0.01)


def _cut(value: float, reach: float) -> float:
    return round(max(-reach, min(reach, value)), 6)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
