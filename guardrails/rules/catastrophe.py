"""The rule ``catastrophe``: units may not be harmed several times as often as control's.

It counts single events from the first one on, long before the arms have the 100 units that other
rules wait for. Every unit with the harm fell into its arm by the random assignment; were the
treatment harmless, it would be the treatment's with the planned share. The harm is the KPI's event
where lower is better (``flow_failure_rate``), its absence where higher is (``cancel_success_rate``:
whoever started and did not get out). Either way a unit counts once, so the KPI is a proportion.

Guarantee: a treatment in which the harm is at most ``max_times`` as likely as in control is turned
back with probability at most the guardrail's level, at every look from the first event; with the
other guardrails' levels, at most alpha over the whole experiment. Exact, with no model of the
rate, which may jump with the hour or an outage that meets both arms alike.

What it asks for: units dealt at random with the planned shares, and events recorded alike in both
arms (``sample_ratio`` watches the first). What it does not see: harm that is less than
``max_times`` as likely, and what is already so common in control that it cannot be; it counts
everything since the start of the attempt, so harm that begins late takes longer.

Source: STATISTICS 1(a), exact alternatives; Lindon & Malek (2022); DESIGN 9.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import ClassVar, Final

from experiments.language.reading import Key, Record
from experiments.language.spec_keys import KPI_NAME
from experiments.language.types import number_type
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
from metrics.catalogue import Kind, KpiDefinition, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Catastrophe(OnKpi):
    """The units harmed in a treatment compared with those harmed in control, one by one.

    Attributes:
        id: ``KPI-catastrophe`` unless the file gives one.
        side: ``RISE`` where the KPI's event is the harm, ``DROP`` where its absence is.
        max_times: Largest multiple of control's rate tolerated, 1 or more.
    """

    rule: ClassVar[str] = "catastrophe"

    max_times: float = 2.0


FIRST: Final = timedelta(minutes=10)
"""Window over which the first events are counted, beside the KPI's shortest."""

_TIMES: Final = 2.0
_MOST: Final = 100.0

KEYS: Final = (
    rule_key(
        Catastrophe.rule, "counts the units harmed in a treatment and in control from the first on"
    ),
    Key(
        "kpi",
        KPI_NAME,
        "KPI it watches: a share of units whose event is the harm, or its absence.",
        "flow_failure_rate",
        required=True,
    ),
    Key(
        "max_times",
        number_type(least=1, most=_MOST),
        "Largest multiple of control's rate of harm tolerated.",
        3,
        default="2",
    ),
    action_key(STATISTICAL, default="rollback"),
    DRY_RUN_KEY,
    WEIGHT_KEY,
    replace(WINDOWS_KEY, default="10m and the KPI's shortest; that alone where absence is harm"),
    id_key("nothing-works", default="the KPI's key and `-catastrophe`"),
)

EXAMPLE: Final = {"rule": "catastrophe", "kpi": "flow_failure_rate"}


def read_catastrophe(record: Record, kpis: KpiBook) -> Catastrophe | None:
    """Return the guardrail of a record; tell what is wrong and return ``None`` when it has none."""
    before = len(record.place.report.problems)
    kpi = kpis.find(record)
    if kpi is not None:
        check_trust(record, kpi)
        _check_harm(record, kpi)
    if kpi is None or not readable(record, before):
        return None
    side = HARM[kpi.better]
    values = values_of(record, kpi, name=f"{kpi.key}-catastrophe")
    if not record.has("windows"):
        values["windows"] = _first_windows(kpi, side)
    return Catastrophe(**values, side=side, max_times=record.get("max_times", _TIMES))


def _check_harm(record: Record, kpi: KpiDefinition) -> None:
    """Tell when single units are not harmed or spared, or nobody says which of both is harm."""
    if kpi.kind is not Kind.PROPORTION:
        record.problem(
            "kpi",
            f"`{kpi.key}` is no share of units ({kpi.kind.value}), so no unit can be counted as "
            "harmed",
            "use a KPI of kind proportion, or rule `regression` or `limit`",
        )
    elif kpi.better not in HARM:
        record.problem(
            "kpi",
            f"for `{kpi.key}` either may be the harm, so nobody knows which units to count",
            "use a KPI that has a better side, or rule `regression` with `max_rise` or `max_drop`",
        )


def _first_windows(kpi: KpiDefinition, side: Side) -> tuple[Window, ...]:
    """Return where the first events are looked for.

    What has not happened after ten minutes may still come, so absence is no harm so soon.
    """
    shortest = min(window.length for window in kpi.windows)
    if side is Side.DROP or shortest <= FIRST:
        return (Window(shortest, 1.0),)
    return Window(FIRST, 0.5), Window(shortest, 0.5)
