"""Every error in the one shape, whatever raised it."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from http import HTTPStatus
from typing import Any, cast

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from experiments.errors import SpecError, TurnbackError, UnavailableError
from guardrails.api.invalid import told as invalid_words
from guardrails.problems import and_more, told
from metrics.access import AccessError
from metrics.api import error_body
from metrics.asgi import CORS, PREFLIGHT, BodyTooLargeError, Headers
from metrics.store import StoreError

_LONGEST = 200
"""Characters of an address that others are compared with."""

_ALIKE = 0.8
"""How like an address must be to be named."""

_CODES = {413: "too_large"}
"""Where ours are not called as HTTP's are."""


def install_errors(app: FastAPI) -> None:
    """Answer every error in the one shape, whatever raised it."""

    async def ours(_request: Request, error: Exception) -> Response:
        error = cast("TurnbackError", error)
        headers = {}
        if isinstance(error, UnavailableError):
            headers["Retry-After"] = str(error.retry_after)
        return Response(
            msgspec.json.encode(_shape(error)),
            status_code=error.status,
            media_type="application/json",
            headers=headers,
        )

    async def access(_request: Request, error: Exception) -> Response:
        error = cast("AccessError", error)
        headers = error.headers("Basic")  # which a browser asks a person for
        return _refusal(error.status, error.code, error.message, error.hint, headers=headers)

    async def too_large(_request: Request, error: Exception) -> Response:
        return _refusal(413, "too_large", str(error))

    async def store(_request: Request, error: Exception) -> Response:
        return _refusal(503, "store_unavailable", str(error), headers={"Retry-After": "1"})

    async def http(request: Request, error: Exception) -> Response:
        return _nowhere(app, request, cast("HTTPException", error))

    async def invalid(_request: Request, error: Exception) -> Response:
        error = cast("RequestValidationError", error)
        message, hint, where = invalid_words(error.errors()[0])
        return _refusal(422, "invalid_request", message, hint, where)

    async def unforeseen(_request: Request, _error: Exception) -> Response:
        return _refusal(500, "internal", "this failed", "the service's log says why")

    # a redirect answers no preflight, and its target would be made of the request's own Host
    app.router.redirect_slashes = False
    app.add_exception_handler(TurnbackError, ours)
    app.add_exception_handler(AccessError, access)
    app.add_exception_handler(BodyTooLargeError, too_large)
    app.add_exception_handler(StoreError, store)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unforeseen)


def _nowhere(app: FastAPI, request: Request, error: HTTPException) -> Response:
    """Answer what no route did."""
    code = _CODES.get(error.status_code) or HTTPStatus(error.status_code).name.lower()
    headers, hint = dict(error.headers or {}), ""
    if error.status_code == HTTPStatus.NOT_FOUND:
        if request.method == "OPTIONS":  # else a page would never see the 404 behind it
            return Response(status_code=204, headers=_texts(PREFLIGHT))
        hint = _meant(app, request.url.path)
        # else a slip in an address looks like a fault of CORS
        headers |= _texts(CORS)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = _allowed(app, request.url.path) | {*headers.get("Allow", "").split(", ")}
        headers["Allow"] = ", ".join(sorted(allowed - {""}))
        hint = f"this address takes {headers['Allow']}"
    return _refusal(error.status_code, code, str(error.detail), hint, headers=headers)


def _allowed(app: FastAPI, path: str) -> set[str]:
    """Return the methods of all routes of an address: each knows only its own."""
    paths: Mapping[str, Mapping[str, Any]] = app.openapi()["paths"]
    known = (methods for each, methods in paths.items() if compile_path(each)[0].match(path))
    return {method.upper() for methods in known for method in methods}


def _meant(app: FastAPI, path: str) -> str:
    """Return what to do about an address that is not there; nothing that was sent is said again."""
    paths: Mapping[str, Mapping[str, Any]] = app.openapi()["paths"]
    pages = {str(getattr(route, "path", "")) for route in app.routes} - {""}
    parts = path[:_LONGEST].lower().rstrip("/").split("/")
    known = {_filled(each, parts): each for each in sorted(pages | set(paths))}
    near = get_close_matches("/".join(parts), known, 1, _ALIKE)
    if not near:
        return "/docs has every address"
    meant = known[near[0]]
    methods = " or ".join(method.upper() for method in paths.get(meant, {}))
    return f"did you mean `{f'{methods} {meant}'.strip()}`? /docs has every address"


def _filled(known: str, parts: Sequence[str]) -> str:
    """Return a known address whose ``{…}`` have what the one that was asked has there."""
    own = known.split("/")
    if len(own) != len(parts):
        return known
    return "/".join(g if k.startswith("{") else k for k, g in zip(own, parts, strict=True))


def _texts(headers: Headers) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}


def _shape(error: TurnbackError) -> dict[str, Any]:
    """Return the one error shape; of a file with many problems the first, and how many more."""
    if not isinstance(error, SpecError):
        return error.to_json()
    first, left_out = told(error.problems)
    shape = SpecError(first).to_json()
    if left_out:
        shape["error"]["message"] += f"\n{and_more(left_out)}"
        shape["error"]["left_out"] = left_out
    return shape


def _refusal(
    status: int,
    code: str,
    message: str,
    hint: str = "",
    path: str = "",
    *,
    headers: dict[str, str] | None = None,
) -> Response:
    return Response(
        error_body(code, message, hint, path),
        status_code=status,
        media_type="application/json",
        headers=headers,
    )
