r"""Regular expressions that Python, JavaScript and RE2 read alike, and that never take long.

What a spec file may say is a small language: literal characters, ``.``, sets (``[a-z]``,
``\d``, ``\w``, ``\s``: ASCII), groups, ``|``, ``^``, ``$`` and repeats. It is parsed, judged and
written out again for every engine. Whether a value matches is asked of a search, so a pattern
without ``^`` may match anywhere.

The engines differ about line ends, control characters and characters beyond U+FFFF, so a value
with any of them, or longer than ``MAX_VALUE``, matches nothing (``ODD_VALUE`` finds those).
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Final

from experiments import pattern_syntax as syntax
from experiments.pattern_syntax import (
    UNUSUAL,
    Anchor,
    Chars,
    Choice,
    PatternError,
    Piece,
    Repeat,
    Span,
    parse_pattern,
    write_pattern,
)

__all__ = ["MAX_PATTERN", "MAX_VALUE", "ODD_VALUE", "PatternError", "compile_pattern", "portable"]

MAX_PATTERN: Final = 200
MAX_VALUE: Final = 256
"""Characters of a value; a longer one matches no pattern."""

ODD_VALUE: Final = f"{UNUSUAL}|.{{{MAX_VALUE + 1}}}"
"""Pattern of the values that match nothing, whatever the pattern."""

_ODD: Final = re.compile(UNUSUAL)
_MAX_STEPS: Final = 1_000_000
"""Steps an engine that backtracks may take on one value, at most; it takes some 10 ns for each."""
_FORK: Final = 4
"""Steps that trying one more option, or one more turn of a group, costs beside its characters."""
_MAX_SIZE: Final = 1_000


@lru_cache(maxsize=1024)
def portable(pattern: str) -> str:
    """Return the pattern as every engine reads it.

    Raises:
        PatternError: It is not of the language above, or may take long.
    """
    if not pattern:
        raise PatternError("is empty", "write a regular expression such as ^3\\.")
    if len(pattern) > MAX_PATTERN:
        raise PatternError(
            f"has {len(pattern)} characters, more than {MAX_PATTERN}",
            "use a list of values, or a shorter one",
        )
    piece = parse_pattern(pattern)
    if _size(piece) > _MAX_SIZE:
        raise PatternError("repeats too much in all", "use smaller numbers in { }")
    anchored = _anchored(piece)
    _ways(piece, ())  # raises where they are exponential
    if _steps(_to_match(piece), (), 0) * (1 if anchored else MAX_VALUE) > _MAX_STEPS:
        hint = "use fewer of `*`, `+` and `?`"
        raise PatternError(
            "could take very long on some values",
            hint if anchored else f"begin it with ^, or {hint}",
        )
    return write_pattern(piece)


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """Return the test whether a text matches. It never raises and takes well under 10 ms.

    Raises:
        PatternError: As ``portable``.
    """
    search = re.compile(portable(pattern)).search
    odd = _ODD.search

    def test(text: str) -> bool:
        return len(text) <= MAX_VALUE and odd(text) is None and search(text) is not None

    return test


def _meet(one: Sequence[Span], other: Sequence[Span]) -> bool:
    """Whether two sets share a character."""
    return any(a <= d and c <= b for a, b in one for c, d in other)


def _first(piece: Piece) -> tuple[tuple[Span, ...], bool]:
    """Return the characters it may begin with, and whether it may be empty."""
    match piece:
        case Chars():
            return piece.spans, False
        case Anchor():
            # nothing follows the end, so what is written after it cannot be met
            return (), piece.text == "^"
        case Repeat():
            spans, empty = _first(piece.item)
            return spans, empty or piece.least == 0
        case Choice():
            firsts = [_first(option) for option in piece.options]
            return tuple(s for spans, _ in firsts for s in spans), any(e for _, e in firsts)
        case syntax.Sequence():
            found: list[Span] = []
            for item in piece.items:
                spans, empty = _first(item)
                found.extend(spans)
                if not empty:
                    return tuple(found), False
            return tuple(found), True


def _anchored(piece: Piece) -> bool:
    """Whether it can match at the beginning only."""
    match piece:
        case Anchor():
            return piece.text == "^"
        case syntax.Sequence():
            return bool(piece.items) and _anchored(piece.items[0])
        case Choice():
            return all(_anchored(option) for option in piece.options)
        case _:
            return False


def _alike(options: Sequence[Piece]) -> bool:
    """Whether an engine may have to try more than one option."""
    firsts = [_first(option) for option in options]
    return any(empty for _, empty in firsts) or any(
        _meet(one, other) for (one, _), (other, _) in combinations(firsts, 2)
    )


def _ways(piece: Piece, follow: tuple[Span, ...]) -> int:
    """Return in how many ways an engine may try it, when ``follow`` may come next.

    A repeat whose next character could also be one more of it can be left at every length;
    where the two differ there is one way only.
    """
    match piece:
        case Chars() | Anchor():
            return 1
        case Choice():
            ways = [_ways(option, follow) for option in piece.options]
            return sum(ways) if _alike(piece.options) else max(ways)
        case Repeat():
            spans, empty = _first(piece.item)
            again = spans if piece.most != 1 else ()
            inner = _ways(piece.item, (*again, *follow))
            if piece.most != 1 and (empty or inner > 1):
                raise PatternError(*_exponential(piece.item, empty=empty))
            lengths = MAX_VALUE if piece.most is None else piece.most - piece.least + 1
            return inner * lengths if empty or _meet(spans, follow) else inner
        case syntax.Sequence():
            total = 1
            for item in reversed(piece.items):
                total *= _ways(item, follow)
                spans, empty = _first(item)
                follow = (*spans, *follow) if empty else spans
            return total


def _to_match(piece: Piece) -> Piece:
    """Return the pattern without an end such as ``.*``: an engine that has come there is done."""
    if not isinstance(piece, syntax.Sequence) or not piece.items:
        return piece
    *items, last = piece.items
    done = isinstance(last, Repeat) and last.least == 0 and isinstance(last.item, Chars)
    return syntax.Sequence(tuple(items)) if done else piece


def _steps(piece: Piece, follow: tuple[Span, ...], then: int) -> int:
    """Return how many steps an engine may take on it and, after each way, ``then`` on the rest.

    It differs from the number of ways in what each of them costs: a character, too, is a step, and
    whatever comes after a repeat or a choice is tried again for each of its ways.
    """
    match piece:
        case Chars() | Anchor():
            return 1 + then
        case Choice():
            tried = [_steps(option, follow, then) + _FORK for option in piece.options]
            return sum(tried) if _alike(piece.options) else max(tried) + _FORK * len(tried)
        case Repeat():
            return _steps_repeated(piece, follow, then)
        case syntax.Sequence():
            for item in reversed(piece.items):
                then = _steps(item, follow, then)
                spans, empty = _first(item)
                follow = (*spans, *follow) if empty else spans
            return then


def _steps_repeated(piece: Repeat, follow: tuple[Span, ...], then: int) -> int:
    """Return the same of a repeat, which is left once, or at every length (see ``_ways``)."""
    spans, empty = _first(piece.item)
    left_early = empty or _meet(spans, follow)
    if piece.most == 1:
        return _steps(piece.item, follow, then) + _FORK + (then if left_early else 0)
    turn = _steps(piece.item, (*spans, *follow), 0)
    turn += 0 if isinstance(piece.item, Chars) else _FORK
    most = MAX_VALUE if piece.most is None else piece.most
    lengths = MAX_VALUE if piece.most is None else piece.most - piece.least + 1
    return most * turn + (lengths * (then + 1) if left_early else then)


def _exponential(item: Piece, *, empty: bool) -> tuple[str, str]:
    """Return what is wrong with repeating what itself can be read in several ways."""
    slow = "such patterns can take very long"
    if empty:
        return f"repeats what may be empty; {slow}", "leave the inner `*` or `?` out"
    if _varies(item):
        return (
            f"repeats a group that repeats something itself; {slow}",
            "write it without the inner or the outer `*`, `+` or `?`",
        )
    return (
        f"repeats a choice whose options begin alike; {slow}",
        "write the options so that each begins with another character",
    )


def _varies(piece: Piece) -> bool:
    """Whether a repeat inside can be of several lengths."""
    match piece:
        case Repeat():
            return piece.least != piece.most or _varies(piece.item)
        case Choice():
            return any(_varies(option) for option in piece.options)
        case syntax.Sequence():
            return any(_varies(item) for item in piece.items)
        case _:
            return False


def _size(piece: Piece) -> int:
    """Return how many characters' worth it is when fixed repeats are written out."""
    match piece:
        case Chars() | Anchor():
            return 1
        case Choice():
            return 1 + sum(_size(option) for option in piece.options)
        case syntax.Sequence():
            return 1 + sum(_size(item) for item in piece.items)
        case Repeat():
            return _size(piece.item) * max(1, piece.least, piece.most or 0)
