"""The rule ``limit``: a KPI may not be beyond a fixed value, whatever control does.

Guarantee: a treatment whose true value is within the limit is turned back with probability at
most the guardrail's level, over all checks and treatments together with the other guardrails'
part of alpha. It trips when the bound of the treatment's value, valid at every look, is beyond
the limit, control's is not, and the treatment is visibly worse than control: where both are beyond
it, the treatment is not the cause. A rate has an exact bound from the first event on; a mean or a
ratio one that holds for many units, from 100 on.

What it does not see: it works on everything since the start of the attempt, so harm that begins
late is diluted by the good time before it (``regression`` watches restarts, too); and what is
within the limit, however much worse than control.

Source: STATISTICS 1(a), 1(j); DESIGN 9.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Final

from experiments.language.amounts import PERCENT_PATTERN, Amount, parse_amount
from experiments.language.reading import Key, Place, Record, Refusal, ValueType, given
from experiments.language.source import Node, ScalarNode
from experiments.language.spec_keys import KPI_NAME
from guardrails.language.kpis import KpiBook
from guardrails.rules.common import (
    DRY_RUN_KEY,
    HARM,
    STATISTICAL,
    WEIGHT_KEY,
    WINDOWS_KEY,
    OnKpi,
    Side,
    action_key,
    check_trust,
    id_key,
    readable,
    rule_key,
    values_of,
)
from metrics.catalogue import KpiDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit(OnKpi):
    """A treatment's KPI compared with a fixed value.

    Attributes:
        id: ``KPI-limit`` unless the file gives one.
        side: ``RISE`` where the limit is a maximum, ``DROP`` where it is a minimum.
        limit: The value, in the KPI's own unit (a share: 0.05 for 5%).
    """

    rule: ClassVar[str] = "limit"

    limit: float


LIMITS: Final = {"max": Side.RISE, "min": Side.DROP}
"""Keys of a limit, and the movement that is the harm."""

_KEYS: Final = {side: key for key, side in LIMITS.items()}
_EXAMPLES: Final = {"share": "5%", "hours": "48", "seconds": "600", "score": "3.5"}


def _read_limit(node: Node, _place: Place) -> Amount | float:
    """Read a percent as ``Amount`` or a plain number as float."""
    wanted = "a percent such as 5% (of a share) or a number such as 48"
    if not isinstance(node, ScalarNode) or node.value is None or isinstance(node.value, bool):
        raise Refusal(f"must be {wanted}, {given(node)}", "write it on the same line")
    if isinstance(node.value, (int, float)):
        return float(node.value)
    amount = parse_amount(node.text)
    if amount is None:
        raise Refusal(f"must be {wanted}, {given(node)}", "write it in digits, without a unit")
    if amount.absolute:
        raise Refusal(
            f"must be {wanted}, {given(node)}", f"a limit is the value itself: {amount.percent:f}%"
        )
    if amount.signed:
        raise Refusal(f"must be {wanted}, {given(node)}", "write it without sign")
    return amount


LIMIT_TYPE: Final = ValueType(
    _read_limit, {"anyOf": [{"type": "string", "pattern": PERCENT_PATTERN}, {"type": "number"}]}
)

KEYS: Final = (
    rule_key(Limit.rule, "compares a treatment's KPI with a fixed value"),
    Key("kpi", KPI_NAME, "Name of the KPI it watches.", "flow_failure_rate", required=True),
    Key(
        "max",
        LIMIT_TYPE,
        "Largest value tolerated: a percent of a share (`5%`), else a number in the KPI's own "
        "unit (`48`).",
        "5%",
    ),
    Key(
        "min",
        LIMIT_TYPE,
        "Smallest value tolerated: a percent of a share (`80%`), else a number in the KPI's own "
        "unit (`3.5`).",
        "80%",
    ),
    action_key(STATISTICAL, default="rollback"),
    DRY_RUN_KEY,
    WEIGHT_KEY,
    WINDOWS_KEY,
    id_key("failures-at-all", default="the KPI's key and `-limit`"),
)

EXAMPLE: Final = {"rule": "limit", "kpi": "flow_failure_rate", "max": "5%"}


def read_limit(record: Record, kpis: KpiBook) -> Limit | None:
    """Return the guardrail of a record; tell what is wrong and return ``None`` when it has none."""
    before = len(record.place.report.problems)
    kpi = kpis.find(record)
    name = which_limit(record, _example(kpi))
    if kpi is not None:
        check_trust(record, kpi)
        if name is not None and _check_side(record, kpi, name):
            _check_value(record, kpi, name)
    if kpi is None or name is None or not readable(record, before):
        return None
    value: Amount | float = record.get(name)
    return Limit(
        **values_of(record, kpi, name=f"{kpi.key}-limit"),
        side=LIMITS[name],
        limit=value.share if isinstance(value, Amount) else value,
    )


def which_limit(record: Record, example: str) -> str | None:
    """Return whether a record has ``max`` or ``min``; tell when it has none or both."""
    written = [name for name in LIMITS if record.written(name)]
    if not written:
        if not record.meant & LIMITS.keys():
            record.place.problem(record.node.at, "has no limit", f"add {example}")
        return None
    if len(written) > 1:
        record.problem("min", "stands beside `max`", "keep one; make two guardrails for both sides")
        return None
    return written[0] if record.has(written[0]) else None


def _example(kpi: KpiDefinition | None) -> str:
    if kpi is None:
        return "`max: 5%` or `min: 5%`"
    value = _EXAMPLES.get(kpi.unit, "10")
    harm = HARM.get(kpi.better)
    if harm is None:
        return f"`max: {value}` or `min: {value}`"
    return f"`{_KEYS[harm]}: {value}`"


def _check_side(record: Record, kpi: KpiDefinition, name: str) -> bool:
    """Tell when the limit is on the good side: written so, the guardrail protects nobody."""
    harm = HARM.get(kpi.better)
    if harm is None or LIMITS[name] is harm:
        return True
    text = getattr(record.node.get(name), "text", "5%")
    record.problem(
        name,
        f"guards against an improvement: for `{kpi.key}` {kpi.better.value} is better",
        f"write `{_KEYS[harm]}: {text}`",
    )
    return False


def _check_value(record: Record, kpi: KpiDefinition, name: str) -> None:
    value: Amount | float = record.get(name)
    if kpi.unit != "share":
        if isinstance(value, Amount):
            record.problem(
                name,
                f"a percent is for shares, and `{kpi.key}` is no share ({kpi.unit})",
                f"write a number, such as `{name}: {_EXAMPLES.get(kpi.unit, '10')}`",
            )
    elif not isinstance(value, Amount):
        guess = value * 100 if 0 < value < 1 else value
        hint = f"write `{name}: {guess:g}%`" if 0 < guess < 100 else "write it with %"  # noqa: PLR2004 - percent
        record.problem(name, f"`{kpi.key}` is a share, so its limit is a percent", hint)
    elif not 0 < value.percent < Decimal(100):
        record.problem(
            name,
            "must be above 0% and below 100%: no sample proves that something never happens",
            "write a percent between, such as 0.1% or 99.9%",
        )
