"""The rule ``regression``: a KPI may not get worse than control by more than a margin.

Guarantee: a treatment whose true harm is at most ``prove_past`` of the margin is turned back with
probability at most the guardrail's level, over all looks; with the other guardrails' levels, at
most alpha over the whole experiment. It watches the whole run and everything since each restart.

Source: STATISTICS 0a; DESIGN 9.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Final

from experiments.errors import Severity
from experiments.language.amounts import Amount, format_percent
from experiments.language.reading import Key, Record
from experiments.language.spec_keys import KPI_NAME
from experiments.language.types import margin_type, number_type
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
from metrics.catalogue import Better, KpiDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression(OnKpi):
    """A treatment's KPI compared with control's.

    Attributes:
        id: Its KPI's key unless the file gives one.
        margin: Largest harm tolerated, 0 or more; relative to control unless ``absolute``.
        absolute: Whether ``margin`` is in the KPI's own unit (``5pp`` is 0.05 of a share).
        prove_past: Part of the margin that must be exceeded with proof, 0 to 1.
    """

    rule: ClassVar[str] = "regression"

    margin: float
    absolute: bool
    prove_past: float = 0.5


_MARGINS: Final = {"max_drop": Side.DROP, "max_rise": Side.RISE}
_KEYS: Final = {side: key for key, side in _MARGINS.items()}
_MOST: Final = {Side.DROP: Decimal(100), Side.RISE: Decimal(1000)}

KEYS: Final = (
    rule_key(Regression.rule, "compares a treatment's KPI with control's", default=True),
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
    action_key(STATISTICAL, default="rollback"),
    DRY_RUN_KEY,
    WEIGHT_KEY,
    WINDOWS_KEY,
    id_key("satisfaction-strict", default="the KPI's key"),
)

EXAMPLE: Final = {"kpi": "satisfaction", "max_drop": "3%"}


def read_regression(record: Record, kpis: KpiBook) -> Regression | None:
    """Return the guardrail of a record; tell what is wrong and return ``None`` when it has none."""
    before = len(record.place.report.problems)
    kpi = kpis.find(record)
    margin = _margin(record, kpi)
    if kpi is not None:
        check_trust(record, kpi)
        if margin is not None:
            _check_side(record, kpi, margin)
            _check_unit(record, kpi, margin)
    if kpi is None or margin is None or not readable(record, before):
        return None
    _check_nothing(record, kpi, margin)
    amount: Amount = record.get(margin)
    return Regression(
        **values_of(record, kpi, name=kpi.key),
        side=_MARGINS[margin],
        margin=amount.share,
        absolute=amount.absolute,
        prove_past=record.get("prove_past", 0.5),
    )


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
    return "has no margin", f"add `{_KEYS[HARM[kpi.better]]}: 5%`"


def _check_side(record: Record, kpi: KpiDefinition, margin: str) -> None:
    """A fall of what should fall is no harm: written so, the guardrail protects nobody."""
    harm = HARM.get(kpi.better)
    if harm is not None and _MARGINS[margin] is not harm:
        better = kpi.better.value
        amount = record.node.get(margin)
        text = getattr(amount, "text", "5%")
        record.problem(
            margin,
            f"guards against an improvement: for `{kpi.key}` {better} is better",
            f"write `{_KEYS[harm]}: {text}`",
        )


def _check_nothing(record: Record, kpi: KpiDefinition, margin: str) -> None:
    """Warn that with a margin of nothing shipping is advised only after a proven improvement.

    Whether a treatment is within its margin is then whether it is better than control.
    """
    amount: Amount = record.get(margin)
    if amount.share or record.get("dry_run") is True:
        return
    side = _MARGINS[margin].value
    record.problem(
        margin,
        f"tolerates nothing: shipping is advised only once `{kpi.key}` is proven better than "
        "control, which a change that leaves it alone practically never is",
        f"write the smallest {side} that would matter, such as `{margin}: 1%`; leave it if any "
        f"{side} must turn the treatment back",
        severity=Severity.WARNING,
    )


def _check_unit(record: Record, kpi: KpiDefinition, margin: str) -> None:
    amount: Amount = record.get(margin)
    if amount.absolute and kpi.unit != "share":
        record.problem(
            margin,
            f"percentage points are for shares, and `{kpi.key}` is no share ({kpi.unit})",
            f"write it as part of control's value, `{margin}: {format_percent(amount.percent)}`",
        )
