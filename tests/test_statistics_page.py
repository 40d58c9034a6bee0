"""The page on statistics names what exists, and every public function is on it."""

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| Method"))
]
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
