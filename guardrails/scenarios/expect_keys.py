"""The words for what must be so in a scenario."""

from datetime import timedelta
from typing import Final

from experiments.language.reading import (
    Key,
    Place,
    Record,
    Refusal,
    ToldError,
    ValueType,
    list_type,
    read_value,
    record_type,
)
from experiments.language.source import Node, ScalarNode
from experiments.language.types import (
    choice_type,
    name_type,
    text_type,
)
from guardrails.scenarios.quantities import SOME
from guardrails.scenarios.shared_types import (
    COUNT,
    TIME,
    VARIANT,
    WORDS,
    made_type,
    word_type,
)
from guardrails.scenarios.types import (
    either_type,
    many_type,
    mapping_type,
    outcome_type,
)
from guardrails.scenarios.values import Told, Turned


def _between_type() -> ValueType:
    pair = list_type(TIME, what="times", least=2, most=2)

    def read(node: Node, place: Place) -> tuple[timedelta, timedelta]:
        items = read_value(pair, node, place)
        if len(items) != 2:  # noqa: PLR2004 - a pair; what was wrong was told
            raise ToldError
        first, last = (item.value for item in items)
        if first > last:
            raise Refusal("the second time is earlier than the first", "turn them round")
        return first, last

    return ValueType(read, pair.schema)


def _turned_type() -> ValueType:
    keys = (
        Key("variant", VARIANT, "Treatment that is turned back.", "treatment", required=True),
        Key("between", _between_type(), "Earliest and latest time of it.", ["30h", "36h"]),
        Key(
            "by",
            name_type(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", wanted="a guardrail", hint="or person"),
            "Guardrail whose breach it was, or `person`.",
            "satisfaction",
        ),
        Key("because", WORDS, "Words that its reason holds.", "Satisfaction"),
    )

    def make(record: Record) -> Turned:
        return Turned(
            record.get("variant"),
            record.get("between"),
            record.get("by"),
            record.get("because", ()),
        )

    whole = made_type(record_type(keys, what="a rollback"), make)

    def read(node: Node, place: Place) -> Turned:
        if isinstance(node, ScalarNode):
            return Turned(read_value(VARIANT, node, place))
        return read_value(whole, node, place)

    one = ValueType(read, {"anyOf": [dict(VARIANT.schema), dict(whole.schema)]})
    return many_type(one, nothing="nobody")


KINDS: Final = (
    "started",
    "rolled_back",
    "resumed",
    "extended",
    "approved",
    "breach_told",
    "blind",
    "uneven_split",
    "observing",
    "finished",
    "advice",
    "approval_wanted",
    "stopped",
    "rollback_ineffective",
    "shipped",
)


def _told_type() -> ValueType:
    keys = (
        Key(
            "kind",
            name_type(r"[a-z_]{1,40}", wanted="a kind of message", hint="such as rolled_back"),
            f"Kind of message: {', '.join(KINDS)}.",
            "rolled_back",
            required=True,
        ),
        Key("count", COUNT, "How many of them.", 1, default="at least 1"),
        Key("about", VARIANT, "Variant they are about.", "treatment", default="any"),
        Key("text", WORDS, "Words that they hold.", ["satisfaction", "90%"]),
    )

    def make(record: Record) -> Told:
        count = record.get("count", SOME)
        return Told(record.get("kind"), count, record.get("about"), record.get("text", ()))

    return many_type(made_type(record_type(keys, what="a message"), make))


def _served_type() -> ValueType:
    keys = (
        Key("variant", VARIANT, "Variant they get.", "control"),
        Key(
            "reason",
            choice_type(
                ["SPLIT", "TARGETING_MATCH", "STATIC", "DISABLED", "UNKNOWN"], what="reason"
            ),
            "Reason of the answer, as OpenFeature knows it.",
            "DISABLED",
        ),
    )
    one = made_type(
        record_type(keys, what="an answer"),
        lambda record: dict[str, str](record.values),
    )
    return mapping_type(one, what="an arm", example="treatment: {variant: control}")


EXPECT_KEYS: Final = (
    Key("state", text_type(most=40), "State of the experiment.", "running"),
    Key("live", many_type(VARIANT), "Treatments that are live.", "treatment"),
    Key("rolled_back", _turned_type(), "All treatments that are rolled back.", "nobody"),
    Key(
        "attempt",
        mapping_type(COUNT, what="a variant", example="treatment: 2"),
        "Attempt of a treatment.",
        {"treatment": 2},
    ),
    Key("step", COUNT, "Step of the ramp, from 1.", 2),
    Key(
        "outcomes",
        mapping_type(outcome_type(), what="a guardrail", example="satisfaction: pass"),
        "Newest outcome of guardrails, `ID` or `ID of VARIANT`.",
        {"satisfaction": "pass or inconclusive"},
    ),
    Key(
        "blind",
        mapping_type(
            either_type("no longer", None, TIME), what="a guardrail", example="satisfaction: 2h"
        ),
        "For how long at least a guardrail has been blind, or `no longer`.",
        {"satisfaction": "2h"},
    ),
    Key("told", _told_type(), "Messages told so far.", {"kind": "rolled_back", "count": 1}),
    Key(
        "units",
        mapping_type(COUNT, what="a variant", example="treatment: at least 100"),
        "Units exposed so far.",
        {"treatment": "at least 100"},
    ),
    Key(
        "served",
        _served_type(),
        "What units of an arm get now.",
        {"treatment": {"variant": "control", "reason": "DISABLED"}},
    ),
    Key(
        "attention",
        many_type(text_type(), nothing="nothing"),
        "Words that lines of attention hold.",
        "clock",
    ),
    Key(
        "changes",
        mapping_type(COUNT, what="a state", example="rolled_back: 1"),
        "How often something on the timeline became what.",
        {"rolled_back": 1},
    ),
    Key("decision", WORDS, "Words of the newest check's decision.", "nothing to do"),
    Key("checks", COUNT, "Checks run so far.", "at least 10"),
    Key("missed", COUNT, "Checks that nobody ran: blind time.", 11),
    Key(
        "shared",
        mapping_type(COUNT, what="an experiment", example="elsewhere: 0"),
        "Units that met another experiment, too.",
        {"elsewhere": 0},
    ),
    Key("explained", WORDS, "Words of `turnback explain`.", "was turned back"),
    Key(
        "quarantine",
        mapping_type(COUNT, what="a code", example="variant_mismatch: 100"),
        "Events refused so far, by code.",
        {"variant_mismatch": 100},
    ),
    Key(
        "verified",
        mapping_type(
            word_type("effective", "ineffective", "not known yet", what="verdict"),
            what="a variant",
            example="treatment: effective",
        ),
        "Whether a rollback is a fact.",
        {"treatment": "effective"},
    ),
)

EXPECT: Final = record_type(EXPECT_KEYS, what="what is expected")
