"""One picture: how often each rule turns back a drop of a given size."""

from pathlib import Path
from typing import Any

import msgspec

from benchmarks.detection.rules import OURS
from benchmarks.detection.runner import Results
from benchmarks.detection.scenarios import EFFECTS

SHOWN = {
    OURS: "#2563c9",
    "GrowthBook, default tuning": "#c2410c",
    "repeated z at 5%": "#8250df",
    "three bad hours (Argo Rollouts)": "#57606a",
    "O'Brien-Fleming": "#1a7f37",
}
_INK, _LINE = "#1f2328", "#d0d7de"


def chart(results: Results) -> dict[str, Any]:
    """Return the Vega-Lite description of a scenario of effects under a margin of 5%."""
    rows = [
        {"drop": drop, "turned": outcome[name].turned, "rule": name}
        for drop, outcome in zip(EFFECTS, results.values(), strict=True)
        for name in SHOWN
    ]
    axis = {"grid": True, "gridColor": _LINE, "gridOpacity": 0.6, "labelFontSize": 11}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": "white",
        "padding": 12,
        "width": 560,
        "height": 260,
        "title": {
            "text": "Turned back within 200 hours, by true drop, under a margin of 5%",
            "anchor": "start",
            "color": _INK,
        },
        "layer": [
            {
                "data": {"values": [{}]},
                "mark": {"type": "rule", "strokeDash": [4, 4], "color": "#57606a"},
                "encoding": {"x": {"datum": 0.025, "type": "quantitative"}},
            },
            {
                "data": {"values": rows},
                "mark": {"type": "line", "point": True, "strokeWidth": 2},
                "encoding": {
                    "x": {
                        "field": "drop",
                        "type": "quantitative",
                        "axis": {
                            **axis,
                            "format": ".0%",
                            "title": "true drop (dashed: half of the margin)",
                        },
                    },
                    "y": {
                        "field": "turned",
                        "type": "quantitative",
                        "scale": {"domain": [0, 1]},
                        "axis": {**axis, "format": ".0%", "title": "turned back", "tickCount": 5},
                    },
                    "color": {
                        "field": "rule",
                        "type": "nominal",
                        "scale": {"domain": list(SHOWN), "range": list(SHOWN.values())},
                        "legend": {"title": None, "labelLimit": 240},
                    },
                },
            },
        ],
        "config": {"font": "system-ui, sans-serif", "view": {"stroke": None}},
    }


def write(results: Results, path: Path) -> None:
    """Write the picture as SVG."""
    import vl_convert  # noqa: PLC0415 - loads a JavaScript engine, only where a chart is drawn

    text = msgspec.json.encode(chart(results), order="deterministic").decode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(vl_convert.vegalite_to_svg(text, vl_version="5.20"), encoding="utf-8")
