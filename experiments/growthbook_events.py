"""Events of GrowthBook's own tracking plugins, as Turnback's. Pure.

An element of ``POST /track`` is ``{event_name, properties_json, context_json, user_id,
device_id, …}``: it has neither an id nor a time. Its instant is that of its receipt, its id is
derived. An exposure is derived from what it is of, so that evaluations, retries and several
SDKs make one; any other event from its content, its instant and its place in the request.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast

from experiments.assignment import CompiledExperiment
from experiments.hashing import unit_id
from experiments.segments import segment_fields
from metrics.events import EXPOSURE, excerpt, exposure
from metrics.wire import encodable

SOURCE: Final = "growthbook"
"""What an exposure that came this way says of where it was made."""

VIEWED: Final = frozenset({"Experiment Viewed", "$$experiment_viewed"})
"""The exposure, as the SDKs spell it."""

EVALUATED: Final = frozenset({"Feature Evaluated", "$$feature_evaluated"})
"""Any evaluation, also by default or by force: no exposure, kept nowhere."""

_DEVICE: Final = frozenset({"id", "anonymous_id"})
"""Attributes that the SDKs send as ``device_id``."""


def wire_events(
    elements: Sequence[Any],
    *,
    experiments: Mapping[str, CompiledExperiment],
    default_unit: str,
    at: datetime,
) -> tuple[tuple[int, Any], ...]:
    """Return the events that elements stand for, as ``POST /api/v1/events`` takes them.

    Of the attributes only ids of unit types are kept that an experiment has, and of the default
    one, and with an exposure those that its experiment declares as segments. What is no event at
    all is handed on as it is: reading it says what is wrong.

    Args:
        elements: Decoded from JSON.
        experiments: What is served, for unit types and the seed of an exposure.
        default_unit: Unit type meant by an event's ``unit``.
        at: When they were received.

    Returns:
        Position and event; evaluations, and assignments that are no exposures, are left out.
    """
    units = {default_unit, *(each.spec.unit for each in experiments.values())}
    found: list[tuple[int, Any]] = []
    for index, element in enumerate(elements):
        if not _object(element):
            found.append((index, element))
        elif event := _event(element, experiments, sorted(units), at, index):
            found.append((index, event))
    return tuple(found)


def _event(
    sent: Mapping[str, Any],
    experiments: Mapping[str, CompiledExperiment],
    units: Sequence[str],
    at: datetime,
    index: int,
) -> dict[str, Any] | None:
    name, properties = sent.get("event_name"), sent.get("properties_json")
    fields: dict[str, Any] = cast("dict[str, Any]", properties) if _object(properties) else {}
    if isinstance(name, str) and name in EVALUATED:
        return None
    if isinstance(name, str) and name in VIEWED:
        attributes = sent.get("context_json")
        about: dict[str, Any] = cast("dict[str, Any]", attributes) if _object(attributes) else {}
        return _exposure(fields, experiments, at, _id(sent, at, index), about)
    return {
        "id": _id(sent, at, index),
        "name": name,
        "happened_at": at.isoformat(),
        "units": _units(sent, fields, units),
        "fields": properties,
    }


def _exposure(
    told: Mapping[str, Any],
    experiments: Mapping[str, CompiledExperiment],
    at: datetime,
    unnamed: str,
    about: Mapping[str, Any],
) -> dict[str, Any] | None:
    if told.get("in_experiment") is False or told.get("hash_used") is False:
        return None  # an override, or nobody dealt: no exposure to begin with
    key = told.get("experimentId", told.get("experiment_id"))
    variant = told.get("variation_key", told.get("variationId"))
    unit_type = told.get("hashAttribute", told.get("hash_attribute"))
    unit = unit_id(told.get("hashValue", told.get("hash_value")))
    compiled = experiments.get(key) if isinstance(key, str) else None
    fields: dict[str, Any] = {"experiment": key, "variant": variant, "source": SOURCE}
    units: dict[str, Any] = {str(unit_type): unit} if unit_type and unit else {}
    event_id = unnamed
    if compiled is not None:
        fields |= segment_fields(compiled.spec.segments, about)
    if compiled is not None and units and encodable(f"{unit_type}{unit}{variant}"):
        seed = fields["seed"] = compiled.spec.seed
        event_id = exposure(str(key), seed, str(unit_type), unit, str(variant), at).id
    return {
        "id": event_id,
        "name": EXPOSURE,
        "happened_at": at.isoformat(),
        "units": units,
        "fields": fields,
    }


def _units(
    sent: Mapping[str, Any], fields: Mapping[str, Any], units: Sequence[str]
) -> dict[str, str]:
    """Return the ids an event names: in its properties, else among the attributes."""
    context = sent.get("context_json")
    attributes: Mapping[str, Any] = cast("dict[str, Any]", context) if _object(context) else {}
    found: dict[str, str] = {}
    for unit in units:
        top = sent.get("device_id") if unit in _DEVICE else sent.get(unit)
        for value in (fields.get(unit), attributes.get(unit), top):
            if text := unit_id(value):
                found[unit] = text
                break
    return found


def _id(sent: Mapping[str, Any], at: datetime, index: int) -> str:
    content = f"{at.isoformat()} {index} {excerpt(sent)}"
    return f"{SOURCE}:{hashlib.blake2b(content.encode(), digest_size=16).hexdigest()}"


def _object(value: Any) -> bool:
    return isinstance(value, dict)
