"""KPI definitions over HTTP: what each KPI measures, in words and as a formula."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from fastapi import APIRouter, Response

Listed = Callable[[], Sequence[Mapping[str, Any]]]


def kpis_router(listed: Listed) -> APIRouter:
    """Return the route of KPI definitions.

    Args:
        listed: Returns every KPI as JSON, core ones first (``catalogue_words.kpi_to_json``).
    """
    api = APIRouter(prefix="/api/v1", tags=["metrics"])

    @api.get("/kpis", summary="Every KPI with its definition, windows, events and formula")
    def kpis() -> Response:
        return Response(msgspec.json.encode({"kpis": listed()}), media_type="application/json")

    _ = kpis
    return api
