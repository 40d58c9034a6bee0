"""Who takes part: conditions on attributes, for our evaluator and for GrowthBook's.

Every line must hold. An attribute that is missing or of another type satisfies nothing but
``exists: false``: in doubt a unit takes no part. Types are guarded in the GrowthBook form
too, because its SDKs disagree about mixed ones; for the same reason texts with characters that
engines treat differently satisfy neither ``matches`` nor ``version_at_least``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, cast

from experiments.patterns import ODD_VALUE, compile_pattern, portable
from experiments.versions import UNUSUAL as ODD_VERSION
from experiments.versions import padded_version

Value = str | int | float | bool
Matcher = Callable[[Mapping[str, Any]], bool]
Test = Callable[[Any], bool]

_NUMBERS: Final = (int, float)


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
    MATCHES = "matches"
    VERSION_AT_LEAST = "version_at_least"


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that must hold.

    Attributes:
        attribute: Dotted path into the context.
        operator: How it is compared. A list attribute satisfies ``any_of`` when it holds one
            of the values, and ``not`` when it holds none.
        values: What with, all of one type; one value unless ``any_of`` or ``not``. For
            ``matches`` a pattern as ``experiments.patterns`` reads it.
    """

    attribute: str
    operator: Operator
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Groups of which at least one must hold.

    Attributes:
        groups: Each an audience of its own, of at least one clause.
    """

    groups: tuple[tuple["Clause", ...], ...]


Clause = Condition | AnyOf
"""One line of an audience."""


def compile_audience(clauses: Sequence[Clause]) -> Matcher | None:
    """Return the test of a context, ``None`` when everybody takes part. It never raises."""
    return _all([_matcher(clause) for clause in clauses]) if clauses else None


def _all(matchers: Sequence[Matcher]) -> Matcher:
    if len(matchers) == 1:
        return matchers[0]
    if len(matchers) == 2:  # noqa: PLR2004 - the usual number, and faster without a loop
        first, second = matchers
        return lambda context: first(context) and second(context)

    def matches(context: Mapping[str, Any]) -> bool:
        for matcher in matchers:  # noqa: SIM110 - a generator costs more than the loop here
            if not matcher(context):
                return False
        return True

    return matches


def _any(matchers: Sequence[Matcher]) -> Matcher:
    def matches(context: Mapping[str, Any]) -> bool:
        for matcher in matchers:  # noqa: SIM110 - as above
            if matcher(context):
                return True
        return False

    return matches


def _matcher(clause: Clause) -> Matcher:
    if isinstance(clause, AnyOf):
        return _any([_all([_matcher(part) for part in group]) for group in clause.groups])
    test = _test(clause)
    name = clause.attribute
    if "." not in name:
        return lambda context: test(context.get(name))
    path = name.split(".")
    return lambda context: test(_walk(context, path))


def attribute(context: Mapping[str, Any], name: str) -> Any:
    """Return the value that a name leads to, ``None`` without one: dots lead into objects."""
    return _walk(context, name.split(".")) if "." in name else context.get(name)


def _walk(context: Mapping[str, Any], path: Sequence[str]) -> Any:
    """Return what a path leads to; a list has ``length`` and its indices, as in JavaScript."""
    current: Any = context
    for part in path:
        if isinstance(current, Mapping):
            current = cast("Mapping[str, Any]", current).get(part)
        elif isinstance(current, list):
            current = _of_list(cast("list[Any]", current), part)
        else:
            return None
    return current


def _of_list(items: list[Any], part: str) -> Any:
    if part == "length":
        return len(items)
    short = part.isascii() and part.isdigit() and len(part) <= 10  # noqa: PLR2004 - digits of 2^32
    if not short or (part[0] == "0" and part != "0"):
        return None
    index = int(part)
    return items[index] if index < len(items) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, _NUMBERS) and not isinstance(value, bool)


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
    return _TESTS[condition.operator](condition.values)


def _other_than(values: tuple[Value, ...]) -> Test:
    among = _any_member(_member(values))
    return lambda value: value is not None and not among(value)


def _exists(values: tuple[Value, ...]) -> Test:
    wanted = bool(values[0])
    return lambda value: (value is not None) is wanted


def _matches(values: tuple[Value, ...]) -> Test:
    search = compile_pattern(str(values[0]))
    return lambda value: isinstance(value, str) and search(value)


def _version_at_least(values: tuple[Value, ...]) -> Test:
    bound = padded_version(str(values[0]))

    def test(value: Any) -> bool:
        padded = padded_version(value) if isinstance(value, str) else None
        return padded is not None and bound is not None and padded >= bound

    return test


# written out: a call of ``_is_number`` would cost as much as the comparison


def _at_least(values: tuple[Any, ...]) -> Test:
    bound = values[0]
    return lambda v: isinstance(v, _NUMBERS) and v is not True and v is not False and v >= bound


def _above(values: tuple[Any, ...]) -> Test:
    bound = values[0]
    return lambda v: isinstance(v, _NUMBERS) and v is not True and v is not False and v > bound


def _at_most(values: tuple[Any, ...]) -> Test:
    bound = values[0]
    return lambda v: isinstance(v, _NUMBERS) and v is not True and v is not False and v <= bound


def _below(values: tuple[Any, ...]) -> Test:
    bound = values[0]
    return lambda v: isinstance(v, _NUMBERS) and v is not True and v is not False and v < bound


_TESTS: Final[Mapping[Operator, Callable[[tuple[Value, ...]], Test]]] = {
    Operator.IS: _member,
    Operator.ANY_OF: lambda values: _any_member(_member(values)),
    Operator.NOT: _other_than,
    Operator.AT_LEAST: _at_least,
    Operator.ABOVE: _above,
    Operator.AT_MOST: _at_most,
    Operator.BELOW: _below,
    Operator.EXISTS: _exists,
    Operator.MATCHES: _matches,
    Operator.VERSION_AT_LEAST: _version_at_least,
}


def growthbook_condition(clauses: Iterable[Clause]) -> dict[str, Any]:
    """Return the same audience in GrowthBook's targeting language; empty means everybody."""
    result: dict[str, Any] = {}
    apart: list[dict[str, Any]] = []
    for clause in clauses:
        if isinstance(clause, AnyOf):
            extra: dict[str, Any] = {"$or": [growthbook_condition(g) for g in clause.groups]}
        else:
            extra = {clause.attribute: _operators(clause)}
        for key, value in extra.items():
            if key not in result:
                result[key] = value
            elif key != "$or" and _fit(result[key], value):
                result[key] = {**result[key], **value}
            else:
                apart.append({key: value})
    if apart:
        result["$and"] = apart
    return result


def _fit(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two sets of operators can stand together: no operator with two operands."""
    return all(one[name] == other[name] for name in one.keys() & other.keys())


def _operators(condition: Condition) -> dict[str, Any]:
    return _GROWTHBOOK[condition.operator](condition.values)


def _text(operator: str, operand: Any, *, odd: str) -> dict[str, Any]:
    """Guarded: engines differ about the texts that ``odd`` finds."""
    return {"$type": "string", operator: operand, "$not": {"$regex": odd}}


def _number(operator: str) -> Callable[[tuple[Value, ...]], dict[str, Any]]:
    # guarded: JavaScript would compare null and "20" with a number
    return lambda values: {"$type": "number", operator: values[0]}


_GROWTHBOOK: Final[Mapping[Operator, Callable[[tuple[Value, ...]], dict[str, Any]]]] = {
    Operator.IS: lambda values: {"$eq": values[0]},
    Operator.ANY_OF: lambda values: {"$in": list(values)},
    Operator.NOT: lambda values: {"$exists": True, "$nin": list(values)},
    Operator.AT_LEAST: _number("$gte"),
    Operator.ABOVE: _number("$gt"),
    Operator.AT_MOST: _number("$lte"),
    Operator.BELOW: _number("$lt"),
    Operator.EXISTS: lambda values: {"$exists": bool(values[0])},
    Operator.MATCHES: lambda values: _text("$regex", portable(str(values[0])), odd=ODD_VALUE),
    Operator.VERSION_AT_LEAST: lambda values: _text("$vgte", values[0], odd=ODD_VERSION),
}
