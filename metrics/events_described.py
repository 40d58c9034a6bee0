"""``POST /api/v1/events`` as the OpenAPI document describes it."""

from typing import Any, Final

from metrics.openapi import Part, answer, content, keyed, parameter, refusals

_CODE = {"type": "string", "examples": ["unknown_parameter"]}
_TEXT_OR_NULL = {"type": ["string", "null"]}
ERROR: Final[Part] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": _CODE,
                "message": {"type": "string"},
                "hint": _TEXT_OR_NULL,
                "path": _TEXT_OR_NULL,
            },
        }
    },
}
"""The one shape of every error."""

_REFUSED = content(
    ERROR,
    {
        "error": {
            "code": "malformed_body",
            "message": "body: expected a JSON array of events, got text; send [{...}, ...] or "
            "NDJSON with Content-Type application/x-ndjson",
            "hint": None,
            "path": None,
        }
    },
)

EVENT: Final[Part] = {
    "type": "object",
    "description": "Counted once per id and instant.",
    "required": ["id", "name", "happened_at"],
    "properties": {
        "id": {"type": "string", "minLength": 1, "maxLength": 256},
        "name": {"type": "string", "minLength": 1, "maxLength": 256},
        "happened_at": {"type": "string", "format": "date-time"},
        "units": {
            "type": "object",
            "maxProperties": 64,
            "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 256},
        },
        "unit": {
            "type": "string",
            "minLength": 1,
            "maxLength": 256,
            "description": "Short for the id of the store's default unit type.",
        },
        "fields": {
            "type": "object",
            "maxProperties": 64,
            "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
        },
    },
}
_EXAMPLE = {
    "id": "r-5081",
    "name": "satisfaction_rated",
    "happened_at": "2026-01-05T10:00:00Z",
    "units": {"order_id": "o-81"},
    "fields": {"score": 4},
}
# whatever an element is, it spoils no batch: it is kept in quarantine, and told in the answer
_ELEMENT: Part = {"anyOf": [EVENT, {}]}

ANSWER: Final[Part] = {
    "type": "object",
    "required": ["accepted", "duplicates", "rejected", "watermark"],
    "properties": {
        "accepted": {"type": "integer", "minimum": 0},
        "duplicates": {"type": "integer", "minimum": 0},
        "rejected": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "id", "field", "code", "reason"],
                "properties": {
                    "index": {"type": "integer", "minimum": 0},
                    "id": _TEXT_OR_NULL,
                    "field": {"type": "string"},
                    "code": {"type": "string"},
                    "reason": {"type": "string"},
                },
            },
        },
        "watermark": {"type": "integer", "minimum": 0},
        "warnings": {
            "type": "array",
            "maxItems": 20,
            "description": "Of accepted events: what will feed nothing, or is not as the tracking "
            "plan documents. Left out where nothing is; the first 100 events are looked at.",
            "items": {
                "type": "object",
                "required": ["index", "id", "field", "code", "words"],
                "properties": {
                    "index": {"type": "integer", "minimum": 0},
                    "id": {"type": "string"},
                    "field": {"type": "string"},
                    "code": {"type": "string"},
                    "words": {"type": "string"},
                },
            },
        },
        "more_warnings": {
            "type": "integer",
            "minimum": 0,
            "description": "Warnings beyond those.",
        },
    },
}
TAKEN: Final[Part] = answer(
    "What became of every event",
    content(ANSWER, {"accepted": 1, "duplicates": 0, "rejected": [], "watermark": 48_377}),
)

DESCRIBED: dict[str, Any] = {
    "/api/v1/events": {
        "post": {
            "tags": ["events"],
            "operationId": "send_events",
            "summary": "Send events: a JSON array or NDJSON, gzip allowed",
            "description": "Acknowledged means durable and counted once. Bad events are kept in "
            "quarantine and named in the answer; the others count. `warnings` name "
            "accepted events that will feed nothing as they are. What a `client` key sends feeds "
            "only KPIs with trust `any`.",
            "security": keyed("client"),
            "parameters": [
                parameter(
                    "X-Turnback-Trust",
                    "header",
                    "Sent with any value, the events feed only KPIs with trust `any`, "
                    "whatever the key.",
                )
            ],
            "requestBody": {
                "required": True,
                "description": "One object counts as an array of one.",
                "content": {
                    **content(
                        {"anyOf": [{"type": "array", "items": _ELEMENT}, {"type": "object"}]},
                        [_EXAMPLE],
                    ),
                    **content({"type": "string"}, media="application/x-ndjson"),
                },
            },
            "responses": {
                "200": TAKEN,
                **refusals(_REFUSED, 400, 401, 403, 413, 429, 503),
            },
        }
    }
}
"""The route as OpenAPI describes it."""
