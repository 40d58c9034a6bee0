"""A plan as a picture: how likely each guardrail has found a harm, day by day."""

from pathlib import Path
from typing import Any

import msgspec

from console.output import CommandError, ExitCode
from guardrails.planning.values import GuardrailPlan, Plan
from guardrails.planning.words import harm_words

_SCALE = 2.0
_WIDTH, _HEIGHT, _COLUMNS = 300, 150, 2
_COLOURS = ("#2563c9", "#c2410c")
_INK, _MUTED, _LINE = "#1f2328", "#57606a", "#d0d7de"
_WRITERS = {
    ".png": "vegalite_to_png",
    ".svg": "vegalite_to_svg",
    ".html": "vegalite_to_html",
}


def write_chart(plan: Plan, path: Path) -> None:
    """Write the chart of a plan as PNG, SVG or one HTML page without foreign assets.

    Raises:
        CommandError: The file's ending is none of these, or nothing can be drawn.
    """
    ending = path.suffix.lower()
    if ending not in _WRITERS:
        raise CommandError(
            f"{path}: a chart ends in {', '.join(_WRITERS)}",
            hint="for instance --chart plan.png",
            code="usage",
            exit_code=ExitCode.USAGE,
        )
    spec = chart(plan)
    if not spec["vconcat"]:
        raise CommandError(
            "no guardrail has figures, so there is nothing to draw",
            hint="give what is known with --baseline",
            code="nothing_to_draw",
        )
    path.write_bytes(_drawn(spec, ending))


def _drawn(spec: dict[str, Any], ending: str) -> bytes:
    import vl_convert  # noqa: PLC0415 - loads a JavaScript engine, only where a chart is drawn

    text = msgspec.json.encode(spec, order="deterministic").decode()
    options: dict[str, Any] = {"vl_version": "5.20"}
    if ending == ".png":
        options["scale"] = _SCALE
    if ending == ".html":
        options["bundle"] = True
    done: bytes | str = getattr(vl_convert, _WRITERS[ending])(text, **options)
    return done if isinstance(done, bytes) else done.encode()


def chart(plan: Plan) -> dict[str, Any]:
    """Return the Vega-Lite description: one small picture per guardrail and treatment."""
    pictures = [_picture(plan, g) for g in plan.guardrails if g.at_margin or g.at_twice]
    rows = [pictures[i : i + _COLUMNS] for i in range(0, len(pictures), _COLUMNS)]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": "white",
        "padding": 12,
        "title": {
            "text": f"{plan.experiment}: how likely harm has been found by then",
            "subtitle": f"{plan.units_per_day.value:,.0f} units a day",
            "anchor": "start",
            "offset": 12,
        },
        "vconcat": [{"hconcat": row} for row in rows],
        "config": _CONFIG,
    }


_CONFIG: dict[str, Any] = {
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "title": {"color": _INK, "subtitleColor": _MUTED, "fontSize": 13, "subtitleFontSize": 12},
    "legend": {"title": None, "orient": "bottom", "labelFontSize": 12, "labelColor": _INK},
    "axis": {
        "labelColor": _MUTED, "titleColor": _MUTED, "tickColor": _LINE, "domainColor": _LINE,
        "gridColor": _LINE, "gridOpacity": 0.6, "labelFontSize": 11, "titleFontSize": 11,
        "titleFontWeight": "normal",
    },
}  # fmt: skip


def _picture(plan: Plan, guardrail: GuardrailPlan) -> dict[str, Any]:
    found = (guardrail.at_margin, guardrail.at_twice)
    named = [None if one is None else harm_words(guardrail, one.harm) for one in found]
    names = [name for name in named if name is not None]
    rows = [
        {"day": day, "found": share, "harm": name}
        for day, *shares in guardrail.curve
        for name, share in zip(named, shares, strict=True)
        if name is not None
    ]
    colours = [c for c, name in zip(_COLOURS, named, strict=True) if name is not None]
    end = plan.observed.total_seconds() / 86_400
    over = plan.ends.total_seconds() / 86_400
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "title": {"text": f"{guardrail.guardrail} of {guardrail.treatment}", "anchor": "start"},
        "resolve": {"scale": {"color": "independent"}},
        "layer": [
            _rule("y", 0.8),
            *([_rule("x", over), _label(over)] if over < end else []),
            {
                "data": {"values": rows},
                "mark": {"type": "line", "strokeWidth": 2},
                "encoding": _encoding(end, names, colours),
            },
        ],
    }


def _encoding(end: float, names: list[str], colours: list[str]) -> dict[str, Any]:
    return {
        "x": {
            "field": "day",
            "type": "quantitative",
            "scale": {"domain": [0, end], "nice": False},
            "axis": {"title": "days", "grid": False, "tickCount": 7},
        },
        "y": {
            "field": "found",
            "type": "quantitative",
            "scale": {"domain": [0, 1]},
            "axis": {"format": ".0%", "title": "found", "tickCount": 5},
        },
        "color": {
            "field": "harm",
            "type": "nominal",
            "scale": {"domain": names, "range": colours},
        },
    }


def _rule(axis: str, at: float) -> dict[str, Any]:
    return {
        "data": {"values": [{}]},
        "mark": {"type": "rule", "color": _MUTED, "strokeDash": [4, 4], "opacity": 0.6},
        "encoding": {axis: {"datum": at, "type": "quantitative"}},
    }


def _label(at: float) -> dict[str, Any]:
    return {
        "data": {"values": [{}]},
        "mark": {
            "type": "text", "text": "last units", "color": _MUTED, "align": "right", "dx": -4,
            "y": _HEIGHT - 8, "fontSize": 10,
        },
        "encoding": {"x": {"datum": at, "type": "quantitative"}},
    }  # fmt: skip
