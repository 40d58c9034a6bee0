"""Draw how likely a harm is turned back, and how soon: the picture of the page on statistics.

Every number comes from the functions that plan and judge a run: levels, windows and boundaries
are those of the spec below, the paths are drawn as ``turnback plan`` draws them.
Usage: ``python docs/operating_characteristic.py`` (part of ``make screenshots``)
"""

import itertools
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # run as a script, from anywhere
    sys.path.insert(0, str(ROOT))

import msgspec  # noqa: E402 - after the path to the project
import numpy as np  # noqa: E402

from guardrails.levels import Comparison, plan_comparisons  # noqa: E402
from guardrails.planning.baselines import Baseline, Source, baseline_with  # noqa: E402
from guardrails.planning.calendar import Calendar, Traffic, plan_calendar  # noqa: E402
from guardrails.planning.guardrail import answering_of  # noqa: E402
from guardrails.planning.paths import Walks, found_at, schedule, walks  # noqa: E402
from guardrails.planning.scores import Arms, same_units, score_under  # noqa: E402
from guardrails.spec_file import load_spec  # noqa: E402

PICTURE = Path(__file__).parent / "images" / "operating-characteristic.png"
UNITS_PER_DAY = 4000.0
DAYS = 14
PATHS = 4000
SEED = 1
MARGINS = (0.03, 0.05)
HARMS = tuple(round(0.0025 * k, 4) for k in range(41))  # 0 to 10%

SPEC = """
experiment: worked-example
owner: a@example.com
hypothesis: It helps.
unit: order_id
variants: {{control: {{weight: 50%}}, changed: {{weight: 50%}}}}
guardrails:
  - {{kpi: satisfaction, max_drop: {margin:.0%}}}
  - {{kpi: cancel_success_rate, max_drop: 5%}}
  - {{kpi: repeat_complaint_rate, max_rise: 10%}}
  - {{kpi: refund_hours, max_rise: 10%}}
ends: {{after: 14d, observe_for: 0s}}
check_every: 1h
expect_units: 56000
"""
"""Four guardrails share 5%: 1.25% for each."""

ARMS = Arms(0.5, 0.5)
BASELINES = {
    timedelta(hours=1): {"value": 4.2, "sd": 1.0, "answering": 0.15},
    timedelta(days=1): {"value": 4.2, "sd": 1.0, "answering": 0.30},
}
"""Satisfaction 4.2 with standard deviation 1; 30% answer, half of them within the hour."""


@dataclass(frozen=True, slots=True)
class Point:
    """What happens to a treatment with one true effect.

    Attributes:
        margin: Largest drop tolerated (0.05 is 5%).
        harm: True drop.
        probability: That it is turned back within the run.
        hours: After which half of all runs have turned it back, ``None`` where fewer do.
    """

    margin: float
    harm: float
    probability: float
    hours: float | None


def characteristic(
    margin: float, harms: tuple[float, ...] = HARMS, *, paths: int = PATHS
) -> list[Point]:
    """Return the operating characteristic of satisfaction's guardrail under one margin."""
    spec = load_spec(SPEC.format(margin=margin), source="worked-example")
    comparison = next(c for c in plan_comparisons(spec) if c.kpi == "satisfaction")
    if not isinstance(comparison, Comparison):
        raise TypeError(comparison)
    calendar = plan_calendar(spec.experiment, Traffic(UNITS_PER_DAY))
    baselines = [baseline_with(BASELINES[w.length], Source.GIVEN) for w in comparison.windows]
    walked = _walked(comparison, calendar, baselines, paths)
    points = []
    for harm in harms:
        scores = [score_under(comparison, baseline, ARMS, harm=harm) for baseline in baselines]
        at = found_at(walked, [score for score in scores if score is not None])
        half = float(np.quantile(at, 0.5, method="inverted_cdf"))
        hours = half / 3600 if np.isfinite(half) else None
        points.append(Point(margin, harm, float(np.isfinite(at).mean()), hours))
    return points


def _walked(
    comparison: Comparison, calendar: Calendar, baselines: list[Baseline], paths: int
) -> Walks:
    schedules = []
    for window, baseline in zip(comparison.windows, baselines, strict=True):
        score = score_under(comparison, baseline, ARMS, harm=comparison.margin)
        if score is None:
            raise ValueError(baseline)
        answering, lag = answering_of(baseline), timedelta(0)
        schedules.append(
            schedule(window, calendar, ARMS, answering=answering, gate=score.gate, lag=lag)
        )
    pairs = itertools.pairwise(baselines)
    return walks(
        schedules,
        [0.0, *(same_units(comparison.kind, short, long) for short, long in pairs)],
        calendar,
        [answering_of(b) * ARMS.effective for b in baselines],
        paths=paths,
        rng=np.random.default_rng([SEED, paths]),
    )


# Okabe and Ito's blue and vermilion: told apart by everybody, and drawn solid and dashed besides
COLOURS, DASHES = ("#D55E00", "#0072B2"), ([6, 3], [1, 0])
INK, MUTED, LINE = "#1f2328", "#57606a", "#d0d7de"
WIDTH, HEIGHT = 390, 260
SETTING = (
    "satisfaction 4.2 \u00b1 1, 2,000 units a day and arm, 30% of them answer, level 1.25%, "
    "checked every hour for 14 days"
)
NAMES = {margin: f"margin {margin:.0%}" for margin in MARGINS}


def chart(points: list[Point]) -> dict[str, Any]:
    """Return the picture as a Vega-Lite description: probability and time, side by side."""
    rows = [
        {
            "harm": p.harm,
            "found": p.probability,
            "days": None if p.hours is None else p.hours / 24,
            "margin": NAMES[p.margin],
        }
        for p in points
    ]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": "white",
        "padding": 14,
        "title": {
            "text": "What a guardrail on satisfaction turns back, and how soon",
            "subtitle": [
                SETTING,
                "dotted: half of the margin; a rollback needs proof that the drop is larger",
            ],
            "anchor": "start",
            "offset": 14,
        },
        "data": {"values": rows},
        "hconcat": [_probability(), _time(points)],
        "spacing": 64,
        "bounds": "flush",
        "config": {
            "font": "system-ui, sans-serif",
            "view": {"stroke": None},
            "title": {
                "color": INK, "subtitleColor": MUTED, "fontSize": 16, "subtitleFontSize": 12,
                "subtitlePadding": 6,
            },
            "axis": {
                "labelColor": INK, "titleColor": INK, "tickColor": LINE, "domainColor": MUTED,
                "gridColor": LINE, "gridOpacity": 0.7, "labelFontSize": 12, "titleFontSize": 12,
                "titleFontWeight": "normal", "titlePadding": 8,
            },
        },
    }  # fmt: skip


X_AXIS = {
    "format": ".0%",
    "title": "true drop of satisfaction",
    "values": [k / 100 for k in range(11)],
    "labelOverlap": False,
    "grid": False,
}
SHARES = {"format": ".0%", "title": None, "values": [k / 5 for k in range(6)], "grid": True}
TIMES = {"format": "d", "title": None, "values": list(range(0, DAYS + 1, 2)), "grid": True}


def _x() -> dict[str, Any]:
    scale = {"domain": [0, 0.10], "nice": False}
    return {"field": "harm", "type": "quantitative", "scale": scale, "axis": X_AXIS}


def _at(x: float, y: float, axis: dict[str, Any]) -> dict[str, Any]:
    """Return the encoding of one place; the axes are said again, or the last layer takes them."""
    return {
        "x": {"datum": x, "type": "quantitative", "axis": X_AXIS},
        "y": {"datum": y, "type": "quantitative", "axis": axis},
    }


def _by_margin(scale: list[Any]) -> dict[str, Any]:
    return {
        "field": "margin",
        "type": "nominal",
        "legend": None,
        "scale": {"domain": list(NAMES.values()), "range": scale},
    }


def _lines(y: dict[str, Any]) -> dict[str, Any]:
    return {
        "mark": {"type": "line", "strokeWidth": 2.6, "clip": True},
        "encoding": {
            "x": _x(),
            "y": y,
            "color": _by_margin(list(COLOURS)),
            "strokeDash": _by_margin([list(dash) for dash in DASHES]),
        },
    }


def _half(margin: float, colour: str) -> dict[str, Any]:
    return {
        "data": {"values": [{}]},
        "mark": {"type": "rule", "color": colour, "strokeDash": [1, 3], "strokeWidth": 1.8},
        "encoding": {**_at(margin / 2, 0.0, SHARES), "y2": {"datum": 0.3}},
    }


def _label(text: str, colour: str, place: dict[str, Any], align: str = "left") -> dict[str, Any]:
    return {
        "data": {"values": [{}]},
        "mark": {
            "type": "text", "text": text, "color": colour, "align": align, "fontSize": 13,
            "fontWeight": "bold", "baseline": "middle",
        },
        "encoding": place,
    }  # fmt: skip


def _probability() -> dict[str, Any]:
    scale = {"domain": [0, 1]}
    y = {"field": "found", "type": "quantitative", "scale": scale, "axis": SHARES}
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "title": _heading("Probability of a rollback within 14 days"),
        "layer": [
            *(_half(m, c) for m, c in zip(MARGINS, COLOURS, strict=True)),
            _lines(y),
            _label(NAMES[0.03], COLOURS[0], _at(0.0255, 0.5, SHARES), "right"),
            _label(NAMES[0.05], COLOURS[1], _at(0.0405, 0.5, SHARES)),
        ],
    }


def _time(points: list[Point]) -> dict[str, Any]:
    y = {
        "field": "days",
        "type": "quantitative",
        "scale": {"domain": [0, DAYS]},
        "axis": TIMES,
    }
    days = {p.margin: p.hours / 24 for p in points if p.harm == p.margin and p.hours is not None}
    dots = [{"harm": m, "days": d, "margin": NAMES[m]} for m, d in days.items()]
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "title": _heading("Days until half of all such runs are turned back"),
        "layer": [
            _lines(y),
            {
                "data": {"values": dots},
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                "encoding": {"x": _x(), "y": y, "color": _by_margin(list(COLOURS))},
            },
            *(
                _label(
                    f"{NAMES[m]}: {d:.0f} days at {m:.0%}",
                    colour,
                    _at(m + 0.002, d + 0.55, TIMES),
                )
                for (m, d), colour in zip(days.items(), COLOURS, strict=True)
            ),
        ],
    }


def _heading(text: str) -> dict[str, Any]:
    return {"text": text, "anchor": "start", "fontSize": 13, "color": INK, "offset": 8}


def main() -> None:
    """Compute both curves and draw them."""
    import vl_convert  # noqa: PLC0415 - a JavaScript engine, only where a picture is drawn

    points = [point for margin in MARGINS for point in characteristic(margin)]
    text = msgspec.json.encode(chart(points), order="deterministic").decode()
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(vl_convert.vegalite_to_png(text, vl_version="5.20", scale=1.6))


if __name__ == "__main__":
    main()
