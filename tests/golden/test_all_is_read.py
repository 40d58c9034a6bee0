"""No golden number lies about unread: each file's keys are named by a test that opens the file."""

import ast
import json
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = {
    path: path.read_text(encoding="utf-8")
    for path in HERE.parent.rglob("*.py")
    if path.name != Path(__file__).name
}
SAYS_WHERE_FROM = {"source", "conventions", "copied_from", "notes", "note", "id", "design"}
SAYS_WHERE_FROM |= {"share_intervals_source", "simulation_source", "two_sided", "metric"}
SAYS_WHERE_FROM |= {"alpha_adj", "null_rejected"}  # decisions at a level, seen in the p-values


def keys_of(value, depth):
    """Yield the keys of a file and those of the records in its lists."""
    if isinstance(value, dict) and depth:
        for key, inner in value.items():
            yield key
            if isinstance(inner, list):
                yield from keys_of(inner, depth)
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner, depth - 1)


def words_of(text):
    """Return the strings a module says, those inside of f-strings as they begin."""
    return {
        node.value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def readers_of(file):
    """Return the texts of the modules that open a file, or take it from one of those here."""
    names = {file.name} | {
        f"tests.golden.{path.stem}"
        for path, text in SOURCES.items()
        if path.parent == HERE and file.name in text
    }
    return [text for text in SOURCES.values() if any(name in text for name in names)]


@pytest.mark.parametrize("file", sorted(HERE.glob("*.json")), ids=lambda p: p.name)
def test_every_key_of_a_golden_file_is_read_by_a_test_that_opens_it(file):
    said = {word for text in readers_of(file) for word in words_of(text)}
    assert said, f"no test opens {file.name}"
    beginnings = tuple(w for w in said if w.endswith("_"))  # of keys such as f"p_{side}"
    unread = {
        key
        for key in set(keys_of(json.loads(file.read_text(encoding="utf-8")), 2)) - SAYS_WHERE_FROM
        if key not in said and not (beginnings and key.startswith(beginnings))
    }
    assert sorted(unread) == []


@pytest.mark.parametrize("file", sorted(HERE.glob("*.json")), ids=lambda p: p.name)
def test_every_golden_file_names_its_source(file):
    assert len(json.loads(file.read_text(encoding="utf-8"))["source"]) > 20


@pytest.mark.parametrize("file", sorted(HERE.glob("*.csv")), ids=lambda p: p.name)
def test_every_table_is_opened_by_a_test(file):
    assert any(file.name in text for text in SOURCES.values())
