"""Keys and the record of calls over HTTP; keys are made and revoked where the files are."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Response

from guardrails.admission import Admission
from guardrails.api.answers import refusals, to_json

MOST_CALLS = 1_000


def keys_router(admission: Callable[[], Admission]) -> APIRouter:
    """Return the routes that list keys, and who called what.

    Args:
        admission: Returns who is let in.
    """
    api = APIRouter(prefix="/api/v1", tags=["operation"], responses=refusals())

    @api.get("/keys", summary="Keys that were made: names, scopes, last use; never a key")
    def listed() -> Response:
        return to_json({"keys": admission().keys()})

    @api.get("/audit", summary="Calls that were let in to change something, newest first")
    def audit(limit: Annotated[int, Query(ge=1, le=MOST_CALLS)] = 100) -> Response:
        return to_json({"calls": admission().calls(limit)})

    _ = (listed, audit)
    return api
