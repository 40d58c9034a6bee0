"""What GrowthBook's own SDKs ask for: a payload, a stream of payloads, a place for events.

Plain ASGI endpoints, like all hot routes. An SDK decides by itself from the payload, so one
payload a change answers any number of units.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import msgspec
from starlette.routing import Route

from experiments.assignment import CompiledExperiment
from experiments.changes import ChangeFeed
from experiments.growthbook import growthbook_payload
from experiments.growthbook_events import wire_events
from experiments.ofrep import Served, entity_tag, tag_matches
from experiments.streaming import Streams
from metrics.access import Access, AccessError
from metrics.api import Door, EventsEndpoint, RequestError
from metrics.asgi import (
    CORS,
    JSON,
    PREFLIGHT,
    Receive,
    Scope,
    Send,
    header,
    on_the_wire,
    query_of,
    respond,
    stray,
)
from metrics.events import decode_events
from metrics.intake import Intake, Sorted, TooManyEventsError

FEATURES = "/api/features"
SUBSCRIBE = "/sub"
TRACK = "/track"
_EXPOSED = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"ETag, Retry-After, X-SSE-Support"),
)
_FRESH = b"public, max-age=1, must-revalidate"
"""A cache in front may answer the crowd, but no rollback waits for it longer than a second."""


@dataclass(frozen=True, slots=True)
class Payload:
    """One payload as it travels.

    Attributes:
        body: JSON.
        tag: Its entity tag, quoted.
    """

    body: bytes
    tag: bytes


class Payloads:
    """The payload of what is served, made once a change.

    JavaScript SDKs take a payload with the ``dateUpdated`` of the last one for the same, so no
    two have the same.

    Args:
        serving: Returns what is served now.
        now: The time of day, also where the service's own clock stands still.
    """

    def __init__(self, serving: Callable[[], Served], now: Callable[[], datetime]) -> None:
        self._serving = serving
        self._now = now
        self._of: Mapping[str, CompiledExperiment] | None = None
        self._at = datetime.min.replace(tzinfo=UTC)
        self._payload = Payload(b"", b"")

    def current(self) -> Payload:
        """Return the payload of what is served now."""
        experiments = self._serving().experiments
        if experiments is not self._of:
            self._at = max(self._now().astimezone(UTC), self._at + timedelta(milliseconds=1))
            # whole milliseconds are as fine as JavaScript reads it
            date = self._at.replace(tzinfo=None).isoformat(timespec="milliseconds")
            body = msgspec.json.encode(
                {
                    "status": 200,
                    **growthbook_payload(experiments.values()),
                    "dateUpdated": f"{date}Z",
                }
            )
            self._payload = Payload(body, entity_tag(body).encode())
            self._of = experiments
        return self._payload


class _Reading:
    """What both routes do before they answer: methods, addresses, keys, errors."""

    def __init__(self, keys: Access) -> None:
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] == "OPTIONS":
            await respond(send, 204, b"", PREFLIGHT)
            return
        if scope["method"] != "GET":
            await _refuse(send, 405, "use GET", ((b"allow", b"GET, OPTIONS"),))
            return
        try:
            self._keys.require_public(scope["path_params"]["client_key"])
        except AccessError as error:
            more = on_the_wire(error.headers())
            await _refuse(send, error.status, f"{error.message}; {error.hint}", more)
            return
        if wrong := stray(scope):
            await _refuse(send, 400, wrong)
            return
        await self.answer(scope, receive, send)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a caller who may ask."""
        raise NotImplementedError


class FeaturesEndpoint(_Reading):
    """``GET /api/features/{client_key}``: the payload."""

    def __init__(self, payloads: Payloads, keys: Access) -> None:
        super().__init__(keys)
        self._payloads = payloads

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Answer with the payload, or that the caller has it."""
        payload = self._payloads.current()
        headers = (
            *_EXPOSED,
            (b"etag", payload.tag),
            (b"cache-control", _FRESH),
            (b"x-sse-support", b"enabled"),
        )
        if tag_matches(header(scope, b"if-none-match"), payload.tag.decode()):
            await send({"type": "http.response.start", "status": 304, "headers": list(headers)})
            await send({"type": "http.response.body"})
            return
        await respond(send, 200, payload.body, (*JSON, *headers))


class Subscription(_Reading):
    """``GET /sub/{client_key}``: server-sent events, each with the whole payload."""

    def __init__(self, payloads: Payloads, feed: ChangeFeed, keys: Access) -> None:
        super().__init__(keys)
        self.streams = Streams(
            feed, lambda: features_event(feed.current, payloads.current()), paced=False
        )

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the client goes."""
        if self.streams.full:
            await _refuse(send, 503, "no more streams just now", ((b"retry-after", b"5"),))
            return
        await self.streams.serve(scope, receive, send)


def features_event(version: str, payload: Payload) -> bytes:
    """Return one server-sent event that SDKs put in place as it is."""
    return b"id: %b\nevent: features\ndata: %b\n\n" % (version.encode(), payload.body)


class TrackEndpoint(EventsEndpoint):
    """``POST /track?client_key=…``: events of GrowthBook's tracking plugins.

    Whatever key is named, they feed only KPIs with trust ``any``: it stands in an address.
    """

    def __init__(
        self, intake: Intake, door: Door, serving: Callable[[], Served], default_unit: str
    ) -> None:
        super().__init__(intake, door)
        self._serving = serving
        self._default_unit = default_unit

    def admit(self, scope: Scope) -> bool:
        """Let pass who names a public key; nobody here is trusted."""
        self.door.keys.require_public(query_of(scope).get("client_key", ""))
        if wrong := stray(scope, {"client_key"}):
            raise RequestError(400, "unknown_parameter", wrong, "known here: client_key")
        return False

    def read(self, body: bytes, *, ndjson: bool, trusted: bool) -> Sorted:
        """Return the events that the elements of the body stand for."""
        elements = decode_events(body, ndjson=ndjson)
        if len(elements) > self.door.batch_limit:
            raise TooManyEventsError(len(elements), self.door.batch_limit)
        events = wire_events(
            elements,
            experiments=self._serving().experiments,
            default_unit=self._default_unit,
            at=self.intake.now(),
        )
        found = self.intake.sort([event for _, event in events], trusted=trusted)
        place = [index for index, _ in events]
        return Sorted(
            tuple((place[index], event) for index, event in found.events),
            tuple(replace(each, index=place[each.index]) for each in found.rejected),
        )


async def _refuse(
    send: Send, status: int, error: str, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    body = msgspec.json.encode({"status": status, "error": error})
    await respond(send, status, body, (*JSON, *CORS, *headers))


def growthbook_routes(
    payloads: Payloads, subscription: Subscription, track: TrackEndpoint
) -> list[Route]:
    """Return the routes of GrowthBook's SDKs."""
    keys = track.door.keys
    return [
        Route(f"{FEATURES}/{{client_key}}", FeaturesEndpoint(payloads, keys)),
        Route(f"{SUBSCRIBE}/{{client_key}}", subscription),
        Route(TRACK, track),
    ]
