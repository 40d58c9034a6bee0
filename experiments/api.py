"""OFREP over HTTP: single evaluations, bulk evaluations, and a stream of changes.

Plain ASGI endpoints: an evaluation costs a few microseconds, a framework's request handling
several times that.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from starlette.routing import Route

from experiments.changes import ChangeFeed
from experiments.exposures import ExposureBuffer
from experiments.ofrep import (
    FLAG_NOT_FOUND,
    GENERAL,
    INVALID_CONTEXT,
    TARGETING_KEY_MISSING,
    ContextError,
    Evaluator,
    Served,
    bulk_body,
    change_event,
    context_of,
    entity_tag,
    evaluate_all,
    failure,
    missing_unit,
    not_found,
    tag_matches,
)
from experiments.streaming import Streams
from metrics.access import Access, AccessError, Role
from metrics.asgi import (
    CORS,
    JSON,
    PREFLIGHT,
    BodyTooLargeError,
    ClientGoneError,
    Receive,
    Scope,
    Send,
    header,
    on_the_wire,
    query_of,
    read_body,
    respond,
    stray,
)

logger = logging.getLogger("turnback.ofrep")

FLAGS = "/ofrep/v1/evaluate/flags"
STREAM = "/ofrep/v1/stream"
ANSWER = (*JSON, *CORS)
HINTS = frozenset({"flagConfigEtag", "flagConfigLastModified"})
"""Query parameters of the bulk route: hints that a client's own cache is stale, no validators."""


@dataclass(slots=True)
class Evaluations:
    """What the evaluation routes share.

    Attributes:
        serving: Returns what is served now.
        exposures: Where single evaluations note that a unit met its variant.
        keys: Who may evaluate.
        body_limit: Largest body in bytes.
        count: Evaluations answered so far.
    """

    serving: Callable[[], Served]
    exposures: ExposureBuffer
    keys: Access
    body_limit: int
    count: int = 0
    _evaluator: Evaluator | None = None

    def evaluator(self) -> Evaluator:
        """Return the evaluator of what is served now."""
        served = self.serving()
        held = self._evaluator
        if held is None or held.experiments is not served.experiments:
            held = self._evaluator = Evaluator(served)
        return held

    def require(self, scope: Scope) -> None:
        """Let only callers pass who may evaluate."""
        if self.keys.anyone < Role.CLIENT:
            self.keys.require(
                Role.CLIENT, header(scope, b"authorization"), header(scope, b"x-api-key")
            )


class _Endpoint:
    """What both evaluation routes do around an evaluation: methods, keys, limits, errors."""

    def __init__(self, evaluations: Evaluations) -> None:
        self._evaluations = evaluations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        key: str | None = scope["path_params"].get("key")
        if scope["method"] != "POST":
            await _other_method(scope, send, "POST")
            return
        try:
            self._evaluations.require(scope)
            self.check_query(scope)
            body = await read_body(receive, self._evaluations.body_limit)
            await self.answer(scope, send, key, body)
        except ClientGoneError:
            return
        except ContextError as error:
            await respond(send, 400, failure(key, error.code, error.details), ANSWER)
        except BodyTooLargeError as error:
            await respond(send, 413, failure(key, GENERAL, str(error)), ANSWER)
        except AccessError as error:
            await _refuse(send, error, key)
        except Exception:
            logger.exception("an evaluation failed")
            details = "the evaluation failed; the service's log says why"
            await respond(send, 500, failure(key, GENERAL, details), ANSWER)

    def check_query(self, scope: Scope) -> None:
        """Refuse query parameters that mean nothing here."""
        if scope["query_string"]:
            _known_query(scope, frozenset())

    async def answer(self, scope: Scope, send: Send, key: str | None, body: bytes) -> None:
        """Evaluate and answer."""
        raise NotImplementedError


class SingleEvaluation(_Endpoint):
    """``POST /ofrep/v1/evaluate/flags/{key}``: one flag, whose exposure is noted."""

    async def answer(self, scope: Scope, send: Send, key: str | None, body: bytes) -> None:  # noqa: ARG002 - one signature for both routes
        """Evaluate one flag."""
        shared = self._evaluations
        context = context_of(body)
        evaluator = shared.evaluator()
        compiled = evaluator.experiments.get(key or "")
        if compiled is None:
            details = not_found(key, evaluator.experiments)
            await respond(send, 404, failure(key, FLAG_NOT_FOUND, details), ANSWER)
            return
        evaluated = evaluator.evaluate(compiled, context)
        if evaluated is None:
            raise ContextError(TARGETING_KEY_MISSING, missing_unit(compiled))
        if evaluated.unit is not None:
            spec = compiled.spec
            shared.exposures.record(
                spec.key,
                spec.seed,
                spec.unit,
                evaluated.unit,
                evaluated.variant,
                segments=spec.segments,
                context=context,
            )
        shared.count += 1
        await respond(send, 200, evaluated.body, ANSWER)


class BulkEvaluation(_Endpoint):
    """``POST /ofrep/v1/evaluate/flags``: every flag for one context, noted nowhere.

    The tag is that of the evaluated answer, so a 304 is never served to another context.
    """

    def check_query(self, scope: Scope) -> None:
        """Accept the hints of a client that was told of a change."""
        if scope["query_string"]:
            _known_query(scope, HINTS)

    async def answer(self, scope: Scope, send: Send, key: str | None, body: bytes) -> None:  # noqa: ARG002 - one signature for both routes
        """Evaluate every flag."""
        shared = self._evaluations
        items = evaluate_all(shared.evaluator(), context_of(body))
        token = shared.keys.stream_token
        answer = bulk_body(items, f"{STREAM}?token={token}" if token else STREAM)
        tag = entity_tag(answer)
        shared.count += len(items)
        headers = (*CORS, (b"etag", tag.encode()), (b"cache-control", b"private, no-cache"))
        if tag_matches(header(scope, b"if-none-match"), tag):
            await send({"type": "http.response.start", "status": 304, "headers": list(headers)})
            await send({"type": "http.response.body"})
            return
        await respond(send, 200, answer, (*JSON, *headers))


class ChangeStream:
    """``GET /ofrep/v1/stream``: server-sent events, one per change of what is served."""

    def __init__(self, feed: ChangeFeed, keys: Access) -> None:
        self._keys = keys
        self.streams = Streams(
            feed, lambda: change_event(feed.current, feed.changed_at.timestamp()), paced=True
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; returns when the stream ends."""
        if scope["method"] != "GET":
            await _other_method(scope, send, "GET")
            return
        try:
            query = _known_query(scope, frozenset({"token"}))
            self._admit(scope, query.get("token", ""))
        except ContextError as error:
            await respond(send, 400, failure(None, error.code, error.details), ANSWER)
            return
        except AccessError as error:
            await _refuse(send, error, None)
            return
        if self.streams.full:
            headers = (*ANSWER, (b"retry-after", b"5"))
            await respond(send, 503, failure(None, GENERAL, "no more streams just now"), headers)
            return
        await self.streams.serve(scope, receive, send)

    def _admit(self, scope: Scope, token: str) -> None:
        if token and self._keys.opens_stream(token):
            return
        self._keys.require(
            Role.CLIENT, header(scope, b"authorization"), header(scope, b"x-api-key")
        )


def _known_query(scope: Scope, known: frozenset[str]) -> dict[str, str]:
    if wrong := stray(scope, known):
        raise ContextError(INVALID_CONTEXT, wrong)
    return query_of(scope)


async def _other_method(scope: Scope, send: Send, allowed: str) -> None:
    if scope["method"] == "OPTIONS":
        await respond(send, 204, b"", PREFLIGHT)
        return
    headers = (*ANSWER, (b"allow", f"{allowed}, OPTIONS".encode()))
    await respond(send, 405, failure(None, GENERAL, f"use {allowed}"), headers)


async def _refuse(send: Send, error: AccessError, key: str | None) -> None:
    details = f"{error.message}; {error.hint}"
    more = on_the_wire(error.headers())
    await respond(send, error.status, failure(key, GENERAL, details), (*ANSWER, *more))


def routes(evaluations: Evaluations, stream: ChangeStream) -> list[Route]:
    """Return the OFREP routes."""
    return [
        Route(f"{FLAGS}/{{key}}", SingleEvaluation(evaluations)),
        Route(FLAGS, BulkEvaluation(evaluations)),
        Route(STREAM, stream),
    ]
