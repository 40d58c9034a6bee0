"""The words for what happens in a scenario."""

from typing import Final

from experiments.language.reading import (
    Key,
    Record,
    ValueType,
    read_value,
    record_type,
)
from experiments.language.source import ScalarNode
from experiments.language.types import (
    choice_type,
    integer_type,
    json_type,
    number_type,
    text_type,
)
from guardrails.scenarios.shared_types import (
    REASON,
    SHARE,
    TIME,
    VARIANT,
    changes_type,
    made_type,
    word_type,
)
from guardrails.scenarios.types import (
    answer_type,
    clock_type,
    either_type,
    events_type,
    mapping_type,
)
from guardrails.scenarios.values import Longer, Lost, PostedAlert, Sent


def _sent_type() -> ValueType:
    keys = (
        Key("event", text_type(most=100), "Name of the event.", "flow_failed", required=True),
        Key("count", integer_type(least=1, most=100_000), "How many units send one.", 100),
        Key(
            "units",
            VARIANT,
            "Whose name they bear: `new` units, or those that met a variant.",
            "treatment",
            default="new",
        ),
        Key("fields", json_type(), "Fields of the event.", {"score": 1}),
        Key(
            "key",
            choice_type(["server", "client"], what="key"),
            "Key it is sent with: secret (`server`) or public (`client`).",
            "client",
            default="server",
        ),
    )

    def make(record: Record) -> Sent:
        return Sent(
            event=record.get("event"),
            count=record.get("count", 1),
            units=record.get("units", "new"),
            fields=record.get("fields", {}),
            trusted=record.get("key", "server") == "server",
        )

    return made_type(record_type(keys, what="events"), make)


def _lost_type() -> ValueType:
    keys = (
        Key("of", VARIANT, "Arm concerned.", "treatment", default="every arm"),
        Key("exposures", SHARE, "Share of the exposures that is lost.", "20%"),
        Key("events", SHARE, "Share of the other events that is lost.", "100%"),
    )

    def make(record: Record) -> Lost:
        share = {n: a.share for n in ("exposures", "events") if (a := record.get(n)) is not None}
        return Lost(of=record.get("of"), **share)

    return either_type("nothing", Lost(), made_type(record_type(keys, what="a loss"), make))


def _alert_type() -> ValueType:
    keys = (
        Key("name", text_type(most=200), "Its name.", "CheckoutErrors", required=True),
        Key("variant", VARIANT, "Treatment it is about.", "treatment", default="none"),
        Key("labels", json_type(), "Its other labels.", {"severity": "page"}),
        Key(
            "status",
            choice_type(["firing", "resolved"], what="status"),
            "Whether it fires, or is resolved.",
            "resolved",
            default="firing",
        ),
        Key("summary", text_type(most=200), "What it says of itself.", "5% of the checkouts fail"),
    )

    def make(record: Record) -> PostedAlert:
        return PostedAlert(
            name=record.get("name"),
            variant=record.get("variant"),
            labels=record.get("labels", {}),
            status=record.get("status", "firing"),
            summary=record.get("summary", ""),
        )

    return made_type(record_type(keys, what="an alert"), make)


def _by_hand_type() -> ValueType:
    keys = (
        Key("variant", VARIANT, "Treatment concerned.", "treatment", required=True),
        Key("because", REASON, "The reason; it is kept.", "complaints by phone", required=True),
    )
    return made_type(
        record_type(keys, what="it"),
        lambda record: dict[str, str](record.values),
    )


def _longer_type() -> ValueType:
    keys = (
        Key("by", TIME, "How much later than so far the last unit enters.", "7d", required=True),
        Key("because", REASON, "The reason; it is kept.", "a holiday", required=True),
    )

    return made_type(
        record_type(keys, what="an extension"),
        lambda record: Longer(record.get("by"), record.get("because")),
    )


_BY_HAND: Final = {"variant": "treatment", "because": "complaints by phone"}

ACT_KEYS: Final = (
    Key("traffic", number_type(least=0, most=1e6), "Units an hour from now on.", 200),
    Key("events", events_type(), "How events travel from now on.", "late 6h"),
    Key("lose", _lost_type(), "What is lost on the way from now on.", {"of": "a", "events": "9%"}),
    Key("send", _sent_type(), "Events that somebody sends by hand.", {"event": "flow_failed"}),
    Key(
        "clients",
        word_type("fresh", "stale", what="clients"),
        "Whether clients go on showing what was turned back.",
        "stale",
    ),
    Key("store", word_type("fails", "works", what="state"), "The metric store.", "fails"),
    Key(
        "prometheus",
        mapping_type(
            ValueType(
                lambda node, place: (
                    read_value(answer_type(), node, place)
                    if isinstance(node, ScalarNode)
                    else read_value(_ANSWERS, node, place)
                ),
                {"type": ["number", "string", "object"]},
            ),
            what="a query",
            example="errors: 0.5",
        ),
        "What Prometheus answers from now on, by query.",
        {"errors": 0.5},
    ),
    Key(
        "alert",
        _alert_type(),
        "An alert that Alertmanager posts; it begins anew once it was resolved.",
        {"name": "CheckoutErrors", "variant": "treatment"},
    ),
    Key("channels", word_type("fail", "work", what="state"), "Delivery of messages.", "fail"),
    Key(
        "service",
        word_type("restarts", "sleeps", "wakes", what="event"),
        "The service: a new engine on the same files, or a paused process.",
        "restarts",
    ),
    Key("engines", integer_type(least=1, most=3), "Engines on the same files from now on.", 2),
    Key("clock", clock_type(), "How wrong the service's clock is.", "back 1h"),
    Key("apply", changes_type(), "Apply the file again, with other values of keys.", "same"),
    Key("start", REASON, "Somebody starts the draft.", "go"),
    Key("pause", REASON, "Somebody pauses the experiment.", "a sale begins"),
    Key("continue", REASON, "Somebody continues it.", "the sale is over"),
    Key("stop", REASON, "Somebody stops it for good.", "no longer needed"),
    Key("approve", REASON, "Somebody approves the step of the ramp.", "looks good"),
    Key(
        "extend",
        _longer_type(),
        "Somebody lets units come in for longer.",
        {"by": "7d", "because": "a holiday fell into it"},
    ),
    Key("roll_back", _by_hand_type(), "Somebody turns a treatment back.", _BY_HAND),
    Key("resume", _by_hand_type(), "Somebody begins another attempt of it.", _BY_HAND),
    Key("suspend", REASON, "Somebody suspends the engine.", "a big sale"),
    Key("wake", REASON, "Somebody ends the suspension.", "it is over"),
    Key("note", REASON, "Somebody writes on the timeline.", "courier strike"),
)
_ANSWERS: Final = mapping_type(answer_type(), what="a variant", example="treatment: 0.9")
