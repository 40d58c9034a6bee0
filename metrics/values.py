"""A unit's value: a pure function of its first exposure and its events.

This is the readable definition, on plain integers, one unit at a time. The engines that
work on columns must give the same integers (``tests/contracts``).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from types import MappingProxyType

from metrics.catalogue import (
    PER_UNIT_CAP,
    Condition,
    KpiDefinition,
    Measure,
    Test,
    Trust,
)
from metrics.catalogue_file import scales_of
from metrics.events import Event, FieldValue, to_micros
from metrics.formula import Formula, parse_formula
from metrics.kinds import KINDS

_HOURS_PER_MICROSECOND = 3600  # micro-hours in x microseconds: x / 3600
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Formulas:
    """The checked formulas of a KPI."""

    value: Formula
    over: Formula | None
    each: Mapping[str, Formula]


@lru_cache(maxsize=1024)
def formulas_of(kpi: KpiDefinition) -> Formulas:
    """Return a KPI's formulas, checked once."""
    scales = scales_of(kpi)
    each = {name: parse_formula(text, scales) for name, text in kpi.each}
    totals = {**scales, **{name: formula.scale for name, formula in each.items()}}
    return Formulas(
        value=parse_formula(kpi.value, totals),
        over=None if kpi.over is None else parse_formula(kpi.over, totals),
        each=MappingProxyType(each),
    )


def microseconds(length: timedelta) -> int:
    """Return a duration in whole microseconds."""
    return length // _MICROSECOND


def window_hours(window: int) -> int:
    """Return the length of a window of ``window`` microseconds in hours, 1e-6, rounded down."""
    return window // _HOURS_PER_MICROSECOND


def holds(condition: Condition, fields: Mapping[str, FieldValue], unit: str) -> bool:
    """Return whether an event of a unit meets one condition; numbers are in 1e-6."""
    return passes(condition, fields.get(condition.field), unit)


def passes(condition: Condition, value: FieldValue | None, unit: str) -> bool:
    """Return whether a field's value (``None``: the event has none) meets a condition."""
    match condition.test:
        case Test.IS:
            # True == 1 in Python: a number is never a boolean here
            return any(value == each and type(value) is type(each) for each in condition.values)
        case Test.ABOVE:
            limit = condition.values[0]
            return is_number(value) and is_number(limit) and int(value) > int(limit)  # pyright: ignore[reportArgumentType]
        case Test.PRESENT:
            return value is not None
        case Test.ABSENT:
            return value is None
        case Test.OTHER_THAN_UNIT:
            return value != unit


def is_number(value: FieldValue | None) -> bool:
    """Return whether a field holds a number."""
    return isinstance(value, int) and not isinstance(value, bool)


def selects(measure: Measure, fields: Mapping[str, FieldValue], unit: str) -> bool:
    """Return whether an event of the measure's name is one it counts, whenever it happened."""
    if measure.field is not None and not is_number(fields.get(measure.field)):
        return False
    return all(holds(condition, fields, unit) for condition in measure.where)


def unit_value(
    kpi: KpiDefinition,
    window: timedelta,
    *,
    unit: str,
    first: int,
    tolerance: int,
    events: Iterable[Event],
) -> tuple[int, int] | None:
    """Return a unit's exact numerator and denominator (1e-6) when its window has closed.

    Counted are events with first - tolerance <= happened_at < first + window, and of those
    the first 20 of each name (by time, then id) that the KPI uses. The cap is by name: cut
    across names it would count 20 requests and none of their payments.

    Args:
        kpi: What is measured.
        window: From the first exposure.
        unit: Id of the unit.
        first: First exposure, microseconds since 1970.
        tolerance: Clock tolerance before the first exposure, microseconds.
        events: Events of the unit, in any order; each once.

    Returns:
        ``None`` when the value is undefined, for instance a ratio without a denominator.
    """
    length = microseconds(window)
    counted = _counted(kpi, unit, first - tolerance, first + length, events)
    formulas = formulas_of(kpi)
    hours = window_hours(length)
    totals = _totals(kpi, unit, first + length, hours, counted)
    for name, formula in formulas.each.items():
        cases: dict[FieldValue | None, list[Event]] = {}
        for event in counted:
            cases.setdefault(case_of(event.fields.get(kpi.per or "")), []).append(event)
        totals[name] = sum(
            formula.compute(_totals(kpi, unit, first + length, hours, case))
            for case in cases.values()
        )
    over = None if formulas.over is None else formulas.over.micros(totals)
    return KINDS[kpi.kind].unit_value(formulas.value.micros(totals), over)


def case_of(value: FieldValue | None) -> str | None:
    """Return the name of an event's case, ``None`` when it has none."""
    return None if value is None else str(value)


def _counted(
    kpi: KpiDefinition, unit: str, start: int, end: int, events: Iterable[Event]
) -> list[Event]:
    by_name: dict[str, list[tuple[int, str, Event]]] = {}
    for event in events:
        at = to_micros(event.happened_at)
        if not start <= at <= end or (kpi.trust is Trust.SERVER and not event.trusted):
            continue
        if any(m.event == event.name and selects(m, event.fields, unit) for m in kpi.measures):
            by_name.setdefault(event.name, []).append((at, event.id, event))
    counted: list[Event] = []
    for named in by_name.values():
        named.sort(key=lambda each: each[:2])
        counted += [event for _, _, event in named[:PER_UNIT_CAP]]
    return counted


def _totals(
    kpi: KpiDefinition, unit: str, end: int, hours: int, events: Sequence[Event]
) -> dict[str, int]:
    totals = {"window": hours}
    matching = {
        measure.name: [
            (to_micros(event.happened_at), _contribution(measure, hours, event))
            for event in events
            if event.name == measure.event and selects(measure, event.fields, unit)
        ]
        for measure in kpi.measures
    }
    for measure in kpi.measures:
        before = [at for at, _ in matching[measure.after]] if measure.after is not None else None
        totals[measure.name] = sum(
            value
            for at, value in matching[measure.name]
            if in_time(measure, at, end) and (before is None or (before and at > min(before)))
        )
    return totals


def in_time(measure: Measure, at: int, end: int) -> bool:
    """Return whether an event is early enough before the window closes for a measure."""
    return measure.before_close is None or at <= end - microseconds(measure.before_close)


def _contribution(measure: Measure, hours: int, event: Event) -> int:
    if measure.field is None:
        return 1
    value = int(event.fields[measure.field])
    if measure.cap is not None:
        value = min(value, measure.cap)
    return min(value, hours) if measure.cap_window else value
