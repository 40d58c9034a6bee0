"""The keys of the experiment part of a spec file: their types, meaning and examples."""

import re
from datetime import timedelta
from typing import Final

from experiments.audience_reading import audience_type
from experiments.reading import (
    Item,
    Key,
    Place,
    Refusal,
    ToldError,
    ValueType,
    given,
    list_type,
    read_value,
    record_type,
    shown,
)
from experiments.source import MappingNode, Node
from experiments.spec import CONTROL, Advance, Mode
from experiments.types import (
    change_type,
    choice_type,
    duration_type,
    flag_type,
    integer_type,
    json_type,
    name_type,
    percent_type,
    text_type,
)

KEY_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
NAME_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
UNIT_PATTERN: Final = r"[A-Za-z_][A-Za-z0-9_]{0,63}"

_NAME: Final = re.compile(NAME_PATTERN)

EXPERIMENT_KEY = name_type(
    KEY_PATTERN,
    wanted="a key of letters, digits, `-`, `_` and `.`",
    hint="for instance three-step-cancel",
)
KPI_NAME = name_type(UNIT_PATTERN, wanted="the key of a KPI", hint="for instance satisfaction")
CHANNEL_NAME = name_type(
    NAME_PATTERN, wanted="the name of a channel", hint="channels are set up at the server"
)

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
        "Any JSON, delivered as the flag's value.",
        {"steps": ["confirm"]},
        default="the name of the variant",
    ),
)
_VARIANT = record_type(VARIANT_KEYS, what="a variant")

STEP_KEYS: Final = (
    Key(
        "traffic",
        percent_type(above=True),
        "Share of the audience that takes part.",
        "25%",
        required=True,
    ),
    Key("hold", duration_type(), "Least time in this step before the next.", "24h", default="0s"),
    Key(
        "min_units",
        integer_type(least=1, most=1_000_000_000),
        "Units of each arm exposed in this step before the next.",
        500,
        default="none asked for",
    ),
    Key(
        "advance",
        choice_type([a.value for a in Advance], what="condition"),
        "What the evidence must say before the next step: `unharmed` (no acting guardrail is in "
        "breach, error or without data) or `proven` (every acting guardrail has passed).",
        "proven",
        default="unharmed",
    ),
    Key(
        "approval",
        flag_type(),
        "Whether a person must approve the next step.",
        False,
        default="false",
    ),
)

GOAL_KEYS: Final = (
    Key("kpi", KPI_NAME, "KPI that should improve.", "save_rate", required=True),
    Key(
        "expect",
        change_type(),
        "Change hoped for against control: relative (`+10%`), or in percentage points (`+2pp`).",
        "+10%",
        default="not said",
    ),
)

ENDS_KEYS: Final = (
    Key(
        "after",
        duration_type(least=timedelta(hours=1)),
        "From the start to the last new exposure.",
        "14d",
        required=True,
    ),
    Key(
        "observe_for",
        duration_type(),
        "How long exposed units are watched after that, guardrails included.",
        "14d",
        default="until the longest window of the file has closed",
    ),
)


def _read_variants(node: Node, place: Place) -> dict[str, Item]:
    """Read the arms: name to ``Item`` of a ``Record``, without those that are faulty."""
    if not isinstance(node, MappingNode):
        raise Refusal(
            f"must be arms with their names as keys, {given(node)}",
            "write `control: {weight: 50%}` and so on",
        )
    arms: dict[str, Item] = {}
    for entry in node.entries:
        here = place.key(shown(entry.key))
        if not _NAME.fullmatch(entry.key):
            if not entry.faulty:
                hint = "use letters, digits, `-` and `_`, at most 64"
                here.problem(entry.at, "is no name for a variant", hint)
            continue
        try:
            arms[entry.key] = Item(read_value(_VARIANT, entry.value, here), entry.at, here)
        except ToldError:
            continue
    return arms


_VARIANTS = ValueType(
    _read_variants,
    {
        "type": "object",
        "required": [CONTROL],
        "minProperties": 2,
        "propertyNames": {"pattern": f"^{NAME_PATTERN}$"},
        "additionalProperties": dict(_VARIANT.schema),
    },
)

EXPERIMENT_KEYS: Final = (
    Key(
        "experiment",
        EXPERIMENT_KEY,
        "Key of the experiment and of its flag; part of the hash, so it never changes.",
        "three-step-cancel",
        required=True,
    ),
    Key(
        "title",
        text_type(most=200),
        "Name for people.",
        "Three-step cancellation",
        default="the key",
    ),
    Key(
        "owner",
        text_type(most=200),
        "Whom to ask about it.",
        "retention@example.com",
        default="nobody",
    ),
    Key(
        "hypothesis",
        text_type(most=2000),
        "What is believed, in a sentence.",
        "Showing what is lost lowers cancellations without annoying people.",
        default="not said",
    ),
    Key(
        "unit",
        name_type(
            UNIT_PATTERN,
            wanted="the name of an id, in letters, digits and `_`",
            hint="for instance order_id or user_id",
        ),
        "Type of id that is hashed and analysed; the OpenFeature targetingKey where a request "
        "does not name it.",
        "order_id",
        required=True,
    ),
    Key(
        "seed",
        integer_type(least=1, most=1_000_000_000),
        "Part of the hash: raise it to deal the units anew and start the analysis over.",
        2,
        default="1",
    ),
    Key(
        "audience",
        audience_type(),
        "Who takes part: every line must hold. A value, a list (any of), or comparisons.",
        {"platform": ["ios", "android"], "order_value": {"at_least": 20}},
        default="everybody",
    ),
    Key(
        "variants",
        _VARIANTS,
        "The arms by name: `control`, which everybody gets in doubt, and one treatment or more.",
        {"control": {"weight": "50%"}, "three_step": {"weight": "50%"}},
        required=True,
    ),
    Key(
        "ramp",
        list_type(record_type(STEP_KEYS, what="a step"), what="steps", least=1),
        "Steps of traffic, each larger than the one before.",
        [{"traffic": "5%", "hold": "6h", "min_units": 500}, {"traffic": "100%"}],
        default="full traffic from the start",
    ),
    Key(
        "goal",
        record_type(GOAL_KEYS, what="a goal"),
        "What the change is meant to improve.",
        {"kpi": "save_rate", "expect": "+10%"},
        default="none",
    ),
    Key(
        "watch",
        list_type(KPI_NAME, what="KPIs"),
        "KPIs that are shown beside the guardrails and judged by none.",
        ["cancellation_rate", "repurchase_rate"],
        default="none",
    ),
    Key(
        "ends",
        record_type(ENDS_KEYS, what="`ends`"),
        "When new exposures stop and how long units are watched after that.",
        {"after": "14d", "observe_for": "14d"},
        required=True,
    ),
    Key(
        "alpha",
        percent_type(most="50", above=True),
        "Budget of false rollbacks over the whole experiment: all acting guardrails, treatments "
        "and looks together.",
        "5%",
        default="5%",
    ),
    Key(
        "check_every",
        duration_type(least=timedelta(seconds=1), most=timedelta(days=7)),
        "Time between two checks.",
        "1m",
        default="1m",
    ),
    Key(
        "mode",
        choice_type([mode.value for mode in Mode], what="mode"),
        "`live`, or `shadow`: everything is judged and recorded and nobody is turned back.",
        "live",
        default="live",
    ),
    Key(
        "notify",
        list_type(CHANNEL_NAME, what="channels"),
        "Channels that are told; they are set up at the server.",
        ["ops"],
        default="none",
    ),
    Key(
        "expect_units",
        integer_type(least=200, most=10_000_000_000),
        "Units all variants together are expected to have by the end of the run.",
        67_200,
        default="measured",
    ),
    Key(
        "lag",
        duration_type(most=timedelta(days=7)),
        "How late events may arrive: a unit enters a comparison this long after its window.",
        "5m",
        default="5m",
    ),
)

LATER: Final = {
    "layer": "remove it; give experiments that must not meet audiences that exclude each other",
    "force": "remove it; overrides are no part of a file yet",
    "exposure": "remove it; an evaluation on the server records the exposure",
    "holdout": "remove it",
    "starts": "remove it; an experiment starts when its file is applied",
    "freeze": "remove it",
}
"""Keys that are known and not supported yet, with what to do instead."""
