"""A frame's KPIs, compiled for work on columns. Pure.

Whether an event matches a measure is decided once, when the event is read, and kept as one bit
per distinct selector of its name. After that only integers are needed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache

from metrics.catalogue import Condition, KpiDefinition, Measure, Test, Trust
from metrics.events import Event, FieldValue
from metrics.store import Frame, StoreError
from metrics.values import (
    Formulas,
    formulas_of,
    holds,
    is_number,
    microseconds,
    selects,
    unit_value,
    window_hours,
)

MOST_SELECTORS = 62

Predicate = Callable[[Mapping[str, FieldValue], str], bool]


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


@dataclass(slots=True)
class NamePlan:
    """How events of one name are read.

    Attributes:
        code: Number of the name.
        always: Bits of selectors that match every event (of any trust, of trusted ones).
        tests: (bit, needs trust, predicate) of the others.
        numbers: Number field to column.
        cases: Case field to column.
    """

    code: int
    always: int = 0
    always_trusted: int = 0
    tests: list[tuple[int, bool, Predicate]] = field(
        default_factory=list[tuple[int, bool, Predicate]]
    )
    numbers: dict[str, int] = field(default_factory=dict[str, int])
    cases: dict[str, int] = field(default_factory=dict[str, int])
    bits: dict[object, int] = field(default_factory=dict[object, int])

    def flags(self, event: Event, unit: str) -> int:
        """Return the bits of the selectors an event of a unit matches."""
        flags = self.always
        if event.trusted:
            flags |= self.always_trusted
        for bit, needs_trust, test in self.tests:
            if (event.trusted or not needs_trust) and test(event.fields, unit):
                flags |= bit
        return flags


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
    by_window: Mapping[int, tuple[KpiPlan, ...]]
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
            )
            for position, window in enumerate(windows)
        ]
    lengths = sorted({plan.window for plan in plans})
    return FramePlan(
        names=names,
        kpis=tuple(plans),
        by_window={w: tuple(plan for plan in plans if plan.window == w) for w in lengths},
        number_columns=max((len(name.numbers) for name in names.values()), default=0),
        case_fields=tuple(case_fields),
        selections=tuple(sorted({pair for plan in plans for pair in plan.masks.items()})),
    )


def _measure(measure: Measure, kpi: KpiDefinition, names: dict[str, NamePlan]) -> MeasurePlan:
    plan = names.setdefault(measure.event, NamePlan(code=len(names) + 1))
    column = None
    if measure.field is not None:
        column = plan.numbers.setdefault(measure.field, len(plan.numbers))
    return MeasurePlan(
        name=measure.name,
        code=plan.code,
        bit=_bit(measure, kpi.trust, plan),
        column=column,
        cap=measure.cap,
        cap_window=measure.cap_window,
        before_close=None if measure.before_close is None else microseconds(measure.before_close),
        after=None if measure.after is None else _place(measure.after, kpi),
    )


def _place(name: str, kpi: KpiDefinition) -> int:
    return [measure.name for measure in kpi.measures].index(name)


def _bit(measure: Measure, trust: Trust, plan: NamePlan) -> int:
    selector = (measure.where, measure.field, trust)
    if selector in plan.bits:
        return plan.bits[selector]
    if len(plan.bits) >= MOST_SELECTORS:
        raise StoreError(
            f"event {measure.event!r}: more than {MOST_SELECTORS} different measures look at it; "
            "let KPIs share measures"
        )
    bit = plan.bits[selector] = 1 << len(plan.bits)
    needs_trust = trust is Trust.SERVER
    if not measure.where and measure.field is None:
        if needs_trust:
            plan.always_trusted |= bit
        else:
            plan.always |= bit
    else:
        plan.tests.append((bit, needs_trust, _predicate(measure)))
    return bit


def _predicate(measure: Measure) -> Predicate:
    """Return ``selects`` of a measure, quicker for the usual ones."""
    if measure.field is not None and not measure.where:
        return _has_number(measure.field)
    if measure.field is None and len(measure.where) == 1:
        return _condition(measure.where[0])
    return lambda fields, unit: selects(measure, fields, unit)


def _has_number(key: str) -> Predicate:
    return lambda fields, _: is_number(fields.get(key))


def _condition(condition: Condition) -> Predicate:
    key, values = condition.field, condition.values
    if condition.test is Test.IS and all(isinstance(value, str) for value in values):
        return lambda fields, _: fields.get(key) in values
    if condition.test is Test.PRESENT:
        return lambda fields, _: key in fields
    return lambda fields, unit: holds(condition, fields, unit)
