"""What differs between two spec files, in the words of the files. Pure.

Values are shown as they are written. What is only written in another way (`50%` or `50.0%`, a
default spelled out) is no difference.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from experiments.language.source import (
    Entry,
    ListNode,
    MappingNode,
    Node,
    ScalarNode,
    parse_yaml,
    to_json,
)
from experiments.spec import ExperimentSpec
from guardrails.spec_file import SpecFile

LONGEST = 80
"""Characters of a value that are shown."""

_NAMED: Final = {"variants": "variant", "ramp": "ramp step", "guardrails": "guardrail"}
"""How a part of these is called: ``variant NAME``, ``ramp step 2``, ``guardrail ID``."""

_SAME: Final[Mapping[str, Callable[[ExperimentSpec], Any]]] = {
    "ramp": lambda spec: spec.ramp,
    "goal": lambda spec: spec.goal,
    "watch": lambda spec: spec.watch,
    "ends": lambda spec: spec.ends,
    "seed": lambda spec: spec.seed,
    "audience": lambda spec: spec.audience,
    "layer": lambda spec: spec.layer,
    "alpha": lambda spec: spec.alpha,
    "check_every": lambda spec: spec.check_every,
    "mode": lambda spec: spec.mode,
    "notify": lambda spec: spec.notify,
    "expect_units": lambda spec: spec.expect_units,
    "lag": lambda spec: spec.lag,
    "exposure": lambda spec: spec.exposure,
    "holdout": lambda spec: spec.holdout,
    "starts": lambda spec: spec.starts,
    "freeze": lambda spec: spec.freeze,
}
"""Keys whose meaning can be compared, so that another spelling is told from another value."""


def differences(before: SpecFile, after: SpecFile) -> tuple[str, ...]:
    """Return what a file changes, one sentence each, in the order of the new file.

    Empty when only comments, layout or spelling differ.
    """
    old, new = _top(before.text), _top(after.text)
    words: list[str] = []
    for key in dict.fromkeys((*new, *old)):
        if key not in _SAME or repr(_SAME[key](before.experiment)) != repr(
            _SAME[key](after.experiment)
        ):
            words += _pair(key, old.get(key), new.get(key))
    return tuple(words)


def _top(text: str) -> dict[str, Node]:
    node, _problems = parse_yaml(text, file="")
    return _entries(node) if isinstance(node, MappingNode) else {}


def _entries(node: MappingNode) -> dict[str, Node]:
    return {entry.key: entry.value for entry in node.entries}


def _pair(path: str, old: Node | None, new: Node | None) -> list[str]:
    """Return the differences of one value that is told by ``path``."""
    if old is None or new is None:
        change = "is new" if old is None else "is gone"
        return [f"{path}: {_shown(new or old)} {change}"] if new or old else []
    if path == "guardrails":
        old, new = _as_entries(old), _as_entries(new)
    if isinstance(old, MappingNode) and isinstance(new, MappingNode):
        return _mappings(path, _entries(old), _entries(new))
    if isinstance(old, ListNode) and isinstance(new, ListNode):
        return _lists(path, old.items, new.items)
    same = repr(to_json(old)) == repr(to_json(new))
    return [] if same else [f"{path}: {_shown(old)} becomes {_shown(new)}"]


def _as_entries(guardrails: Node) -> Node:
    """Return a plain list of guardrails as the mapping it is short for."""
    if not isinstance(guardrails, ListNode):
        return guardrails
    return MappingNode((Entry("add", guardrails.at, guardrails),), guardrails.at)


def _mappings(path: str, old: Mapping[str, Node], new: Mapping[str, Node]) -> list[str]:
    words: list[str] = []
    for key in dict.fromkeys((*new, *old)):
        before, after = old.get(key), new.get(key)
        if path == "guardrails" and key == "add":
            words += _guardrails(_by_name(before), _by_name(after))
            continue
        inner = f"{_NAMED['variants']} {key}" if path == "variants" else f"{path} {key}"
        words += _pair(inner, before, after)
    if not words and list(old) != list(new) and path == "variants":
        words.append("the order of the variants changes")
    return words


def _lists(path: str, old: Sequence[Node], new: Sequence[Node]) -> list[str]:
    if _all_scalars(old) and _all_scalars(new):
        return _values(path, old, new)
    one = _NAMED.get(path, f"{path} entry")
    words: list[str] = []
    for index in range(max(len(old), len(new))):
        before = old[index] if index < len(old) else None
        after = new[index] if index < len(new) else None
        words += _pair(f"{one} {index + 1}", before, after)
    return words


def _guardrails(old: Mapping[str, Node], new: Mapping[str, Node]) -> list[str]:
    words: list[str] = []
    for name in dict.fromkeys((*new, *old)):
        words += _pair(f"{_NAMED['guardrails']} {name}", old.get(name), new.get(name))
    if not words and list(old) != list(new):
        words.append("the order of the guardrails changes")
    return words


def _by_name(entries: Node | None) -> dict[str, Node]:
    """Return guardrails by their id, KPI or query; a second one of a name gets a number."""
    named: dict[str, Node] = {}
    for item in entries.items if isinstance(entries, ListNode) else ():
        written = _entries(item) if isinstance(item, MappingNode) else {}
        name = next((_shown(written[key]) for key in ("id", "kpi", "query") if key in written), "?")
        number = sum(1 for other in named if other.partition(" ")[0] == name)
        named[f"{name} ({number + 1})" if number else name] = item
    return named


def _values(path: str, old: Sequence[Node], new: Sequence[Node]) -> list[str]:
    before, after = [_shown(item) for item in old], [_shown(item) for item in new]
    added = [value for value in after if value not in before]
    gone = [value for value in before if value not in after]
    words: list[str] = []
    if added:
        words.append(f"adds {', '.join(added)}")
    if gone:
        words.append(f"drops {', '.join(gone)}")
    if not words and before != after:
        words.append(f"becomes {_short(', '.join(after))}")
    return [f"{path}: {' and '.join(words)}"] if words else []


def _all_scalars(items: Sequence[Node]) -> bool:
    return all(isinstance(item, ScalarNode) for item in items)


def _shown(node: Node | None) -> str:
    """Return a value as it is written, mappings in one line."""
    return _short(_written(node))


def _written(node: Node | None) -> str:
    match node:
        case ScalarNode():
            return node.text if node.text.strip() else repr(node.text)
        case ListNode():
            return f"[{', '.join(map(_written, node.items))}]"
        case MappingNode():
            return f"{{{', '.join(f'{e.key}: {_written(e.value)}' for e in node.entries)}}}"
        case None:
            return "nothing"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
