"""Answers: view objects as JSON, and how the description of the service shows them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from fastapi import Response

from experiments.errors import Problem


@dataclass(frozen=True, slots=True)
class ErrorDetail:
    """What was refused and what to do; ``problems`` are those of a spec file."""

    code: str
    message: str
    hint: str | None = None
    path: str | None = None
    problems: tuple[Problem, ...] | None = None
    left_out: int | None = None


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """The one shape of every error."""

    error: ErrorDetail


def refusals(example: Mapping[str, Any] | None = None) -> dict[int | str, dict[str, Any]]:
    """Return the description of a route's errors.

    Args:
        example: One error as the route answers it; a plain one by default.
    """
    shown = example or {
        "code": "unknown_experiment",
        "message": "no experiment named 'cancel-page'",
        "hint": "known: three-step-cancel",
        "path": None,
    }
    refused = {"application/json": {"example": {"error": shown}}}
    later = {
        "code": "store_unavailable",
        "message": "the store does not answer",
        "hint": None,
        "path": None,
    }
    return {
        "4XX": {"model": ErrorAnswer, "description": "Refused, and why", "content": refused},
        "5XX": {
            "model": ErrorAnswer,
            "description": "Not possible now",
            "content": {"application/json": {"example": {"error": later}}},
        },
    }


def described(
    model: Any, example: Any, *, status: int = 200, what: str = "Done"
) -> dict[int | str, dict[str, Any]]:
    """Return the description of a route's good answer, with an example of it."""
    content = {"application/json": {"example": example}}
    return {status: {"model": model, "description": what, "content": content}}


def to_json(view: object, *, status: int = 200) -> Response:
    """Answer with a view object: ``nan`` becomes null, lengths ISO 8601 durations."""
    return Response(encoded(view), status_code=status, media_type="application/json")


def encoded(view: object) -> bytes:
    """Return any view object as JSON."""
    return msgspec.json.encode(view, enc_hook=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)  # pyright: ignore[reportUnknownVariableType]
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")
