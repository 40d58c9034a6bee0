"""What rules have in common: actions, sides, and the keys more than one of them has."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final, TypedDict

from experiments.language.amounts import Amount, format_percent, parse_duration
from experiments.language.reading import (
    Item,
    Key,
    Place,
    Record,
    Refusal,
    ToldError,
    ValueType,
    given,
    read_value,
    shown,
)
from experiments.language.source import MappingNode, Node
from experiments.language.types import choice_type, flag_type, name_type, number_type, percent_type
from metrics.catalogue import Better, KpiDefinition, Trust, Window


class Side(StrEnum):
    """Which movement of the KPI is the harm."""

    DROP = "drop"
    RISE = "rise"


class Action(StrEnum):
    """What a breach does."""

    ROLLBACK = "rollback"  # the treatment's units get control from now on
    HOLD = "hold"  # the ramp stands still
    ALERT = "alert"  # people are told
    STOP = "stop"  # the whole experiment ends; for rules outside statistics alone


def may_turn_back(action: Action, *, dry_run: bool) -> bool:
    """Return whether a breach with this action turns its treatment back."""
    return action is Action.ROLLBACK and not dry_run


@dataclass(frozen=True, slots=True, kw_only=True)
class OnKpi:
    """What every guardrail has that compares a KPI at a level, whatever with.

    Attributes:
        id: Name within the experiment.
        kpi: KPI key.
        side: Movement that is the harm.
        windows: Windows, ascending, with their shares of the level, which sum to 1.
        action: What a breach does.
        dry_run: Evaluated, recorded and shown, but never acts.
        weight: Share of the alpha relative to the other acting guardrails, above 0.
    """

    id: str
    kpi: str
    side: Side
    windows: tuple[Window, ...]
    action: Action = Action.ROLLBACK
    dry_run: bool = False
    weight: float = 1.0

    @property
    def acts(self) -> bool:
        """Whether it can roll back, and so takes part in the alpha."""
        return may_turn_back(self.action, dry_run=self.dry_run)


class OnKpiValues(TypedDict):
    """Values of ``OnKpi`` that a record says alike in every rule: all but the side."""

    id: str
    kpi: str
    windows: tuple[Window, ...]
    action: Action
    dry_run: bool
    weight: float


STATISTICAL: Final = (Action.ROLLBACK, Action.HOLD, Action.ALERT)
"""Actions of the rules that compare KPIs: these know which treatment they blame."""

MAX_WINDOWS: Final = 6
_SHORTEST: Final = timedelta(minutes=1)
_LONGEST: Final = timedelta(days=366)
_SHARE: Final = percent_type(above=True)

HARM: Final = {Better.HIGHER: Side.DROP, Better.LOWER: Side.RISE}
"""The movement that is the harm, where the KPI says which."""


def _read_windows(node: Node, place: Place) -> tuple[Item, ...]:
    """Read lengths with their shares: ``Item`` of ``(timedelta, Amount)``."""
    if not isinstance(node, MappingNode) or not node.entries:
        raise Refusal(
            f"must be lengths with their shares, {given(node)}", "write {1h: 50%, 1d: 50%}"
        )
    windows: list[Item] = []
    for entry in node.entries:
        here = place.key(shown(entry.key))
        length = parse_duration(entry.key)
        if length is None or not _SHORTEST <= length <= _LONGEST:
            if not entry.faulty:
                here.problem(
                    entry.at, "is no length from 1m to 366d", "write for instance 1h, 1d or 14d"
                )
            continue
        if any(length == window.value[0] for window in windows):
            here.problem(entry.at, "is a length that is listed already", "remove one")
            continue
        try:
            share = read_value(_SHARE, entry.value, here)
        except ToldError:
            continue
        windows.append(Item((length, share), entry.value.at, here))
    if len(windows) != len(node.entries):
        raise ToldError
    if len(windows) > MAX_WINDOWS:
        raise Refusal(f"lists more than {MAX_WINDOWS} windows", "each has a part of the alpha")
    total = sum((window.value[1].percent for window in windows), Decimal(0))
    if total != 100:  # noqa: PLR2004 - percent
        raise Refusal(f"the shares sum to {format_percent(total)}, not 100%", "change a share")
    return tuple(windows)


WINDOWS_KEY: Final = Key(
    "windows",
    ValueType(
        _read_windows,
        {
            "type": "object",
            "minProperties": 1,
            "maxProperties": MAX_WINDOWS,
            "propertyNames": {"pattern": r"^([0-9]+[dhms])+$"},
            "additionalProperties": dict(_SHARE.schema),
        },
    ),
    "How long after first exposure a unit is watched, and the share of the guardrail's level "
    "each length gets; the shares sum to 100%.",
    {"7d": "50%", "30d": "50%"},
    default="the KPI's own",
)

DRY_RUN_KEY: Final = Key(
    "dry_run",
    flag_type(),
    "Evaluated, recorded and shown, but never acts.",
    True,
    default="false",
)

WEIGHT_KEY: Final = Key(
    "weight",
    number_type(least=0, most=1000, above=True),
    "Share of the alpha relative to the other acting guardrails.",
    2,
    default="1",
)

ABOUT_ACTIONS: Final = {
    Action.ROLLBACK: "`rollback` (its units get control)",
    Action.HOLD: "`hold` (the ramp stands still)",
    Action.ALERT: "`alert` (people are told)",
    Action.STOP: "`stop` (the whole experiment ends)",
}


def action_key(actions: Sequence[Action], *, default: str) -> Key:
    """Return the key ``action`` of a rule that knows these actions."""
    said = [ABOUT_ACTIONS[action] for action in actions]
    return Key(
        "action",
        choice_type([action.value for action in actions], what="action"),
        f"What a breach does: {', '.join(said[:-1])} or {said[-1]}.",
        "alert",
        default=default,
    )


def id_key(example: str, *, default: str) -> Key:
    """Return the key ``id`` of a rule."""
    name = name_type(
        r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}",
        wanted="a name of letters, digits, `-` and `_`",
        hint=f"for instance {example}",
    )
    return Key("id", name, "Name within the experiment.", example, default=default)


def rule_key(rule: str, about: str, *, default: bool = False) -> Key:
    """Return the key ``rule`` of a rule; the default rule need not be named.

    It is not ``required`` of any: an entry without it never gets to the keys of another rule.
    """
    return Key(
        "rule",
        choice_type([rule], what="rule"),
        f"How it judges: `{rule}` {about}.",
        rule,
        default=rule if default else "",
    )


def windows_of(record: Record, kpi: KpiDefinition) -> tuple[Window, ...]:
    """Return the windows of a record, ascending; those of its KPI where it gives none."""
    if not record.has("windows"):
        return kpi.windows
    items = (item.value for item in record.get("windows"))
    return tuple(Window(length, share.share) for length, share in sorted(items, key=_length))


def values_of(record: Record, kpi: KpiDefinition, *, name: str) -> OnKpiValues:
    """Return what a record says of a guardrail on a KPI; ``name`` is its id unless it gives one."""
    return OnKpiValues(
        id=record.get("id", name),
        kpi=kpi.key,
        windows=windows_of(record, kpi),
        action=Action(record.get("action", Action.ROLLBACK)),
        dry_run=record.get("dry_run", False),
        weight=record.get("weight", 1.0),
    )


def _length(window: tuple[timedelta, Amount]) -> timedelta:
    return window[0]


def check_trust(record: Record, kpi: KpiDefinition) -> None:
    """Tell when what a browser can send would turn a variant back."""
    action = Action(record.get("action", Action.ROLLBACK))
    acts = may_turn_back(action, dry_run=record.get("dry_run", False))
    if kpi.trust is Trust.ANY and acts:
        record.problem(
            "kpi",
            f"`{kpi.key}` counts events that browsers may send, so it must not turn a variant back",
            "add `action: alert`, or use a KPI fed by servers",
        )


def readable(record: Record, before: int) -> bool:
    """Return whether every value was read and no problem came up since there were ``before``."""
    told = len(record.place.report.problems)
    return told == before and all(record.has(entry.key) for entry in record.node.entries)
