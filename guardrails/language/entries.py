"""One entry under ``guardrails``: read by the keys of its rule, and its JSON Schema."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from experiments.language.reading import (
    Place,
    Record,
    Refusal,
    ToldError,
    ValueType,
    list_type,
    near,
    read_record,
    record_schema,
    shown,
)
from experiments.language.source import Entry, ListNode, MappingNode, Node, ScalarNode
from guardrails.rules import LATER, RULES, WATCH_RULES, Baseline, Catastrophe, Limit, Regression

MAX_GUARDRAILS: Final = 50
DEFAULT_RULE: Final = Regression.rule
_EITHER: Final = (("max_drop", "max_rise"), ("max", "min"))
"""Keys of which an entry has one, where its rule has both."""


def rule_of(entry: Record) -> str:
    """Return the name of an entry's rule."""
    name: str = entry.get("rule", DEFAULT_RULE)
    return name


def rule_keys() -> Sequence[str]:
    """Return every key an entry may have under some rule."""
    return tuple(dict.fromkeys(key.name for rule in RULES.values() for key in rule.keys))


_MARGINS: Final = {"max": "max_rise", "min": "max_drop"}


def id_of(entry: MappingNode) -> str | None:
    """Return the id an entry is known by, readable or not; ``None`` where it cannot be told."""
    if written := text_of(entry, "id"):
        return written
    kpi = text_of(entry, "kpi")
    rule = text_of(entry, "rule")
    if kpi is not None and rule in {Limit.rule, Catastrophe.rule, Baseline.rule}:
        return f"{kpi}-{rule}"
    if kpi is None and rule in WATCH_RULES:
        return rule
    return kpi or text_of(entry, "query") or text_of(entry, "name")


def _read_entry(node: Node, place: Place) -> Record:
    if not isinstance(node, MappingNode):
        keys = RULES[DEFAULT_RULE].keys
        also = ("max_drop: 5%",)
        return read_record(node, place, keys, later={}, what="a guardrail", also=also)
    written = _written_rule(node, place)
    keys = {key.name for key in RULES[written or DEFAULT_RULE].keys}
    strange = [e for e in node.entries if e.key not in keys and _rules_with(e.key)]
    meant = _meant_rule(node, keys) if written is None and strange else None
    if meant is not None:
        first = strange[0]
        margin = _MARGINS.get(first.key) if meant == Limit.rule else None
        instead = f", or write `{margin}` for a change against control" if margin else ""
        place.key(first.key).problem(
            first.at, f"belongs to rule `{meant}`", f"add `rule: {meant}`{instead}"
        )
        read_record(node, place, RULES[meant].keys, later={}, what="a guardrail")
        raise ToldError
    name = written or DEFAULT_RULE
    for entry in strange:
        _tell_strange(entry, name, place)
    own = MappingNode(tuple(e for e in node.entries if e not in strange), node.at)
    record = read_record(own, place, RULES[name].keys, later={}, what="a guardrail")
    return replace(record, meant=record.meant | keys) if strange else record


def _written_rule(node: MappingNode, place: Place) -> str | None:
    """Return the rule an entry names, ``None`` where it names none."""
    rule = node.get("rule")
    if not isinstance(rule, ScalarNode) or rule.faulty or rule.value is None:
        return None
    name = rule.text
    if name in RULES:
        return name
    here = place.key("rule")
    if name in LATER:
        here.problem(rule.at, f"rule `{name}` is not supported yet", f"there is {', '.join(RULES)}")
    else:
        hint = near(name, RULES, otherwise="there is")
        here.problem(rule.at, f"unknown rule `{shown(name)}`", hint)
    raise ToldError


def _rules_with(key: str) -> list[str]:
    return [name for name, rule in RULES.items() if key in {k.name for k in rule.keys}]


def _meant_rule(node: MappingNode, keys: set[str]) -> str | None:
    """Return the only rule that an entry without ``rule`` fits, if it fits one at all.

    An entry with keys that only the default rule has is taken as one of that rule.
    """
    written = {entry.key for entry in node.entries}
    fitting = [
        name
        for name, rule in RULES.items()
        if written <= {key.name for key in rule.keys} and not written <= keys
    ]
    return fitting[0] if len(fitting) == 1 else None


def _tell_strange(entry: Entry, rule: str, place: Place) -> None:
    others = " or ".join(f"`{name}`" for name in _rules_with(entry.key))
    either = [pair for pair in _EITHER if entry.key in pair]
    own = {key.name for key in RULES[rule].keys}
    instead = [pair for pair in _EITHER if either and own.issuperset(pair)]
    hint = f"use `{instead[0][0]}` or `{instead[0][1]}`" if instead else "remove it"
    place.key(entry.key).problem(entry.at, f"belongs to rule {others}, and this is `{rule}`", hint)


def _entry_schema() -> dict[str, Any]:
    return {"anyOf": [_rule_schema(name) for name in RULES]}


def _rule_schema(name: str) -> dict[str, Any]:
    schema = record_schema(RULES[name].keys)
    properties: dict[str, Any] = schema["properties"]
    about = properties["rule"]
    properties["rule"] = {"description": about["description"], "examples": [name], "const": name}
    if name != DEFAULT_RULE:
        schema["required"] = ["rule", *(k for k in schema.get("required", ()) if k != "rule")]
    for pair in _EITHER:
        if properties.keys() >= set(pair):
            schema["oneOf"] = [{"required": [key]} for key in pair]
    return {"title": f"rule {name}", "examples": [dict(RULES[name].example)], **schema}


ENTRY: Final = ValueType(_read_entry, _entry_schema())

_LIST: Final = list_type(ENTRY, what="guardrails")


def _read_entries(node: Node, place: Place) -> Any:
    if isinstance(node, ListNode):
        refuse_too_many(len(node.items))
    return _LIST.read(node, place)


def refuse_too_many(count: int) -> None:
    """Refuse more guardrails than an alpha can be split over with any use."""
    if count > MAX_GUARDRAILS:
        raise Refusal(
            f"lists {count} guardrails, more than {MAX_GUARDRAILS}",
            "each has a part of the alpha; keep those that matter",
        )


ENTRIES: Final = ValueType(_read_entries, {**_LIST.schema, "maxItems": MAX_GUARDRAILS})


def own_nodes(node: Node | None) -> Sequence[MappingNode]:
    """Return the entries of a list as they are written, faulty ones too."""
    items = node.items if isinstance(node, ListNode) else ()
    return [item for item in items if isinstance(item, MappingNode)]


def text_of(node: MappingNode, key: str) -> str | None:
    """Return the text of a key of an entry, ``None`` where it has none."""
    value = node.get(key)
    return value.text if isinstance(value, ScalarNode) else None


EXAMPLE: Final[Sequence[Mapping[str, str]]] = (
    {"kpi": "satisfaction", "max_drop": "3%"},
    {"kpi": "cancel_success_rate", "max_drop": "5%"},
)
