"""Who takes part: conditions on attributes, for our evaluator and for GrowthBook's.

Every line must hold. An attribute that is missing or of another type satisfies nothing but
``exists: false``: in doubt a unit takes no part. Types are guarded in the GrowthBook form
too, because its SDKs disagree about mixed ones.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

Value = str | int | float | bool
Matcher = Callable[[Mapping[str, Any]], bool]
Test = Callable[[Any], bool]


class Operator(StrEnum):
    """How an attribute is compared."""

    IS = "is"
    ANY_OF = "any_of"
    NOT = "not"
    AT_LEAST = "at_least"
    ABOVE = "above"
    AT_MOST = "at_most"
    BELOW = "below"
    EXISTS = "exists"


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that must hold.

    Attributes:
        attribute: Dotted path into the context.
        operator: How it is compared. A list attribute satisfies ``any_of`` when it holds one
            of the values, and ``not`` when it holds none.
        values: What with, all of one type; one value unless ``any_of`` or ``not``.
    """

    attribute: str
    operator: Operator
    values: tuple[Value, ...]


def compile_audience(conditions: Sequence[Condition]) -> Matcher | None:
    """Return the test of a context, ``None`` when everybody takes part. It never raises."""
    matchers = [_matcher(condition) for condition in conditions]
    if not matchers:
        return None
    if len(matchers) == 1:
        return matchers[0]

    def matches(context: Mapping[str, Any]) -> bool:
        for matcher in matchers:  # noqa: SIM110 - a generator costs more than the loop here
            if not matcher(context):
                return False
        return True

    return matches


def _matcher(condition: Condition) -> Matcher:
    test = _test(condition)
    name = condition.attribute
    if "." not in name:
        return lambda context: test(context.get(name))
    path = name.split(".")
    return lambda context: test(_walk(context, path))


def _walk(context: Mapping[str, Any], path: Sequence[str]) -> Any:
    current: Any = context
    for part in path:
        if not isinstance(current, Mapping):
            return None
        current = cast("Mapping[str, Any]", current).get(part)
    return current


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _member(values: tuple[Value, ...]) -> Test:
    """Return the test whether a single value is one of ``values``, never across types."""
    known = frozenset(values)
    first = values[0]
    if isinstance(first, bool):
        return lambda value: isinstance(value, bool) and value in known
    if isinstance(first, str):
        return lambda value: isinstance(value, str) and value in known
    return lambda value: _is_number(value) and value in known


def _any_member(member: Test) -> Test:
    def test(value: Any) -> bool:
        if isinstance(value, list):
            return any(member(item) for item in cast("list[Any]", value))
        return member(value)

    return test


def _test(condition: Condition) -> Test:
    operator, values = condition.operator, condition.values
    if operator is Operator.IS:
        return _member(values)
    if operator is Operator.ANY_OF:
        return _any_member(_member(values))
    if operator is Operator.NOT:
        among = _any_member(_member(values))
        return lambda value: value is not None and not among(value)
    if operator is Operator.EXISTS:
        wanted = bool(values[0])
        return lambda value: (value is not None) is wanted
    return _COMPARE[operator](values[0])


def _at_least(bound: Any) -> Test:
    return lambda value: _is_number(value) and value >= bound


def _above(bound: Any) -> Test:
    return lambda value: _is_number(value) and value > bound


def _at_most(bound: Any) -> Test:
    return lambda value: _is_number(value) and value <= bound


def _below(bound: Any) -> Test:
    return lambda value: _is_number(value) and value < bound


_COMPARE: dict[Operator, Callable[[Any], Test]] = {
    Operator.AT_LEAST: _at_least,
    Operator.ABOVE: _above,
    Operator.AT_MOST: _at_most,
    Operator.BELOW: _below,
}
_GROWTHBOOK: dict[Operator, str] = {
    Operator.AT_LEAST: "$gte",
    Operator.ABOVE: "$gt",
    Operator.AT_MOST: "$lte",
    Operator.BELOW: "$lt",
}


def growthbook_condition(conditions: Sequence[Condition]) -> dict[str, Any]:
    """Return the same audience in GrowthBook's targeting language; empty means everybody."""
    result: dict[str, dict[str, Any]] = {}
    for condition in conditions:
        operators = result.setdefault(condition.attribute, {})
        match condition.operator:
            case Operator.IS:
                operators["$eq"] = condition.values[0]
            case Operator.ANY_OF:
                operators["$in"] = list(condition.values)
            case Operator.NOT:
                operators |= {"$exists": True, "$nin": list(condition.values)}
            case Operator.EXISTS:
                operators["$exists"] = bool(condition.values[0])
            case _:
                # guarded: JavaScript would compare null and "20" with a number
                operators |= {
                    "$type": "number",
                    _GROWTHBOOK[condition.operator]: condition.values[0],
                }
    return dict(result)
