"""KPI definitions over HTTP: what each KPI measures, in words and as a formula."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from fastapi import APIRouter, Response

from metrics.openapi import Part, answer, content

Listed = Callable[[], Sequence[Mapping[str, Any]]]


_TEXT = {"type": "string"}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}
_KPI: Part = {
    "type": "object",
    "properties": {
        "key": _TEXT,
        "title": _TEXT,
        "title_zh": _TEXT,
        "core": {"type": "boolean"},
        "source": _TEXT,
        "kind": {"enum": ["proportion", "mean", "ratio"]},
        "better": {"enum": ["higher", "lower", "either"]},
        "unit": _TEXT,
        "trust": {"enum": ["server", "any"]},
        "words": _TEXT,
        "windows": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "length": {"type": "string", "format": "duration"},
                    "weight": {"type": "number"},
                },
            },
        },
        "events": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": _TEXT},
        },
        "measures": _TEXTS,
        "value": _TEXT,
        "over": _TEXT_OR_NULL,
        "per": _TEXT_OR_NULL,
        "each": _TEXTS,
        "written": {"type": "object"},
    },
}
_KPI["required"] = [*_KPI["properties"]]
_EXAMPLE = {
    "key": "satisfaction",
    "title": "Satisfaction",
    "title_zh": "用户满意度",
    "core": True,
    "source": "built-in",
    "kind": "ratio",
    "better": "higher",
    "unit": "score",
    "trust": "server",
    "words": "Mean score of the ratings given, 1 to 5.",
    "windows": [{"length": "P1D", "weight": 1.0}],
    "events": {"satisfaction_rated": ["score"]},
    "measures": {
        "ratings": "count of satisfaction_rated where score is there",
        "scores": "sum of score of satisfaction_rated",
    },
    "value": "scores",
    "over": "ratings",
    "per": None,
    "each": {},
    "written": {"kind": "ratio", "value": "scores", "over": "ratings"},
}
_ANSWER = {
    "type": "object",
    "required": ["kpis"],
    "properties": {"kpis": {"type": "array", "items": _KPI}},
}


def kpis_router(listed: Listed) -> APIRouter:
    """Return the route of KPI definitions.

    Args:
        listed: Returns every KPI as JSON, core ones first (``catalogue_words.kpi_to_json``).
    """
    api = APIRouter(prefix="/api/v1", tags=["metrics"])

    every = answer("Core ones first", content(_ANSWER, {"kpis": [_EXAMPLE]}))

    @api.get(
        "/kpis",
        summary="Every KPI with its definition, windows, events and formula",
        responses={200: every},
    )
    def kpis() -> Response:
        return Response(msgspec.json.encode({"kpis": listed()}), media_type="application/json")

    _ = kpis
    return api
