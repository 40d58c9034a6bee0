"""The OFREP routes as the OpenAPI document describes them."""

from typing import Any, Final

from metrics.openapi import Part, answer, content, event_stream, keyed, parameter, refusals, says

_CONTEXT: Part = {
    "type": "object",
    "required": ["context"],
    "properties": {
        "context": {
            "type": "object",
            "properties": {
                "targetingKey": {
                    "type": ["string", "null"],
                    "description": "Id of the unit; not needed where the context has an attribute "
                    "named like the experiment's unit.",
                }
            },
            "additionalProperties": True,
        }
    },
}
_BODY: Part = {
    "required": True,
    "description": "At most `max_context_bytes`.",
    "content": content(
        _CONTEXT, {"context": {"targetingKey": "order-1", "platform": "ios", "order_value": 25}}
    ),
}
_METADATA: Part = {
    "type": "object",
    "properties": {
        "turnback.experiment": {"type": "string"},
        "turnback.state": {"type": "string"},
        "turnback.exposed": {"type": "boolean"},
    },
}
_FAILED: Part = {
    "type": "object",
    "required": ["errorCode", "errorDetails"],
    "properties": {
        "key": {"type": "string"},
        "errorCode": {
            "enum": [
                "PARSE_ERROR",
                "TARGETING_KEY_MISSING",
                "INVALID_CONTEXT",
                "FLAG_NOT_FOUND",
                "GENERAL",
            ]
        },
        "errorDetails": {"type": "string"},
    },
}
_FLAG: Part = {
    "type": "object",
    "required": ["key", "reason", "variant", "metadata"],
    "properties": {
        "key": {"type": "string"},
        "value": {"description": "Any JSON; without one the code's default holds."},
        "reason": {"enum": ["STATIC", "TARGETING_MATCH", "SPLIT", "DISABLED"]},
        "variant": {"type": "string"},
        "metadata": _METADATA,
    },
}
_EXAMPLE = {
    "key": "cancel-page",
    "value": {"steps": ["confirm"]},
    "reason": "SPLIT",
    "variant": "control",
    "metadata": {
        "turnback.experiment": "cancel-page",
        "turnback.state": "running",
        "turnback.exposed": True,
    },
}
_STREAM = {
    "type": "sse",
    "endpoint": {"requestUri": "/ofrep/v1/stream"},
    "inactivityDelaySec": 120,
}
_FLAGS: Part = {
    "type": "object",
    "required": ["flags", "eventStreams"],
    "properties": {
        "flags": {"type": "array", "items": {"anyOf": [_FLAG, _FAILED]}},
        "eventStreams": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "endpoint"],
                "properties": {
                    "type": {"const": "sse"},
                    "endpoint": {
                        "type": "object",
                        "required": ["requestUri"],
                        "properties": {"requestUri": {"type": "string", "pattern": "^/"}},
                    },
                    "inactivityDelaySec": {"type": "integer"},
                },
            },
        },
    },
}
_REFUSED = content(
    _FAILED,
    {
        "errorCode": "INVALID_CONTEXT",
        "errorDetails": "context.targetingKey is a list; send a string",
    },
)
TAG: Final = says("Of the answer, not of the configuration.")

DESCRIBED: dict[str, Any] = {
    "/ofrep/v1/evaluate/flags/{key}": {
        "post": {
            "tags": ["OFREP"],
            "operationId": "evaluate_flag",
            "summary": "Evaluate one flag; notes the exposure",
            "security": keyed("client"),
            "parameters": [parameter("key", "path", "The experiment.", minLength=1, maxLength=200)],
            "requestBody": _BODY,
            "responses": {
                "200": answer("Evaluated", content(_FLAG, _EXAMPLE)),
                **refusals(_REFUSED, 400, 401, 403, 404, 413, 429),
            },
        }
    },
    "/ofrep/v1/evaluate/flags": {
        "post": {
            "tags": ["OFREP"],
            "operationId": "evaluate_flags",
            "summary": "Evaluate all flags for one context; notes nothing",
            "security": keyed("client"),
            "parameters": [
                parameter("If-None-Match", "header", "The `ETag` of the answer held already."),
                parameter(
                    "flagConfigEtag", "query", "A hint from a change event; it decides nothing."
                ),
                parameter(
                    "flagConfigLastModified",
                    "query",
                    "A hint from a change event; it decides nothing.",
                ),
            ],
            "requestBody": _BODY,
            "responses": {
                "200": answer(
                    "Evaluated",
                    content(_FLAGS, {"flags": [_EXAMPLE], "eventStreams": [_STREAM]}),
                    {"ETag": TAG},
                ),
                "304": answer("The caller holds this answer", {}, {"ETag": TAG}),
                **refusals(_REFUSED, 400, 401, 403, 413, 429),
            },
        }
    },
    "/ofrep/v1/stream": {
        "get": {
            "tags": ["OFREP"],
            "operationId": "stream_changes",
            "summary": "Server-sent events: evaluate again, something changed",
            "description": "Where the service is not open to all, a bulk answer names the address "
            "with a token in it, since a browser's EventSource sends no headers.",
            "security": [*keyed("client"), {"token": []}],
            "parameters": [
                parameter("Last-Event-ID", "header", "The newest change the caller knows of.")
            ],
            "responses": {
                "200": answer(
                    "Events `message` with `refetchEvaluation`",
                    event_stream("message"),
                ),
                **refusals(_REFUSED, 400, 401, 403, 429, 503),
            },
        }
    },
}
"""The routes as OpenAPI describes them."""

TOKEN: Final[Part] = {
    "type": "apiKey",
    "in": "query",
    "name": "token",
    "description": "Opens the stream of changes and nothing else; a bulk answer holds it.",
}
"""How a stream is opened."""
