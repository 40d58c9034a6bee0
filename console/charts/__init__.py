"""The charts of a guardrail, one definition for pages, reports and pictures: Vega-Lite by Altair.

Two charts explain a rollback: the evidence over time against its boundary, and the effect with
its interval against the margin, each with the moment of the rollback. A page shows them as SVG
drawn here, which needs no script and prints; where a script runs, the same definition becomes
interactive with the JavaScript that vl-convert brings. Its expressions are interpreted (Vega's
``ast`` mode), so that a policy without ``unsafe-eval`` lets it run.

Words in a chart are in the language of the context (`metrics.wording`).
"""

from console.charts.drawing import image, javascript, png, svg
from console.charts.layers import definition
from console.charts.shown import (
    DARK,
    KINDS,
    LIGHT,
    PALETTES,
    SIZES,
    Point,
    Shown,
    Style,
    caption,
    numbers,
)

__all__ = [
    "DARK",
    "KINDS",
    "LIGHT",
    "PALETTES",
    "SIZES",
    "Point",
    "Shown",
    "Style",
    "caption",
    "definition",
    "image",
    "javascript",
    "numbers",
    "png",
    "svg",
]
