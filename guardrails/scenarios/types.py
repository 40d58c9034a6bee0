"""Types of values that only scenario files have."""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from experiments.language.amounts import DURATION_PATTERN, parse_amount, parse_duration
from experiments.language.reading import (
    Place,
    Refusal,
    ToldError,
    ValueType,
    given,
    near,
    read_value,
    shown,
)
from experiments.language.source import ListNode, MappingNode, Node, ScalarNode
from guardrails.scenarios.values import Behaviour

_BEHAVIOUR: Final = re.compile(
    r"(?P<amount>none|[+-]?[0-9.]+(?:%|pp)?)"
    r"(?: from (?P<among>[0-9.]+%))?(?: after (?P<after>\S+))?"
)
_LENGTH: Final = DURATION_PATTERN.strip("^$")


def parsed_type(
    parse: Callable[[str], Any], *, wanted: str, hint: str, schema: dict[str, Any] | None = None
) -> ValueType:
    """Return the type of a scalar that ``parse`` reads; ``None`` from it is no value."""

    def read(node: Node, _place: Place) -> Any:
        found = parse(node.text.strip()) if isinstance(node, ScalarNode) else None
        if found is None:
            raise Refusal(f"must be {wanted}, {given(node)}", hint)
        return found

    return ValueType(read, schema or {"type": ["string", "number"]})


def mapping_type(
    of: ValueType, *, what: str, example: str, names: Iterable[str] | None = None
) -> ValueType:
    """Return the type of a mapping with keys of its own; read as a ``dict``.

    Args:
        of: Type of its values.
        what: Name of a key, for messages ("a variant").
        example: One entry as it is written.
        names: The keys there are, where they are known.
    """
    known = tuple(names) if names is not None else None

    def read(node: Node, place: Place) -> dict[str, Any]:
        if not isinstance(node, MappingNode):
            raise Refusal(f"must say {what} and a value, {given(node)}", f"write {{{example}}}")
        found: dict[str, Any] = {}
        for entry in node.entries:
            here = place.key(shown(entry.key))
            if known is not None and entry.key not in known:
                here.problem(entry.at, f"is not {what}", near(entry.key, known))
                continue
            try:
                found[entry.key] = read_value(of, entry.value, here)
            except ToldError:
                continue
        return found

    schema: dict[str, Any] = {"type": "object", "additionalProperties": dict(of.schema)}
    if known is not None:
        schema = {
            "type": "object",
            "additionalProperties": False,
            "properties": {name: dict(of.schema) for name in known},
        }
    return ValueType(read, schema)


def many_type(of: ValueType, *, nothing: str | None = None) -> ValueType:
    """Return the type of one value or a list of them; read as a tuple.

    Args:
        of: Type of one.
        nothing: Word for none of them, where that may be said.
    """

    def read(node: Node, place: Place) -> tuple[Any, ...]:
        if nothing is not None and isinstance(node, ScalarNode) and node.text == nothing:
            return ()
        if not isinstance(node, ListNode):
            return (read_value(of, node, place),)
        found: list[Any] = []
        for index, item in enumerate(node.items):
            try:
                found.append(read_value(of, item, place.item(index)))
            except ToldError:
                continue
        return tuple(found)

    choices = [dict(of.schema), {"type": "array", "items": dict(of.schema)}]
    if nothing is not None:
        choices.append({"const": nothing})
    return ValueType(read, {"anyOf": choices})


def either_type(word: str, value: Any, of: ValueType) -> ValueType:
    """Return the type of a word with a meaning of its own, or of something else."""

    def read(node: Node, place: Place) -> Any:
        if isinstance(node, ScalarNode) and node.text == word:
            return value
        return read_value(of, node, place)

    return ValueType(read, {"anyOf": [{"const": word}, dict(of.schema)]})


def _behaviour(text: str) -> Behaviour | None:
    found = _BEHAVIOUR.fullmatch(text)
    if found is None:
        return None
    among = parse_amount(found["among"]) if found["among"] else None
    after = parse_duration(found["after"]) if found["after"] else None
    if (found["after"] and after is None) or (among is not None and among.share > 1):
        return None
    share = among.share if among is not None else None
    if found["amount"] == "none":
        return Behaviour(None, share, after)
    amount = parse_amount(found["amount"])
    if amount is not None:
        return Behaviour(amount, share, after)
    try:
        return Behaviour(float(found["amount"]), share, after)
    except ValueError:
        return None


def behaviour_type() -> ValueType:
    """Return the type of a behaviour: ``4.2 from 60% after 1h``, ``-5%``, ``none``."""
    return parsed_type(
        _behaviour,
        wanted="a value such as 10%, 4.2, -5% or none",
        hint="after it may stand `from 60%` (of the units) and `after 2h`",
    )


def _outcome(text: str) -> tuple[str, ...] | None:
    words = tuple(part.strip() for part in text.split(" or "))
    return words if all(words) else None


def outcome_type() -> ValueType:
    """Return the type of an expected outcome: ``pass or inconclusive``, ``not breach``."""
    return parsed_type(
        _outcome,
        wanted="an outcome",
        hint="write pass, breach, inconclusive, no_data or error, with its code after it if you "
        "like; `not` before it and `or` between two may stand",
        schema={"type": "string"},
    )


def _clock(text: str) -> Any:
    way, _, length = text.partition(" ")
    off = parse_duration(length)
    if way == "right" and not length:
        return parse_duration("0s")
    if off is None or way not in {"back", "ahead"}:
        return None
    return -off if way == "back" else off


def clock_type() -> ValueType:
    """Return the type of a jump of the clock: ``back 1h``, ``ahead 1d``, ``right``."""
    return parsed_type(
        _clock,
        wanted="how wrong the service's clock is",
        hint="write back 1h, ahead 1d, or right",
        schema={"type": "string", "pattern": f"^(right|(back|ahead) {_LENGTH})$"},
    )


def _events(text: str) -> Any:
    if text in {"arrive", "stop", "twice"}:
        return text
    late, _, length = text.partition(" ")
    return parse_duration(length) if late == "late" else None


def events_type() -> ValueType:
    """Return the type of how events travel: ``arrive``, ``stop``, ``twice``, ``late 6h``."""
    return parsed_type(
        _events,
        wanted="how events travel",
        hint="write arrive, stop, twice, or late 6h",
        schema={"type": "string", "pattern": f"^(arrive|stop|twice|late {_LENGTH})$"},
    )


def _answer(text: str) -> float | str | None:
    if text in {"none", "down", "several", "NaN"}:
        return text
    try:
        return float(text)
    except ValueError:
        return None


def answer_type() -> ValueType:
    """Return the type of an answer of Prometheus: a number, or why there is none."""
    return parsed_type(
        _answer, wanted="an answer", hint="write a number, none, several, NaN or down"
    )
