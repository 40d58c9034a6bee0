"""Charts as SVG, drawn by Vega-Lite on the server: the same in a page and in a report.

Colours are those of the page around (CSS variables), so a chart follows its light and dark.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from console.dashboard.lines import Point

WIDTH, HEIGHT = 420, 190
FONT = "system-ui, sans-serif"
SHOWN_EVIDENCE = 1.35
"""The evidence axis ends here at least, so that the boundary at 1 is always seen."""


def evidence_chart(points: Sequence[Point], *, proof: bool = True) -> str:
    """Return evidence over time against the boundary at 1; empty without two points.

    Args:
        points: Stored looks.
        proof: Whether 1 proves harm; else the points are shares of samples beyond a limit.
    """
    if len(points) < 2:  # noqa: PLR2004 - a line needs two points
        return ""
    rows = [{"at": _time(at), "evidence": round(evidence, 4)} for at, evidence, *_ in points]
    said = (
        ("harm is proven", "evidence of harm") if proof else ("always beyond", "beyond the limit")
    )
    top = max(SHOWN_EVIDENCE, *(1.05 * p[1] for p in points))
    return _svg(
        {
            "layer": [
                _boundary(1.0, said[0], "--bad", above=True),
                {
                    "data": {"values": rows},
                    "mark": {
                        "type": "area",
                        "line": {"color": "var(--accent)", "strokeWidth": 2},
                        "color": "var(--accent)",
                        "fillOpacity": 0.12,
                    },
                    "encoding": {
                        "x": _time_axis(),
                        "y": _axis("evidence", [0, top], ".0%", said[1]),
                    },
                },
                {
                    "data": {"values": rows[-1:]},
                    "mark": {"type": "point", "filled": True, "size": 55, "opacity": 1},
                    "encoding": {
                        "x": _time_axis(),
                        "y": {"field": "evidence", "type": "quantitative"},
                        "color": {"value": "var(--bad)" if points[-1][1] >= 1 else "var(--accent)"},
                    },
                },
            ]
        }
    )


def effect_chart(points: Sequence[Point], margin: float | None) -> str:
    """Return the effect and its interval over time against the margin; empty without two points.

    Args:
        points: Stored looks.
        margin: Largest tolerated effect, signed in the direction of harm; ``None`` unknown.
    """
    known = [(at, e, low, high) for at, _, e, low, high in points if e is not None]
    if len(known) < 2:  # noqa: PLR2004 - a line needs two points
        return ""
    reach = _reach([e for _, e, _, _ in known], margin)
    rows = [
        {
            "at": _time(at),
            "effect": _cut(effect, reach),
            # an interval that is unbounded or far beyond the picture is cut at its edge
            "low": _cut(-math.inf if low is None else low, reach),
            "high": _cut(math.inf if high is None else high, reach),
        }
        for at, effect, low, high in known
    ]
    layers: list[dict[str, Any]] = [
        {
            "data": {"values": rows},
            "mark": {"type": "area", "color": "var(--accent)", "fillOpacity": 0.16},
            "encoding": {
                "x": _time_axis(),
                "y": _axis("low", [-reach, reach], "+.0%", "effect against control"),
                "y2": {"field": "high"},
            },
        },
        _boundary(0.0, "", "--line", above=True),
        {
            "data": {"values": rows},
            "mark": {"type": "line", "color": "var(--accent)", "strokeWidth": 2},
            "encoding": {
                "x": _time_axis(),
                "y": {"field": "effect", "type": "quantitative"},
            },
        },
    ]
    if margin:
        # on the harmless side and at the end, where the estimates are seldom
        layers.append(_boundary(margin, "margin", "--bad", above=margin < 0, right=True))
    return _svg({"layer": layers})


def _reach(effects: Sequence[float], margin: float | None) -> float:
    """Return how far the effect axis goes: the last estimates and the margin fill most of it."""
    latest = effects[-max(3, len(effects) // 2) :]
    return 1.6 * max(abs(margin or 0.0), *(abs(e) for e in latest), 0.01)


def _cut(value: float, reach: float) -> float:
    return round(max(-reach, min(reach, value)), 6)


def _time(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _time_axis() -> dict[str, Any]:
    return {
        "field": "at",
        "type": "temporal",
        "scale": {"type": "utc"},
        "axis": {
            "title": None,
            "tickCount": 5,
            "grid": False,
            "labelOverlap": "greedy",
            "labelSeparation": 10,
            "labelExpr": "utcFormat(datum.value, utchours(datum.value) ? '%H:%M' : '%e %b')",
        },
    }


def _axis(field: str, domain: list[float], numbers: str, title: str) -> dict[str, Any]:
    label = f"datum.value == 0 ? '0%' : format(datum.value, '{numbers}')"
    return {
        "field": field,
        "type": "quantitative",
        "scale": {"domain": domain, "nice": False, "clamp": True},
        "axis": {"labelExpr": label, "tickCount": 5, "title": title},
    }


def _boundary(
    at: float, text: str, colour: str, *, above: bool, right: bool = False
) -> dict[str, Any]:
    y = {"datum": at, "type": "quantitative"}
    dashed: dict[str, Any] = {
        "mark": {"type": "rule", "color": f"var({colour})", "strokeDash": [5, 4]},
        "encoding": {"y": y},
    }
    if not text:
        return dashed
    label: dict[str, Any] = {
        "mark": {
            "type": "text",
            "text": text,
            "color": f"var({colour})",
            "align": "right" if right else "left",
            "x": WIDTH - 66 if right else 6,
            "dy": -8 if above else 10,
            "fontSize": 12,
        },
        "encoding": {"y": y},
    }
    return {"data": {"values": [{}]}, "layer": [dashed, label]}


def _svg(spec: Mapping[str, Any]) -> str:
    whole = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": WIDTH - 60,
        "height": HEIGHT - 40,
        "autosize": {"type": "pad", "contains": "padding"},
        "background": None,
        "config": {
            "font": FONT,
            "view": {"stroke": None},
            "axis": {
                "labelColor": "var(--muted)",
                "titleColor": "var(--muted)",
                "tickColor": "var(--line)",
                "domainColor": "var(--line)",
                "gridColor": "var(--line)",
                "gridOpacity": 0.5,
                "labelFontSize": 12,
                "titleFontSize": 12,
                "titleFontWeight": "normal",
            },
        },
        **spec,
    }
    return _drawn(msgspec.json.encode(whole, order="deterministic").decode())


@lru_cache(maxsize=256)
def _drawn(spec: str) -> str:
    """Draw once per content; the drawing engine is loaded at the first chart."""
    import vl_convert  # noqa: PLC0415 - loads a JavaScript engine, only where a chart is drawn

    svg: str = vl_convert.vegalite_to_svg(vl_spec=spec, vl_version="5.20")
    # ids of several charts in one page must not meet
    return svg.replace("clip", f"c{hashlib.blake2b(spec.encode(), digest_size=4).hexdigest()}-")
