"""What every answer of the API has around it: a request id, safe headers, a record of changes."""

import logging
import re
import uuid
from collections.abc import Callable
from datetime import datetime
from urllib.parse import unquote

from fastapi import HTTPException, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from guardrails.admission import Admission
from guardrails.audit import Call
from guardrails.logs import request_id
from metrics.access import AccessError, Role, foreign
from metrics.api import error_body
from metrics.asgi import BodyTooLargeError

READS = frozenset({"GET", "HEAD", "OPTIONS"})
ADMIN = "/api/v1/"
HOT = ("/ofrep/", "/api/v1/events", "/track", "/sub/", "/api/features/")
"""Evaluations, events and streams have checks, limits and headers of their own."""

UNADMITTED = frozenset({401, 403, 404, 405, 429})
"""Who was not let in, or asked for what is not there, changed nothing."""

LARGEST_BODY = 16_000_000
"""Bytes of a body that is no batch of events: a folder of spec files, for instance."""

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LONGEST = 200

logger = logging.getLogger("turnback.audit")


class Envelope:
    """Middleware around everything but the hot routes.

    Every answer has ``X-Request-ID`` (the caller's own where it sent one), and headers that keep
    browsers from guessing types and other sites from framing. A call that was let in to change
    something is recorded with its key, actor and status.

    Args:
        app: What answers.
        admission: Returns what knows keys and keeps calls.
        now: The clock.
        local: Whether only this machine can reach the service.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        admission: Callable[[], Admission],
        now: Callable[[], datetime],
        local: bool,
    ) -> None:
        self._app = app
        self._admission = admission
        self._now = now
        self._local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"].startswith(HOT):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request = given if _ID.fullmatch(given) else uuid.uuid4().hex
        status = 500

        async def dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = MutableHeaders(scope=message)
                own["X-Request-ID"] = request
                own.setdefault("X-Content-Type-Options", "nosniff")
                own.setdefault("X-Frame-Options", "DENY")
                own.setdefault("Referrer-Policy", "no-referrer")
                own.setdefault("Cache-Control", "no-store")
            await send(message)

        token = request_id.set(request)
        try:
            self._look(scope, headers)
            await self._app(scope, _measured(receive, LARGEST_BODY), dressed)
        except AccessError as error:
            body = error_body(error.code, error.message, error.hint)
            kind, more = "application/json", error.headers("Basic")
            await Response(body, error.status, more, kind)(scope, receive, dressed)
        finally:
            request_id.reset(token)
            if _changes(scope) and status not in UNADMITTED:
                await self._keep(scope, headers, request, status)

    def _look(self, scope: Scope, headers: Headers) -> None:
        """Let only callers with a key send a body: the framework reads it before it asks who.

        A local service without keys is asked by its own names alone. A page of another site may
        let its own name stand for this machine, and then its browser takes us for that site.

        Raises:
            AccessError: A caller from elsewhere has no key, or asks by another name.
        """
        keys = self._admission().ring.keys
        if self._local:
            host = headers.get("host")
            if not keys.protected and foreign(f"http://{host}" if host else None):
                raise AccessError(
                    403,
                    "forbidden",
                    "a service without keys answers to the names of its own machine alone",
                    "ask 127.0.0.1 or localhost, or make keys: `turnback keys create`",
                )
            return
        if _changes(scope):
            authorization, key = headers.get("authorization"), headers.get("x-api-key")
            keys.require(Role.INGEST, authorization, key)

    async def _keep(self, scope: Scope, headers: Headers, request: str, status: int) -> None:
        name = self._admission().key_name(headers.get("authorization"), headers.get("x-api-key"))
        call = Call(
            at=self._now(),
            key=name or "",
            actor=_readable(unquote(headers.get("x-turnback-actor", "api"))),
            method=scope["method"],
            path=_readable(scope["path"]),
            status=status,
            request=request,
        )
        try:
            await run_in_threadpool(self._admission().record, call)
        except Exception:
            logger.exception("a call could not be recorded: %s", call)


def _measured(receive: Receive, limit: int) -> Receive:
    """Return what receives a body, and refuses one that is larger than ``limit`` bytes."""
    size = 0

    async def received() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise HTTPException(413, str(BodyTooLargeError(limit)))
        return message

    return received


def _changes(scope: Scope) -> bool:
    return scope["method"] not in READS and scope["path"].startswith(ADMIN)


def _readable(text: str) -> str:
    """Return a text that fits the record: other people's bytes are no lines and no bells."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:_LONGEST])
