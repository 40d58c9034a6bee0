"""The quarantine over HTTP: what was refused and why, and sending it again once it is mended."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from metrics.api import error_body
from metrics.ingest import QueueFullError
from metrics.intake import Intake, Resubmitted
from metrics.openapi import answer, content
from metrics.store import StoreError

LARGEST = 2**53 - 1
"""The largest number that everybody who reads JSON counts exactly."""

MOST = 1_000
"""Events listed or sent again by one request."""


_NUMBER = {"type": "integer", "minimum": 1}
_TEXT = {"type": "string"}
_REASON = {
    "number": _NUMBER,
    "id": {"type": ["string", "null"]},
    "field": _TEXT,
    "code": _TEXT,
    "reason": _TEXT,
}
_KEPT = {
    "number": 17,
    "index": 0,
    "id": "r-5081",
    "field": "fields.score",
    "code": "wrong_type",
    "reason": "fields.score: expected a number, got text",
    "event": '{"id": "r-5081"}',
    "trusted": True,
}
_LISTED = {
    "type": "object",
    "required": ["quarantine", "counts"],
    "properties": {
        "quarantine": {
            "type": "array",
            "items": {
                "type": "object",
                "required": [*_REASON, "event", "trusted"],
                "properties": {**_REASON, "event": _TEXT, "trusted": {"type": "boolean"}},
            },
        },
        "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
    },
}
_AGAIN = {
    "type": "object",
    "required": ["accepted", "duplicates", "rejected", "missing"],
    "properties": {
        "accepted": {"type": "integer"},
        "duplicates": {"type": "integer"},
        "rejected": {
            "type": "array",
            "items": {"type": "object", "required": [*_REASON], "properties": _REASON},
        },
        "missing": {"type": "array", "items": _NUMBER},
    },
}


class Again(BaseModel):
    """Which kept events are meant: these numbers, or the newest ones of a code."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"numbers": [17, 18]}],
            "oneOf": [
                {
                    "required": ["numbers"],
                    "properties": {"numbers": {"type": "array"}, "code": {"type": "null"}},
                },
                {
                    "required": ["code"],
                    "properties": {"code": {"type": "string"}, "numbers": {"type": "null"}},
                },
            ],
        },
    )

    numbers: list[Annotated[int, Field(ge=1, le=LARGEST)]] | None = Field(
        None, max_length=MOST, description="Numbers from the list."
    )
    code: str | None = Field(None, max_length=64, description="All of one reason, up to 1,000.")


_DISMISSED = {
    "type": "object",
    "required": ["dismissed", "missing"],
    "properties": {
        "dismissed": {"type": "integer", "minimum": 0},
        "missing": {"type": "array", "items": _NUMBER},
    },
}


def quarantine_router(intake: Callable[[], Intake]) -> APIRouter:
    """Return the routes about events that were refused."""
    api = APIRouter(prefix="/api/v1", tags=["events"])

    listing = answer(
        "Events and why, and how many of each reason",
        content(_LISTED, {"quarantine": [_KEPT], "counts": {"wrong_type": 1}}),
    )
    sent = answer(
        "What became of them",
        content(_AGAIN, {"accepted": 2, "duplicates": 0, "rejected": [], "missing": []}),
    )

    gone = answer(
        "How many went, and which were not there",
        content(_DISMISSED, {"dismissed": 1, "missing": []}),
    )

    @api.get(
        "/quarantine",
        summary="The newest events that were refused, newest first",
        responses={200: listing},
    )
    def listed(
        limit: Annotated[int, Query(ge=1, le=MOST, description="At most so many.")] = 100,
        code: Annotated[str | None, Query(max_length=64, description="Only this reason.")] = None,
        before: Annotated[
            int | None, Query(ge=1, le=LARGEST, description="Only smaller numbers: the next page.")
        ] = None,
    ) -> Response:
        store = intake().store
        found = store.quarantined(limit=limit, code=code, before=before)
        return _json(
            {
                "quarantine": [msgspec.to_builtins(each) for each in found],
                "counts": store.quarantine_counts(),
            }
        )

    @api.post(
        "/quarantine/resubmit",
        summary="Send refused events again, once they can be read",
        responses={200: sent},
    )
    def resubmit(again: Again) -> Response:
        return _chosen(intake(), again, lambda here, numbers: as_told(here.resubmit(numbers)))

    @api.post(
        "/quarantine/dismiss",
        summary="Remove refused events that nobody will send again",
        description="An event that comes later with the same id and is accepted ends its refusal "
        "by itself. What is dismissed is gone; the call is recorded.",
        responses={200: gone},
    )
    def dismiss(again: Again) -> Response:
        return _chosen(intake(), again, lambda here, numbers: asdict(here.dismiss(numbers)))

    _ = (listed, resubmit, dismiss)
    return api


def _chosen(
    here: Intake, again: Again, work: Callable[[Intake, Sequence[int]], dict[str, Any]]
) -> Response:
    """Answer with what became of the events that were named, by number or by code."""
    if (again.numbers is None) == (again.code is None):
        body = error_body(
            "invalid",
            "say which events: either numbers or a code",
            'send {"numbers": [17]} or {"code": "too_late"}',
        )
        return Response(body, 422, media_type="application/json")
    numbers = again.numbers
    if numbers is None:
        found = here.store.quarantined(limit=MOST, code=again.code)
        numbers = sorted(each.number for each in found)
    try:
        return _json(work(here, numbers))
    except QueueFullError as error:
        return _later("too many events wait to be written", max(1, int(error.retry_after)))
    except StoreError as error:
        return _later(str(error), 1)


def as_told(done: Resubmitted) -> dict[str, Any]:
    """Return what became of events sent again, for people and machines."""
    return {
        "accepted": done.accepted,
        "duplicates": done.duplicates,
        "rejected": [
            {"number": r.number, "id": r.id, "field": r.field, "code": r.code, "reason": r.reason}
            for r in done.rejected
        ],
        "missing": list(done.missing),
    }


def _later(message: str, seconds: int) -> Response:
    body = error_body("store_unavailable", message, "send it again later: nothing was lost")
    return Response(body, 503, media_type="application/json", headers={"Retry-After": str(seconds)})


def _json(content: dict[str, Any]) -> Response:
    return JSONResponse(content)
