"""What a YAML parser's complaint means to the person who wrote the file."""

import re
from itertools import pairwise

from ruamel.yaml.error import MarkedYAMLError

_TAB_INDENT = re.compile(r" *\t")
_COLON = re.compile(r":(?:\s|$)")
_CHARACTER = re.compile(r"found character '?(\\?.)'? that cannot start any token")


def explain_syntax(error: MarkedYAMLError, text: str) -> tuple[int, int, str, str]:
    """Return line, column (both from 1), what is wrong and what to do."""
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark is not None else 1
    column = mark.column + 1 if mark is not None else 1
    lines = text.splitlines() or [""]
    tabbed = _tabbed_line(lines, line)
    if tabbed is not None:
        at = lines[tabbed - 1].index("\t") + 1
        return tabbed, at, "a tab is used for indentation", "use spaces"
    if (quote := _open_quote(lines)) is not None and quote[0] < line:
        return *quote, "a quote opens here, and its line does not close it", _CLOSE
    message, hint = _words(error)
    if "`:`" in message and len(_COLON.findall(lines[min(line, len(lines)) - 1])) > 1:
        hint = "put text that holds a colon in quotes"
    return line, column, message, hint


def _tabbed_line(lines: list[str], line: int) -> int | None:
    """Return the line at or just before the complaint that is indented with a tab."""
    for number in (line, line - 1):
        if 1 <= number <= len(lines) and _TAB_INDENT.match(lines[number - 1]):
            return number
    return None


def _open_quote(lines: list[str]) -> tuple[int, int] | None:
    """Return where a value begins in a quote that is left open, ``None`` where none is.

    Counted is the first line with a quote of its value's kind that its line does not close and
    that the next one, which begins with a key, cannot go on.
    """
    for number, (line, following) in enumerate(pairwise(lines), start=1):
        begins = _QUOTED_VALUE.match(line)
        if begins is not None and _KEY.match(following) and not _CLOSED[begins[2]].match(begins[3]):
            return number, begins.end(1) + 1
    return None


_QUOTED_VALUE = re.compile(r"( *(?:- +)?[A-Za-z_][\w.-]*: +)([\"'])(.*)")
_KEY = re.compile(r" *(?:- +)?[A-Za-z_][\w.-]*:(?: |$)")
_CLOSED = {
    '"': re.compile(r'(?:[^"\\]|\\.)*"'),
    "'": re.compile(r"(?:[^']|'')*'(?!')"),
}
_CLOSE = "close it at the end of the line, or double it inside text"
_ALIGN = "align the line with the keys it belongs to"
_WORDS = (
    # (in the context, in the problem, what is wrong, what to do); the first that fits is told
    (
        "double-quoted scalar",
        "escape character",
        "in double quotes a `\\` begins a code, and this one is not known",
        "write \\\\ for the backslash itself, or use single quotes",
    ),
    ("quoted scalar", "", "the quote{opened} is not closed", "close it, or double it inside text"),
    ("flow mapping", "", "the bracket {{{opened} is not closed", "add a comma or the closing }}"),
    ("flow sequence", "", "the bracket [{opened} is not closed", "add a comma or the closing ]"),
    (
        "",
        "mapping values are not allowed",
        "a `:` stands where no key can be",
        _ALIGN,
    ),
    ("", "could not find expected ':'", "this is no `key: value`", "add the colon, or indent it"),
    ("", "expected <block end>", "the indentation fits nothing above", _ALIGN),
    ("", "sequence entries are not allowed", "a `-` stands where no list can be", _ALIGN),
    ("", "", "this cannot be read as YAML", "check quotes, brackets and indentation here"),
)


def _words(error: MarkedYAMLError) -> tuple[str, str]:
    problem, context = str(error.problem or ""), str(error.context or "")
    if found := _CHARACTER.search(problem):
        return f"a value cannot begin with {found[1]}", "put the value in quotes"
    mark = error.context_mark
    opened = f" opened on line {mark.line + 1}" if mark is not None else ""
    message, hint = next((m, h) for c, p, m, h in _WORDS if c in context and p in problem)
    return message.format(opened=opened), hint.format()
