"""Experiments over HTTP, for people and the command line. In demo mode also the stepped clock."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any, cast
from urllib.parse import urlsplit

import msgspec
from fastapi import APIRouter, FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from experiments.errors import InvalidRequestError, SpecError, TurnbackError, UnavailableError
from experiments.lifecycle import Move
from guardrails.clock import SteppedClock
from guardrails.engine import Engine
from guardrails.problems import and_more, told
from guardrails.telemetry import build_version
from guardrails.texts import header_text, unicode
from guardrails.views import TransitionView
from metrics.access import LOOPBACK, AccessError, Keys, Role
from metrics.api import error_body
from metrics.asgi import BodyTooLargeError, read_body
from metrics.store import MetricStore, StoreError

logger = logging.getLogger("turnback.service")

LARGEST_SPEC = 1_000_000
"""Bytes of a spec file: far beyond anything a person writes."""

LONGEST_REASON = 2_000
"""Characters of a reason: it is kept, shown and sent to channels."""


Text = Annotated[str, AfterValidator(unicode)]
Actor = Annotated[
    str,
    Header(alias="X-Turnback-Actor", min_length=1, max_length=200),
    AfterValidator(header_text),
]
SPEC_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The text of a spec file.",
        "content": {"application/yaml": {"schema": {"type": "string"}}},
    }
}


class ActionName(StrEnum):
    """What a person may do to an experiment."""

    ROLL_BACK = "roll_back"
    RESUME = "resume"
    PAUSE = "pause"
    CONTINUE = "continue"
    STOP = "stop"


class Action(BaseModel):
    """What to do, to which arm, and why: the reason is kept."""

    model_config = ConfigDict(extra="forbid")

    action: ActionName
    variant: Text | None = None
    reason: Text = Field("", max_length=LONGEST_REASON)


class DemoTime(BaseModel):
    """Where to move the demo's clock."""

    model_config = ConfigDict(extra="forbid")

    to: AwareDatetime


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


def router(engine: Callable[[], Engine], note_valid: Callable[[bool], None]) -> APIRouter:
    """Return the routes that read and change experiments.

    Args:
        engine: Returns the running engine.
        note_valid: Told whether the newest file was valid.
    """
    api = APIRouter(prefix="/api/v1/experiments", tags=["experiments"])
    _reading(api, engine)

    @api.post("", summary="Apply a spec file", openapi_extra=SPEC_BODY)
    async def apply(
        request: Request,
        source: Annotated[str, Query(max_length=500)] = "<request>",
        actor: Actor = "api",
    ) -> Response:
        body = await read_body(request.receive, LARGEST_SPEC)
        try:
            text = body.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InvalidRequestError(
                f"the file is no UTF-8 (byte {error.start})", hint="save it as UTF-8"
            ) from None
        try:
            view = await run_in_threadpool(engine().apply, text, source=source, actor=actor)
        except SpecError:
            note_valid(False)
            raise
        note_valid(True)
        return to_json(view, status=201 if view.result == "created" else 200)

    @api.post("/{key}/actions", summary="Roll back, resume, pause, continue or stop")
    def act(key: str, action: Action, actor: Actor = "api") -> Response:
        return to_json(_act(engine(), key, action, actor))

    _ = (apply, act)
    return api


def _reading(api: APIRouter, engine: Callable[[], Engine]) -> None:
    @api.get("", summary="Every experiment, oldest first")
    def experiments() -> Response:
        return to_json({"experiments": engine().experiments()})

    @api.get("/{key}", summary="Everything shown of one experiment")
    def experiment(key: str) -> Response:
        return to_json(engine().experiment(key))

    @api.get("/{key}/transitions", summary="Every change of state, oldest first")
    def transitions(key: str) -> Response:
        return to_json({"transitions": engine().transitions(key)})

    @api.get("/{key}/explain", summary="What happened and why, in words")
    def explain(key: str) -> Response:
        return to_json(engine().explain(key))

    _ = (experiments, experiment, transitions, explain)


def _act(engine: Engine, key: str, asked: Action, actor: str) -> TransitionView:
    if asked.action in {ActionName.ROLL_BACK, ActionName.RESUME}:
        if not asked.variant:
            raise InvalidRequestError(
                f"'{asked.action.value}' needs a variant", hint="name the treatment", path="variant"
            )
        do = engine.roll_back if asked.action is ActionName.ROLL_BACK else engine.resume
        return do(key, asked.variant, reason=asked.reason, actor=actor)
    if asked.variant:
        raise InvalidRequestError(
            f"'{asked.action.value}' is about the whole experiment",
            hint="leave the variant out",
            path="variant",
        )
    return engine.move(key, Move(asked.action.value), reason=asked.reason, actor=actor)


def demo_router(engine: Callable[[], Engine], clock: Callable[[], SteppedClock]) -> APIRouter:
    """Return the route that moves time; it exists in demo mode alone.

    Everything received before is durable and counted when it answers: the engine flushes
    before its checks.

    Args:
        engine: Returns the running engine.
        clock: Returns its clock.
    """
    api = APIRouter(prefix="/api/v1/demo", tags=["demo"])

    @api.post("/clock", summary="Move the demo's clock forward and run the checks that are due")
    def move(time: DemoTime) -> Response:
        try:
            clock().move_to(time.to.astimezone(UTC))
        except ValueError as error:
            raise InvalidRequestError(str(error), path="to") from None
        reports = engine().run_due()
        now: datetime = clock().now()
        moved = [t for report in reports for t in report.transitions]
        return to_json({"now": now, "checks": len(reports), "transitions": moved})

    _ = move
    return api


def scrape_router(scrape: Callable[[str], tuple[bytes, str]]) -> APIRouter:
    """Return ``/metrics``.

    Args:
        scrape: Answers an ``Accept`` header with a body and its content type.
    """
    api = APIRouter(tags=["operation"])

    @api.get("/metrics", summary="Prometheus series")
    def metrics(request: Request) -> Response:
        body, media_type = scrape(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": media_type})

    _ = metrics
    return api


def health_router(
    engine: Callable[[], Engine], store: Callable[[], MetricStore], instance: str = ""
) -> APIRouter:
    """Return the routes for whoever keeps the service running; they need no key.

    Args:
        engine: Returns the running engine.
        store: Returns the metric store.
        instance: Told by ``/readyz``, so that whoever started a service knows it.
    """
    api = APIRouter(tags=["operation"])

    @api.get("/healthz", summary="Whether the process answers")
    def healthz() -> Response:
        return to_json({"status": "ok", "version": build_version()})

    @api.get("/readyz", summary="Whether it can do its work")
    def readyz() -> Response:
        try:
            watermark, known = store().watermark(), len(engine().experiments())
        except Exception as error:
            logger.exception("not ready")
            raise UnavailableError(
                f"the files cannot be read ({type(error).__name__})", hint="see the service's log"
            ) from error
        state = {"status": "ready", "watermark": watermark, "experiments": known}
        return to_json({**state, "instance": instance or None})

    _ = (healthz, readyz)
    return api


class Guard:
    """Who may look and who may change, outside of the hot routes.

    Args:
        keys: The keys in force.
        local: Whether only this machine can reach the service.
    """

    def __init__(self, keys: Keys, *, local: bool) -> None:
        self._keys = keys
        self._local = local

    def admit(self, request: Request) -> None:
        """Let pass who may do what a request asks for.

        Raises:
            AccessError: Nobody who may.
        """
        if request.method in {"GET", "HEAD", "OPTIONS"}:
            self.may_read(request)
        else:
            self.may_change(request)

    def may_read(self, request: Request) -> None:
        """Let pass who may look: everybody on a local address, elsewhere holders of a key."""
        if not self._local:
            self._require(request, Role.INGEST)

    def may_change(self, request: Request) -> None:
        """Let pass who may change something.

        Without keys a page of another site open in the same browser could reach a local
        service: such requests carry that site's origin and are refused.
        """
        self._require(request, Role.ADMIN)
        origin = request.headers.get("origin")
        if origin and not self._keys.digests and urlsplit(origin).hostname not in LOOPBACK:
            raise AccessError(
                403, "forbidden", f"pages of {origin} may not change anything here", "use a key"
            )

    def _require(self, request: Request, role: Role) -> None:
        headers = request.headers
        self._keys.require(role, headers.get("authorization"), headers.get("x-api-key"))


class UnknownParameterError(InvalidRequestError):
    """A query parameter that the route does not know: a typing error is no default."""

    code = "unknown_parameter"


def known_parameters(request: Request) -> None:
    """Refuse query parameters that the route does not know."""
    dependant: Any = getattr(request.scope.get("route"), "dependant", None)
    known = {p.alias for p in dependant.query_params} if dependant is not None else set[str]()
    for name in request.query_params:
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise UnknownParameterError(
                f"unknown query parameter '{name}'", hint=f"known here: {listed}", path=name
            )


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
        headers = {"WWW-Authenticate": 'Basic realm="Turnback"'} if error.status == 401 else None  # noqa: PLR2004 - an HTTP status
        return _refusal(error.status, error.code, error.message, error.hint, headers=headers)

    async def too_large(_request: Request, error: Exception) -> Response:
        return _refusal(413, "too_large", str(error))

    async def store(_request: Request, error: Exception) -> Response:
        return _refusal(503, "store_unavailable", str(error), headers={"Retry-After": "1"})

    async def http(_request: Request, error: Exception) -> Response:
        error = cast("HTTPException", error)
        code = HTTPStatus(error.status_code).name.lower()
        return _refusal(
            error.status_code, code, str(error.detail), headers=dict(error.headers or {})
        )

    async def invalid(_request: Request, error: Exception) -> Response:
        error = cast("RequestValidationError", error)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        where = where.encode("utf-8", "backslashreplace").decode()[:200]
        return _refusal(422, "invalid_request", str(first["msg"]), path=where)

    async def unforeseen(_request: Request, _error: Exception) -> Response:
        return _refusal(500, "internal", "this failed", "the service's log says why")

    app.add_exception_handler(TurnbackError, ours)
    app.add_exception_handler(AccessError, access)
    app.add_exception_handler(BodyTooLargeError, too_large)
    app.add_exception_handler(StoreError, store)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unforeseen)


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
