"""Reports as HTML: one file, its style and its charts inside; it prints on paper as it is."""

from functools import cache
from importlib.resources import files

from jinja2 import Environment
from markupsafe import Markup

from console import charts
from console.charts import Shown, Style
from console.coded import coded
from console.templating import environment
from metrics.wording import language

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What a report may do: show itself."""


def html_of(template: str, **values: object) -> str:
    """Return a report as one HTML file; whatever people wrote in it is text.

    Args:
        template: Name of a template in this package.
        values: What it shows.
    """
    return (
        _templates()
        .get_template(template)
        .render(
            language=language(),
            policy=POLICY,
            style=Markup(_style()),  # noqa: S704 - our own file
            chart=_chart,
            coded=coded,
            **{"linked": False, **values},
        )
    )


def _chart(kind: str, shown: Shown) -> Markup:
    # drawn by us from numbers and fixed words alone
    drawn = Markup(charts.svg(kind, shown, Style(palette="light")))  # noqa: S704 - see above
    return Markup('<div aria-hidden="true">{}</div>').format(drawn)


@cache
def _style() -> str:
    return files("console.reports").joinpath("templates", "report.css").read_text(encoding="utf-8")


@cache
def _templates() -> Environment:
    return environment("console.reports")
