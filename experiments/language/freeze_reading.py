"""When the ramp stands still: `freeze` of a spec file."""

from collections.abc import Sequence
from functools import cache
from typing import Final
from zoneinfo import available_timezones

from experiments.errors import Severity
from experiments.language.instants import instant_type
from experiments.language.reading import (
    Item,
    Key,
    Place,
    Record,
    Refusal,
    ValueType,
    given,
    list_type,
    near,
    read_record,
    record_schema,
    shown,
)
from experiments.language.source import ListNode, Node, ScalarNode
from experiments.language.types import text_type
from experiments.spec import Freeze

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_FREEZES: Final = 100
_DEFAULT_ZONE: Final = "UTC"


def _read_day(node: Node, _place: Place) -> str:
    text = node.text.strip() if isinstance(node, ScalarNode) else ""
    if text not in DAYS:
        guess = next((day for day in DAYS if text.lower().startswith(day)), None)
        hint = f"write {guess}" if guess else near(text, DAYS, otherwise="the days are")
        raise Refusal(f"must be a day of the week, {given(node)}", hint)
    return text


def _read_days(node: Node, place: Place) -> tuple[Item, ...]:
    if isinstance(node, ScalarNode) and node.text in DAYS:
        raise Refusal(f"must be a list of days, {given(node)}", f"write [{node.text}]")
    return _DAY_LIST.read(node, place)


@cache
def _zones() -> frozenset[str]:
    """IANA names; without those that are another zone on every machine."""
    return frozenset(available_timezones() - {"localtime", "Factory"})


def _read_zone(node: Node, _place: Place) -> str:
    if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
        raise Refusal(f"must be a time zone, {given(node)}", "for instance Europe/Berlin")
    if node.value not in _zones():
        cities = {name.rpartition("/")[2].lower(): name for name in sorted(_zones())}
        city = cities.get(node.value.strip().replace(" ", "_").lower())
        hint = f"did you mean `{city}`?" if city else near(node.value, sorted(_zones()))
        fallback = "write a name of the IANA list, for instance Europe/Berlin, or UTC"
        message = f"unknown time zone `{shown(node.value)}`"
        raise Refusal(message, hint if hint.startswith("did") else fallback)
    return node.value


_DAY_LIST: Final = list_type(
    ValueType(_read_day, {"enum": list(DAYS)}), what="days", least=1, most=len(DAYS), unique=True
)

FREEZE_KEYS: Final = (
    Key(
        "from",
        instant_type(),
        "First instant at which the ramp stands still, with its zone.",
        "2026-12-20T00:00Z",
    ),
    Key("to", instant_type(), "First instant after it, with its zone.", "2027-01-04T00:00Z"),
    Key(
        "days",
        ValueType(_read_days, {**_DAY_LIST.schema, "maxItems": len(DAYS) - 1}),
        f"Days of every week, instead of `from` and `to`: {', '.join(DAYS)}.",
        ["fri", "sat", "sun"],
    ),
    Key(
        "zone",
        ValueType(_read_zone, {"type": "string", "minLength": 1}),
        "IANA time zone in which the `days` begin and end.",
        "Europe/Berlin",
        default=_DEFAULT_ZONE,
    ),
    Key(
        "why",
        text_type(most=200, lines=True),
        "Reason, for people.",
        "holidays",
        default="not said",
    ),
)


def freeze_type() -> ValueType:
    """Return the type of `freeze`; read as ``Item`` of ``Record``."""
    schema = record_schema(FREEZE_KEYS)
    schema["oneOf"] = [{"required": ["from", "to"]}, {"required": ["days"]}]
    schema["dependentRequired"] = {"from": ["to"], "to": ["from"], "zone": ["days"]}
    return list_type(ValueType(_read_freeze, schema), what="freezes", most=MAX_FREEZES)


def _read_freeze(node: Node, place: Place) -> Record:
    if isinstance(node, ScalarNode) and node.value is not None:
        days = ["sat", "sun"]
        if day := next((day for day in DAYS if node.text.lower().startswith(day)), None):
            days = [day]
        raise Refusal(
            f"a freeze must be keys and values, {given(node)}",
            f"write {{days: [{', '.join(days)}]}} for days of the week, or {{from: …, to: …}}",
        )
    return read_record(node, place, FREEZE_KEYS, later={}, what="a freeze")


def freezes_are_times(record: Record) -> None:
    """Tell of freezes that are no time, leave no day to advance, or hold nothing."""
    frozen: set[str] = set()
    entries: Sequence[Item] = record.get("freeze", ())
    for item in entries:
        _freeze_is_one_kind(item)
        seen: set[str] = set()
        for day in item.value.get("days", ()):
            if day.value in seen:
                day.place.problem(day.at, f"`{day.value}` is listed twice", "remove one")
            seen.add(day.value)
        if len(frozen) < len(DAYS) == len(frozen | seen):
            item.value.problem(
                "days",
                "every day of the week is frozen: the ramp would never advance",
                "leave a day out",
            )
        frozen |= seen
    ramp = record.node.get("ramp")
    steps = len(ramp.items) if isinstance(ramp, ListNode) else 0
    if entries and steps <= 1 and (ramp is None or record.has("ramp")):
        record.problem(
            "freeze",
            "has no effect: no step of a ramp follows",
            "remove it, or add a `ramp:`",
            severity=Severity.WARNING,
        )


def _freeze_is_one_kind(item: Item) -> None:
    entry: Record = item.value
    span = [name for name in ("from", "to") if entry.written(name)]
    if entry.written("days"):
        for name in span:
            entry.problem(name, "is given beside `days`", "keep one: a span, or days of the week")
        return
    if len(span) == 1 and not entry.meant & {"from", "to"}:
        other = "to" if span == ["from"] else "from"
        item.place.problem(item.at, f"has `{span[0]}` and no `{other}`", f"add `{other}:`")
    elif not span and not entry.meant & {"from", "to", "days"}:
        item.place.problem(
            item.at, "says not when", "add `from:` and `to:`, or `days: [fri, sat, sun]`"
        )
    if entry.written("zone") and span:
        entry.problem("zone", "belongs to `days`", "remove it: `from` and `to` have their own zone")
    start, stop = entry.get("from"), entry.get("to")
    if start is not None and stop is not None and start >= stop:
        same = start == stop
        entry.problem(
            "to",
            f"is {'no later than' if same else 'before'} `from`",
            "move one of them" if same else "swap the two",
        )


def build_freeze(record: Record) -> Freeze:
    """Return one freeze of a file without problems."""
    return Freeze(
        start=record.get("from"),
        stop=record.get("to"),
        days=frozenset(DAYS.index(day.value) for day in record.get("days", ())),
        zone=record.get("zone", _DEFAULT_ZONE),
        why=record.get("why", ""),
    )
