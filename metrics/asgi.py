"""What the hot routes need of HTTP, on the bare ASGI interface: no framework between.

A framework's routing and request objects cost several times what an evaluation does.
"""

import zlib
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

JSON: Headers = ((b"content-type", b"application/json"),)

CORS: Headers = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"ETag, Retry-After"),
)
"""Browsers evaluate and send events from any page: the key decides, not the origin."""

PREFLIGHT: Headers = (
    *CORS,
    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
    (
        b"access-control-allow-headers",
        (
            b"content-type, content-encoding, if-none-match, authorization, x-api-key, "
            b"last-event-id, traceparent, tracestate"
        ),
    ),
    (b"access-control-max-age", b"86400"),
)


def on_the_wire(headers: Mapping[str, str]) -> Headers:
    """Return headers as ASGI sends them: small names, bytes."""
    return tuple((name.lower().encode(), value.encode()) for name, value in headers.items())


LONGEST_ECHO = 200
"""Characters of what was given that an error says again."""

MEMBERS = 100
"""Most gzip members of one body: each costs a copy of what follows it."""


class BodyTooLargeError(Exception):
    """A body is larger than the limit, as sent or unpacked."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is larger than {limit} bytes")
        self.limit = limit


class BadEncodingError(Exception):
    """A body cannot be unpacked; the message says why."""


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete."""


def header(scope: Scope, name: bytes) -> str | None:
    """Return one request header (``name`` in lower case), ``None`` when absent."""
    for key, value in scope["headers"]:
        if key == name:
            return value.decode("latin-1")
    return None


def query_of(scope: Scope) -> dict[str, str]:
    """Return the query parameters by name; of one that is sent twice the last."""
    return dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))


def stray(scope: Scope, known: Container[str] = ()) -> str | None:
    """Return what is wrong with the query: a parameter that means nothing here is no default."""
    if not scope["query_string"]:
        return None
    for name in query_of(scope) or {scope["query_string"].decode("latin-1"): ""}:
        if name not in known:
            return f"unknown query parameter '{name[:LONGEST_ECHO]}'"
    return None


async def read_body(receive: Receive, limit: int) -> bytes:
    """Return the whole body.

    Raises:
        BodyTooLargeError: It is longer than ``limit``; reading stops there.
        ClientGoneError: The client went away.
    """
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    body: bytes = message.get("body", b"")
    if len(body) > limit:
        raise BodyTooLargeError(limit)
    if not message.get("more_body", False):
        return body
    parts = [body]
    size = len(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise BodyTooLargeError(limit)
        parts.append(part)
    return b"".join(parts)


def unpack(body: bytes, encoding: str | None, limit: int) -> bytes:
    """Return a body without its ``Content-Encoding``; never more than ``limit`` bytes are made.

    Raises:
        BodyTooLargeError: It unpacks to more than ``limit``.
        BadEncodingError: The encoding is none of gzip and identity, or the data is broken, or
            made of more than ``MEMBERS`` gzip members.
    """
    kind = (encoding or "identity").strip().lower()
    if kind == "identity":
        return body
    if kind not in {"gzip", "x-gzip"}:
        raise BadEncodingError(f"content-encoding '{kind}' is not known; send gzip or none")
    parts: list[bytes] = []
    size = 0
    while body:
        if len(parts) == MEMBERS:
            raise BadEncodingError(
                f"the body has more than {MEMBERS} gzip members; compress it as one"
            )
        stream = zlib.decompressobj(wbits=31)
        try:
            part = stream.decompress(body, limit - size + 1)
        except zlib.error as error:
            raise BadEncodingError(f"the gzip data is broken: {error}") from None
        size += len(part)
        if size > limit:
            raise BodyTooLargeError(limit)
        if not stream.eof:
            raise BadEncodingError("the gzip data ends too early")
        parts.append(part)
        body = stream.unused_data
    return b"".join(parts)


async def respond(
    send: Send, status: int, body: bytes = b"", headers: Iterable[tuple[bytes, bytes]] = JSON
) -> None:
    """Send a whole answer."""
    length = () if status == 204 else ((b"content-length", b"%d" % len(body)),)  # noqa: PLR2004 - has no body
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *length]})
    await send({"type": "http.response.body", "body": body})
