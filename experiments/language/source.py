"""YAML text to nodes that know their line and column.

The parser's events are resolved here, by the rules of YAML 1.2, so that every problem is
told at its place and in the words of the file: duplicate keys, words that YAML readers
disagree about (``no``, ``on``, ``1:30``), tabs, aliases and tags.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from experiments.errors import Problem
from experiments.language.scalars import JsonScalar, resolve, trap, unseen, visible
from experiments.language.syntax import explain_syntax

MAX_CHARACTERS = 500_000
"""A spec file is written by hand; anything larger is a mistake."""

MAX_REMEMBERED = 20_000
"""Characters of a text of which the nodes are kept for a while."""

MAX_DEPTH = 40
"""Levels of nesting."""


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in the file: line and column, both from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """A single value.

    Attributes:
        value: As JSON: text, number, truth value or ``None``.
        text: As written, without quotes.
        at: Where it begins.
        faulty: Whether a problem was told already, so readers keep quiet.
    """

    value: JsonScalar
    text: str
    at: Mark
    faulty: bool = False


@dataclass(frozen=True, slots=True)
class ListNode:
    """Values in order."""

    items: tuple["Node", ...]
    at: Mark


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping, where the key stands, its value, and whether the key was refused."""

    key: str
    at: Mark
    value: "Node"
    faulty: bool = False


@dataclass(frozen=True, slots=True)
class MappingNode:
    """Keys with values, in the order of the file; every key once."""

    entries: tuple[Entry, ...]
    at: Mark

    def get(self, key: str) -> "Node | None":
        """Return the value of ``key``, ``None`` when it is not there."""
        return next((entry.value for entry in self.entries if entry.key == key), None)


Node = ScalarNode | ListNode | MappingNode


def to_json(node: Node) -> Any:
    """Return the plain JSON value of a node."""
    if isinstance(node, ScalarNode):
        return node.value
    if isinstance(node, ListNode):
        return [to_json(item) for item in node.items]
    return {entry.key: to_json(entry.value) for entry in node.entries}


def is_faulty(node: Node) -> bool:
    """Whether a problem was told already somewhere inside."""
    if isinstance(node, ScalarNode):
        return node.faulty
    if isinstance(node, ListNode):
        return any(is_faulty(item) for item in node.items)
    return any(is_faulty(entry.value) for entry in node.entries)


def parse_yaml(text: str, *, file: str) -> tuple[Node | None, list[Problem]]:
    """Return the root node, ``None`` where there is none, and the problems found.

    Never raises: whatever the text, what is wrong with it is a ``Problem``. Texts that were read
    lately are not read again: applying a file needs it three times.
    """
    read = _remembered if len(text) <= MAX_REMEMBERED else _read
    node, problems = read(text)
    return node, [replace(problem, file=file) for problem in problems]


def _read(text: str) -> tuple[Node | None, Sequence[Problem]]:
    """Return the root node and the problems, of a file without a name."""
    file = ""
    if refused := _refuse_text(text, file=file):
        return None, [refused]
    builder = _Builder(file)
    try:
        for event in _events(text):
            if not builder.take(event):
                break
    except MarkedYAMLError as error:
        line, column, message, hint = explain_syntax(error, text)
        builder.problems.append(Problem(file, line, column, "", message, hint))
        return None, builder.problems
    except ReaderError as error:
        builder.problems.append(_unreadable(error, text, file))
        return None, builder.problems
    except Exception:  # noqa: BLE001 - a fault of the parser is a problem of the file, not a crash
        builder.problems.append(
            Problem(file, 1, 1, "", "this cannot be read as YAML", "check the last change")
        )
        return None, builder.problems
    if builder.root is None and not builder.problems:
        builder.problems.append(
            Problem(file, 1, 1, "", "the file is empty", "start it with `experiment: <its key>`")
        )
    return builder.root, builder.problems


_remembered = lru_cache(maxsize=64)(_read)


def _events(text: str) -> Iterator[Any]:
    return iter(YAML(typ="safe", pure=True).parse(text))


def _refuse_text(text: str, *, file: str) -> Problem | None:
    if len(text) > MAX_CHARACTERS:
        return Problem(
            file,
            1,
            1,
            "",
            f"the file has {len(text):,} characters, more than {MAX_CHARACTERS:,}",
            "a spec file is written by hand; check that this is one",
        )
    return None


def _unreadable(error: ReaderError, text: str, file: str) -> Problem:
    position = max(0, min(int(error.position or 0), len(text)))
    before = text[:position]
    line = before.count("\n") + 1
    column = position - (before.rfind("\n") + 1) + 1
    character = error.character
    code = ord(character) if isinstance(character, str) and len(character) == 1 else character
    name = f"U+{code:04X}" if isinstance(code, int) else "a character"
    return Problem(
        file, line, column, "", f"{name} cannot stand in a YAML file", "remove it, it is invisible"
    )


@dataclass(slots=True)
class _Frame:
    """A list or mapping that is being read; ``key`` is the key whose value comes next."""

    is_mapping: bool
    at: Mark
    path: str
    items: list[Node] = field(default_factory=list["Node"])
    entries: list[Entry] = field(default_factory=list[Entry])
    seen: dict[str, Mark] = field(default_factory=dict[str, Mark])
    key: str | None = None
    key_at: Mark = Mark(1, 1)
    repeated: bool = False
    key_faulty: bool = False

    def child_path(self) -> str:
        if not self.is_mapping:
            return f"{self.path}[{len(self.items)}]"
        if self.key is None:
            return self.path
        return f"{self.path}.{self.key}" if self.path else self.key


class _Builder:
    """Turns parser events into nodes and collects problems."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._stack: list[_Frame] = []
        self._documents = 0

    def take(self, event: Any) -> bool:
        """Take one event; false when the rest need not be read."""
        if isinstance(event, DocumentStartEvent):
            return self._document(event)
        if isinstance(event, AliasEvent):
            self._alias(event)
        elif isinstance(event, ScalarEvent):
            self._properties(event)
            self._scalar(event)
        elif isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            self._properties(event)
            return self._open(event)
        elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            self._close()
        return True

    def _problem(self, at: Mark, path: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(self.file, at.line, at.column, path, message, hint))

    def _path(self) -> str:
        return self._stack[-1].child_path() if self._stack else ""

    def _document(self, event: Any) -> bool:
        self._documents += 1
        if self._documents > 1:
            self._problem(
                _mark(event),
                "",
                "a second document begins here",
                "a file holds one experiment; remove the `---` or make two files",
            )
        return self._documents == 1

    def _properties(self, event: Any) -> None:
        if event.anchor is not None:
            self._problem(
                _mark(event),
                self._path(),
                f"`&{event.anchor}` (an anchor) is not supported",
                "write the value out where it is needed",
            )
        if event.tag is not None:
            self._problem(
                _mark(event), self._path(), "tags (`!…`) are not supported", "write the value alone"
            )

    def _alias(self, event: Any) -> None:
        self._problem(
            _mark(event),
            self._path(),
            f"`*{event.anchor}` (an alias) is not supported",
            "write the value out",
        )
        self._place(ScalarNode(None, f"*{event.anchor}", _mark(event), faulty=True))

    def _scalar(self, event: Any) -> None:
        at, text = _mark(event), str(event.value)
        frame = self._stack[-1] if self._stack else None
        plain = event.style in (None, "")
        if frame is not None and frame.is_mapping and frame.key is None:
            self._key(frame, text, at, plain=plain)
            return
        if plain and not text and frame is not None and frame.is_mapping:
            # the parser marks a value that is missing at whatever comes next
            at = at if at.line == frame.key_at.line else frame.key_at
        if plain and (advice := trap(text)):
            self._problem(at, self._path(), *advice)
            self._place(ScalarNode(text, text, at, faulty=True))
            return
        value, fault = resolve(text, plain=plain)
        if fault is not None:
            self._problem(at, self._path(), *fault)
        self._place(ScalarNode(value, text, at, faulty=fault is not None))

    def _key(self, frame: _Frame, text: str, at: Mark, *, plain: bool) -> None:
        advice = unseen(text) or (trap(text) if plain else None)
        text = visible(text)
        frame.key, frame.key_at = text, at
        if plain and text == "<<":
            advice = ("merge keys are not supported", "write the keys out")
        elif not text.strip():
            advice = ("a key is empty", "give it a name or remove the line")
        frame.key_faulty = advice is not None
        if advice is not None:
            self._problem(at, self._path(), *advice)
        frame.repeated = text in frame.seen
        if frame.repeated:
            first = frame.seen[text].line
            self._problem(
                at, self._path(), f"is given twice, first on line {first}", "keep one of them"
            )
        frame.seen.setdefault(text, at)

    def _open(self, event: Any) -> bool:
        at, path = _mark(event), self._path()
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.is_mapping and frame.key is None:
            self._problem(
                at, path, "a key must be a single word", "put text with brackets in quotes"
            )
            return False
        if len(self._stack) >= MAX_DEPTH:
            self._problem(at, path, f"is nested more than {MAX_DEPTH} levels deep", "flatten it")
            return False
        self._stack.append(_Frame(isinstance(event, MappingStartEvent), at, path))
        return True

    def _close(self) -> None:
        frame = self._stack.pop()
        if frame.is_mapping:
            self._place(MappingNode(tuple(frame.entries), frame.at))
        else:
            self._place(ListNode(tuple(frame.items), frame.at))

    def _place(self, node: Node) -> None:
        if not self._stack:
            self.root = node
            return
        frame = self._stack[-1]
        if not frame.is_mapping:
            frame.items.append(node)
            return
        if frame.key is not None and not frame.repeated:
            frame.entries.append(Entry(frame.key, frame.key_at, node, faulty=frame.key_faulty))
        frame.key = None


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)
