"""The arms of a spec file, and the ids that get one of them by hand: `variants` and `force`."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from experiments.language.amounts import format_percent
from experiments.language.reading import (
    Item,
    Key,
    Place,
    Record,
    Refusal,
    ToldError,
    ValueType,
    given,
    near,
    read_value,
    record_type,
    shown,
)
from experiments.language.source import MappingNode, Node, ScalarNode, to_json
from experiments.language.types import NAME_PATTERN, json_type, percent_type
from experiments.spec import CONTROL

MAX_VARIANTS: Final = 20
MAX_FORCED: Final = 1_000
MAX_ID: Final = 256

_VARIANT_NAME: Final = re.compile(NAME_PATTERN)
_HUNDRED: Final = Decimal(100)

VARIANT_KEYS: Final = (
    Key(
        "weight",
        percent_type(above=True),
        "Share of the units that take part; the weights of all variants sum to 100%.",
        "50%",
        required=True,
    ),
    Key(
        "flow",
        json_type(),
        "Any JSON, delivered as the flag's value; null: what the application's code has.",
        {"steps": ["confirm"]},
        default="the name of the variant",
    ),
)
_VARIANT = record_type(VARIANT_KEYS, what="a variant")


def variants_type() -> ValueType:
    """Return the type of the arms: name to ``Item`` of a ``Record``."""
    schema = {
        "type": "object",
        "required": [CONTROL],
        "minProperties": 2,
        "maxProperties": MAX_VARIANTS,
        "propertyNames": {"pattern": f"^{NAME_PATTERN}$"},
        "additionalProperties": {
            "description": "An arm: its share and what is delivered to its units.",
            "examples": [{"weight": "50%", "flow": {"steps": ["confirm"]}}],
            **_VARIANT.schema,
        },
    }
    return ValueType(_read_variants, schema)


def _read_variants(node: Node, place: Place) -> dict[str, Item]:
    """Read the arms, without those that are faulty."""
    if not isinstance(node, MappingNode):
        raise Refusal(
            f"must be arms with their names as keys, {given(node)}",
            "write `control: {weight: 50%}` and so on",
        )
    arms: dict[str, Item] = {}
    for entry in node.entries:
        here = place.key(shown(entry.key))
        if not _VARIANT_NAME.fullmatch(entry.key):
            if not entry.faulty:
                hint = "use letters, digits, `-` and `_`, at most 64"
                here.problem(entry.at, "is no name for a variant", hint)
            continue
        try:
            arms[entry.key] = Item(read_value(_VARIANT, entry.value, here), entry.at, here)
        except ToldError:
            continue
    return arms


def force_type() -> ValueType:
    """Return the type of `force`: id to ``Item`` of the name of a variant."""
    schema = {
        "type": "object",
        "maxProperties": MAX_FORCED,
        "propertyNames": {"minLength": 1, "maxLength": MAX_ID},
        "additionalProperties": {
            "description": "Name of the variant that this id gets.",
            "examples": [CONTROL],
            "type": "string",
            "pattern": f"^{NAME_PATTERN}$",
        },
    }
    return ValueType(_read_force, schema)


def _read_force(node: Node, place: Place) -> dict[str, Item]:
    if not isinstance(node, MappingNode):
        raise Refusal(
            f"must be ids with the variant each gets, {given(node)}",
            'write {"order-17": control} with the ids of your testers',
        )
    if len(node.entries) > MAX_FORCED:
        raise Refusal(
            f"lists {len(node.entries):,} ids, more than {MAX_FORCED:,}",
            "it is for trying a variant out; use `audience:` for groups of people",
        )
    forced: dict[str, Item] = {}
    for entry in node.entries:
        here = place.key(shown(entry.key))
        if entry.faulty or (isinstance(entry.value, ScalarNode) and entry.value.faulty):
            continue
        if len(entry.key) > MAX_ID:
            here.problem(
                entry.at,
                f"is an id of {len(entry.key):,} characters, more than {MAX_ID}",
                "shorten it",
            )
            continue
        name = entry.value.value if isinstance(entry.value, ScalarNode) else None
        if not isinstance(name, str) or not name.strip():
            here.problem(
                entry.value.at,
                f"must be the name of a variant, {given(entry.value)}",
                f'write for instance "{shown(entry.key)}": {CONTROL}',
            )
            continue
        forced[entry.key] = Item(name, entry.value.at, here)
    return forced


def _arms(record: Record) -> Mapping[str, Item]:
    return record.get("variants", {})


def names_of_arms(record: Record) -> list[str]:
    """Return the names that stand under `variants`, faulty ones too; empty when unreadable."""
    node = record.node.get("variants")
    return list(to_json(node)) if isinstance(node, MappingNode) else []


def variants_have_a_control(record: Record) -> None:
    """Tell when there is no control, no treatment, or too many arms."""
    if not record.has("variants"):
        return
    names = names_of_arms(record)
    if CONTROL not in names:
        near_name = next((name for name in names if name.lower() == CONTROL), None)
        hint = (
            f"rename `{near_name}` to `control`"
            if near_name
            else "name the arm without the change so"
        )
        record.problem("variants", "there is no `control`", hint)
    elif len(names) == 1:
        record.problem("variants", "there is no treatment", "add the variant you want to try")
    if len(names) > MAX_VARIANTS:
        record.problem("variants", f"there are more than {MAX_VARIANTS} variants", "try fewer")


def weights_sum_to_all(record: Record) -> None:
    """Tell when the weights do not sum to 100%."""
    arms = _arms(record)
    if not arms or len(arms) != len(names_of_arms(record)):
        return
    if not all(arm.value.has("weight") for arm in arms.values()):
        return
    total = sum((arm.value.get("weight").percent for arm in arms.values()), Decimal(0))
    if total != _HUNDRED:
        rest = _HUNDRED - total
        hint = f"{'add' if rest > 0 else 'take away'} {format_percent(abs(rest))}"
        record.problem("variants", f"the weights sum to {format_percent(total)}, not 100%", hint)


def flows_are_alike(record: Record) -> None:
    """A flag has one type: applications ask for an object or a text, and get an error else.

    Null is of every type: no value is delivered, and the application's own default is used.
    """
    arms = _arms(record)
    written = {name: arm for name, arm in arms.items() if arm.value.written("flow")}
    if not written:
        return
    for name, arm in arms.items():
        if name not in written:
            other = next(iter(written))
            arm.place.problem(
                arm.at, f"has no `flow`, but `{other}` has one", "give one to every variant"
            )
    flows = {name: arm.value.get("flow") for name, arm in written.items()}
    kinds = {name: _json_kind(flow) for name, flow in flows.items() if flow is not None}
    first = next(iter(kinds.items()), None)
    for name, kind in kinds.items():
        if first is not None and kind != first[1]:
            written[name].value.problem(
                "flow",
                f"is {kind}, but that of `{first[0]}` is {first[1]}",
                "use the same JSON type in every variant: a flag has one type",
            )


def _json_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, (int, float)):
        return "a number"
    return "a list" if isinstance(value, list) else "an object"


def forced_variants_exist(record: Record) -> None:
    """Tell of ids that would get a variant the file does not have."""
    names = names_of_arms(record)
    forced: Mapping[str, Item] = record.get("force", {})
    for item in forced.values():
        if names and item.value not in names:
            hint = near(item.value, names, otherwise="there is")
            item.place.problem(item.at, f"unknown variant `{shown(item.value)}`", hint)
