"""The JSON Schema of a spec file, for editors: completion, descriptions, red lines."""

from collections.abc import Mapping
from typing import Any, Final, cast

from experiments.language.reading import record_schema
from guardrails.language.spec_keys import SPEC_KEYS
from metrics.catalogue import Catalogue, KpiDefinition, load_catalogue

_WHERE_KPIS_ARE_NAMED: Final = ("kpi",)
_WHERE_KPIS_ARE_LISTED: Final = ("watch",)


def json_schema(catalogue: Catalogue | None = None) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a spec file, for editors.

    It describes the structure; the rules across keys are checked by ``load_spec`` alone. Keys of
    KPIs are offered and any other is accepted, since a file may define its own.

    Args:
        catalogue: KPIs that are offered; the built-in ones by default.
    """
    kpis = _offered(catalogue if catalogue is not None else load_catalogue())
    schema = record_schema(SPEC_KEYS)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Turnback experiment",
        "description": "What is tried, on whom, and what may not get worse.",
        **cast("dict[str, Any]", _offering(schema, kpis)),
    }


def _offered(catalogue: Catalogue) -> dict[str, Any]:
    return {
        "enum": list(catalogue.keys()),
        # a word of VS Code's YAML and JSON support; validators ignore it
        "enumDescriptions": [_about(kpi) for kpi in catalogue],
    }


def _about(kpi: KpiDefinition) -> str:
    return f"{kpi.title} ({kpi.title_zh}), {kpi.better.value} is better. {kpi.words}"


def _offering(node: Any, kpis: Mapping[str, Any]) -> Any:
    """Return a schema whose places for KPIs offer those of the catalogue."""
    if isinstance(node, list):
        return [_offering(item, kpis) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    result: dict[str, Any] = {}
    for key, value in cast("dict[str, Any]", node).items():
        result[key] = value if key == "examples" else _offering(value, kpis)
    properties: dict[str, Any] = result.get("properties", {})
    for name in _WHERE_KPIS_ARE_NAMED:
        if "pattern" in properties.get(name, {}):
            properties[name] = _choice(properties[name], kpis)
    for name in _WHERE_KPIS_ARE_LISTED:
        if "items" in properties.get(name, {}):
            properties[name] = {
                **properties[name],
                "items": _choice(properties[name]["items"], kpis),
            }
    return result


def _choice(schema: Mapping[str, Any], kpis: Mapping[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in schema.items() if key != "pattern"}
    return {**rest, "anyOf": [dict(kpis), {"pattern": schema["pattern"]}]}
