"""The parts of which routes are described in the OpenAPI document. Plain data.

The hot routes are no routes of a framework that could describe them, so they say it themselves.
"""

from collections.abc import Mapping
from typing import Any, Final

Part = dict[str, Any]

BEARER, HEADER = "bearer", "header"
"""Names of the two ways to send a key."""

SCHEMES: Final[Part] = {
    BEARER: {
        "type": "http",
        "scheme": "bearer",
        "description": "`Authorization: Bearer KEY`. Three scopes, each with the one before it: "
        "`client` evaluates, and sends events that feed KPIs with trust `any`; `ingest` sends "
        "trusted events, and reads; `admin` does everything. On a loopback address a caller "
        "without a key may do whatever no key protects.",
    },
    HEADER: {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same key in a header of its own.",
    },
}

_RETRY_AFTER: Final[Part] = {
    "description": "Seconds after which another try makes sense.",
    "required": True,
    "schema": {"type": "integer", "minimum": 1},
}
_WORDS: Final[Mapping[int, str]] = {
    400: "Not understood: the words say what, and what to do",
    401: "Without a key, or with one that is not known",
    403: "The key's scope does not reach",
    404: "There is no such thing",
    413: "Larger, or more, than one request may bring",
    422: "Understood, and not valid",
    429: "The key asks too often",
    503: "Not now",
}
LATER: Final = frozenset({429, 503})
"""Answers that always say when to come back."""


def keyed(scope: str) -> list[Part]:
    """Return that a route wants a key of a scope, or of a larger one."""
    return [{BEARER: [scope]}, {HEADER: [scope]}]


def content(schema: Part, example: Any = None, *, media: str = "application/json") -> Part:
    """Return what a body is like, with an example of it."""
    about: Part = {"schema": schema}
    if example is not None:
        about["example"] = example
    return {media: about}


def event_stream(event: str) -> Part:
    """Return what one server-sent event is like."""
    text = {"type": "string"}
    about: Part = {
        "type": "object",
        "required": ["event", "id", "data"],
        "properties": {"event": {"const": event}, "id": text, "data": text},
    }
    return content(about, media="text/event-stream")


def answer(description: str, body: Part, headers: Mapping[str, Part] | None = None) -> Part:
    """Return how one status is answered.

    Args:
        description: In words.
        body: From `content`; empty where there is none.
        headers: By name, from `says`.
    """
    about: Part = {"description": description}
    if headers:
        about["headers"] = dict(headers)
    if body:
        about["content"] = body
    return about


def says(description: str, *, required: bool = True, **schema: Any) -> Part:
    """Return a header of an answer; a text unless ``schema`` says otherwise."""
    return {
        "description": description,
        "required": required,
        "schema": {"type": "string", **schema},
    }


def refusal(status: int, body: Part) -> Part:
    """Return how a refusal is answered, with the header that belongs to it."""
    headers: dict[str, Part] = {}
    if status in LATER:
        headers["Retry-After"] = _RETRY_AFTER
    if status == 401:  # noqa: PLR2004 - an HTTP status
        headers["WWW-Authenticate"] = says("How a key is sent.")
    return answer(_WORDS[status], body, headers)


def refusals(body: Part, *statuses: int) -> Part:
    """Return how a route refuses."""
    return {str(status): refusal(status, body) for status in statuses}


def parameter(
    name: str, where: str, description: str, *, required: bool = False, **schema: Any
) -> Part:
    """Return a parameter in the path, the query or the headers; a text by default."""
    return {
        "name": name,
        "in": where,
        "required": required or where == "path",
        "description": description,
        "schema": {"type": "string", **schema},
    }
