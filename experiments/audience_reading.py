"""The ``audience`` of a spec file: its conditions, checked so that every SDK agrees."""

import re
from collections.abc import Iterator
from typing import Any, Final, cast

from experiments.audience import Condition, Operator, Value
from experiments.reading import Place, Refusal, ToldError, ValueType, given, near, shown
from experiments.source import Entry, ListNode, MappingNode, Node, ScalarNode, is_faulty

ATTRIBUTE_PATTERN: Final = r"[^\s.$][^\s.]*(\.[^\s.]+)*"
_ATTRIBUTE: Final = re.compile(ATTRIBUTE_PATTERN)
_NUMERIC: Final = (Operator.AT_LEAST, Operator.ABOVE, Operator.AT_MOST, Operator.BELOW)
_WORDS: Final = (*(o.value for o in _NUMERIC), Operator.NOT.value, Operator.EXISTS.value)
_LATER: Final = frozenset({"matches", "version_at_least", "any_of"})
MAX_ATTRIBUTE: Final = 100

_SCALAR_SCHEMA: Final = {"type": ["string", "number", "boolean"]}
_LIST_SCHEMA: Final = {"type": "array", "minItems": 1, "items": _SCALAR_SCHEMA}
_OPERATOR_ABOUT: Final = {
    "at_least": ("A number of this size or larger.", 20),
    "above": ("A number larger than this.", 20),
    "at_most": ("A number of this size or smaller.", 100),
    "below": ("A number smaller than this.", 100),
}


def audience_type() -> ValueType:
    """Return the type of an audience; read as a tuple of ``Condition``."""
    return ValueType(_read, _schema())


def _schema() -> dict[str, Any]:
    operators: dict[str, Any] = {
        name: {"description": about, "examples": [example], "type": "number"}
        for name, (about, example) in _OPERATOR_ABOUT.items()
    }
    operators["not"] = {
        "description": "Present, and not this value or one of these.",
        "examples": [["DE", "AT"]],
        "anyOf": [_SCALAR_SCHEMA, _LIST_SCHEMA],
    }
    operators["exists"] = {
        "description": "Whether the attribute must be there (true) or must not (false).",
        "examples": [True],
        "type": "boolean",
    }
    compared = {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": operators,
    }
    return {
        "type": "object",
        "propertyNames": {"pattern": f"^{ATTRIBUTE_PATTERN}$", "maxLength": MAX_ATTRIBUTE},
        "additionalProperties": {"anyOf": [_SCALAR_SCHEMA, _LIST_SCHEMA, compared]},
    }


def _read(node: Node, place: Place) -> tuple[Condition, ...]:
    if not isinstance(node, MappingNode):
        raise Refusal(
            f"must be attributes with what they have to be, {given(node)}",
            "write for instance platform: [ios, android]",
        )
    conditions: list[Condition] = []
    for entry in node.entries:
        try:
            conditions.extend(_attribute(entry, place.key(shown(entry.key))))
        except Refusal as refusal:
            here = place.key(shown(entry.key))
            here.problem(entry.value.at, refusal.message, refusal.hint)
        except ToldError:
            continue
    return tuple(conditions)


def _attribute(entry: Entry, place: Place) -> Iterator[Condition]:
    if entry.faulty or is_faulty(entry.value):
        raise ToldError
    name, node = entry.key, entry.value
    if name in _LATER:
        place.problem(entry.at, "is not supported yet", "give each attribute a line of its own")
        raise ToldError
    if not _ATTRIBUTE.fullmatch(name) or len(name) > MAX_ATTRIBUTE:
        place.problem(
            entry.at,
            "is no name of an attribute",
            "write it without spaces or a `$` in front, with dots for nested ones",
        )
        raise ToldError
    if isinstance(node, ScalarNode):
        yield Condition(name, Operator.IS, (_value(node),))
    elif isinstance(node, ListNode):
        yield Condition(name, Operator.ANY_OF, _values(node))
    else:
        yield from _operators(name, node, place)


def _operators(name: str, node: MappingNode, place: Place) -> list[Condition]:
    if not node.entries:
        raise Refusal("says nothing", f"use {', '.join(_WORDS)}")
    conditions: list[Condition] = []
    for entry in node.entries:
        here = place.key(shown(entry.key))
        if entry.key in _LATER:
            here.problem(entry.at, "is not supported yet", f"use {', '.join(_WORDS)}")
            continue
        if entry.key not in _WORDS:
            here.problem(entry.at, "unknown comparison", near(entry.key, _WORDS))
            continue
        operator = Operator(entry.key)
        try:
            conditions.append(Condition(name, operator, _operand(operator, entry.value)))
        except Refusal as refusal:
            here.problem(entry.value.at, refusal.message, refusal.hint)
    _contradictions(conditions)
    return conditions


def _operand(operator: Operator, node: Node) -> tuple[Value, ...]:
    if operator is Operator.NOT:
        return _values(node) if isinstance(node, ListNode) else (_value(node),)
    if operator is Operator.EXISTS:
        if not isinstance(node, ScalarNode) or not isinstance(node.value, bool):
            raise Refusal(f"must be true or false, {given(node)}", "write true or false")
        return (node.value,)
    value = node.value if isinstance(node, ScalarNode) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Refusal(
            f"must be a number, {given(node)}",
            "numbers are compared with numbers only, so that every SDK agrees",
        )
    return (value,)


def _value(node: Node) -> Value:
    if not isinstance(node, ScalarNode):
        raise Refusal(f"must be a single value, {given(node)}", "write text, a number, or true")
    if node.value is None:
        raise Refusal(
            "must be a value, got nothing", "write {exists: false} for an attribute that is missing"
        )
    return node.value


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


def _contradictions(conditions: list[Condition]) -> None:
    """Refuse comparisons that nobody can satisfy together."""
    by = {condition.operator: condition.values[0] for condition in conditions}
    if by.get(Operator.EXISTS) is False and len(by) > 1:
        raise Refusal(
            "must be missing and be compared at once: nobody would take part",
            "remove `exists: false` or the comparison",
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
