"""Charts as SVG and PNG, drawn by vl-convert, and the script it brings for browsers."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache

from console.charts.layers import definition
from console.charts.loading import altair
from console.charts.shown import DARK, LIGHT, PALETTES, Shown, Style
from metrics.wording import language


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


def png(
    kind: str,
    shown: Shown,
    *,
    title: str = "",
    about: Sequence[str] = (),
    theme: str = "light",
    size: str = "wide",
) -> bytes:
    """Return a chart as a picture on its own ground, at twice its size; empty without two looks.

    Args:
        kind: ``evidence`` or ``effect``.
        shown: What to show.
        title: Of what it is: a picture travels without the page around it.
        about: The lines below it: of which experiment and of which days, with the year.
        theme: ``light`` or ``dark``.
        size: One of `SIZES`.
    """
    import vl_convert  # noqa: PLC0415 - as above

    spec = definition(kind, shown, Style(theme, size))
    if spec is None:
        return b""
    spec["background"] = PALETTES[theme]["panel"]
    if title:
        colour = PALETTES[theme]["muted"]
        spec["title"] = {"text": title, "anchor": "start", "fontSize": 13, "color": colour}
        spec["title"] |= {"subtitle": list(about), "subtitleColor": colour} if about else {}
    return vl_convert.vegalite_to_png(vl_spec=spec, vl_version=_version(), scale=2)


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
    return ".".join(altair().SCHEMA_VERSION.removeprefix("v").split(".")[:2])
