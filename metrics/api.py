"""Events in over HTTP.

``POST /api/v1/events`` is a plain ASGI endpoint: it must keep up with the store.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from metrics.access import Access, AccessError, Role
from metrics.asgi import (
    CORS,
    JSON,
    PREFLIGHT,
    BadEncodingError,
    BodyTooLargeError,
    ClientGoneError,
    Headers,
    Receive,
    Scope,
    Send,
    header,
    on_the_wire,
    read_body,
    respond,
    stray,
    unpack,
)
from metrics.events import Event, MalformedBodyError, Rejection
from metrics.ingest import QueueFullError
from metrics.intake import Intake, Sorted, TooManyEventsError, Warned
from metrics.store import Appended, StoreError

logger = logging.getLogger("turnback.events")

PATH = "/api/v1/events"
NDJSON = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
MOST_WARNINGS = 20
"""Warnings of one answer; the others are counted."""

LARGE = 262_144
"""Bodies from here on are parsed in a thread, so that evaluations do not wait for them."""


class RequestError(Exception):
    """A whole request is refused; nothing of it is kept."""

    def __init__(
        self, status: int, code: str, message: str, hint: str = "", *, retry_after: int = 0
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.retry_after = retry_after


def error_body(code: str, message: str, hint: str = "", path: str = "") -> bytes:
    """Return the one error shape of every interface."""
    return msgspec.json.encode(
        {
            "error": {
                "code": code,
                "message": message,
                "hint": hint or None,
                "path": path or None,
            }
        }
    )


@dataclass(frozen=True, slots=True)
class Door:
    """What one request may bring in.

    Attributes:
        keys: Who may send.
        body_limit: Largest body in bytes, as sent and unpacked.
        batch_limit: Most events of one request.
    """

    keys: Access
    body_limit: int
    batch_limit: int


class EventsEndpoint:
    """``POST /api/v1/events``: acknowledged means durable and counted once.

    A bad event never spoils its batch: it is kept in quarantine, and the answer names its
    index, field and reason. Sent again, a whole batch changes nothing.
    """

    def __init__(self, intake: Intake, door: Door) -> None:
        self.intake = intake
        self.door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] == "OPTIONS":
            await respond(send, 204, b"", PREFLIGHT)
            return
        try:
            answer = await self._take(scope, receive)
        except ClientGoneError:
            return
        except (RequestError, AccessError) as error:
            self.intake.counts.refused += 1
            body = error_body(error.code, error.message, error.hint)
            await respond(send, error.status, body, (*JSON, *CORS, *_extra(error)))
            return
        except Exception:
            logger.exception("a batch of events could not be taken")
            body = error_body("internal", "the events could not be taken", "send them again")
            await respond(send, 500, body, (*JSON, *CORS))
            return
        await respond(send, 200, answer, (*JSON, *CORS))

    async def _take(self, scope: Scope, receive: Receive) -> bytes:
        if scope["method"] != "POST":
            raise RequestError(405, "method_not_allowed", "events are sent with POST")
        trusted = self.admit(scope)
        body = await self._body(scope, receive)
        kind = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
        ndjson = kind in NDJSON
        if len(body) >= LARGE:
            found = await run_in_threadpool(self._parse, body, ndjson=ndjson, trusted=trusted)
        else:
            found = self._parse(body, ndjson=ndjson, trusted=trusted)
        return await self._append(found)

    def admit(self, scope: Scope) -> bool:
        """Return whether the caller holds a secret key.

        Raises:
            RequestError: The address has a part that means nothing here.
            AccessError: The caller may not send events.
        """
        if wrong := stray(scope):
            raise RequestError(400, "unknown_parameter", wrong, "known here: none")
        role = self.door.keys.require(
            Role.CLIENT,
            header(scope, b"authorization"),
            header(scope, b"x-api-key"),
            origin=header(scope, b"origin"),
        )
        lowered = header(scope, b"x-turnback-trust") is not None  # it never raises trust
        return role >= Role.INGEST and not lowered

    def read(self, body: bytes, *, ndjson: bool, trusted: bool) -> Sorted:
        """Return the events to append, and what is wrong with the others.

        Raises:
            MalformedBodyError: The body is none of events.
            TooManyEventsError: It has more than one request may.
        """
        most = self.door.batch_limit
        return self.intake.read(body, ndjson=ndjson, trusted=trusted, most=most)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        limit = self.door.body_limit
        encoding = header(scope, b"content-encoding")
        try:
            body = await read_body(receive, limit)
            if encoding:
                return await run_in_threadpool(unpack, body, encoding, limit)
        except BodyTooLargeError as error:
            raise RequestError(413, "too_large", str(error), "send smaller batches") from None
        except BadEncodingError as error:
            raise RequestError(400, "bad_encoding", str(error)) from None
        return body

    def _parse(self, body: bytes, *, ndjson: bool, trusted: bool) -> Sorted:
        try:
            return self.read(body, ndjson=ndjson, trusted=trusted)
        except MalformedBodyError as error:
            raise RequestError(400, "malformed_body", str(error)) from None
        except TooManyEventsError as error:
            raise RequestError(413, "too_many_events", str(error), "send smaller batches") from None

    async def _append(self, found: Sorted) -> bytes:
        intake = self.intake
        try:
            done = await self._submit([event for _, event in found.events])
            if found.rejected or intake.mends(found):
                rejected = await run_in_threadpool(intake.note, found, done)
            else:
                rejected = intake.note(found, done)
            watermark = (
                done.watermark if found.events else await run_in_threadpool(intake.store.watermark)
            )
        except StoreError as error:
            logger.warning("events were not taken: %s", error)
            raise RequestError(
                503,
                "store_unavailable",
                "the events could not be made durable; none is acknowledged",
                "send them again: what was already kept is not counted twice",
                retry_after=1,
            ) from error
        warnings = [] if not found.doubts else intake.warned(found.doubts)
        return _answer(done, rejected, watermark, warnings)

    async def _submit(self, events: Sequence[Event]) -> Appended:
        try:
            future = self.intake.submit(events)
        except QueueFullError as error:
            raise RequestError(
                503,
                "queue_full",
                "too many events wait to be written; none of these is acknowledged",
                "send them again later",
                retry_after=max(1, int(error.retry_after)),
            ) from None
        # shielded: a client that goes away does not undo what is being written
        return await asyncio.shield(asyncio.wrap_future(future))


def _answer(
    done: Appended, rejected: Sequence[Rejection], watermark: int, warnings: Sequence[Warned]
) -> bytes:
    told: dict[str, object] = {
        "accepted": done.accepted,
        "duplicates": done.duplicates,
        "rejected": [
            {"index": r.index, "id": r.id, "field": r.field, "code": r.code, "reason": r.reason}
            for r in rejected
        ],
        "watermark": watermark,
    }
    if warnings:
        told["warnings"] = warnings[:MOST_WARNINGS]
        told["more_warnings"] = max(0, len(warnings) - MOST_WARNINGS)
    return msgspec.json.encode(told)


def _extra(error: RequestError | AccessError) -> Headers:
    if isinstance(error, AccessError):
        return on_the_wire(error.headers())
    if error.retry_after:
        return ((b"retry-after", b"%d" % error.retry_after),)
    return ((b"allow", b"POST, OPTIONS"),) if error.status == 405 else ()  # noqa: PLR2004 - an HTTP status


def routes(intake: Intake, door: Door) -> list[Route]:
    """Return the events route."""
    return [Route(PATH, EventsEndpoint(intake, door))]
