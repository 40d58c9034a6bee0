"""Charts: the same definition for pages, reports and pictures; what they show is said in words."""

import json
import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from console import charts
from console.charts import Shown, Style
from console.i18n import in_language

T = datetime(2026, 3, 1, 12, tzinfo=UTC)


def points(*evidences, effect=-0.01):
    return tuple(
        (T + timedelta(hours=i), e, effect * i, effect * i - 0.02, None if i == 1 else effect * i)
        for i, e in enumerate(evidences, start=1)
    )


PROVEN = Shown(
    points(0.1, 0.6, 1.1),
    margin=-0.03,
    past=-0.015,
    turned_back_at=T + timedelta(hours=3),
)


def values(spec):
    return [row for layer in spec["layer"] for row in layer.get("data", {}).get("values", ())]


def test_a_chart_follows_the_colours_of_its_page_and_shows_the_boundary():
    drawn = charts.svg("evidence", PROVEN)
    assert drawn.startswith("<svg")
    assert "harm is proven" in drawn
    assert "turned back" in drawn
    assert 'stroke="var(--bad)"' in drawn
    assert charts.svg("evidence", PROVEN) is drawn, "drawn once per content"


def test_the_effect_is_shown_against_the_margin_and_what_must_be_proven():
    drawn = charts.svg("effect", PROVEN)
    assert "margin" in drawn
    assert "proof must pass this" in drawn
    bare = charts.svg("effect", Shown(PROVEN.points))
    assert "margin" not in bare
    assert "turned back" not in bare
    same = charts.svg("effect", Shown(PROVEN.points, margin=-0.03, past=-0.03))
    assert "margin" in same
    assert "proof must pass this" not in same


@pytest.mark.parametrize("kind", charts.KINDS)
@pytest.mark.parametrize("looks", [(), (0.3,)])
def test_a_line_needs_two_looks(kind, looks):
    shown = Shown(points(*looks), margin=-0.03)
    assert charts.svg(kind, shown) == ""
    assert charts.image(kind, shown) == ""
    assert charts.png(kind, shown) == b""
    assert charts.caption(kind, shown) == ""
    assert charts.definition(kind, shown) is None


def test_an_unknown_end_of_an_interval_is_cut_at_the_edge_never_a_number_of_its_own():
    rows = values(charts.definition("effect", PROVEN))
    first = next(r for r in rows if r.get("high") is not None)
    assert first["high"] == max(r["high"] for r in rows if "high" in r)
    assert all(math.isfinite(v) for r in rows for v in r.values())
    looked_at = charts.definition("effect", PROVEN, Style(interactive=True))
    assert next(r for r in values(looked_at) if "to" in r)["to"] is None


def test_a_query_proves_nothing_and_says_so():
    drawn = charts.svg("evidence", Shown(points(0.1, 0.6, 1.0), proof=False))
    assert "always beyond" in drawn
    assert "harm is proven" not in drawn


def test_a_picture_has_the_colours_of_its_theme():
    assert charts.png("effect", PROVEN).startswith(b"\x89PNG")
    dark = charts.image("evidence", PROVEN, theme="dark")
    assert charts.DARK["accent"] in dark
    assert charts.LIGHT["accent"] not in dark
    both = charts.image("evidence", PROVEN)
    assert charts.LIGHT["accent"] in both
    assert "prefers-color-scheme:dark" in both


def test_a_chart_is_said_in_words():
    assert charts.caption("evidence", PROVEN) == (
        "Evidence of harm, where 100% proves it: 110% at the end, 110% at most. "
        "From 1 Mar 2026, 13:00 UTC to 1 Mar 2026, 15:00 UTC."
    )
    assert charts.caption("effect", PROVEN) == (
        "Effect against control: \u22123.0% at the end, interval \u22125.0% to \u22123.0%; "
        "the margin is \u22123.0%. From 1 Mar 2026, 13:00 UTC to 1 Mar 2026, 15:00 UTC."
    )


def test_a_chart_speaks_the_language_of_its_page():
    with in_language("zh"):
        spec = json.dumps(charts.definition("evidence", PROVEN), ensure_ascii=False)
    assert "月" in spec


def test_an_interactive_chart_names_its_numbers():
    spec = json.dumps(charts.definition("evidence", PROVEN, Style(interactive=True)))
    assert '"tooltip"' in spec
    assert '"width": "container"' in spec


def test_the_script_of_charts_is_that_of_the_drawing_engine():
    script = charts.javascript()
    assert b"turnbackEmbed" in script
    assert b"expressionInterpreter" in script or b"ast" in script


BESIDE = """
import sys
import threading
from importlib.abc import MetaPathFinder

import altair  # loaded already, so that nothing but pandas is waited for

from console import charts
from tests.console.test_charts import PROVEN

begun, drawn = threading.Event(), threading.Event()


class Slow(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.startswith("pandas.") and not begun.is_set():
            begun.set()
            drawn.wait(1)  # pandas is half loaded meanwhile


assert "pandas" not in sys.modules
sys.meta_path.insert(0, Slow())
other = threading.Thread(target=lambda: __import__("pandas"))
other.start()
begun.wait()
try:
    assert charts.svg("evidence", PROVEN).startswith("<svg")
    assert charts.definition("effect", PROVEN)
finally:
    drawn.set()
    other.join()
"""


def test_a_chart_is_drawn_while_another_thread_loads_pandas():
    done = subprocess.run(
        [sys.executable, "-c", BESIDE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
