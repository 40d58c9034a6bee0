"""The rule ``regression``: a KPI may not get worse than control by more than a margin."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, Final

from experiments.amounts import Amount, format_percent, parse_duration
from experiments.reading import (
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
from experiments.source import MappingNode, Node
from experiments.spec_keys import KPI_NAME
from experiments.types import (
    choice_type,
    flag_type,
    margin_type,
    name_type,
    number_type,
    percent_type,
)
from guardrails.kpis import KpiBook
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


@dataclass(frozen=True, slots=True)
class Regression:
    """A treatment's KPI compared with control's.

    Attributes:
        id: Name within the experiment, the KPI's key unless the file gives one.
        kpi: KPI key.
        side: Movement that is the harm.
        margin: Largest harm tolerated, 0 or more; relative to control unless ``absolute``.
        absolute: Whether ``margin`` is in the KPI's own unit (``5pp`` is 0.05 of a share).
        windows: Windows, ascending, with their shares of the level, which sum to 1.
        prove_past: Part of the margin that must be exceeded with proof, 0 to 1.
        action: What a breach does.
        dry_run: Evaluated, recorded and shown, but never acts.
        weight: Share of the alpha relative to the other acting guardrails, above 0.
    """

    rule: ClassVar[str] = "regression"

    id: str
    kpi: str
    side: Side
    margin: float
    absolute: bool
    windows: tuple[Window, ...]
    prove_past: float = 0.5
    action: Action = Action.ROLLBACK
    dry_run: bool = False
    weight: float = 1.0

    @property
    def acts(self) -> bool:
        """Whether it can roll back, and so takes part in the alpha."""
        return self.action is Action.ROLLBACK and not self.dry_run


MAX_WINDOWS: Final = 6
_SHORTEST: Final = timedelta(minutes=1)
_LONGEST: Final = timedelta(days=366)
_MARGINS: Final = {"max_drop": Side.DROP, "max_rise": Side.RISE}
_HARM: Final = {Better.HIGHER: "max_drop", Better.LOWER: "max_rise"}
_MOST: Final = {Side.DROP: Decimal(100), Side.RISE: Decimal(1000)}
_SHARE: Final = percent_type(above=True)


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


_ID: Final = name_type(
    r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}",
    wanted="a name of letters, digits, `-` and `_`",
    hint="for instance satisfaction-strict",
)

KEYS: Final = (
    Key(
        "rule",
        choice_type([Regression.rule], what="rule"),
        "How it judges: `regression` compares a treatment's KPI with control's.",
        "regression",
        default="regression",
    ),
    Key("kpi", KPI_NAME, "KPI it watches.", "satisfaction", required=True),
    Key(
        "max_drop",
        margin_type(),
        "Largest drop tolerated: of control's value (`3%`), or of a share in percentage points "
        "(`2pp`).",
        "3%",
    ),
    Key(
        "max_rise",
        margin_type(),
        "Largest rise tolerated: of control's value (`10%`), or of a share in percentage points "
        "(`2pp`).",
        "10%",
    ),
    Key(
        "prove_past",
        number_type(least=0, most=1),
        "Part of the margin that must be exceeded with proof: 0 is any harm, 1 the whole margin.",
        0.5,
        default="0.5",
    ),
    Key(
        "action",
        choice_type([action.value for action in Action], what="action"),
        "What a breach does: `rollback` (its units get control), `hold` (the ramp stands still) "
        "or `alert` (people are told).",
        "alert",
        default="rollback",
    ),
    Key(
        "dry_run",
        flag_type(),
        "Evaluated, recorded and shown, but never acts.",
        True,
        default="false",
    ),
    Key(
        "weight",
        number_type(least=0, most=1000, above=True),
        "Share of the alpha relative to the other acting guardrails.",
        2,
        default="1",
    ),
    Key(
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
    ),
    Key("id", _ID, "Name within the experiment.", "satisfaction-strict", default="the KPI's key"),
)


def read_regression(record: Record, kpis: KpiBook) -> Regression | None:
    """Return the guardrail of a record; tell what is wrong and return ``None`` when it has none."""
    before = len(record.place.report.problems)
    kpi = kpis.find(record)
    margin = _margin(record, kpi)
    if kpi is not None:
        _check_trust(record, kpi)
        if margin is not None:
            _check_side(record, kpi, margin)
            _check_unit(record, kpi, margin)
    readable = all(record.has(entry.key) for entry in record.node.entries)
    if kpi is None or margin is None or not readable:
        return None
    if len(record.place.report.problems) > before:
        return None
    amount: Amount = record.get(margin)
    return Regression(
        id=record.get("id", kpi.key),
        kpi=kpi.key,
        side=_MARGINS[margin],
        margin=amount.share,
        absolute=amount.absolute,
        windows=_windows(record, kpi),
        prove_past=record.get("prove_past", 0.5),
        action=Action(record.get("action", Action.ROLLBACK)),
        dry_run=record.get("dry_run", False),
        weight=record.get("weight", 1.0),
    )


def _windows(record: Record, kpi: KpiDefinition) -> tuple[Window, ...]:
    if not record.has("windows"):
        return kpi.windows
    items = (item.value for item in record.get("windows"))
    return tuple(Window(length, share.share) for length, share in sorted(items, key=_length))


def _length(window: tuple[timedelta, Amount]) -> timedelta:
    return window[0]


def _margin(record: Record, kpi: KpiDefinition | None) -> str | None:
    """Return which margin the record has; tell when it has none or both."""
    written = [name for name in _MARGINS if record.written(name)]
    if not written:
        if not record.meant & _MARGINS.keys():
            record.place.problem(record.node.at, *_no_margin(kpi))
        return None
    if len(written) > 1:
        record.problem(
            "max_rise", "stands beside `max_drop`", "keep one; make two guardrails for both sides"
        )
        return None
    name = written[0]
    if not record.has(name):
        return None
    amount: Amount = record.get(name)
    most = _MOST[_MARGINS[name]]
    if amount.percent > most:
        record.problem(name, f"is more than {format_percent(most)}: it would never act", "lower it")
        return None
    return name


def _no_margin(kpi: KpiDefinition | None) -> tuple[str, str]:
    both = "`max_drop: 5%` or `max_rise: 5%`"
    if kpi is None:
        return "has no margin", f"add {both}"
    if kpi.better is Better.EITHER:
        return (
            "has no margin, and no side",
            f"for `{kpi.key}` either may be the harm: add {both}",
        )
    return "has no margin", f"add `{_HARM[kpi.better]}: 5%`"


def _check_side(record: Record, kpi: KpiDefinition, margin: str) -> None:
    """A fall of what should fall is no harm: written so, the guardrail protects nobody."""
    harm = _HARM.get(kpi.better)
    if harm is not None and margin != harm:
        better = kpi.better.value
        amount = record.node.get(margin)
        text = getattr(amount, "text", "5%")
        record.problem(
            margin,
            f"guards against an improvement: for `{kpi.key}` {better} is better",
            f"write `{harm}: {text}`",
        )


def _check_unit(record: Record, kpi: KpiDefinition, margin: str) -> None:
    amount: Amount = record.get(margin)
    if amount.absolute and kpi.unit != "share":
        record.problem(
            margin,
            f"percentage points are for shares, and `{kpi.key}` is no share ({kpi.unit})",
            f"write it as part of control's value, `{margin}: {format_percent(amount.percent)}`",
        )


def _check_trust(record: Record, kpi: KpiDefinition) -> None:
    """What a browser can send must not turn a variant back."""
    dry_run = record.get("dry_run", False)
    acts = record.get("action", "rollback") == Action.ROLLBACK and not dry_run
    if kpi.trust is Trust.ANY and acts:
        record.problem(
            "kpi",
            f"`{kpi.key}` counts events that browsers may send, so it must not turn a variant back",
            "add `action: alert`, or use a KPI fed by servers",
        )
