"""The OpenAPI document: made by the framework, completed here, so that it says all that holds."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, cast

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from experiments import growthbook_described, ofrep_described
from guardrails.spec_file import json_schema
from metrics import events_described
from metrics.catalogue import Catalogue
from metrics.events_described import ERROR
from metrics.openapi import SCHEMES, Part, answer, content, keyed, refusal

TAGS: Final[list[Part]] = [
    {"name": "experiments", "description": "Spec files in, what happened and why out."},
    {"name": "OFREP", "description": "OpenFeature Remote Evaluation Protocol 0.3.0."},
    {"name": "GrowthBook SDKs", "description": "What GrowthBook's own SDKs ask for."},
    {"name": "events", "description": "What applications send, and what was refused of it."},
    {"name": "metrics", "description": "KPI definitions."},
    {"name": "store", "description": "Looking after the events."},
    {"name": "operation", "description": "Running the service."},
    {"name": "demo", "description": "A clock that is moved by hand; in demo mode alone."},
]
ABOUT: Final = (
    "Runs A/B tests and turns a harmful variant back by itself.\n\n"
    'Every error has one shape, `{"error": {"code", "message", "hint", "path"}}`; OFREP and '
    "GrowthBook's SDKs get errors as their protocols have them. An unknown query parameter is a "
    "400. A 503 and a 429 always have `Retry-After`."
)
ALL: Final = "/api/v1/experiments"
ONE: Final = f"{ALL}/{{key}}"
FLAG: Final = "/ofrep/v1/evaluate/flags/{key}"
REPLAY: Final = "/api/v1/decisions/{decision}/replay"

SPEC_FILE: Final = "SpecFile"
"""What a spec file may hold; as `turnback schema` prints it, with this service's KPIs."""

OPEN: Final = frozenset({"/healthz", "/readyz"})
READING: Final = frozenset({"/api/v1/validate", "/api/v1/rehearse"})
"""Posts that change nothing."""
CLOSED: Final = frozenset({"/api/v1/channels"})
"""What is nobody's business but an administrator's."""

_REFUSED = content(
    {"$ref": "#/components/schemas/ErrorAnswer"},
    {"error": {"code": "conflict", "message": "not as things are", "hint": None, "path": None}},
)
_ALWAYS: Final = (401, 429, 503)


_HOT: Final[Mapping[str, Part]] = {
    **ofrep_described.DESCRIBED,
    **growthbook_described.DESCRIBED,
    **events_described.DESCRIBED,
}
"""The paths of the routes that are not the framework's: their description is our own."""

_SCHEMES: Final[Mapping[str, Part]] = {
    "token": ofrep_described.TOKEN,
    "client_key": growthbook_described.CLIENT_KEY,
}
"""Ways to say who one is beside a key in a header, by name."""


def describe(app: FastAPI, catalogue: Catalogue | None = None) -> None:
    """Let an application's document be made when it is first asked for: no start waits for it.

    Args:
        app: Has all its routes; what comes later, such as pages, is not described.
        catalogue: The KPIs that a spec file may name; the built-in ones by default.
    """
    routes = list(app.routes)

    @cache
    def described() -> dict[str, Any]:
        document = get_openapi(title=app.title, version=app.version, routes=routes)
        complete(document, _HOT, _SCHEMES, catalogue)
        return document

    app.openapi = described


def document_router() -> APIRouter:
    """Return the route of the document."""
    api = APIRouter()

    @api.get("/openapi.json", include_in_schema=False)
    def document(request: Request) -> Response:
        return JSONResponse(request.app.openapi())

    _ = document
    return api


def complete(
    document: dict[str, Any],
    hot: Mapping[str, Part],
    schemes: Mapping[str, Part],
    catalogue: Catalogue | None = None,
) -> None:
    """Complete the document that the framework made of its own routes.

    Args:
        document: Changed in place.
        hot: The paths of the routes that are not the framework's.
        schemes: Ways to say who one is beside a key in a header, by name.
        catalogue: The KPIs that a spec file may name; the built-in ones by default.
    """
    document["info"]["description"] = ABOUT
    document["tags"] = TAGS
    components = cast("dict[str, Part]", document.setdefault("components", {}))
    schemas = components.setdefault("schemas", {})
    schemas.setdefault("ErrorAnswer", ERROR)
    schemas[SPEC_FILE] = json_schema(catalogue)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = {**SCHEMES, **schemes}
    for path, methods in document["paths"].items():
        for method, about in methods.items():
            _completed(path, method, about)
    document["paths"].update(hot)
    _link(document["paths"])


def _link(paths: dict[str, Part]) -> None:
    """Say where an answer leads: from an applied file to all that is asked of its experiment."""
    known = {"key": "$response.body#/key"}
    of_one = {
        about["operationId"]: {"operationId": about["operationId"], "parameters": known}
        for path, methods in paths.items()
        for about in methods.values()
        if path.startswith(ONE) or path == FLAG
    }
    applied = paths[ALL]["post"]["responses"]
    for status in ("200", "201"):
        applied[status]["links"] = of_one
    replay = paths[REPLAY]["get"]["operationId"]
    paths[f"{ONE}/transitions"]["get"]["responses"]["200"]["links"] = {
        replay: {
            "operationId": replay,
            "parameters": {"decision": "t{$response.body#/transitions/0/id}"},
        }
    }


def _completed(path: str, method: str, about: Part) -> None:
    if path in OPEN:
        about["security"] = []
    else:
        about.setdefault("security", keyed(_scope(path, method)))
    responses: Part = about["responses"]
    for spare in ("422", "5XX"):
        responses.pop(spare, None)
    refused = "Refused, and why"
    told = responses.setdefault("4XX", answer(refused, _REFUSED))
    # an error is JSON, whatever the route answers otherwise
    whole: Part = {}
    for body in told["content"].values():
        whole |= body
    told["content"] = {"application/json": whole}
    for status in _ALWAYS:
        if status != 401 or about["security"]:  # noqa: PLR2004 - an HTTP status
            responses.setdefault(str(status), refusal(status, _REFUSED))


def _scope(path: str, method: str) -> str:
    if any(path.startswith(closed) for closed in CLOSED):
        return "admin"
    return "ingest" if method == "get" or path in READING else "admin"
