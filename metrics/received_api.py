"""What came since the service was started, by name and key, over HTTP: who sends with which key."""

from collections.abc import Callable, Mapping

import msgspec
from fastapi import APIRouter, Response

from metrics.intake import Received
from metrics.openapi import answer, content

_COUNT = {"type": "integer", "minimum": 0}
_EVENT = {"name": {"type": "string"}, "server": _COUNT, "client": _COUNT}
_ANSWER = {
    "type": "object",
    "required": ["received"],
    "properties": {
        "received": {
            "type": "array",
            "items": {"type": "object", "required": [*_EVENT], "properties": _EVENT},
        }
    },
}
_EXAMPLE = {"received": [{"name": "satisfaction_rated", "server": 0, "client": 412}]}


def received_router(counts: Callable[[], Mapping[str, Received]]) -> APIRouter:
    """Return the route of what came.

    Args:
        counts: Returns good events by name, since the service was started.
    """
    api = APIRouter(prefix="/api/v1", tags=["events"])

    @api.get(
        "/received",
        summary="Good events since the start, by name and by the kind of key they came with",
        description="`server` came with a secret key and feed every KPI; `client` came with a "
        "client key, which anybody holds, and feed KPIs with trust `any` alone. Repeats count.",
        responses={200: answer("By name", content(_ANSWER, _EXAMPLE))},
    )
    def received() -> Response:
        found = [
            {"name": name, "server": each.server, "client": each.client}
            for name, each in sorted(counts().items())
        ]
        return Response(msgspec.json.encode({"received": found}), media_type="application/json")

    _ = received
    return api
