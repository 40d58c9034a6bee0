"""What the followed folder of spec files holds, over HTTP."""

from collections.abc import Callable

from fastapi import APIRouter, Response

from guardrails.api import examples
from guardrails.api.answers import described, refusals, to_json
from guardrails.specs_view import SpecsView


def specs_router(specs: Callable[[], SpecsView]) -> APIRouter:
    """Return the route that shows the followed folder.

    Args:
        specs: Returns how the folder stands; without a folder an empty view.
    """
    api = APIRouter(prefix="/api/v1", tags=["experiments"], responses=refusals())

    @api.get(
        "/specs",
        summary="The followed folder of spec files: its problems, and what each file did",
        responses=described(SpecsView, examples.SPECS),
    )
    def folder() -> Response:
        return to_json(specs())

    _ = folder
    return api
