"""KPIs as people and programs are shown them, and as a catalogue file would write them. Pure."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from metrics.catalogue import Condition, KpiDefinition, Measure, Test, Window
from metrics.cells import MICRO
from metrics.wording import language

BUILT_IN = "built-in"
FieldValue = str | bool | int
_LENGTHS = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1)))


def title_of(kpi: KpiDefinition) -> str:
    """Return a KPI's title in the language of the context, where the catalogue has it."""
    return (kpi.title_zh if language() == "zh" else "") or kpi.title


def length_words(length: timedelta) -> str:
    """Return a duration as files write it: ``30m``, ``1h``, ``14d``."""
    for letter, one in _LENGTHS:
        if length % one == timedelta(0):
            return f"{length // one}{letter}"
    return f"{length // timedelta(seconds=1)}s"


def windows_words(windows: tuple[Window, ...]) -> str:
    """Return windows with their weights: ``1h 50%, 1d 50%``."""
    return ", ".join(f"{length_words(w.length)} {w.weight * 100:.4g}%" for w in windows)


def as_written(kpi: KpiDefinition) -> dict[str, Any]:
    """Return a KPI as a catalogue file would describe it: ``parse_kpi`` reads the same again."""
    written: dict[str, Any] = {
        "title": kpi.title,
        "title_zh": kpi.title_zh,
        "kind": kpi.kind.value,
        "better": kpi.better.value,
        "unit": kpi.unit,
        "windows": {length_words(w.length): w.weight for w in kpi.windows},
        "trust": kpi.trust.value,
        "words": kpi.words,
        "measures": {measure.name: _measure(measure) for measure in kpi.measures},
        "value": kpi.value,
    }
    optional = {
        "over": kpi.over,
        "per": kpi.per,
        "each": dict(kpi.each) or None,
        "core": kpi.core or None,
    }
    return written | {key: value for key, value in optional.items() if value is not None}


def _measure(measure: Measure) -> dict[str, Any]:
    before = measure.before_close
    parts = {
        "event": measure.event,
        "where": {c.field: _condition(c) for c in measure.where} or None,
        "sum": measure.field,
        "cap": "window" if measure.cap_window else number(measure.cap),
        "before_close": None if before is None else length_words(before),
        "after": measure.after,
    }
    return {key: value for key, value in parts.items() if value is not None}


def _condition(condition: Condition) -> Any:
    match condition.test:
        case Test.IS:
            values = [_value(value) for value in condition.values]
            return values[0] if len(values) == 1 else values
        case Test.ABOVE:
            return {"above": _value(condition.values[0])}
        case Test.PRESENT | Test.ABSENT:
            return {"present": condition.test is Test.PRESENT}
        case Test.OTHER_THAN_UNIT:
            return {"not": "unit"}


def _value(value: FieldValue) -> Any:
    return value if isinstance(value, str | bool) else number(value)


def number(micros: int | None) -> float | None:
    """Return an integer of 1e-6 as people write it: whole numbers without a point."""
    if micros is None:
        return None
    return micros // MICRO if micros % MICRO == 0 else micros / MICRO


def events_of(kpi: KpiDefinition) -> dict[str, tuple[str, ...]]:
    """Return the events a KPI reads with their fields, in the order of its measures."""
    found: dict[str, dict[str, None]] = {}
    for measure in kpi.measures:
        fields = found.setdefault(measure.event, {})
        fields |= dict.fromkeys(condition.field for condition in measure.where)
        fields |= dict.fromkeys([measure.field] if measure.field is not None else [])
        fields |= dict.fromkeys([kpi.per] if kpi.per is not None else [])
    return {event: tuple(fields) for event, fields in found.items()}


def measure_words(measure: Measure) -> str:
    """Return what a measure counts or adds up, in a phrase."""
    what = measure.event
    if measure.field is not None:
        what = f"{measure.field} of {measure.event}"
    tests = " and ".join(_condition_words(condition) for condition in measure.where)
    parts = [
        what,
        f" where {tests}" if tests else "",
        f", at most {number(measure.cap):,} each" if measure.cap is not None else "",
        ", at most the window's hours each" if measure.cap_window else "",
        f", after the first of {measure.after}" if measure.after is not None else "",
        f", at least {length_words(measure.before_close)} before the window closes"
        if measure.before_close is not None
        else "",
    ]
    return ("sum of " if measure.field is not None else "count of ") + "".join(parts)


def _condition_words(condition: Condition) -> str:
    values = " or ".join(_plain(value) for value in condition.values)
    match condition.test:
        case Test.IS:
            return f"{condition.field} is {values}"
        case Test.ABOVE:
            return f"{condition.field} is above {values}"
        case Test.PRESENT:
            return f"{condition.field} is there"
        case Test.ABSENT:
            return f"{condition.field} is missing"
        case Test.OTHER_THAN_UNIT:
            return f"{condition.field} is not the unit's own id"


def _plain(value: FieldValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else f"{number(value):,}"


def kpi_to_json(kpi: KpiDefinition, *, source: str = BUILT_IN) -> Mapping[str, Any]:
    """Return everything people are shown of a KPI's definition.

    Args:
        kpi: The KPI.
        source: Where it is defined: ``built-in``, ``catalogue file``, or the experiment whose
            file it is of.
    """
    return {
        "key": kpi.key,
        "title": kpi.title,
        "title_zh": kpi.title_zh,
        "core": kpi.core,
        "source": source,
        "kind": kpi.kind,
        "better": kpi.better,
        "unit": kpi.unit,
        "trust": kpi.trust,
        "words": kpi.words,
        "windows": [{"length": w.length, "weight": w.weight} for w in kpi.windows],
        "events": {event: list(fields) for event, fields in events_of(kpi).items()},
        "measures": {measure.name: measure_words(measure) for measure in kpi.measures},
        "value": kpi.value,
        "over": kpi.over,
        "per": kpi.per,
        "each": dict(kpi.each),
        "written": as_written(kpi),
    }
