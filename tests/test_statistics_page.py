"""The page on statistics names what exists, and every public function is on it."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from docs.operating_characteristic import (
    ARMS,
    BASELINES,
    HARMS,
    MARGINS,
    NAMES,
    PICTURE,
    SPEC,
    UNITS_PER_DAY,
    Point,
    characteristic,
    chart,
)
from guardrails.levels import plan_comparisons
from guardrails.spec_file import load_spec

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
GUIDE, METHODS = PAGE.split("## Every method, its guarantee and its test")


def rows_of(text, header):
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|") and not line.startswith(("|---", f"| {header}"))
    ]


ROWS = rows_of(METHODS, "Method")
EXPECTED = rows_of(GUIDE, "the new page")
MEAN = 4.2
MODULES = {p.stem: p for p in (ROOT / "metrics" / "stats").glob("*.py") if p.stem != "__init__"}
FUNCTION = re.compile(rf"`((?:{'|'.join(MODULES)})\.[a-z_]+)`")
TEST = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def functions_of(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {n.name for n in tree.body if isinstance(n, ast.FunctionDef) and n.name[0] != "_"}


def test_every_row_says_all_six_things_and_names_a_method_and_a_test():
    assert len(ROWS) > 20
    for row in ROWS:
        assert len(row) == 6, row
        assert all(row), row
        assert FUNCTION.search(row[0]), row
        assert TEST.search(row[5]), row
        assert re.match(r"decides|shown|plans|not yet", row[1]), row


@pytest.mark.parametrize("name", sorted(set(FUNCTION.findall(PAGE))))
def test_a_method_on_the_page_exists_and_is_documented(name):
    module, function = name.split(".")
    found = getattr(importlib.import_module(f"metrics.stats.{module}"), function)
    assert len(found.__doc__ or "") > 40


@pytest.mark.parametrize(("file", "name"), sorted(set(TEST.findall(PAGE))))
def test_a_test_on_the_page_exists(file, name):
    paths = list((ROOT / "tests").rglob(file))
    assert any(name in functions_of(path) for path in paths)


def test_every_public_function_of_the_statistics_is_on_the_page():
    public = {f"{module}.{name}" for module, path in MODULES.items() for name in functions_of(path)}
    assert sorted(public - set(FUNCTION.findall(PAGE))) == []


def used_by_the_product():
    found = set()
    for package in ("guardrails", "experiments", "console"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                    "metrics.stats."
                ):
                    module = node.module.rsplit(".", 1)[1]
                    found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def test_what_the_page_calls_not_yet_used_is_imported_by_nobody_in_the_product():
    used = used_by_the_product()
    assert "group_sequential.look" in used
    for row in ROWS:
        if row[1] == "not yet":
            assert set(FUNCTION.findall(row[0])) & used == set(), row


def percent(text):
    return float(re.search(r"([\d.]+)%", text)[1]) / 100


def harm_of(row):
    return 0.0 if row[0] == "no worse" else percent(row[0])


@pytest.fixture(scope="module")
def computed():
    """Return what the engine says of a margin and a true drop, by both."""
    harms = tuple(harm_of(row) for row in EXPECTED)
    return {
        (margin, point.harm): point for margin in MARGINS for point in characteristic(margin, harms)
    }


@pytest.mark.parametrize("row", EXPECTED, ids=lambda row: row[0])
def test_what_to_expect_is_what_the_engine_computes(row, computed):
    drop = harm_of(row)
    point = computed[0.05, drop]
    assert float(row[1]) == pytest.approx(MEAN * (1 - drop), abs=0.005)
    said = percent(row[2])
    # to the digits that are printed, and to what another machine may round otherwise
    assert point.probability == pytest.approx(said, abs=0.005 if said in {0.04, 0.71} else 0.0011)
    if row[3] == "-":
        assert point.hours is None
    else:
        assert point.hours == pytest.approx(float(row[3].split()[0]), abs=1.5)


def test_the_table_has_no_harm_half_of_the_margin_the_margin_and_twice_the_margin():
    words = {harm_of(row): row[0] for row in EXPECTED}
    assert words[0.0] == "no worse"
    assert "half of the margin" in words[0.025]
    assert words[0.05].endswith(": the margin")
    assert "twice the margin" in words[0.10]


def test_the_other_numbers_of_the_guide_are_computed_too(computed):
    text = " ".join(GUIDE.split())
    smaller = computed[0.03, 0.05]
    assert f"by hour {smaller.hours:.0f} instead of {computed[0.05, 0.05].hours:.0f}" in text
    assert f"one of 3% with a probability of {computed[0.03, 0.03].probability:.0%}" in text
    assert f"5% of {MEAN} is {0.05 * MEAN:.2f}, so a mean of {0.95 * MEAN:.2f}" in text
    assert f"larger than 2.5%, a mean below {0.975 * MEAN:.3f}" in text
    assert f"{UNITS_PER_DAY * ARMS.control:,.0f} units a day in each arm" in text
    assert f"{max(b['answering'] for b in BASELINES.values()):.0%} of them answer" in text
    assert min(b["answering"] for b in BASELINES.values()) == 0.15  # half of these within the hour


def test_the_level_that_the_guide_promises_is_that_of_its_file():
    spec = load_spec(SPEC.format(margin=0.05), source="worked-example")
    levels = [sum(w.level for w in c.windows) for c in plan_comparisons(spec)]
    assert levels == pytest.approx([0.0125] * 4)
    assert "at most 1.25%" in GUIDE
    assert "at most 5%" in GUIDE


def test_harmless_treatments_are_turned_back_no_more_often_than_promised(computed):
    for margin, harm in computed:
        if harm <= margin / 2:
            assert computed[margin, harm].probability <= 0.0125


def test_the_picture_is_there_and_shows_both_margins_over_all_harms():
    assert PICTURE.read_bytes().startswith(b"\x89PNG")
    assert f"](images/{PICTURE.name})" in GUIDE
    points = [
        Point(m, h, 0.5, 24.0 if h >= m else None)  # what is drawn, not what is computed
        for m in MARGINS
        for h in HARMS
    ]
    drawn = chart(points)
    assert len(drawn["data"]["values"]) == len(MARGINS) * len(HARMS)
    assert {row["margin"] for row in drawn["data"]["values"]} == set(NAMES.values())
    assert {0.0, 0.025, 0.05, 0.10} <= set(HARMS)
    labels = [
        layer["mark"]["text"]
        for panel in drawn["hconcat"]
        for layer in panel["layer"]
        if layer["mark"]["type"] == "text"
    ]
    assert labels[:2] == list(NAMES.values())
