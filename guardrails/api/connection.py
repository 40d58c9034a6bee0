"""One connection: how long, how much and how often it may ask before it is cut off.

The web server's parser takes headers of any size for any length of time. What is cut off here
costs nobody else anything: a look at all connections once a second, no timer for each.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from experiments.streaming import ABORT
from metrics.api import error_body

LARGEST_FRAMING: Final = 1_000_000
"""Bytes around the chunks of one body, and trailers after it."""

PIPELINED: Final = 100
"""Requests that may wait behind one that is being answered."""

_CLOSING = 10.0
"""Seconds in which a closed connection has to be gone: a client that does not read holds it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may do.

    Attributes:
        connections: How many there may be.
        header_bytes: Most bytes of a request's line and headers.
        headers: Most headers of a request.
        header_seconds: Time in which a request's line and headers have to be there.
        body_seconds: Time in which its body has to be there.
        idle_seconds: Time between two requests.
        write_seconds: Time a client may take to read what was sent before it gets more.
    """

    connections: int = 10_000
    header_bytes: int = 65_536
    headers: int = 100
    header_seconds: float = 10
    body_seconds: float = 60
    idle_seconds: float = 30
    write_seconds: float = 30


class RefusedError(Exception):
    """A request that is not read any further."""


class Connection(HttpToolsProtocol):
    """A connection with limits, which can be cut off while its client does not read.

    Args:
        limits: What it may do.
        rest: As the web server's own connections.
    """

    def __init__(self, *, limits: Limits, **rest: Any) -> None:
        self._limits = limits
        self._around = 0  # bytes of this request that are no body
        self._heading = True
        self._since: float | None = None  # when we began to wait for the client
        self._patience = limits.header_seconds
        self._unread: float | None = None  # when the client stopped to read
        self._refusal: tuple[int, str, str] | None = None
        self._answering: RequestResponseCycle | None = None
        super().__init__(**rest)

    def connection_made(self, transport: Any) -> None:
        """Begin, unless there are too many already."""
        super().connection_made(transport)
        self._wait(self._limits.header_seconds)
        if len(self.connections) > self._limits.connections:
            self._refusal = (503, "too_many_connections", "too many connections are open")
            self.send_400_response("")

    def data_received(self, data: bytes) -> None:
        """Read on, unless it has become too much."""
        if self.transport.is_closing():
            return  # whatever still comes was refused
        self._around += len(data)
        super().data_received(data)
        most = self._limits.header_bytes if self._heading else LARGEST_FRAMING
        if self._around > most and not self.transport.is_closing():
            self._refusal = _TOO_LARGE
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """Begin a request; what is left of its time begins to run."""
        super().on_message_begin()
        extensions: dict[str, Any] = {ABORT: self.transport.abort}
        cast("dict[str, Any]", self.scope)["extensions"] = extensions
        self._heading = True
        self._wait(self._limits.header_seconds)

    def on_headers_complete(self) -> None:
        """Let the application answer, unless there are too many headers or requests.

        Raises:
            RefusedError: It is not answered by the application.
        """
        if len(self.headers) > self._limits.headers or self._overlong():
            self._refusal = _TOO_LARGE
            raise RefusedError
        if len(self.pipeline) >= PIPELINED:
            self._refusal = (429, "too_many_requests", "too many requests wait for their answers")
            raise RefusedError
        if self.parser is not None and self.parser.should_upgrade() and self._has_body():
            self._refusal = _UPGRADE
            raise RefusedError
        self._heading = False
        self._wait(self._limits.body_seconds)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._around -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request: the client has said everything."""
        self._around = 0
        self._since = None
        super().on_message_complete()
        if self.cycle.response_complete and not self.pipeline:
            self._rest()  # refused before it had said everything

    def on_response_complete(self) -> None:
        """End an answer; from now on we wait for the next request, or for the rest of this one."""
        super().on_response_complete()
        if self._since is None and not self.pipeline:
            self._rest()

    def pause_writing(self) -> None:
        """Note that the client does not read."""
        self._unread = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that the client reads."""
        self._unread = None
        super().resume_writing()

    def look(self, now: float) -> None:
        """Cut the connection off when its client has taken too long."""
        if self.transport.is_closing():
            if self._unread is None:
                self._unread = now
            if now - self._unread > _CLOSING:
                self.transport.abort()
        elif self._unread is not None and now - self._unread > self._limits.write_seconds:
            self.transport.abort()
        elif self._since is not None and now - self._since > self._patience:
            self._refusal = (408, "too_slow", "the request did not arrive in time")
            self.send_400_response("")

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read, in the one shape; nothing follows on this connection."""
        status, code, message = self._refusal or (400, "malformed_request", "this is no HTTP/1.1")
        cycle = cast("RequestResponseCycle | None", self.cycle)  # none before the first request
        busy = cycle is not None and not cycle.response_complete
        if busy and (self.cycle.response_started or self._heading or self.pipeline):
            self.transport.abort()  # an answer to another request would be taken for this one
        else:
            if not self._idle():  # who asked for nothing is told nothing
                self.transport.write(_refused(status, code, message))
            self.transport.close()
        _ = msg
        for cycle in (self._answering, self.cycle):
            if cycle is not None:  # nobody is there any more to whom something could be sent
                cycle.disconnected = True
                cycle.message_event.set()

    def _idle(self) -> bool:
        if self._refusal is None or self._refusal[0] != _SLOW:
            return False
        cycle = cast("RequestResponseCycle | None", self.cycle)  # none before the first request
        answered = cycle is not None and cycle.response_complete
        return not self._around or (answered and not self._heading)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _has_body(self) -> bool:
        return any(
            name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0")
            for name, value in self.headers
        )

    def _overlong(self) -> bool:
        most = self._limits.header_bytes
        if self._around <= most:
            return False
        lines = sum(len(name) + len(value) for name, value in self.headers)
        return len(self.url) + lines > most

    def _rest(self) -> None:
        self._heading = True
        self._wait(self._limits.idle_seconds + self._limits.header_seconds)

    def _wait(self, seconds: float) -> None:
        self._since, self._patience = self.loop.time(), seconds

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: what a client would rather speak is no news."""


_SLOW: Final = 408
_TOO_LARGE: Final = (431, "headers_too_large", "the request's headers are too many or too large")


# the parser takes what follows for another protocol, so a body would be read as a request
_UPGRADE: Final = (
    400,
    "no_upgrade",
    "a request with a body cannot ask for another protocol here: send it without 'Upgrade'",
)


def _refused(status: int, code: str, message: str) -> bytes:
    body = error_body(code, message)
    head = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "connection: close",
    ]
    if status in {429, 503}:
        head.append("retry-after: 1")
    return "\r\n".join([*head, "", ""]).encode() + body


def look_at(connections: Iterable[object], now: float) -> None:
    """Cut off every connection whose client has taken too long.

    Args:
        connections: All there are.
        now: As the event loop counts.
    """
    for each in list(connections):
        if isinstance(each, Connection):
            each.look(now)


def limited(limits: Limits) -> Callable[..., Connection]:
    """Return what makes connections with these limits."""
    return lambda **rest: Connection(limits=limits, **rest)
