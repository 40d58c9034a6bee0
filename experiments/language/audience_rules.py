"""Spellings in an ``audience`` that look like a mistake: they are warned of, not refused.

Attributes are whatever applications send, so a wrong one cannot be known. What can be seen in one
file is an attribute that is spelt in two ways, or that is nearly a word of the audience itself.
"""

from collections.abc import Iterator
from typing import Final

from experiments.errors import Severity
from experiments.language.audience_schema import COMPARISONS, GROUPS, OTHER_WORDS
from experiments.language.reading import Place, Record, shown
from experiments.language.source import Entry, ListNode, MappingNode, Node, ScalarNode

_SHORTEST: Final = 4
"""Names of fewer characters differ by one as often as not."""


def attributes_are_spelt_once(record: Record) -> None:
    """Warn of attributes that are nearly another one of the file, its unit, or a comparison."""
    node = record.node.get("audience")
    if node is None:
        return
    seen: dict[str, str] = {}
    unit = record.node.get("unit")
    if isinstance(unit, ScalarNode) and not unit.faulty:
        seen[unit.text] = f"`{shown(unit.text)}`, the unit"
    for entry, place in _attributes(node, record.place.key("audience")):
        name = entry.key
        if name in seen:
            continue
        like = next((known for known in seen if _nearly(name, known)), None)
        if like is not None:
            _warn(
                place,
                entry,
                f"is spelt almost like {seen[like]}",
                "write both alike, if they are meant to be the same",
            )
        elif _is_told(entry):
            pass
        elif word := next((w for w in (*COMPARISONS, GROUPS) if _nearly(name, w)), None):
            under = f"order_value: {{{word}: …}}" if word in COMPARISONS else f"{GROUPS}: [{{…}}]"
            _warn(
                place,
                entry,
                f"is spelt almost like the word `{word}`",
                f"write {under} if you mean that",
            )
        seen[name] = f"`{shown(name)}` of line {entry.at.line}"


def _is_told(entry: Entry) -> bool:
    """Whether reading it has refused it as a misspelt word already."""
    if isinstance(entry.value, ScalarNode):
        return False
    groups = isinstance(entry.value, ListNode) and any(
        isinstance(item, MappingNode) for item in entry.value.items
    )
    return groups or entry.key.lower().replace("-", "_") in OTHER_WORDS


def _warn(place: Place, entry: Entry, message: str, hint: str) -> None:
    place.problem(entry.at, message, hint, severity=Severity.WARNING)


def _attributes(node: Node, place: Place) -> Iterator[tuple[Entry, Place]]:
    """Yield the attributes of an audience and of its groups, in the order of the file."""
    if not isinstance(node, MappingNode):
        return
    for entry in node.entries:
        here = place.key(shown(entry.key))
        if entry.key == GROUPS and isinstance(entry.value, ListNode):
            for index, group in enumerate(entry.value.items):
                yield from _attributes(group, here.item(index))
        elif not entry.faulty and entry.key not in COMPARISONS:
            yield entry, here


def _nearly(one: str, other: str) -> bool:
    """Whether two names differ by one slip of the finger, or only in case, `_` and `-`."""
    if one == other or min(len(one), len(other)) < _SHORTEST:
        return False
    if _plain(one) == _plain(other):
        return True
    if abs(len(one) - len(other)) > 1 or (rest := _after_common(one, other)) is None:
        return False
    # visits_7d and visits_30d are two things
    return not any(part.isdigit() for part in rest)


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _after_common(one: str, other: str) -> tuple[str, str] | None:
    """Return where two names differ if that is one letter or two swapped ones, else ``None``."""
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(one), len(other)) - start and one[-1 - end] == other[-1 - end]:
        end += 1
    left, right = one[start : len(one) - end], other[start : len(other) - end]
    if len(left) <= 1 and len(right) <= 1:
        return left, right
    swapped = len(left) == len(right) == 2 and left == right[::-1]  # noqa: PLR2004 - two letters
    return (left, right) if swapped else None
