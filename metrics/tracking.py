"""The tracking plan: what an application sends, from the catalogue and ``tracking.yaml``. Pure.

Field types and which KPI reads which event come from the catalogue alone; the YAML file beside
this module only adds the words. ``docs/events.md`` is this plan, written out.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from ruamel.yaml import YAML

from metrics.catalogue import Catalogue, KpiDefinition, Trust

_WORDS = Path(__file__).with_name("tracking.yaml")
_AT = "2026-03-02T11:59:59.123456Z"
_TYPES = {
    "number": "number",
    "text": "text",
    "boolean": "true or false",
    "integer": "whole number",
}


@dataclass(frozen=True, slots=True)
class FieldPlan:
    """One field of an event.

    Attributes:
        name: As it is sent.
        type: In words: ``text``, ``number``, ``true or false`` or ``whole number``.
        words: What it says; empty for events people added without words.
        values: The only values that KPIs know; empty for any.
        range: Smallest and largest number that makes sense; ``None`` for any.
        needed: Whether the event feeds less than it should without it.
    """

    name: str
    type: str
    words: str
    values: tuple[str, ...] = ()
    range: tuple[float, float] | None = None
    needed: bool = False


@dataclass(frozen=True, slots=True)
class EventPlan:
    """One event of the tracking plan.

    Attributes:
        name: As it is sent.
        when: The moment at which it is sent; empty where nobody wrote it.
        by: ``client`` or ``server``: who usually knows it; empty as above.
        fields: In the order of the catalogue.
        example: One whole event, as sent; ``None`` where nobody wrote one.
        feeds: KPIs that read it, in the order of the catalogue.
        key: Which key may send it so that it counts, in words.
        secret: KPIs read it, and none of them counts what came with a client key.
    """

    name: str
    when: str
    by: str
    fields: tuple[FieldPlan, ...]
    example: Mapping[str, Any] | None
    feeds: tuple[str, ...]
    key: str
    secret: bool = False


def tracking_plan(catalogue: Catalogue) -> tuple[EventPlan, ...]:
    """Return every event that the catalogue names, or a KPI of it reads."""
    feeds: dict[str, list[KpiDefinition]] = {name: [] for name in catalogue.events}
    for kpi in catalogue:
        for name in dict.fromkeys(measure.event for measure in kpi.measures):
            feeds.setdefault(name, []).append(kpi)
    return tuple(_event(name, catalogue, kpis) for name, kpis in feeds.items())


def wire_example(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return one whole event as ``POST /api/v1/events`` takes it."""
    return {
        "id": "0192f6c4-5a3e-7d10-9c55-2f6c1a8b4e77",
        "name": name,
        "happened_at": _AT,
        "units": {"order_id": "A-20391", "user_id": "U-118"},
        "fields": dict(fields),
    }


def markdown(plan: tuple[EventPlan, ...]) -> str:
    """Return the plan as Markdown: an overview, then one section for every event."""
    return "\n".join([*_overview(plan), *(line for event in plan for line in _section(event))])


def _event(name: str, catalogue: Catalogue, kpis: list[KpiDefinition]) -> EventPlan:
    words = _words().get(name, {})
    fields = tuple(
        _field(key, _TYPES[kind], words) for key, kind in catalogue.events.get(name, {}).items()
    )
    example = words.get("example")
    return EventPlan(
        name=name,
        when=" ".join(str(words.get("when", "")).split()),
        by=str(words.get("by", "")),
        fields=fields,
        example=None if example is None else wire_example(name, example),
        feeds=tuple(kpi.key for kpi in kpis),
        key=_key(name, kpis),
        secret=name != "exposure"
        and bool(kpis)
        and all(kpi.trust is not Trust.ANY for kpi in kpis),
    )


def _field(name: str, kind: str, words: Mapping[str, Any]) -> FieldPlan:
    span = words.get("range", {}).get(name)
    return FieldPlan(
        name,
        kind,
        words.get("fields", {}).get(name, ""),
        values=tuple(words.get("values", {}).get(name, ())),
        range=None if span is None else (float(span[0]), float(span[1])),
        needed=name in words.get("needs", ()),
    )


def _key(name: str, kpis: list[KpiDefinition]) -> str:
    open_to_all = [kpi.key for kpi in kpis if kpi.trust is Trust.ANY]
    if name == "exposure":
        return "client, ingest or admin"
    if not kpis:
        return "any; no KPI reads it"
    if len(open_to_all) == len(kpis):
        return "client, ingest or admin"
    if open_to_all:
        return f"ingest or admin; with a client key it feeds only {', '.join(open_to_all)}"
    return "ingest or admin; with a client key it is kept, but feeds no KPI"


def _overview(plan: tuple[EventPlan, ...]) -> Iterator[str]:
    yield "| event | sent when | usually sent by | feeds |"
    yield "|---|---|---|---|"
    for event in plan:
        feeds = ", ".join(f"`{key}`" for key in event.feeds) or "-"
        first = event.when.split(". ")[0].rstrip(".")
        yield f"| [`{event.name}`](#{event.name}) | {first} | {_sender(event)} | {feeds} |"


def _through_server(event: EventPlan) -> bool:
    """Return whether a page knows of it, and KPIs count it from a server alone."""
    return event.by == "client" and event.secret


def _sender(event: EventPlan) -> str:
    return "server, told by the page" if _through_server(event) else event.by


def _section(event: EventPlan) -> Iterator[str]:
    yield f"\n### {event.name}\n"
    if event.when:
        yield f"{event.when}\n"
    through = " The page tells your server, which sends it." if _through_server(event) else ""
    yield f"Key: {event.key}.{through}\n"
    if event.fields:
        yield "| field | type | what it says |"
        yield "|---|---|---|"
        for each in event.fields:
            yield f"| `{each.name}` | {each.type} | {each.words} |"
    else:
        yield "It has no fields of its own."
    if event.example is not None:
        yield f"\n```json\n{json.dumps(event.example, ensure_ascii=False)}\n```"


@lru_cache(maxsize=1)
def _words() -> Mapping[str, Mapping[str, Any]]:
    loaded: Any = YAML(typ="safe", pure=True).load(_WORDS.read_text(encoding="utf-8"))
    return cast("Mapping[str, Mapping[str, Any]]", loaded)
