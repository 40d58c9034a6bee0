"""Counts as people say them: ``5``, ``at least 5``, ``at most 5``, ``5 to 9``. Pure."""

import re
from dataclasses import dataclass
from typing import Final

from experiments.language.reading import Place, Refusal, ValueType, given
from experiments.language.source import Node, ScalarNode

_COUNT: Final = r"[0-9]{1,9}(?:\.[0-9]{1,6})?"
_RANGE: Final = re.compile(rf"(at least |at most )?({_COUNT})(?: to ({_COUNT}))?")


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from ``least`` to ``most``, both included; ``most`` may be infinite."""

    least: float
    most: float

    def __contains__(self, value: float) -> bool:
        return self.least <= value <= self.most

    def __str__(self) -> str:
        if self.least == self.most:
            return f"{self.least:g}"
        if self.most == float("inf"):
            return f"at least {self.least:g}"
        return f"at most {self.most:g}" if self.least == 0 else f"{self.least:g} to {self.most:g}"


SOME: Final = Range(1, float("inf"))
"""One or more."""


def parse_range(text: str) -> Range | None:
    """Return the numbers a text says, ``None`` when it says none."""
    found = _RANGE.fullmatch(text.strip())
    if found is None or (found[1] and found[3]):
        return None
    first = float(found[2])
    if found[1] == "at least ":
        return Range(first, float("inf"))
    if found[1] == "at most ":
        return Range(0, first)
    last = float(found[3]) if found[3] else first
    return Range(first, last) if first <= last else None


def range_type() -> ValueType:
    """Return the type of a count, or a range of counts."""

    def read(node: Node, _place: Place) -> Range:
        found = parse_range(node.text) if isinstance(node, ScalarNode) else None
        if found is None:
            raise Refusal(
                f"must be a count, {given(node)}", "write 5, at least 5, at most 5 or 5 to 9"
            )
        return found

    return ValueType(
        read,
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": _RANGE.pattern},
            ]
        },
    )
