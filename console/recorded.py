"""What was recorded in English, found again in a language's catalogue. Pure.

The engine records in English whoever looks (`metrics.wording`). What it says comes from messages
of the catalogue, so the template of a recorded text is found again, its places are filled with
what stands there, and it reads as if it had been said in the language at once. A text without a
template that is known is not changed.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Final

from metrics.wording import marked

FEWEST_LETTERS: Final = 6
"""Letters that a template with places must have of its own to be taken for the whole of a text."""

REMEMBERED: Final = 4_096
"""Texts whose reading is kept."""

_DEPTH: Final = 4
_NUMBERS: Final = frozenset({"n", "number"})
_NUMBER: Final = re.compile(r"[+\-\u2212]?[\d.,]+")
_NAMES: Final = frozenset({"actor", "control", "key", "name", "query", "treatment", "variant"})
_PATHS: Final = frozenset({"outer", "part", "path"})
_JOINED: Final = marked("; ")


@dataclass(frozen=True, slots=True)
class _Template:
    """A message: what stands between its places, their names, and its text."""

    pieces: tuple[str, ...]
    names: tuple[str, ...]
    text: str

    @property
    def letters(self) -> int:
        """Letters that are not of its places."""
        return sum(letter.isalpha() for piece in self.pieces for letter in piece)

    def places(self, text: str) -> dict[str, str] | None:
        """Return what stands in the places of a text, ``None`` where it is another's.

        A place ends where what follows it is found first: no text makes this slow.
        """
        first, *rest = self.pieces
        if not text.startswith(first) or not text.endswith(self.pieces[-1]):
            return None
        at, found = len(first), dict[str, str]()
        for index, (name, piece) in enumerate(zip(self.names, rest, strict=True)):
            last = index + 1 == len(rest)
            end = len(text) - len(piece) if last else text.find(piece, at)
            value = text[at:end]
            if end < at or found.setdefault(name, value) != value:
                return None
            if name in _NUMBERS and _NUMBER.fullmatch(value) is None:
                return None
            at = end + len(piece)
        return found


class Reader:
    """Reads recorded texts in one language.

    Args:
        messages: Every message of the language with its text.
        titles: Titles of KPIs in English, and in the language.
    """

    def __init__(self, messages: Iterable[tuple[str, str]], titles: Mapping[str, str]) -> None:
        self._titles = titles
        self._exact = dict(titles)
        self._joiner = _JOINED
        self._read: dict[str, str | None] = {}
        made: list[_Template] = []
        for message, text in messages:
            template = _template(message, text)
            if template is None:
                continue
            if template.names:
                made.append(template)
            else:
                self._exact[message] = text
                self._joiner = text if message == _JOINED else self._joiner
        # what says most is asked first
        self._templates = sorted(made, key=lambda each: -each.letters)

    def read(self, text: str) -> str | None:
        """Return a recorded text in the language; ``None`` where its template is not known.

        Args:
            text: As it was recorded; several texts joined by semicolons are read one by one.
        """
        if text not in self._read:
            if len(self._read) >= REMEMBERED:
                self._read.clear()
            self._read[text] = self._said(text)
        return self._read[text]

    def _said(self, text: str) -> str | None:
        parts = [self._match(part, FEWEST_LETTERS, _DEPTH) for part in text.split(_JOINED)]
        said = [part for part in parts if part is not None]
        if len(said) == len(parts):
            return self._joiner.join(said)
        return self._match(text, FEWEST_LETTERS, _DEPTH)

    def _match(self, text: str, fewest: int, depth: int) -> str | None:
        if text in self._exact:
            return self._exact[text]
        for template in self._templates:
            if template.letters < fewest:
                return None
            found = template.places(text)
            if found is not None:
                filled = {name: self._place(name, value, depth) for name, value in found.items()}
                return template.text.format(**filled)
        return None

    def _place(self, name: str, value: str, depth: int) -> str:
        if not depth or name in _NAMES or not any(letter.isalpha() for letter in value):
            return value
        if name in _PATHS and " " not in value:
            return value  # a key of a file
        if name == "title":
            return self._titles.get(value, value)
        return self._match(value, 0 if name in _PATHS else 1, depth - 1) or value


def _template(message: str, text: str) -> _Template | None:
    """Return a message as a template; ``None`` where its places cannot be told apart."""
    pieces, names = [""], list[str]()
    try:
        for literal, name, _format, _conversion in Formatter().parse(message):
            pieces[-1] += literal
            if name is not None:
                names.append(name)
                pieces.append("")
    except ValueError:  # braces that are none of ours
        return None
    told_apart = all(pieces[1:-1]) and all(names)
    return _Template(tuple(pieces), tuple(names), text) if told_apart else None
