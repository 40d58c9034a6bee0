"""Charts as Vega-Lite, written with Altair, which takes a second to load: only where it is used."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from console.charts.loading import altair
from console.charts.shown import FONT, PALETTES, SHOWN_EVIDENCE, SIZES, Shown, Style
from metrics.wording import gettext as _
from metrics.wording import language

_APART = 0.05
"""Part of the axis on one side of no effect that the words of two lines need between them."""


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


def _evidence(shown: Shown, style: Style) -> list[Any] | None:
    alt = altair()
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
    alt = altair()
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
        *_limits(shown, colours, reach),
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


def _limits(shown: Shown, colours: Mapping[str, str], reach: float) -> list[Any]:
    """Return the margin, and what harm must exceed with proof where both can be told apart."""
    layers: list[Any] = []
    if shown.margin:
        layers += _boundary(
            shown.margin, _("margin"), colours["bad"], above=shown.margin < 0, late=True
        )
    apart = abs((shown.margin or 0.0) - (shown.past or 0.0))
    if shown.past and apart > _APART * reach:
        said = _("proof must pass this")
        layers += _boundary(shown.past, said, colours["warn"], above=shown.past < 0, late=True)
    return layers


def _boundary(at: float, text: str, colour: str, *, above: bool, late: bool = False) -> list[Any]:
    """Return a line across and its words, at its end where estimates are seldom beside it."""
    alt = altair()
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
    alt = altair()
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
    alt = altair()
    nearest = alt.selection_point(
        name="nearest", on="pointerover", nearest=True, fields=["at"], empty=False
    )
    return (
        base.mark_point(filled=True, size=70, color=colour)
        .encode(opacity=alt.condition(nearest, alt.value(1), alt.value(0)), tooltip=list(said))
        .add_params(nearest)
    )


def _tip(field: str, title: str, written: str) -> Any:
    alt = altair()
    if written == "time":
        return alt.Tooltip(f"utcyearmonthdatehoursminutes({field}):T", title=title, format=_dates())
    return alt.Tooltip(f"{field}:Q", title=title, format=written)


def _dates() -> str:
    return "%Y年%-m月%-d日 %H:%M UTC" if language() == "zh" else "%-d %b %Y, %H:%M UTC"


def _time(style: Style) -> Any:
    alt = altair()
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
    alt = altair()
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


def _reach(effects: Sequence[float], margin: float | None) -> float:
    """Return how far the effect axis goes: the last estimates and the margin fill most of it."""
    latest = effects[-max(3, len(effects) // 2) :]
    return 1.6 * max(abs(margin or 0.0), *(abs(e) for e in latest), 0.01)


def _cut(value: float, reach: float) -> float:
    return round(max(-reach, min(reach, value)), 6)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
