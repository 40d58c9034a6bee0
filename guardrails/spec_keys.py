"""The keys of the guardrail part of a spec file."""

from typing import Any, Final

from experiments.reading import (
    Item,
    Key,
    Place,
    Record,
    Refusal,
    ToldError,
    ValueType,
    given,
    list_type,
    near,
    read_record,
    record_schema,
    shown,
)
from experiments.source import ListNode, MappingNode, Node, ScalarNode
from experiments.spec_keys import EXPERIMENT_KEYS
from experiments.spec_keys import LATER as LATER_EXPERIMENT_KEYS
from experiments.types import choice_type
from guardrails.kpis import KPIS_KEY
from guardrails.rules import LATER as LATER_RULES
from guardrails.rules import RULES, Regression

NO_GUARDRAILS: Final = "no-guardrails"
FEWER_CANCELLATIONS: Final = "fewer-cancellations"
MAX_GUARDRAILS: Final = 50

_LATER_KEYS: Final = {
    "max": "it belongs to rule `limit`: use `max_drop` or `max_rise`",
    "min": "it belongs to rule `limit`: use `max_drop` or `max_rise`",
    "query": "it belongs to rule `promql`: remove this guardrail",
    "hold": "it belongs to rule `promql`: remove it",
}


def _read_guardrail(node: Node, place: Place) -> Record:
    """Read one guardrail by the keys of its rule."""
    name = Regression.rule
    if isinstance(node, MappingNode):
        rule = node.get("rule")
        if isinstance(rule, ScalarNode) and not rule.faulty:
            name = rule.text
            _check_rule(name, rule, place)
    rules = RULES[name]
    return read_record(node, place, rules.keys, later=_LATER_KEYS, what="a guardrail")


def _check_rule(name: str, node: ScalarNode, place: Place) -> None:
    if name in RULES:
        return
    here = place.key("rule")
    if name in LATER_RULES:
        here.problem(node.at, f"rule `{name}` is not supported yet", f"there is {', '.join(RULES)}")
    else:
        hint = near(name, RULES, otherwise="there is")
        here.problem(node.at, f"unknown rule `{shown(name)}`", hint)
    raise ToldError


def _schema() -> dict[str, Any]:
    rules: list[dict[str, Any]] = []
    for rule in RULES.values():
        schema = record_schema(rule.keys)
        schema["oneOf"] = [{"required": ["max_drop"]}, {"required": ["max_rise"]}]
        rules.append(schema)
    return rules[0] if len(rules) == 1 else {"anyOf": rules}


_GUARDRAILS: Final = list_type(ValueType(_read_guardrail, _schema()), what="guardrails")


def _read_guardrails(node: Node, place: Place) -> tuple[Item, ...]:
    if isinstance(node, MappingNode) and node.get("use") is not None:
        raise Refusal("sets of guardrails (`use`) are not supported yet", "list them one by one")
    if isinstance(node, ListNode) and len(node.items) > MAX_GUARDRAILS:
        raise Refusal(
            f"lists {len(node.items)} guardrails, more than {MAX_GUARDRAILS}",
            "each has a part of the alpha; keep those that matter",
        )
    if isinstance(node, ScalarNode) and node.value is None:
        raise Refusal(f"must be a list of guardrails, {given(node)}", "begin each with `- `")
    items: tuple[Item, ...] = _GUARDRAILS.read(node, place)
    return items


GUARDRAIL_KEYS: Final = (
    Key(
        "guardrails",
        ValueType(_read_guardrails, {**_GUARDRAILS.schema, "maxItems": MAX_GUARDRAILS}),
        "What may not get worse, and what happens when it does.",
        [
            {"kpi": "satisfaction", "max_drop": "3%"},
            {"kpi": "cancel_success_rate", "max_drop": "5%"},
        ],
        default="none, which has to be acknowledged",
    ),
    KPIS_KEY,
    Key(
        "acknowledge",
        list_type(choice_type([FEWER_CANCELLATIONS, NO_GUARDRAILS], what="warning"), what="words"),
        "Warnings that were read and accepted.",
        [FEWER_CANCELLATIONS],
        default="none",
    ),
)

SPEC_KEYS: Final = (*EXPERIMENT_KEYS, *GUARDRAIL_KEYS)
LATER: Final = LATER_EXPERIMENT_KEYS
