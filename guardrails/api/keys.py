"""Keys and the record of calls over HTTP; keys are made and revoked where the files are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Response

from guardrails.admission import Admission
from guardrails.api import examples
from guardrails.api.answers import described, refusals, to_json
from guardrails.audit import Call
from guardrails.keys import KeyView

MOST_CALLS = 1_000


@dataclass(frozen=True, slots=True)
class KeysAnswer:
    """Every key that was made."""

    keys: tuple[KeyView, ...]


@dataclass(frozen=True, slots=True)
class CallsAnswer:
    """Calls, newest first."""

    calls: tuple[Call, ...]


def keys_router(admission: Callable[[], Admission]) -> APIRouter:
    """Return the routes that list keys, and who called what.

    Args:
        admission: Returns who is let in.
    """
    api = APIRouter(prefix="/api/v1", tags=["operation"], responses=refusals())

    @api.get(
        "/keys",
        summary="Keys that were made: names, scopes, last use; never a key",
        responses=described(KeysAnswer, {"keys": [examples.KEY]}),
    )
    def listed() -> Response:
        return to_json(KeysAnswer(admission().keys()))

    @api.get(
        "/audit",
        summary="Calls that were let in to change something, newest first",
        responses=described(CallsAnswer, {"calls": [examples.CALL]}),
    )
    def audit(
        limit: Annotated[int, Query(ge=1, le=MOST_CALLS, description="At most so many.")] = 100,
    ) -> Response:
        return to_json(CallsAnswer(admission().calls(limit)))

    _ = (listed, audit)
    return api
