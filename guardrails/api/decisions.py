"""Decisions over HTTP: computing one again."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from guardrails.api import examples
from guardrails.api.answers import described, refusals, to_json
from guardrails.engine import Engine
from guardrails.replay import Replayed


def decisions_router(engine: Callable[[], Engine]) -> APIRouter:
    """Return the route that computes a decision again; it changes nothing.

    Args:
        engine: Returns the running engine.
    """
    api = APIRouter(
        prefix="/api/v1/decisions",
        tags=["experiments"],
        responses=refusals(examples.UNKNOWN_DECISION),
    )

    @api.get(
        "/{decision}/replay",
        summary="Compute a decision again from the log of events, and compare",
        responses=described(Replayed, examples.REPLAYED),
    )
    def replay(
        decision: Annotated[
            str,
            Path(
                max_length=40,
                description="`t3` a transition, `f12` a finding, `c12` a check.",
                json_schema_extra={"pattern": "^[tfc][1-9][0-9]{0,17}$"},
            ),
        ],
        *,
        from_start: Annotated[
            bool, Query(description="Compute every look before it again too.")
        ] = False,
    ) -> Response:
        return to_json(engine().replay(decision, from_start=from_start))

    _ = replay
    return api
