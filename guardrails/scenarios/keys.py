"""The words of scenario files: one table serves reading, messages and the JSON Schema."""

from typing import Final

from experiments.language.instants import INSTANT_EXAMPLE, instant_type
from experiments.language.reading import (
    Key,
    ValueType,
    list_type,
    record_type,
)
from experiments.language.types import (
    flag_type,
    integer_type,
    number_type,
    percent_type,
    text_type,
)
from guardrails.scenarios.act_keys import ACT_KEYS
from guardrails.scenarios.expect_keys import EXPECT, EXPECT_KEYS
from guardrails.scenarios.people import RECIPES
from guardrails.scenarios.shared_types import REASON, SHARE, TIME, VARIANT, changes_type, word_type
from guardrails.scenarios.types import (
    behaviour_type,
    many_type,
    mapping_type,
)

__all__ = ["ACT_KEYS", "EXPECT_KEYS", "SCENARIO_KEYS"]


def node_type() -> ValueType:
    """Return the type of anything; read as it stands, to be looked at later."""
    return ValueType(lambda node, _place: node, {"type": ["string", "object"]})


STEP_KEYS: Final = (
    Key("at", TIME, "Time since the start.", "30h", required=True),
    *ACT_KEYS,
    Key("refused", REASON, "What is done here is refused with these words.", "cooldown"),
    Key("expect", EXPECT, "What must be so after that.", {"state": "running"}),
)

PEOPLE: Final = mapping_type(
    behaviour_type(), what="a KPI", example="satisfaction: 4.2", names=RECIPES
)

EFFECT_KEYS: Final = (
    Key("of", many_type(VARIANT), "Arms it is planted in.", "treatment", required=True),
    Key("from", TIME, "First exposures from when on.", "75h", default="the start"),
    Key("until", TIME, "First exposures until when.", "90h", default="the end"),
    Key(
        "where",
        mapping_type(text_type(most=100), what="an attribute", example="platform: ios"),
        "Attributes a unit must have.",
        {"platform": "ios"},
    ),
    *(
        Key(kpi, behaviour_type(), f"What becomes of {kpi}.", "+10%" if recipe.share else "-5%")
        for kpi, recipe in RECIPES.items()
    ),
)

SERVICE_KEYS: Final = (
    Key("suspended", flag_type(), "Whether it is started suspended.", example=True),
    Key("holdout", percent_type(most="50"), "Share of all units that take part in nothing.", "5%"),
    Key("grace", TIME, "Time after a rollback before its verification begins.", "15m"),
)

SCENARIO_KEYS: Final = (
    Key("scenario", text_type(most=200), "The trap, in a sentence.", "An outage", required=True),
    Key("about", text_type(most=4000, lines=True), "More about it.", "Why this matters."),
    Key("spec", node_type(), "The experiment: its keys, or a file.", "cancel.yaml", required=True),
    Key("change", changes_type(), "Keys of the spec file that differ.", {"check_every": "1h"}),
    Key("beside", many_type(node_type()), "Other experiments that run.", "other.yaml"),
    Key("seed", integer_type(least=0, most=10**9), "Of everything random.", 7, default="1"),
    Key("starts", instant_type(), "Instant of hour 0.", INSTANT_EXAMPLE, default="a Monday"),
    Key("traffic", number_type(least=0, most=1e6), "Units an hour.", 200, default="100"),
    Key(
        "attributes",
        mapping_type(
            mapping_type(SHARE, what="a value", example="ios: 50%"),
            what="an attribute",
            example="platform: {ios: 50%, android: 50%}",
        ),
        "Shares of the values of the units' attributes.",
        {"platform": {"ios": "50%", "android": "50%"}},
    ),
    Key("people", PEOPLE, "How units behave, by KPI.", {"satisfaction": "4.2 from 60%"}),
    Key(
        "effects",
        list_type(record_type(EFFECT_KEYS, what="an effect"), what="effects"),
        "What is planted.",
        [{"of": "treatment", "from": "75h", "satisfaction": "-5%"}],
    ),
    Key(
        "queries",
        mapping_type(
            word_type("per variant", "whole service", what="query"),
            what="a query",
            example="errors: per variant",
        ),
        "Queries of Prometheus that the server knows.",
        {"errors": "per variant"},
    ),
    Key(
        "service",
        record_type(SERVICE_KEYS, what="the service"),
        "How the service is set up.",
        {"holdout": "5%"},
    ),
    Key(
        "timeline",
        list_type(record_type(STEP_KEYS, what="a step"), what="steps"),
        "What happens, and what must be so, in the order of time.",
        [{"at": "30h", "store": "fails"}],
    ),
    Key("lasts", TIME, "When it is over.", "5d", default="the last step of the timeline"),
    Key("expect", EXPECT, "What must be so at the end.", {"rolled_back": "nobody"}),
    Key("not_yet", REASON, "Why it must still fail: not built yet.", "needs on_no_data"),
    Key("heavy", flag_type(), "Whether it takes long.", example=True, default="false"),
)
