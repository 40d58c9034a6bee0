"""The types of single values in a spec file."""

import re
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from experiments.language.amounts import (
    DURATION_PATTERN,
    MARGIN_PATTERN,
    SIGNED_PATTERN,
    Amount,
    format_duration,
    format_percent,
    parse_amount,
    parse_duration,
    percent_pattern,
)
from experiments.language.reading import Place, Refusal, ToldError, ValueType, given, near, shown
from experiments.language.source import Node, ScalarNode, is_faulty, to_json

NAME_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
"""Names of variants, layers and channels."""

MAX_DURATION: Final = timedelta(days=3660)


def _scalar(node: Node, wanted: str, hint: str) -> ScalarNode:
    if not isinstance(node, ScalarNode) or node.value is None:
        raise Refusal(f"must be {wanted}, {given(node)}", hint)
    return node


def text_type(*, most: int = 500, lines: bool = False) -> ValueType:
    """Return the type of free text; numbers are taken as written.

    Args:
        most: Characters at most.
        lines: Whether it may have several lines.
    """

    def read(node: Node, _place: Place) -> str:
        scalar = _scalar(node, "text", "write it on the same line, in quotes if it holds a colon")
        if isinstance(scalar.value, bool):
            raise Refusal(f"must be text, {given(node)}", "put it in quotes")
        text = scalar.text.strip()
        if not text:
            raise Refusal("is empty", "write a sentence or remove the key")
        if len(text) > most:
            raise Refusal(f"has {len(text)} characters, more than {most}", "shorten it")
        if not lines and "\n" in text:
            raise Refusal("has more than one line", "write it on one line, or fold it with `>-`")
        return text

    return ValueType(read, {"type": "string", "minLength": 1, "maxLength": most})


def name_type(pattern: str, *, wanted: str, hint: str) -> ValueType:
    """Return the type of a name that matches ``pattern`` (anchored)."""
    compiled = re.compile(pattern)

    def read(node: Node, _place: Place) -> str:
        scalar = _scalar(node, wanted, hint)
        if not isinstance(scalar.value, str) or not compiled.fullmatch(scalar.value):
            raise Refusal(f"must be {wanted}, {given(node)}", hint)
        return scalar.value

    return ValueType(read, {"type": "string", "pattern": f"^{pattern}$"})


def integer_type(*, least: int, most: int) -> ValueType:
    """Return the type of a whole number between ``least`` and ``most``."""

    def read(node: Node, _place: Place) -> int:
        wanted = f"a whole number from {least:,} to {most:,}"
        scalar = _scalar(node, wanted, f"write a number such as {least}")
        value = scalar.value
        if isinstance(value, bool) or not isinstance(value, int):
            raise Refusal(f"must be {wanted}, {given(node)}", "write it without quotes or unit")
        if not least <= value <= most:
            raise Refusal(f"must be {wanted}, {given(node)}")
        return value

    return ValueType(read, {"type": "integer", "minimum": least, "maximum": most})


def number_type(*, least: float, most: float, above: bool = False) -> ValueType:
    """Return the type of a number between ``least`` (left out if ``above``) and ``most``."""

    def read(node: Node, _place: Place) -> float:
        start = f"above {least:g} and at most" if above else f"from {least:g} to"
        wanted = f"a number {start} {most:g}"
        scalar = _scalar(node, wanted, f"write a number such as {most:g}")
        value = scalar.value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Refusal(f"must be {wanted}, {given(node)}", "write it without quotes or unit")
        if not least <= value <= most or (above and value == least):
            raise Refusal(f"must be {wanted}, {given(node)}")
        return float(value)

    bound = "exclusiveMinimum" if above else "minimum"
    return ValueType(read, {"type": "number", bound: least, "maximum": most})


def flag_type() -> ValueType:
    """Return the type of true or false."""

    def read(node: Node, _place: Place) -> bool:
        if not isinstance(node, ScalarNode) or not isinstance(node.value, bool):
            raise Refusal(f"must be true or false, {given(node)}", "write true or false")
        return node.value

    return ValueType(read, {"type": "boolean"})


def choice_type(choices: Sequence[str], *, later: Sequence[str] = (), what: str) -> ValueType:
    """Return the type of one word out of a few; ``later`` are known but not supported yet."""

    def read(node: Node, _place: Place) -> str:
        scalar = _scalar(node, f"one of {', '.join(choices)}", f"write for instance {choices[0]}")
        if scalar.text in later:
            raise Refusal(f"`{scalar.text}` is not supported yet", f"use {' or '.join(choices)}")
        if scalar.text not in choices:
            raise Refusal(f"unknown {what} `{shown(scalar.text)}`", near(scalar.text, choices))
        return scalar.text

    return ValueType(read, {"enum": list(choices)})


def percent_type(*, least: str = "0", most: str = "100", above: bool = False) -> ValueType:
    """Return the type of a percent without sign, between two percents; read as ``Amount``."""
    low, high = Decimal(least), Decimal(most)

    def read(node: Node, _place: Place) -> Amount:
        amount = _amount(node, "a percent such as 5%")
        if amount.absolute or amount.signed:
            raise Refusal(f"must be a percent such as 5%, {given(node)}", "write it without sign")
        if not low <= amount.percent <= high or (above and amount.percent == low):
            start = f"above {format_percent(low)} and" if above else f"{format_percent(low)} to"
            end = f"at most {format_percent(high)}" if above else format_percent(high)
            raise Refusal(f"must be {start} {end}, {given(node)}")
        return amount

    pattern = percent_pattern(most=most, zero=low == 0 and not above)
    return ValueType(read, {"type": "string", "pattern": pattern})


def margin_type() -> ValueType:
    """Return the type of a margin: ``5%`` of control's value, or ``5pp`` of a share."""

    def read(node: Node, _place: Place) -> Amount:
        amount = _amount(node, "a percent such as 5%, or percentage points such as 5pp")
        if amount.signed:
            side = "the key says which way already"
            raise Refusal(f"must be written without sign, {given(node)}", side)
        return amount

    return ValueType(read, {"type": "string", "pattern": MARGIN_PATTERN})


def change_type() -> ValueType:
    """Return the type of a change with its sign: ``+10%``, ``-2pp``."""

    def read(node: Node, _place: Place) -> Amount:
        amount = _amount(node, "a change such as +10% or -2pp")
        if not amount.signed:
            raise Refusal(f"must say which way, {given(node)}", "write + or - before it")
        if amount.percent == 0:
            raise Refusal(
                f"expects no change, {given(node)}", "remove it, or say what you hope for"
            )
        return amount

    return ValueType(read, {"type": "string", "pattern": SIGNED_PATTERN})


def _amount(node: Node, wanted: str) -> Amount:
    scalar = _scalar(node, wanted, "write it with %")
    amount = parse_amount(scalar.text)
    if amount is None:
        hint = "write it with %, in digits"
        value = scalar.value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            hint = _percent_guess(value)
        raise Refusal(f"must be {wanted}, {given(node)}", hint)
    return amount


def _percent_guess(value: float) -> str:
    if 0 < abs(value) < 1:
        return f"write {value * 100:g}%"
    return f"write {value:g}%"


def duration_type(*, least: timedelta = timedelta(0), most: timedelta = MAX_DURATION) -> ValueType:
    """Return the type of a length of time between two lengths."""

    def read(node: Node, _place: Place) -> timedelta:
        scalar = _scalar(
            node, "a duration such as 90s, 30m, 6h or 14d", "write a number and a unit"
        )
        length = parse_duration(scalar.text)
        if length is None:
            raise Refusal(
                f"must be a duration such as 90s, 30m, 6h, 14d or 1h30m, {given(node)}",
                _duration_hint(scalar),
            )
        if not least <= length <= most:
            raise Refusal(
                f"must be from {format_duration(least)} to {format_duration(most)}, {given(node)}"
            )
        return length

    return ValueType(read, {"type": "string", "minLength": 2, "pattern": DURATION_PATTERN})


def _duration_hint(scalar: ScalarNode) -> str:
    value = scalar.value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        if value == 0:
            return "write 0s"
        return f"add the unit: {value}s, {value}m, {value}h or {value}d"
    if words := _LENGTH_IN_WORDS.fullmatch(scalar.text.strip().lower()):
        count, unit = int(words[1]), words[2][0]
        return f"write {7 * count}d" if unit == "w" else f"write {count}{unit}"
    return "write whole numbers with the units d, h, m, s, largest first, without spaces"


_LENGTH_IN_WORDS: Final = re.compile(
    r"([0-9]{1,5})\s*(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)"
)


def json_type() -> ValueType:
    """Return the type of any JSON value; null has to be written, a key without value is none."""

    def read(node: Node, _place: Place) -> Any:
        if is_faulty(node):
            raise ToldError
        if isinstance(node, ScalarNode) and node.value is None and not node.text:
            raise Refusal("is empty", "write a value, which may be null, or remove the key")
        return to_json(node)

    return ValueType(read, {"type": ["object", "array", "string", "number", "boolean", "null"]})
