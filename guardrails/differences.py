"""What differs between two spec files, in the words of the files. Pure.

Values are compared whole, as JSON, and shown as they are written; text that would else be read as
something else, such as a number, in quotes. What is only written in another way (`50%` or
`50.0%`, a default spelled out) is no difference.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any, Final

from experiments.language.scalars import resolve, trap
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
from metrics.wording import gettext as _
from metrics.wording import marked

LONGEST = 80
"""Characters of a value that are shown."""

_BEFORE_IT = 20
"""Characters shown before the place where two long values differ."""

_NAMED: Final = {
    "variants": marked("variant {part}"),
    "ramp": marked("ramp step {part}"),
    "guardrails": marked("guardrail {part}"),
}
"""How a part of these is called: ``variant NAME``, ``ramp step 2``, ``guardrail ID``."""

_SAME: Final[Mapping[str, Callable[[ExperimentSpec], Any]]] = {
    "ramp": lambda spec: spec.ramp,
    "goal": lambda spec: spec.goal,
    "auto_ship": lambda spec: spec.auto_ship,
    "watch": lambda spec: spec.watch,
    "ends": lambda spec: spec.ends,
    "seed": lambda spec: spec.seed,
    "segments": lambda spec: sorted(spec.segments),
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
        told = {"path": path, "value": _shown(new or old)}
        said = _("{path}: {value} is new", **told), _("{path}: {value} is gone", **told)
        return [said[0] if old is None else said[1]] if new or old else []
    if path == "guardrails":
        old, new = _as_entries(old), _as_entries(new)
    if isinstance(old, MappingNode) and isinstance(new, MappingNode):
        return _mappings(path, _entries(old), _entries(new))
    if isinstance(old, ListNode) and isinstance(new, ListNode):
        return _lists(path, old.items, new.items)
    return [] if _identity(old) == _identity(new) else [_becomes(path, old, new)]


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
        inner = _("{outer} {key}", outer=path, key=key)
        if path == "variants":
            inner = _(_NAMED["variants"], part=key)
        words += _pair(inner, before, after)
    if not words and list(old) != list(new) and path == "variants":
        words.append(_("the order of the variants changes"))
    return words


def _lists(path: str, old: Sequence[Node], new: Sequence[Node]) -> list[str]:
    if _all_scalars(old) and _all_scalars(new):
        return _values(path, old, new)
    one = _NAMED.get(path)
    words: list[str] = []
    for index in range(max(len(old), len(new))):
        before = old[index] if index < len(old) else None
        after = new[index] if index < len(new) else None
        part = _("{outer} entry {number}", outer=path, number=index + 1)
        words += _pair(_(one, part=index + 1) if one else part, before, after)
    return words


def _guardrails(old: Mapping[str, Node], new: Mapping[str, Node]) -> list[str]:
    words: list[str] = []
    for name in dict.fromkeys((*new, *old)):
        words += _pair(_(_NAMED["guardrails"], part=name), old.get(name), new.get(name))
    if not words and list(old) != list(new):
        words.append(_("the order of the guardrails changes"))
    return words


def _by_name(entries: Node | None) -> dict[str, Node]:
    """Return guardrails by their id, KPI, query or rule; a second one of a name gets a number."""
    named: dict[str, Node] = {}
    for item in entries.items if isinstance(entries, ListNode) else ():
        written = _entries(item) if isinstance(item, MappingNode) else {}
        name = next(
            (_shown(written[key]) for key in ("id", "kpi", "query", "rule") if key in written), "?"
        )
        number = sum(1 for other in named if other.partition(" ")[0] == name)
        named[f"{name} ({number + 1})" if number else name] = item
    return named


def _values(path: str, old: Sequence[Node], new: Sequence[Node]) -> list[str]:
    before, after = list(map(_identity, old)), list(map(_identity, new))
    if before == after:
        return []
    added = [item for item, it in zip(new, after, strict=True) if it not in set(before)]
    gone = [item for item, it in zip(old, before, strict=True) if it not in set(after)]
    if not _told_apart(before, after) or any(len(_written(i)) > LONGEST for i in (*added, *gone)):
        at = new[0].at if new else old[0].at
        return [_becomes(path, ListNode(tuple(old), at), ListNode(tuple(new), at))]
    more, less = ", ".join(map(_listed, added)), ", ".join(map(_listed, gone))
    if more and less:
        return [_("{path}: adds {more} and drops {less}", path=path, more=more, less=less)]
    only = _("{path}: adds {more}", path=path, more=more)
    return [only if more else _("{path}: drops {less}", path=path, less=less)]


def _told_apart(before: Sequence[str], after: Sequence[str]) -> bool:
    """Whether saying what is added and dropped says all: no other order, nothing twice."""
    alone = len(set(before)) == len(before) and len(set(after)) == len(after)
    old, new = set(before), set(after)
    return alone and [it for it in before if it in new] == [it for it in after if it in old]


def _identity(node: Node) -> str:
    """Return what two nodes of the same JSON value have in common: 1, "1" and true differ."""
    return repr(to_json(node))


def _all_scalars(items: Sequence[Node]) -> bool:
    return all(isinstance(item, ScalarNode) for item in items)


def _becomes(path: str, old: Node, new: Node) -> str:
    """Return both values in one line; of long ones the part where they begin to differ."""
    before, after = _written(old), _written(new)
    same = sum(1 for _pair in takewhile(lambda pair: pair[0] == pair[1], zip(before, after)))  # noqa: B905 - the shorter one ends it
    start = max(0, same - _BEFORE_IT) if same > LONGEST - _BEFORE_IT else 0
    told = {"before": _short(before, start), "after": _short(after, start)}
    return _("{path}: {before} becomes {after}", path=path, **told)


def _shown(node: Node | None) -> str:
    """Return a value as it is written, mappings in one line."""
    return _short(_written(node))


def _written(node: Node | None) -> str:
    match node:
        case ScalarNode():
            return _quoted(node.text) if _needs_quotes(node) else node.text or "null"
        case ListNode():
            return f"[{', '.join(map(_listed, node.items))}]"
        case MappingNode():
            inside = (f"{e.key}: {_listed(e.value)}" for e in node.entries)
            return f"{{{', '.join(inside)}}}"
        case None:
            return "nothing"


def _listed(node: Node) -> str:
    """Return a value as it is written between others."""
    if isinstance(node, ScalarNode) and any(mark in node.text for mark in ",[]{}"):
        return _quoted(node.text)
    return _written(node)


def _needs_quotes(node: ScalarNode) -> bool:
    """Whether text without quotes would be read as something else, or its blanks not seen."""
    text = node.text
    if not isinstance(node.value, str):
        return False
    another = resolve(text, plain=True)[0] != text or trap(text) is not None
    return another or text != " ".join(text.split()) or text.startswith(("[", "{", '"', "'"))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _short(text: str, start: int = 0) -> str:
    """Return at most ``LONGEST`` characters of a text from ``start`` on."""
    part = text[start:] if start == 0 else f"…{text[start:]}"
    return part if len(part) <= LONGEST else f"{part[: LONGEST - 1]}…"
