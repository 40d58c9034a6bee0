"""A frame's KPIs, compiled for work on columns. Pure.

What each event says is decided once, when it is read (`metrics.stores.names`). After that only
integers are needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Any

from metrics.catalogue import KpiDefinition, Measure
from metrics.store import Frame
from metrics.stores.names import NamePlan
from metrics.values import Formulas, formulas_of, microseconds, unit_value, window_hours


@dataclass(frozen=True, slots=True)
class MeasurePlan:
    """Where a measure finds its events: name code, bit, and number column (``None``: count).

    ``after`` is the place among the KPI's measures of the one whose first event must come before.
    """

    name: str
    code: int
    bit: int
    column: int | None
    cap: int | None
    cap_window: bool
    before_close: int | None
    after: int | None = None


@dataclass(frozen=True, slots=True)
class KpiPlan:
    """A KPI over one window.

    Attributes:
        index: Position among all (KPI, window) pairs of the frame.
        masks: By name code, the bits of its measures.
        case_column: Which case column its cases are in, ``None`` without cases.
        default: Value of a unit without any event of this KPI.
        from_events: Whether its values follow from the events alone, one by one: it has cases,
            or a measure counts only what comes after another event.
        totals: By measure, its column among its window's totals; empty where ``from_events``.
        selected: Count columns that say how many events of each name the KPI uses.
    """

    index: int
    kpi: KpiDefinition
    window: int
    hours: int
    measures: tuple[MeasurePlan, ...]
    masks: Mapping[int, int]
    case_column: int | None
    formulas: Formulas
    default: tuple[int, int] | None
    from_events: bool
    totals: Mapping[str, "TotalPlan"]
    selected: tuple["TotalPlan", ...]


@dataclass(frozen=True, slots=True)
class TotalPlan:
    """One running total per unit in one window: events counted, or a number field added up.

    Attributes:
        code: Name of the events.
        bits: An event with any of these belongs to it.
        column: Number column, ``None`` to count.
        cap: Largest contribution of one event.
        before_close: Only events at least this long before the window closes.
        index: Position among the counts, or among the sums, of its window.
    """

    code: int
    bits: int
    column: int | None
    cap: int | None
    before_close: int | None
    index: int


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """One window length: its KPIs, and the totals kept for them."""

    window: int
    kpis: tuple[KpiPlan, ...]
    counts: tuple[TotalPlan, ...]
    sums: tuple[TotalPlan, ...]


@dataclass(frozen=True, slots=True)
class FramePlan:
    """Everything a frame needs to know of its KPIs.

    Attributes:
        names: By event name, how to read it; other events only count for the reach.
        kpis: One per (KPI, window), in the frame's order.
        by_window: The same by window length in microseconds, ascending.
        number_columns: How many number columns there are.
        case_fields: Field of each case column.
        selections: (name code, bits) of every KPI, each once.
    """

    names: Mapping[str, NamePlan]
    kpis: tuple[KpiPlan, ...]
    by_window: Mapping[int, WindowPlan]
    number_columns: int
    case_fields: tuple[str, ...]
    selections: tuple[tuple[int, int], ...]


def plan_of(frame: Frame) -> FramePlan:
    """Return the plan of a frame; frames with the same KPIs share it."""
    return _plan(
        tuple((kpi, tuple(microseconds(each) for each in windows)) for kpi, windows in frame.kpis)
    )


@lru_cache(maxsize=64)
def _plan(kpis: tuple[tuple[KpiDefinition, tuple[int, ...]], ...]) -> FramePlan:
    names: dict[str, NamePlan] = {}
    case_fields: list[str] = []
    plans: list[KpiPlan] = []
    totals: dict[int, _Totals] = {}
    for kpi, windows in kpis:
        measures = tuple(_measure(measure, kpi, names) for measure in kpi.measures)
        if kpi.per is not None:
            if kpi.per not in case_fields:
                case_fields.append(kpi.per)
            for measure in kpi.measures:
                names[measure.event].cases[kpi.per] = case_fields.index(kpi.per)
        masks: dict[int, int] = {}
        for measure in measures:
            masks[measure.code] = masks.get(measure.code, 0) | measure.bit
        plans += [
            KpiPlan(
                index=len(plans) + position,
                kpi=kpi,
                window=window,
                hours=window_hours(window),
                measures=measures,
                masks=masks,
                case_column=None if kpi.per is None else case_fields.index(kpi.per),
                formulas=formulas_of(kpi),
                default=unit_value(
                    kpi, timedelta(microseconds=window), unit="", first=0, tolerance=0, events=()
                ),
                **_totals(kpi, window, measures, masks, totals.setdefault(window, _Totals())),
            )
            for position, window in enumerate(windows)
        ]
    lengths = sorted({plan.window for plan in plans})
    return FramePlan(
        names=names,
        kpis=tuple(plans),
        by_window={
            window: WindowPlan(
                window=window,
                kpis=tuple(plan for plan in plans if plan.window == window),
                counts=tuple(totals[window].counts.values()),
                sums=tuple(totals[window].sums.values()),
            )
            for window in lengths
        },
        number_columns=max((len(name.numbers) for name in names.values()), default=0),
        case_fields=tuple(case_fields),
        selections=tuple(sorted({pair for plan in plans for pair in plan.masks.items()})),
    )


@dataclass(slots=True)
class _Totals:
    """The totals of one window so far, each once."""

    counts: dict[object, TotalPlan] = field(default_factory=dict[object, TotalPlan])
    sums: dict[object, TotalPlan] = field(default_factory=dict[object, TotalPlan])

    def add(
        self,
        code: int,
        bits: int,
        column: int | None = None,
        cap: int | None = None,
        before_close: int | None = None,
    ) -> TotalPlan:
        """Return the total with these parts, a new one where there is none."""
        among = self.counts if column is None else self.sums
        key = (code, bits, column, cap, before_close)
        return among.setdefault(key, TotalPlan(*key, index=len(among)))


def _totals(
    kpi: KpiDefinition,
    window: int,
    measures: Sequence[MeasurePlan],
    masks: Mapping[int, int],
    totals: _Totals,
) -> dict[str, Any]:
    if kpi.per is not None or any(each.after is not None for each in measures):
        return {"from_events": True, "totals": {}, "selected": ()}
    by_measure: dict[str, TotalPlan] = {}
    for each in measures:
        caps = [each.cap, window_hours(window) if each.cap_window else None]
        cap = min((cap for cap in caps if cap is not None), default=None)
        cap = None if each.column is None else cap
        by_measure[each.name] = totals.add(each.code, each.bit, each.column, cap, each.before_close)
    selected = tuple(totals.add(code, mask) for code, mask in masks.items())
    return {"from_events": False, "totals": by_measure, "selected": selected}


def _measure(measure: Measure, kpi: KpiDefinition, names: dict[str, NamePlan]) -> MeasurePlan:
    plan = names.setdefault(measure.event, NamePlan(code=len(names) + 1))
    column = None
    if measure.field is not None:
        column = plan.numbers.setdefault(measure.field, len(plan.numbers))
    return MeasurePlan(
        name=measure.name,
        code=plan.code,
        bit=plan.bit(measure, kpi.trust),
        column=column,
        cap=measure.cap,
        cap_window=measure.cap_window,
        before_close=None if measure.before_close is None else microseconds(measure.before_close),
        after=None if measure.after is None else _place(measure.after, kpi),
    )


def _place(name: str, kpi: KpiDefinition) -> int:
    return [measure.name for measure in kpi.measures].index(name)
