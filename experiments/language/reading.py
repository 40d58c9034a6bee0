"""Tables of keys: one description serves validation, messages and the JSON Schema.

A ``Key`` says what a key of a spec file means, how its value is read and what an example is.
``read_record`` checks a mapping against such a table and tells every problem at its place.
Semantic rules then work on the ``Record`` it returns, so they know positions too.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from experiments.errors import Problem, Severity
from experiments.language.one_line import in_one_line
from experiments.language.scalars import resolve
from experiments.language.source import Entry, ListNode, MappingNode, Mark, Node, ScalarNode


class Refusal(Exception):  # noqa: N818 - no error of the program: the value says no
    """A value cannot be read; becomes a problem at its place."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)


class ToldError(Exception):
    """A value cannot be read and its problems were told already."""


@dataclass(slots=True)
class Report:
    """Collects the problems of one file."""

    file: str
    problems: list[Problem] = field(default_factory=list[Problem])

    def add(
        self,
        at: Mark,
        path: str,
        message: str,
        hint: str = "",
        *,
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Add one problem."""
        self.problems.append(Problem(self.file, at.line, at.column, path, message, hint, severity))

    @property
    def failed(self) -> bool:
        """Whether any problem refuses the file."""
        return any(p.severity is Severity.ERROR for p in self.problems)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: its path and the report for its problems."""

    report: Report
    path: str = ""

    def key(self, name: str) -> "Place":
        """Return the place of a key of this mapping."""
        return Place(self.report, f"{self.path}.{name}" if self.path else name)

    def item(self, index: int) -> "Place":
        """Return the place of an element of this list."""
        return Place(self.report, f"{self.path}[{index}]")

    def problem(
        self, at: Mark, message: str, hint: str = "", *, severity: Severity = Severity.ERROR
    ) -> None:
        """Tell a problem here."""
        self.report.add(at, self.path, message, hint, severity=severity)


Reader = Callable[[Node, Place], Any]
"""Reads one value; raises ``Refusal`` or ``ToldError``."""


@dataclass(frozen=True, slots=True)
class ValueType:
    """How a value is read, and its JSON Schema."""

    read: Reader
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a mapping.

    Attributes:
        name: The key.
        type: How its value is read.
        about: What it means, in a sentence.
        example: A value as JSON, valid by the schema.
        required: Whether it must be there.
        default: In words, for people; empty when there is none.
        aka: What other tools call it, or people try first; such a key is refused with its name.
    """

    name: str
    type: ValueType
    about: str
    example: Any
    required: bool = False
    default: str = ""
    aka: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """An element of a list or mapping with its position."""

    value: Any
    at: Mark
    place: Place


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping that was read: its values, and where each stands.

    Attributes:
        node: What stands there.
        place: Its place.
        values: By key, without those that could not be read.
        meant: Keys that a misspelt key may have been; that they are missing is no second problem.
    """

    node: MappingNode
    place: Place
    values: Mapping[str, Any]
    meant: frozenset[str] = frozenset()

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value, ``default`` where it is missing or could not be read."""
        return self.values.get(name, default)

    def has(self, name: str) -> bool:
        """Whether the value is there and could be read."""
        return name in self.values

    def written(self, name: str) -> bool:
        """Whether the key is there, readable or not."""
        return self.node.get(name) is not None

    def at(self, name: str) -> Mark:
        """Return where the value stands, or the mapping when it has no such key."""
        value = self.node.get(name)
        return value.at if value is not None else self.node.at

    def problem(
        self, name: str, message: str, hint: str = "", *, severity: Severity = Severity.ERROR
    ) -> None:
        """Tell a problem of one key."""
        self.place.key(name).problem(self.at(name), message, hint, severity=severity)


def near(word: str, known: Iterable[str], *, otherwise: str = "known here") -> str:
    """Return the hint for a word that is not known: near matches, or what is known."""
    names = list(known)
    if matches := near_matches(word, names):
        return "did you mean " + " or ".join(f"`{m}`" for m in matches) + "?"
    if not names:
        return ""
    return f"{otherwise}: " + ", ".join(names)


def near_matches(word: str, names: Sequence[str]) -> list[str]:
    """Return at most two names that a misspelt word may have been, whatever its case."""
    found = difflib.get_close_matches(word[:100].lower(), [n.lower() for n in names], 2, 0.65)
    return [name for name in names if name.lower() in found][:2]


def given(node: Node) -> str:
    """Return what stands there, for a message: ``got `abc```."""
    if isinstance(node, ListNode):
        return "got a list"
    if isinstance(node, MappingNode):
        return "got keys and values"
    if node.value is None:
        return "got nothing"
    quoted = isinstance(node.value, str) and not isinstance(resolve(node.text, plain=True)[0], str)
    return f'got `"{shown(node.text)}"`' if quoted else f"got `{shown(node.text)}`"


def shown(text: str) -> str:
    """Return a text short enough for a message, on one line, without control characters."""
    flat = "".join(c if c.isprintable() else " " for c in text)
    return flat if len(flat) <= 40 else f"{flat[:37]}…"  # noqa: PLR2004 - fits a line


def read_value(type_: ValueType, node: Node, place: Place) -> Any:
    """Return the value; tell what is wrong and raise ``ToldError`` when it cannot be read."""
    if isinstance(node, ScalarNode) and node.faulty:
        raise ToldError
    try:
        return type_.read(node, place)
    except Refusal as refusal:
        place.problem(node.at, refusal.message, refusal.hint)
        raise ToldError from None


def read_record(
    node: Node,
    place: Place,
    keys: Sequence[Key],
    *,
    later: Mapping[str, str],
    what: str,
    also: Sequence[str] = (),
) -> Record:
    """Read a mapping by its table of keys; values that cannot be read are left out.

    Args:
        node: What stands there.
        place: Its place.
        keys: The table.
        later: Keys that are known but not supported yet, with what to do instead.
        what: Name of the thing, for messages ("a variant").
        also: What belongs to it as a rule, for the hint where something else stands there.
    """
    if not isinstance(node, MappingNode):
        wanted = [key for key in keys if key.required] or keys[:1]
        first = wanted[0]
        inside = [f"{key.name}: {_own_or_example(key, node, place)}" for key in wanted]
        hint = f"write {{{', '.join([*inside, *also])}}}"
        if not place.path:
            hint = f"begin with `{first.name}: {first.example}`"
        raise Refusal(f"{what} must be keys and values, {given(node)}", hint)
    table = {key.name: key for key in keys}
    there = {entry.key for entry in node.entries}
    # a key that is there already is not what another one meant
    free = {name: key for name, key in table.items() if name not in there}
    values: dict[str, Any] = {}
    meant: set[str] = set()
    for entry in node.entries:
        here = place.key(shown(entry.key))
        key = table.get(entry.key)
        if key is None:
            if entry.faulty:
                meant |= table.keys()
                continue
            intended = _meant(entry.key, free)
            _unknown(entry, here, intended or near_matches(entry.key, list(table)), table, later)
            meant.update(intended)
            continue
        try:
            values[key.name] = read_value(key.type, entry.value, here)
        except ToldError:
            continue
    for key in keys:
        if key.required and key.name not in there and key.name not in meant:
            hint = f"add {_example(key)}, {_clause(key.about)}"
            place.problem(node.at, f"{what} needs `{key.name}`", hint)
    return Record(node, place, values, frozenset(meant))


def _own_or_example(key: Key, node: Node, place: Place) -> str:
    """Return what was written, where the key would take it, else the key's example."""
    if isinstance(node, ScalarNode) and node.value is not None:
        with suppress(Refusal, ToldError):
            key.type.read(node, Place(Report(""), place.path))
            return node.text
    return in_one_line(key.example)


def _clause(text: str) -> str:
    """Return the first clause of a sentence, to go on with."""
    clause = text.partition(";")[0].partition(":")[0].rstrip(".")
    return clause if clause[1:2].isupper() else clause[:1].lower() + clause[1:]


def _example(key: Key) -> str:
    return f"`{key.name}: {in_one_line(key.example)}`"


def _unknown(
    entry: Entry,
    place: Place,
    meant: Sequence[str],
    table: Mapping[str, Key],
    later: Mapping[str, str],
) -> None:
    if entry.key in later:
        place.problem(entry.at, "is not supported yet", later[entry.key])
        return
    words = " or ".join(f"`{m}`" for m in meant)
    hint = f"did you mean {words}?" if meant else near(entry.key, table)
    place.problem(entry.at, "unknown key", hint)


def _meant(name: str, table: Mapping[str, Key]) -> list[str]:
    """Return the keys that an unknown one may have been: known as such, or spelt nearly so."""
    known_as = [key.name for key in table.values() if name.lower() in key.aka]
    return known_as or near_matches(name, list(table))


def record_type(
    keys: Sequence[Key],
    *,
    what: str,
    later: Mapping[str, str] | None = None,
    also: Sequence[str] = (),
) -> ValueType:
    """Return the type of a mapping with these keys; read as a ``Record``."""
    not_yet = later or {}

    def read(node: Node, place: Place) -> Record:
        return read_record(node, place, keys, later=not_yet, what=what, also=also)

    return ValueType(read, record_schema(keys))


def record_schema(keys: Sequence[Key]) -> dict[str, Any]:
    """Return the JSON Schema of a mapping with these keys."""
    schema: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {key.name: key_schema(key) for key in keys},
    }
    if required := [key.name for key in keys if key.required]:
        schema["required"] = required
    return schema


def key_schema(key: Key) -> dict[str, Any]:
    """Return the JSON Schema of one key: its type, description and example."""
    about = f"{key.about} Default: {key.default}." if key.default else key.about
    return {"description": about, "examples": [key.example], **key.type.schema}


def _no_list(node: Node, what: str) -> Refusal:
    hint = "begin each with `- `"
    if isinstance(node, ScalarNode) and node.value is not None:
        hint = f"write [{shown(node.text)}]"
    return Refusal(f"must be a list of {what}, {given(node)}", hint)


def list_type(
    of: ValueType, *, what: str, least: int = 0, most: int | None = None, unique: bool = False
) -> ValueType:
    """Return the type of a list; read as a tuple of ``Item`` without those that are faulty.

    That its elements differ (``unique``) is for the schema: a rule tells it to people.
    """

    def read(node: Node, place: Place) -> tuple[Item, ...]:
        if not isinstance(node, ListNode):
            raise _no_list(node, what)
        if len(node.items) < least:
            raise Refusal("is empty", f"list one or more {what}")
        if most is not None and len(node.items) > most:
            raise Refusal(f"lists {len(node.items):,} {what}, more than {most:,}", "list fewer")
        items: list[Item] = []
        for index, element in enumerate(node.items):
            here = place.item(index)
            try:
                items.append(Item(read_value(of, element, here), element.at, here))
            except ToldError:
                continue
        return tuple(items)

    schema: dict[str, Any] = {"type": "array", "items": dict(of.schema)}
    if least:
        schema["minItems"] = least
    if most is not None:
        schema["maxItems"] = most
    if unique:
        schema["uniqueItems"] = True
    return ValueType(read, schema)
