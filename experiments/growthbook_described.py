"""The routes of GrowthBook's SDKs as the OpenAPI document describes them."""

from typing import Any, Final

from metrics.events_described import ERROR, TAKEN
from metrics.openapi import Part, answer, content, event_stream, parameter, refusals, says

_FAILED: Part = {
    "type": "object",
    "required": ["status", "error"],
    "properties": {"status": {"type": "integer"}, "error": {"type": "string"}},
}
_REFUSED = content(_FAILED, {"status": 401, "error": "the key is not known here; send a key"})
_KEY = parameter(
    "client_key",
    "path",
    "A client key; any name where callers without a key may evaluate. A secret key is refused: "
    "addresses end up in logs.",
    minLength=1,
    maxLength=200,
)
_PAYLOAD: Part = {
    "type": "object",
    "required": ["status", "features", "dateUpdated"],
    "properties": {
        "status": {"const": 200},
        "features": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["defaultValue"],
                "properties": {
                    "defaultValue": {},
                    "rules": {"type": "array", "items": {"type": "object"}},
                },
            },
        },
        "dateUpdated": {"type": "string", "format": "date-time"},
    },
}
_EXAMPLE = {
    "status": 200,
    "features": {"cancel-page": {"defaultValue": {"steps": ["confirm"]}, "rules": []}},
    "dateUpdated": "2026-01-05T10:00:00.000Z",
}
_SENT = [
    {
        "event_name": "Experiment Viewed",
        "properties_json": {
            "experimentId": "cancel-page",
            "variationId": "control",
            "hashAttribute": "order_id",
            "hashValue": "order-1",
        },
        "user_id": "u-1",
    }
]
_EVENTS: Part = {"anyOf": [{"type": "array", "items": {}}, {"type": "object"}]}
_TAG = says("Of the payload.")
_UNTAKEN = content(
    ERROR,
    {"error": {"code": "unauthorized", "message": "this needs a key", "hint": None, "path": None}},
)

CLIENT_KEY: Final[Part] = {
    "type": "apiKey",
    "in": "query",
    "name": "client_key",
    "description": "A client key, as GrowthBook's tracking plugins send it.",
}
"""How the plugins say who they are."""

DESCRIBED: dict[str, Any] = {
    "/api/features/{client_key}": {
        "get": {
            "tags": ["GrowthBook SDKs"],
            "operationId": "growthbook_features",
            "summary": "Everything an SDK decides by",
            "security": [],
            "parameters": [
                _KEY,
                parameter("If-None-Match", "header", "The `ETag` of the payload held already."),
            ],
            "responses": {
                "200": answer(
                    "The payload",
                    content(_PAYLOAD, _EXAMPLE),
                    {"ETag": _TAG, "X-SSE-Support": says("That it can be streamed.")},
                ),
                "304": answer("The caller holds this payload", {}, {"ETag": _TAG}),
                **refusals(_REFUSED, 400, 401, 403, 404, 429),
            },
        }
    },
    "/sub/{client_key}": {
        "get": {
            "tags": ["GrowthBook SDKs"],
            "operationId": "growthbook_stream",
            "summary": "Server-sent events: the payload at every change",
            "security": [],
            "parameters": [
                _KEY,
                parameter("Last-Event-ID", "header", "The newest payload the caller holds."),
            ],
            "responses": {
                "200": answer(
                    "Events `features` with the payload",
                    event_stream("features"),
                ),
                **refusals(_REFUSED, 400, 401, 403, 404, 429, 503),
            },
        }
    },
    "/track": {
        "post": {
            "tags": ["GrowthBook SDKs"],
            "operationId": "growthbook_track",
            "summary": "Exposures and events of the SDKs' tracking plugins",
            "description": "They feed only KPIs with trust `any`, whatever the key.",
            "security": [{"client_key": []}],
            "requestBody": {
                "required": True,
                "description": "A JSON array of the plugins' events.",
                "content": {
                    **content(_EVENTS, _SENT),
                    **content(_EVENTS, media="text/plain"),
                },
            },
            "responses": {"200": TAKEN, **refusals(_UNTAKEN, 400, 401, 403, 413, 429, 503)},
        }
    },
}
"""The routes as OpenAPI describes them."""
