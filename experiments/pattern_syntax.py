"""The small language of regular expressions that every engine reads alike: parsing and writing."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MAX_REPEAT: Final = 100
MAX_DEPTH: Final = 8
UNUSUAL: Final = "[^ -~\u00a0-\u2027\u202a-\ud7ff\ue000-\uffff]"
"""Characters that engines differ about: line ends, control characters, and beyond U+FFFF."""

Span = tuple[int, int]
"""Characters by code point, both ends included."""

_UNUSUAL: Final = re.compile(UNUSUAL)
_SPECIAL: Final = frozenset(r"\^$.*+?()[]{}|")
_DIGITS: Final[tuple[Span, ...]] = ((0x30, 0x39),)
_WORD: Final[tuple[Span, ...]] = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACE: Final[tuple[Span, ...]] = ((0x20, 0x20),)
_ANY: Final[tuple[Span, ...]] = ((0, 0xFFFF),)
_CLASSES: Final = {"d": (_DIGITS, "0-9"), "w": (_WORD, "0-9A-Z_a-z"), "s": (_SPACE, " ")}
_ESCAPES: Final = {
    "b": ("a word boundary (`\\b`)", "write the characters that may stand there, as in (^|-)"),
    "B": ("`\\B`", "write the characters that may stand there"),
    "A": ("`\\A`", "write ^"),
    "Z": ("`\\Z`", "write $"),
    "z": ("`\\z`", "write $"),
    "p": ("`\\p`", "write a set such as [A-Za-z]"),
    "P": ("`\\P`", "write a set such as [^A-Za-z]"),
    "k": ("a back-reference (`\\k`)", "write out what may stand there"),
}
_COUNT: Final = re.compile(r"\{([0-9]{1,3})(,([0-9]{0,3}))?\}")
_WORDED: Final = {"*": (0, None), "+": (1, None), "?": (0, 1)}


class PatternError(ValueError):
    """A pattern that not every engine reads alike, or that may take long.

    Attributes:
        message: What is wrong.
        hint: What to write instead.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = message, hint
        super().__init__(f"{message}; {hint}" if hint else message)


@dataclass(frozen=True, slots=True)
class Chars:
    """One character out of a set; ``text`` is how every engine writes it."""

    spans: tuple[Span, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Anchor:
    """The beginning (``^``) or the end (``$``) of the value."""

    text: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after the other."""

    items: tuple["Piece", ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One out of several."""

    options: tuple["Piece", ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """``least`` to ``most`` times (``None``: any number)."""

    item: "Piece"
    least: int
    most: int | None


Piece = Chars | Anchor | Sequence | Choice | Repeat


def parse_pattern(text: str) -> Piece:
    """Return what a pattern says.

    Raises:
        PatternError: It is not of the language, in words.
    """
    return _Parser(text).parse()


def write_pattern(piece: Piece) -> str:
    """Return the pattern as every engine reads it."""
    match piece:
        case Chars() | Anchor():
            return piece.text
        case Choice():
            return "(?:" + "|".join(write_pattern(option) for option in piece.options) + ")"
        case Sequence():
            return "".join(write_pattern(item) for item in piece.items)
        case Repeat():
            inner = write_pattern(piece.item)
            if isinstance(piece.item, (Sequence, Repeat)):
                inner = f"(?:{inner})"
            return inner + _times(piece.least, piece.most)


def _times(least: int, most: int | None) -> str:
    sign = next((s for s, bounds in _WORDED.items() if bounds == (least, most)), "")
    if sign:
        return sign
    if most is None:
        return f"{{{least},}}"
    return f"{{{least}}}" if least == most else f"{{{least},{most}}}"


class _Parser:
    """Reads a pattern by descent."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0

    def parse(self) -> Piece:
        piece = self._choice()
        if self.at < len(self.text):
            raise PatternError("closes a `)` that was never opened", "write \\) for the character")
        return piece

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _next(self) -> str:
        self.at += 1
        return self.text[self.at - 1 : self.at]

    def _choice(self) -> Piece:
        options = [self._sequence()]
        while self._peek() == "|":
            self.at += 1
            options.append(self._sequence())
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _sequence(self) -> Piece:
        items: list[Piece] = []
        while self._peek() not in {"", "|", ")"}:
            items.append(self._repeated(self._atom()))
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def _repeated(self, piece: Piece) -> Piece:
        bounds = self._bounds()
        if bounds is None:
            return piece
        if self._peek() == "?":
            self.at += 1  # lazy: whether it matches is the same
        elif self._peek() in {"*", "+"} or self._bounds() is not None:
            raise PatternError(
                f"repeats twice with `{self.text[: self.at + 1][-2:]}`", "keep one of the two"
            )
        if isinstance(piece, Anchor):
            raise PatternError(f"repeats `{piece.text}`", "remove the repeat")
        return Repeat(piece, *bounds)

    def _bounds(self) -> tuple[int, int | None] | None:
        sign = self._peek()
        if sign in _WORDED and sign:
            self.at += 1
            return _WORDED[sign]
        if sign != "{":
            return None
        found = _COUNT.match(self.text, self.at)
        if found is None:
            raise PatternError(
                "has a `{` that says no number of times", "write {3} or {2,5}, or \\{ for itself"
            )
        self.at = found.end()
        least = int(found[1])
        most = least if found[2] is None else (int(found[3]) if found[3] else None)
        if max(least, most or 0) > MAX_REPEAT or (most is not None and most < least):
            raise PatternError(
                f"repeats `{found[0]}` times", f"write up to {MAX_REPEAT} times, smallest first"
            )
        return least, most

    def _atom(self) -> Piece:
        sign = self._next()
        match sign:
            case "(":
                return self._group()
            case "[":
                return self._set()
            case "\\":
                return self._escape()
            case ".":
                return Chars(_ANY, ".")
            case "^" | "$":
                return Anchor(sign)
            case "*" | "+" | "?" | "{":
                raise PatternError(
                    f"has a `{sign}` with nothing to repeat", f"write \\{sign} for the character"
                )
            case _:
                return _literal(sign)

    def _group(self) -> Piece:
        if self._peek() == "?":
            self._plain_group()
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise PatternError(f"nests more than {MAX_DEPTH} groups", "make it simpler")
        piece = self._choice()
        if self._next() != ")":
            raise PatternError("has a `(` that is not closed", "add the ), or write \\( for itself")
        self.depth -= 1
        return piece

    def _plain_group(self) -> None:
        rest = self.text[self.at :]
        if rest.startswith("?:"):
            self.at += 2
            return
        for sign, what, hint in (
            ("?<=", "a look-behind", "write what stands before it as part of the pattern"),
            ("?<!", "a look-behind", "use `not:` or another line for what must not be"),
            ("?=", "a look-ahead", "write what follows as part of the pattern"),
            ("?!", "a look-ahead", "use `not:` or another line for what must not be"),
            ("?P=", "a back-reference", "write out what may stand there"),
            ("?P<", "a named group", "remove the name: ( ) is enough"),
            ("?<", "a named group", "remove the name: ( ) is enough"),
            ("?#", "a comment", "remove it"),
        ):
            if rest.startswith(sign):
                raise PatternError(f"has {what} (`({sign}`), which is not supported", hint)
        raise PatternError(
            f"has a flag (`({rest[:2]}`), which is not supported",
            "for both cases of a letter write [Aa]",
        )

    def _escape(self) -> Piece:
        sign = self._next()
        if sign.lower() in _CLASSES and sign:
            spans, text = _CLASSES[sign.lower()]
            return Chars(_without(spans), f"[^{text}]") if sign.isupper() else _class(spans, text)
        return _literal(_escaped(sign))

    def _set(self) -> Piece:
        negated = self._peek() == "^"
        self.at += negated
        if self._peek() == "]":
            raise PatternError("has an empty set `[]`", "write \\] for the bracket itself")
        spans: list[Span] = []
        text = ""
        while self._peek() != "]":
            member, shown = self._member()
            dash = self.text[self.at : self.at + 2]
            if dash.startswith("-") and dash not in {"-", "-]"}:
                self.at += 1
                last, shown_last = self._member()
                shown = f"{shown}-{shown_last}"
                member = (_range(member, last, shown),)
            spans.extend(member)
            text += shown
        self.at += 1
        return Chars(_without(spans), f"[^{text}]") if negated else _class(tuple(spans), text)

    def _member(self) -> tuple[tuple[Span, ...], str]:
        r"""Return one character of a set, or a class such as ``\d``, and how it is written."""
        sign = self._next()
        if not sign:
            raise PatternError("has a `[` that is not closed", "add the ], or write \\[ for itself")
        if sign == "\\":
            sign = self._next()
            if sign in _CLASSES:
                spans, text = _CLASSES[sign]
                return (*spans, *spans), text  # twice: no end of a range
            if sign in {"D", "W", "S"}:
                raise PatternError(f"has `\\{sign}` in a set", "write the characters themselves")
            sign = _escaped(sign)
        code = ord(_allowed(sign))
        plain = sign.isalnum() or not sign.isascii() or sign in " _.:,;@/%"
        return ((code, code),), sign if plain else f"\\{sign}"


def _range(first: tuple[Span, ...], last: tuple[Span, ...], shown: str) -> Span:
    single = all(len(spans) == 1 and spans[0][0] == spans[0][1] for spans in (first, last))
    if not single or first[0][0] > last[0][0]:
        raise PatternError(
            f"has a range `{shown}` that makes no sense",
            "write the smaller end first, or \\- for the dash itself",
        )
    return first[0][0], last[0][0]


def _escaped(sign: str) -> str:
    """Return the character an escape stands for."""
    if not sign:
        raise PatternError("ends with a single `\\`", "write \\\\ for the backslash itself")
    if sign in "123456789":
        raise PatternError(
            f"has a back-reference (`\\{sign}`), which is not supported",
            "write out what may stand there",
        )
    if sign in _ESCAPES:
        what, hint = _ESCAPES[sign]
        raise PatternError(f"has {what}, which is not supported", hint)
    if sign.isalnum() or not sign.isascii() or not sign.isprintable():
        raise PatternError(f"has an escape `\\{sign}` that is not known", f"write {sign} alone")
    return sign


def _allowed(sign: str) -> str:
    if _UNUSUAL.search(sign):
        raise PatternError(
            f"holds U+{ord(sign):04X}, which not every application reads alike",
            "a value with such a character never matches: remove it",
        )
    return sign


def _literal(sign: str) -> Chars:
    code = ord(_allowed(sign))
    return Chars(((code, code),), f"\\{sign}" if sign in _SPECIAL else sign)


def _class(spans: tuple[Span, ...], text: str) -> Chars:
    return Chars(spans, f"[{text}]")


def _without(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return all other characters."""
    rest: list[Span] = []
    at = 0
    for start, stop in sorted(spans):
        if start > at:
            rest.append((at, start - 1))
        at = max(at, stop + 1)
    if at <= 0xFFFF:  # noqa: PLR2004 - the last character
        rest.append((at, 0xFFFF))
    return tuple(rest)
