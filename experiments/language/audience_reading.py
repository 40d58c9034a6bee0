"""The ``audience`` of a spec file: its conditions, checked so that every SDK agrees."""

import re
from collections.abc import Iterable, Iterator
from typing import Final, cast

from experiments.audience import AnyOf, Clause, Condition, Operator, Value
from experiments.errors import Severity
from experiments.language.audience_schema import (
    ATTRIBUTE_PATTERN,
    COMPARISONS,
    GROUPS,
    MAX_ATTRIBUTE,
    MAX_GROUP_DEPTH,
    MAX_GROUPS,
    MAX_VERSION,
    NUMERIC,
    OTHER_WORDS,
    audience_schema,
)
from experiments.language.reading import (
    Place,
    Refusal,
    ToldError,
    ValueType,
    given,
    near,
    near_matches,
    shown,
)
from experiments.language.source import Entry, ListNode, MappingNode, Node, ScalarNode, is_faulty
from experiments.patterns import PatternError, portable
from experiments.versions import VERSION_PATTERN, WIDTH

_ATTRIBUTE: Final = re.compile(ATTRIBUTE_PATTERN)
_VERSION: Final = re.compile(VERSION_PATTERN)
_LONG_PART: Final = re.compile(rf"[0-9]{{{WIDTH + 1},}}")
_TEXTUAL: Final = (Operator.MATCHES, Operator.VERSION_AT_LEAST)
_NOTHING: Final = "write {exists: false} for an attribute that is missing"


def audience_type() -> ValueType:
    """Return the type of an audience; read as a tuple of ``Clause``."""
    return ValueType(_read, audience_schema())


def _read(node: Node, place: Place) -> tuple[Clause, ...]:
    return _clauses(node, place, MAX_GROUP_DEPTH)


def _clauses(node: Node, place: Place, depth: int) -> tuple[Clause, ...]:
    """Read attributes and groups; ``depth`` more levels of groups are allowed."""
    if not isinstance(node, MappingNode):
        raise Refusal(
            f"must be attributes with what they have to be, {given(node)}",
            "write for instance platform: [ios, android]",
        )
    clauses: list[Clause] = []
    for entry in node.entries:
        here = place.key(shown(entry.key))
        try:
            if entry.key == GROUPS:
                clauses.append(_groups(entry, here, depth))
            else:
                clauses.extend(_attribute(entry, here))
        except Refusal as refusal:
            here.problem(entry.value.at, refusal.message, refusal.hint)
        except ToldError:
            continue
    return tuple(clauses)


def _groups(entry: Entry, place: Place, depth: int) -> AnyOf:
    nodes = _group_nodes(entry.value, depth)
    groups: list[tuple[Clause, ...]] = []
    for index, item in enumerate(nodes):
        here = place.item(index)
        try:
            groups.append(_group(item, here, depth))
        except Refusal as refusal:
            here.problem(item.at, refusal.message, refusal.hint)
        except ToldError:
            continue
    if len(groups) != len(nodes):
        raise ToldError
    if len(groups) == 1:
        place.problem(
            entry.value.at,
            "has one group only",
            f"write its lines without `{GROUPS}`, or add a group",
            severity=Severity.WARNING,
        )
    return AnyOf(tuple(groups))


def _group_nodes(node: Node, depth: int) -> tuple[Node, ...]:
    if isinstance(node, ScalarNode) and node.faulty:
        raise ToldError
    if depth == 0:
        raise Refusal(
            f"groups are nested more than {MAX_GROUP_DEPTH} deep", "write the groups side by side"
        )
    if not isinstance(node, ListNode):
        raise Refusal(
            f"must be a list of groups, {given(node)}", "write [{country: DE}, {platform: ios}]"
        )
    if not node.items:
        raise Refusal("is an empty list: nobody would take part", "list the groups, or remove it")
    if len(node.items) > MAX_GROUPS:
        raise Refusal(
            f"lists {len(node.items)} groups, more than {MAX_GROUPS}", "use a list of values"
        )
    return node.items


def _group(node: Node, place: Place, depth: int) -> tuple[Clause, ...]:
    if isinstance(node, ScalarNode) and node.faulty:
        raise ToldError
    clauses = _clauses(node, place, depth - 1)
    if isinstance(node, MappingNode) and not node.entries:
        raise Refusal("is empty: everybody would take part", "say whom it means, or remove it")
    if not clauses:
        raise ToldError
    return clauses


def _attribute(entry: Entry, place: Place) -> Iterator[Condition]:
    if entry.faulty or is_faulty(entry.value):
        raise ToldError
    name, node = entry.key, entry.value
    _check_name(entry, place)
    if isinstance(node, ScalarNode):
        _no_number_for_a_version(name, node, place)
        yield Condition(name, Operator.IS, (_value(node),))
    elif isinstance(node, ListNode):
        if node.items and all(isinstance(item, MappingNode) for item in node.items):
            hint = near(name, (GROUPS,)) if near_matches(name, (GROUPS,)) else ""
            raise Refusal(
                "must be values, got a list of groups", hint or f"groups stand under `{GROUPS}:`"
            )
        for index, item in enumerate(node.items):
            _no_number_for_a_version(name, item, place.item(index))
        yield Condition(name, Operator.ANY_OF, _values(node))
    else:
        yield from _comparisons(name, node, place)


def _check_name(entry: Entry, place: Place) -> None:
    name = entry.key
    if name in COMPARISONS:
        place.problem(
            entry.at,
            "is a comparison, and stands where an attribute is expected",
            f"write it under the attribute, as in order_value: {{{name}: …}}",
        )
        raise ToldError
    plain = name.lower().replace("-", "_")
    if plain in OTHER_WORDS and not isinstance(entry.value, ScalarNode):
        word = OTHER_WORDS[plain]
        hint = f"write `{word}:`" if word else "all lines must hold anyway: write them one by one"
        place.problem(entry.at, "is no word of an audience", hint)
        raise ToldError
    if not _ATTRIBUTE.fullmatch(name) or len(name) > MAX_ATTRIBUTE:
        place.problem(
            entry.at,
            "is no name of an attribute",
            "write it without spaces or a `$` in front, with dots for nested ones",
        )
        raise ToldError


def _comparisons(name: str, node: MappingNode, place: Place) -> list[Condition]:
    if not node.entries:
        raise Refusal("says nothing", f"use {', '.join(COMPARISONS)}")
    conditions: list[Condition] = []
    for entry in node.entries:
        here = place.key(shown(entry.key))
        if entry.key not in COMPARISONS:
            here.problem(entry.at, "unknown comparison", near(entry.key, COMPARISONS))
            continue
        operator = Operator(entry.key)
        if operator is not Operator.VERSION_AT_LEAST:
            _no_number_for_a_version(name, entry.value, here, ordered=entry.key in NUMERIC)
        try:
            conditions.append(Condition(name, operator, _operand(operator, entry.value, here)))
        except Refusal as refusal:
            here.problem(entry.value.at, refusal.message, refusal.hint)
    _contradictions(conditions)
    return conditions


def _no_number_for_a_version(name: str, node: Node, place: Place, *, ordered: bool = False) -> None:
    """Tell where a version lacks its quotes: 3.10 is the number 3.1, and compared as one.

    An error where digits are lost so; else it may be meant, since applications may send numbers.
    """
    if not isinstance(node, ScalarNode) or not isinstance(node.value, float):
        return
    means_one = "version" in name.lower().replace("conversion", "")
    if not means_one or not _VERSION.fullmatch(node.text):
        return
    lost = node.text.endswith("0")
    place.problem(
        node.at,
        f"is the number {node.value:g}, not the version {node.text}"
        if lost
        else f"is a number: a version that is sent as text never fits {node.text}",
        f'for a version write {{version_at_least: "{node.text}"}}'
        if ordered
        else f'for a version write "{node.text}" in quotes',
        severity=Severity.ERROR if lost else Severity.WARNING,
    )


def _operand(operator: Operator, node: Node, place: Place) -> tuple[Value, ...]:
    match operator:
        case Operator.NOT:
            return _values(node) if isinstance(node, ListNode) else (_value(node),)
        case Operator.EXISTS:
            if not isinstance(node, ScalarNode) or not isinstance(node.value, bool):
                raise Refusal(f"must be true or false, {given(node)}", "write true or false")
            return (node.value,)
        case Operator.MATCHES:
            return (_pattern(node),)
        case Operator.VERSION_AT_LEAST:
            return (_version(node, place),)
        case _:
            return (_number(node),)


def _number(node: Node) -> Value:
    value = node.value if isinstance(node, ScalarNode) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        versioned = isinstance(node, ScalarNode) and "." in node.text
        hint = "numbers are compared with numbers only, so that every SDK agrees"
        if versioned and isinstance(value, str) and _VERSION.fullmatch(value):
            hint = f'for a version write {{version_at_least: "{value}"}}'
        raise Refusal(f"must be a number, {given(node)}", hint)
    return value


def _pattern(node: Node) -> str:
    if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
        hint = r"write it in single quotes, as in '^3\.'"
        raise Refusal(f"must be a regular expression, {given(node)}", hint)
    try:
        portable(node.value)
    except PatternError as error:
        raise Refusal(error.message, error.hint) from None
    return node.value


def _version(node: Node, place: Place) -> str:
    wanted = 'must be a version such as "3.10.2"'
    if not isinstance(node, ScalarNode) or node.value is None:
        raise Refusal(f"{wanted}, {given(node)}", "write numbers with dots")
    if isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        raise Refusal(
            f"{wanted}, {given(node)}",
            f'write "{node.text}" in quotes: without them 3.10 is the number 3.1',
        )
    text = str(node.value)
    if not _VERSION.fullmatch(text) or len(text) > MAX_VERSION:
        raise Refusal(f"{wanted}, {given(node)}", "write numbers with dots, as in 3.10.2")
    if _LONG_PART.search(text):
        place.problem(
            node.at,
            f"numbers of more than {WIDTH} digits are compared as text, not by size",
            "compare an earlier part of the version, or send the build as a number of its own",
            severity=Severity.WARNING,
        )
    return text


def _value(node: Node) -> Value:
    if not isinstance(node, ScalarNode):
        raise Refusal(f"must be a single value, {given(node)}", "write text, a number, or true")
    if node.value is None:
        raise Refusal("must be a value, got nothing", _NOTHING)
    if isinstance(node.value, str) and _COMPARED.match(node.value):
        raise Refusal(
            f"is compared as text, and looks like a comparison: {given(node)}",
            'write {at_least: 20}, {below: 100}, {not: DE} or {version_at_least: "3.10"}',
        )
    return node.value


_COMPARED: Final = re.compile(r"\s*(?:[<>]=?|[!=]=|[=~^])\s*\S")


def _values(node: ListNode) -> tuple[Value, ...]:
    if not node.items:
        raise Refusal("is an empty list: nobody would take part", "list the values, or remove it")
    values = tuple(_value(item) for item in node.items)
    kinds = {_kind(value) for value in values}
    if len(kinds) > 1:
        raise Refusal(
            f"mixes {' and '.join(sorted(kinds))}",
            "write values of one type, so that every SDK agrees",
        )
    return values


def _kind(value: Value) -> str:
    if isinstance(value, bool):
        return "true or false"
    return "text" if isinstance(value, str) else "numbers"


def _contradictions(conditions: Iterable[Condition]) -> None:
    """Refuse comparisons that nobody can satisfy together."""
    by = {condition.operator: condition.values[0] for condition in conditions}
    if by.get(Operator.EXISTS) is False and len(by) > 1:
        raise Refusal(
            "must be missing and be compared at once: nobody would take part",
            "remove `exists: false` or the comparison",
        )
    number = next((word for word in NUMERIC if word in by), None)
    text = next((word for word in _TEXTUAL if word in by), None)
    if number and text:
        raise Refusal(
            f"must be a number (`{number}`) and text (`{text}`) at once: nobody would take part",
            "remove one of the two",
        )
    for low in (Operator.AT_LEAST, Operator.ABOVE):
        for high in (Operator.AT_MOST, Operator.BELOW):
            if low not in by or high not in by:
                continue
            lower, upper = cast("float", by[low]), cast("float", by[high])
            inclusive = low is Operator.AT_LEAST and high is Operator.AT_MOST
            if lower > upper or (lower == upper and not inclusive):
                raise Refusal(
                    f"no number is {low.value.replace('_', ' ')} {lower:g} and "
                    f"{high.value.replace('_', ' ')} {upper:g}: nobody would take part",
                    "swap the two numbers or remove one",
                )
