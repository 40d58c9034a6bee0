"""Events in over HTTP; quarantine and KPI definitions out.

``POST /api/v1/events`` is a plain ASGI endpoint: it must keep up with the store.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from metrics.access import AccessError, Keys, Role
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
    read_body,
    respond,
    unpack,
)
from metrics.catalogue import Catalogue, KpiDefinition
from metrics.events import (
    EXPOSURE,
    Event,
    EventLimits,
    MalformedBodyError,
    Rejection,
    as_json,
    decode_events,
    parse_event,
    read_events,
)
from metrics.ingest import Ingest, QueueFullError
from metrics.store import Appended, MetricStore, StoreError

logger = logging.getLogger("turnback.events")

PATH = "/api/v1/events"
NDJSON = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
LARGE = 262_144
"""Bodies from here on are parsed in a thread, so that evaluations do not wait for them."""

_JSON_BODY = {"application/json": {"schema": {"type": "object"}}}
DESCRIBED: dict[str, Any] = {
    PATH: {
        "post": {
            "tags": ["events"],
            "summary": "Send events: a JSON array or NDJSON, gzip allowed",
            "description": "Acknowledged means durable and counted once. Bad events are kept in "
            "quarantine and named in the answer; the others count.",
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
                    "application/x-ndjson": {"schema": {"type": "string"}},
                },
            },
            "responses": {
                "200": {"description": "What became of every event", "content": _JSON_BODY},
                "413": {"description": "Too large", "content": _JSON_BODY},
                "503": {"description": "Not now; Retry-After says when", "content": _JSON_BODY},
            },
        }
    }
}
"""The route as OpenAPI describes it."""

Screen = Callable[[Event], Event | Rejection]
"""Checks what only an experiment can know, for instance whether an exposure fits the hash."""


@dataclass(slots=True)
class EventCounts:
    """What became of events sent so far, for Prometheus.

    ``refused`` counts requests, not events: nothing of them was read or kept.
    """

    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0
    refused: int = 0


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
class Intake:
    """What the events route works with.

    Attributes:
        ingest: Writes events durably.
        store: Keeps what is refused, and answers the watermark.
        keys: Who may send.
        now: The clock.
        limits: What an event may look like.
        screen: Checks against experiments.
        body_limit: Largest body in bytes, as sent and unpacked.
        batch_limit: Most events of one request.
        counts: What became of them.
    """

    ingest: Ingest
    store: MetricStore
    keys: Keys
    now: Callable[[], datetime]
    limits: EventLimits
    screen: Screen
    body_limit: int
    batch_limit: int
    counts: EventCounts


class EventsEndpoint:
    """``POST /api/v1/events``: acknowledged means durable and counted once.

    A bad event never spoils its batch: it is kept in quarantine, and the answer names its
    index, field and reason. Sent again, a whole batch changes nothing.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

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
            self._intake.counts.refused += 1
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
        intake = self._intake
        if scope["method"] != "POST":
            raise RequestError(405, "method_not_allowed", "events are sent with POST")
        if scope["query_string"]:
            name = scope["query_string"].decode("latin-1").partition("=")[0]
            raise RequestError(400, "unknown_parameter", f"unknown query parameter '{name}'")
        role = intake.keys.require(
            Role.CLIENT,
            header(scope, b"authorization"),
            header(scope, b"x-api-key"),
            origin=header(scope, b"origin"),
        )
        trusted = role >= Role.INGEST
        body = await self._body(scope, receive)
        kind = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
        ndjson = kind in NDJSON
        if len(body) >= LARGE:
            events, rejected = await run_in_threadpool(
                self._parse, body, ndjson=ndjson, trusted=trusted
            )
        else:
            events, rejected = self._parse(body, ndjson=ndjson, trusted=trusted)
        return await self._append(events, rejected)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        limit = self._intake.body_limit
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

    def _parse(
        self, body: bytes, *, ndjson: bool, trusted: bool
    ) -> tuple[list[tuple[int, Event]], list[Rejection]]:
        """Return the events to append with their index, and what is wrong with the others."""
        intake = self._intake
        now = intake.now()
        read: Sequence[Event | Rejection] | None = read_events(
            body, ndjson=ndjson, now=now, limits=intake.limits, trusted=trusted
        )
        if read is None:
            read = self._closer(body, now, ndjson=ndjson, trusted=trusted)
        self._check_count(len(read))
        events: list[tuple[int, Event]] = []
        rejected: list[Rejection] = []
        for index, parsed in enumerate(read):
            if isinstance(parsed, Rejection):
                rejected.append(parsed)
                continue
            # only of exposures can an experiment know more
            screened = intake.screen(parsed) if parsed.name == EXPOSURE else parsed
            if isinstance(screened, Event):
                events.append((index, screened))
            else:
                rejected.append(replace(screened, index=index, event=as_json(parsed)))
        return events, rejected

    def _closer(
        self, body: bytes, now: datetime, *, ndjson: bool, trusted: bool
    ) -> Sequence[Event | Rejection]:
        """Return what becomes of every event of a body that is not good throughout."""
        try:
            raw = decode_events(body, ndjson=ndjson)
        except MalformedBodyError as error:
            raise RequestError(400, "malformed_body", str(error)) from None
        self._check_count(len(raw))
        limits = self._intake.limits
        return [
            parse_event(item, index=index, now=now, limits=limits, trusted=trusted)
            for index, item in enumerate(raw)
        ]

    def _check_count(self, count: int) -> None:
        most = self._intake.batch_limit
        if count > most:
            raise RequestError(
                413,
                "too_many_events",
                f"{count} events in one request; at most {most} are taken",
                "send smaller batches",
            )

    async def _append(
        self, events: Sequence[tuple[int, Event]], rejected: list[Rejection]
    ) -> bytes:
        intake = self._intake
        try:
            done = await self._submit([event for _, event in events])
            if rejected:
                await run_in_threadpool(intake.store.quarantine, rejected, received_at=intake.now())
            watermark = (
                done.watermark if events else await run_in_threadpool(intake.store.watermark)
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
        everything = rejected + [
            replace(refused, index=events[refused.index][0]) for refused in done.rejected
        ]
        counts = intake.counts
        counts.accepted += done.accepted
        counts.duplicate += done.duplicates
        counts.quarantined += len(everything)
        return _answer(done, everything, watermark)

    async def _submit(self, events: Sequence[Event]) -> Appended:
        if not events:
            return Appended(0, 0, (), 0)
        try:
            future = self._intake.ingest.submit(events)
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


def _answer(done: Appended, rejected: Sequence[Rejection], watermark: int) -> bytes:
    return msgspec.json.encode(
        {
            "accepted": done.accepted,
            "duplicates": done.duplicates,
            "rejected": [
                {"index": r.index, "id": r.id, "field": r.field, "code": r.code, "reason": r.reason}
                for r in sorted(rejected, key=lambda r: r.index)
            ],
            "watermark": watermark,
        }
    )


def _extra(error: RequestError | AccessError) -> Headers:
    if isinstance(error, AccessError):
        return ((b"www-authenticate", b'Bearer realm="Turnback"'),) if error.status == 401 else ()  # noqa: PLR2004 - an HTTP status
    if error.retry_after:
        return ((b"retry-after", b"%d" % error.retry_after),)
    return ((b"allow", b"POST, OPTIONS"),) if error.status == 405 else ()  # noqa: PLR2004 - an HTTP status


def routes(intake: Intake) -> list[Route]:
    """Return the events route."""
    return [Route(PATH, EventsEndpoint(intake))]


def kpi_to_json(kpi: KpiDefinition) -> Mapping[str, Any]:
    """Return what people are shown of a KPI's definition."""
    return {
        "key": kpi.key,
        "title": kpi.title,
        "title_zh": kpi.title_zh,
        "kind": kpi.kind,
        "better": kpi.better,
        "unit": kpi.unit,
        "trust": kpi.trust,
        "words": kpi.words,
        "windows": [{"length": w.length, "weight": w.weight} for w in kpi.windows],
    }


def router(store: Callable[[], MetricStore], catalogue: Callable[[], Catalogue]) -> APIRouter:
    """Return the routes for people: quarantine and KPI definitions."""
    api = APIRouter(prefix="/api/v1", tags=["metrics"])

    @api.get("/quarantine", summary="The newest events that were refused, newest first")
    def quarantine(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Response:
        found = [msgspec.to_builtins(r) for r in store().quarantined(limit=limit)]
        return Response(msgspec.json.encode({"quarantine": found}), media_type="application/json")

    @api.get("/kpis", summary="Every KPI of the catalogue, in words")
    def kpis() -> Response:
        found = [kpi_to_json(kpi) for kpi in catalogue()]
        return Response(msgspec.json.encode({"kpis": found}), media_type="application/json")

    _ = (quarantine, kpis)
    return api
