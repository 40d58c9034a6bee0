"""Suspending the engine over HTTP, and ending that."""

from collections.abc import Callable

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from guardrails.api import examples
from guardrails.api.acting import LONGEST_REASON, SOME, Text
from guardrails.api.answers import described, refusals, to_json
from guardrails.api.experiments import Actor
from guardrails.engine import Engine
from guardrails.suspension import SuspensionView


class Suspension(BaseModel):
    """Whether the engine is to act on nothing, and why: the reason is kept."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [examples.SUSPEND], "required": ["suspended", "reason"]},
    )

    suspended: StrictBool = Field(description="False: it acts again.")
    reason: Text = Field(
        "", max_length=LONGEST_REASON, description="Why; it is kept.", json_schema_extra=SOME
    )


def suspension_router(engine: Callable[[], Engine]) -> APIRouter:
    """Return the routes that say and change whether the engine acts.

    Args:
        engine: Returns the running engine.
    """
    api = APIRouter(prefix="/api/v1/suspension", tags=["operation"], responses=refusals())
    answers = described(SuspensionView, examples.SUSPENSION)

    @api.get("", summary="Whether the engine acts on nothing, and why", responses=answers)
    def suspension() -> Response:
        return to_json(engine().suspension())

    @api.post("", summary="Let the engine act on nothing, or act again", responses=answers)
    def change(asked: Suspension, actor: Actor = "api") -> Response:
        done = engine().suspend(on=asked.suspended, reason=asked.reason, actor=actor)
        return to_json(done)

    _ = (suspension, change)
    return api
