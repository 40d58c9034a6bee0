"""What follows where a guardrail cannot judge, the arms are unlike or nothing is proven: by key.

Blindness proves nothing: it never rolls back and never advances the ramp. It may hold the ramp
(the default), be told only, or after a deadline give everybody control (``pause``, ``stop``).

Source: DESIGN 9, the table of failures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from experiments.language.amounts import format_duration
from experiments.language.reading import (
    Key,
    Place,
    Record,
    Refusal,
    ToldError,
    ValueType,
    read_record,
    record_schema,
)
from experiments.language.source import MappingNode, Node, ScalarNode
from experiments.language.types import choice_type, duration_type, integer_type
from guardrails.rules.common import Action


class Then(StrEnum):
    """What a failure leads to."""

    HOLD = "hold"  # the ramp stands still
    ALERT = "alert"  # people are told, nothing waits
    PAUSE = "pause"  # the ramp stands still; after the deadline everybody gets control
    STOP = "stop"  # the ramp stands still; after the deadline the experiment ends


class Open(StrEnum):
    """What follows where nothing is proven at the end; control is kept either way."""

    KEEP_CONTROL = "keep_control"  # people are told, and asked whether to try on
    ALERT = "alert"  # people are told


ENDING: Final = frozenset({Then.PAUSE, Then.STOP})
"""What gives everybody control after the deadline."""


@dataclass(frozen=True, slots=True)
class Consequence:
    """What follows from one kind of failure.

    Attributes:
        then: What it leads to.
        alert_after: Checks in a row after which people are told, 1 or more.
        page_after: How long it lasts until people are paged and ``pause`` or ``stop`` come, or the
            ramp is frozen: its step begins anew when sight is back. ``None`` for never.
    """

    then: Then = Then.HOLD
    alert_after: int = 3
    page_after: timedelta | None = None


MAX_BLIND: Final = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Policies:
    """What follows from the failures of one guardrail.

    Attributes:
        on_no_data: The query worked, and there is nothing to compare.
        on_source_error: The store or Prometheus gave no usable answer.
        on_srm: Units do not enter the arms as planned (``sample_ratio`` alone).
        on_inconclusive: Nothing is proven at the end.
    """

    on_no_data: Consequence = field(default_factory=Consequence)
    on_source_error: Consequence = field(default_factory=lambda: Consequence(page_after=MAX_BLIND))
    on_srm: Consequence = field(default_factory=lambda: Consequence(alert_after=1))
    on_inconclusive: Open = Open.KEEP_CONTROL

    @property
    def ends_it(self) -> bool:
        """Whether any of them may give everybody control."""
        asked = (self.on_no_data, self.on_source_error, self.on_srm)
        return any(each.then in ENDING for each in asked)


NEVER: Final = "never"

_WHY_NO_ROLLBACK: Final = "what cannot be seen proves no harm, so it turns nobody back"
_WHY_NO_ADVANCE: Final = "what cannot be seen is not proven safe, so no ramp goes on for it"
_NO: Final[Mapping[str, str]] = {
    "rollback": _WHY_NO_ROLLBACK,
    "roll_back": _WHY_NO_ROLLBACK,
    "advance": _WHY_NO_ADVANCE,
    "continue": _WHY_NO_ADVANCE,
    "pass": _WHY_NO_ADVANCE,
    "ignore": "people have to know of it",
    "ship": "nothing is shipped while nothing is proven",
    "extend": "the plan of looks holds until its end: a longer run is a new one, with a raised "
    "`seed`",
}


def _word_type(words: type[Then] | type[Open]) -> ValueType:
    known = [str(each.value) for each in words]
    plain = choice_type(known, what="consequence")

    def read(node: Node, place: Place) -> str:
        text = node.text if isinstance(node, ScalarNode) else ""
        if text in _NO:
            raise Refusal(f"must not be `{text}`: {_NO[text]}", f"use {' or '.join(known)}")
        return plain.read(node, place)

    return ValueType(read, plain.schema)


def _read_deadline(node: Node, place: Place) -> timedelta | str:
    if isinstance(node, ScalarNode) and node.text == NEVER:
        return NEVER
    return _DEADLINE.read(node, place)


_DEADLINE: Final = duration_type(least=timedelta(minutes=1), most=timedelta(days=30))
_DEADLINE_TYPE: Final = ValueType(
    _read_deadline, {"anyOf": [{"const": NEVER}, dict(_DEADLINE.schema)]}
)
_ABOUT_THEN: Final = (
    "`hold` (the ramp stands still), `alert` (people are told, nothing waits), `pause` or `stop` "
    "(the ramp stands still, and after `page_after` everybody gets control)"
)


def _parts(default: Consequence, *, counted: bool) -> Sequence[Key]:
    never = NEVER if default.page_after is None else format_duration(default.page_after)
    then = Key(
        "then", _word_type(Then), f"What it leads to: {_ABOUT_THEN}.", "hold", default="hold"
    )
    alert = Key(
        "alert_after",
        integer_type(least=1, most=1000),
        "Checks in a row after which people are told.",
        3,
        default=str(default.alert_after),
    )
    page = Key(
        "page_after",
        _DEADLINE_TYPE,
        "How long it lasts until people are paged, `pause` or `stop` come, and a ramp that is held "
        "begins its step anew when all is well again; `never` for none of that.",
        "30m",
        default=never,
    )
    return (then, alert, page) if counted else (then, page)


def _consequence_type(default: Consequence, *, counted: bool = True) -> ValueType:
    keys = _parts(default, counted=counted)
    word = next(key.type for key in keys if key.name == "then")

    def read(node: Node, place: Place) -> Mapping[str, Any]:
        if isinstance(node, MappingNode):
            record = read_record(node, place, keys, later={}, what="a consequence")
            if not all(record.has(entry.key) for entry in node.entries):
                raise ToldError
            found = dict(record.values)
        else:
            found = {"then": word.read(node, place)}
        _check_deadline(found, default)
        return found

    return ValueType(read, {"anyOf": [dict(word.schema), record_schema(keys)]})


def _check_deadline(found: Mapping[str, Any], default: Consequence) -> None:
    """Refuse what would give everybody control at no time."""
    then = found.get("then")
    if then not in ENDING:
        return
    after = found.get("page_after", default.page_after)
    if after is None or after == NEVER:
        raise Refusal(f"says `{then}` and never when", f"write {{then: {then}, page_after: 30m}}")


_DEFAULT: Final = Policies()

ON_NO_DATA: Final = Key(
    "on_no_data",
    _consequence_type(_DEFAULT.on_no_data),
    "What follows where units enter and there is nothing to compare: no value in one arm or in "
    "any, or no events at all. It turns nobody back.",
    {"then": "hold", "alert_after": 3, "page_after": "2h"},
    default="{then: hold, alert_after: 3, page_after: never}",
)
ON_SOURCE_ERROR: Final = Key(
    "on_source_error",
    _consequence_type(_DEFAULT.on_source_error),
    "What follows where the store or Prometheus gives no usable answer. It turns nobody back; the "
    "next checks try again.",
    {"then": "hold", "alert_after": 3, "page_after": "30m"},
    default="{then: hold, alert_after: 3, page_after: 30m}",
)
ON_SRM: Final = Key(
    "on_srm",
    _consequence_type(_DEFAULT.on_srm, counted=False),
    "What follows where units do not enter the arms in the planned shares, or many are seen in two "
    "variants. It turns nobody back; a proven breach still does.",
    {"then": "hold", "page_after": "1d"},
    default="{then: hold, page_after: never}",
)
ON_INCONCLUSIVE: Final = Key(
    "on_inconclusive",
    _word_type(Open),
    "What follows at the end where nothing is proven: `keep_control` (people are told, and asked "
    "whether to run it again for longer) or `alert` (people are told). Control is kept either way.",
    "keep_control",
    default="keep_control",
)

POLICY_KEYS: Final = (ON_NO_DATA, ON_SOURCE_ERROR, ON_SRM, ON_INCONCLUSIVE)
"""Keys of the whole file: what holds for every guardrail that says nothing else."""

COMPARED_KEYS: Final = (ON_NO_DATA, ON_SOURCE_ERROR, ON_INCONCLUSIVE)
"""Keys of guardrails that compare a KPI with control."""


def policies_of(file: Record, entry: Record | None = None) -> Policies:
    """Return what follows from failures of a guardrail: as its entry says, else as the file does.

    Args:
        file: The whole file.
        entry: The guardrail; ``None`` for what is watched unasked.
    """
    found = _DEFAULT
    for record in (file, entry):
        if record is None:
            continue
        for key in (ON_NO_DATA.name, ON_SOURCE_ERROR.name, ON_SRM.name):
            given: Mapping[str, Any] | None = record.get(key)
            if given is not None:
                found = replace(found, **{key: _merged(getattr(found, key), given)})
        if record.has(ON_INCONCLUSIVE.name):
            found = replace(found, on_inconclusive=Open(record.get(ON_INCONCLUSIVE.name)))
    return found


def _merged(known: Consequence, given: Mapping[str, Any]) -> Consequence:
    changes: dict[str, Any] = {}
    if "then" in given:
        changes["then"] = Then(given["then"])
    if "alert_after" in given:
        changes["alert_after"] = given["alert_after"]
    if "page_after" in given:
        changes["page_after"] = None if given["page_after"] == NEVER else given["page_after"]
    return replace(known, **changes)


def check_policies(entry: Record) -> None:
    """Tell where a guardrail that only alerts, or is tried out, would have a consequence."""
    tried = entry.get("dry_run", False)
    if not tried and entry.get("action") != Action.ALERT:
        return
    why = "it is tried out (`dry_run`)" if tried else "it only alerts (`action: alert`)"
    for key in (ON_NO_DATA.name, ON_SOURCE_ERROR.name, ON_SRM.name):
        given: Mapping[str, Any] = entry.get(key) or {}
        then = given.get("then", Then.ALERT)
        if then != Then.ALERT:
            entry.problem(
                key, f"says `{then}` of a guardrail that holds nothing: {why}", "use alert"
            )


def words_of(consequence: Consequence, *, counted: bool = True) -> str:
    """Return a consequence in one sentence."""
    what = {
        Then.HOLD: "The ramp stands still",
        Then.ALERT: "Nothing waits for it",
        Then.PAUSE: "The ramp stands still",
        Then.STOP: "The ramp stands still",
    }[consequence.then]
    checks = consequence.alert_after
    row = f"after {checks} checks in a row" if checks > 1 else "at the first check"
    told = f", and people are told {row}" if counted else ", and people are told"
    if consequence.page_after is None:
        return f"{what}{told}."
    late = f"After {format_duration(consequence.page_after)} people are paged"
    late += {
        Then.HOLD: " and the step of the ramp begins anew when all is well again",
        Then.ALERT: "",
        Then.PAUSE: " and the experiment is paused: everybody gets control",
        Then.STOP: " and the experiment is stopped: everybody gets control",
    }[consequence.then]
    return f"{what}{told}. {late}."


def short_of(consequence: Consequence) -> str:
    """Return a consequence as it is written: ``hold, paged after 30m``."""
    after = consequence.page_after
    late = "never paged" if after is None else f"paged after {format_duration(after)}"
    return f"{consequence.then.value}, {late}"


OPEN_WORDS: Final = (
    "Nothing is proven at the end: control is kept and people are told. Nothing ships by itself."
)
