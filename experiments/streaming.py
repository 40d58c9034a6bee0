"""Server-sent events on the bare ASGI interface: the newest state, to any number of streams.

A library that turns an iterator into a stream sends everything the iterator gives, however late,
and keeps several tasks for each stream. Here a stream waits for one flag, sends what is newest
when it can, and is cut off when its client does not read: its memory is what the connection
itself buffers, whatever happens.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from experiments.changes import ChangeFeed
from metrics.asgi import CORS, Receive, Scope, Send, header

ABORT: Final = "turnback.abort"
"""ASGI extension: a function that ends the connection without waiting for its client."""

_RETRY: Final = range(1000, 4000, 7)
"""Milliseconds until a client comes back to a stream that ended: not all at the same instant."""

_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    *CORS,
)


class Streams:
    """The open streams of one kind.

    Args:
        feed: Says when to look.
        event: Returns the event that tells the version served now; asked once a change.
        paced: Whether clients ask for something once they are told, see `ChangeFeed.listening`.
        keep_alive: Seconds without an event after which a comment is sent.
        patience: Seconds a client may take to read before it is cut off.
        most: Streams that may be open.

    Attributes:
        open: Streams open now.
        dropped: Streams cut off because their clients did not read.
    """

    def __init__(
        self,
        feed: ChangeFeed,
        event: Callable[[], bytes],
        *,
        paced: bool,
        keep_alive: float = 15.0,
        patience: float = 5.0,
        most: int = 5_000,
    ) -> None:
        self._feed = feed
        self._event = event
        self._paced = paced
        self._keep_alive = keep_alive
        self._patience = patience
        self._most = most
        self._begun = 0
        self._held = ("", b"")
        self.open = 0
        self.dropped = 0

    @property
    def full(self) -> bool:
        """Whether no stream can be opened now."""
        return self.open >= self._most or self._feed.closed

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the client goes, does not read, or the service stops.

        It begins with the present version unless the client names it in ``Last-Event-ID``:
        what changed between its last answer and its connection is never missed.
        """
        self.open += 1
        try:
            await self._serve(scope, receive, send)
        except TimeoutError:
            self.dropped += 1
            await _cut_off(scope, receive)
        finally:
            self.open -= 1

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        known = header(scope, b"last-event-id")
        self._begun += 1
        retry = _RETRY[self._begun % len(_RETRY)]
        await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
        with self._feed.listening(paced=self._paced) as wake:
            gone = asyncio.ensure_future(_until_gone(receive))
            gone.add_done_callback(lambda _: wake.set())
            try:
                part = b": open\nretry: %d\n\n" % retry
                while not (gone.done() or self._feed.closed):
                    await self._write(send, part)
                    if known == self._feed.current:
                        part = b"" if await _woken(wake, self._keep_alive) else b": still here\n\n"
                    wake.clear()
                    if known != self._feed.current:
                        known, part = self._newest()
                if not gone.done():
                    async with asyncio.timeout(self._patience):
                        await send({"type": "http.response.body", "body": b""})
            finally:
                gone.cancel()

    def _newest(self) -> tuple[str, bytes]:
        """Return the version served now and its event: all streams send the same bytes."""
        if self._held[0] != self._feed.current:
            self._held = (self._feed.current, self._event())
        return self._held

    async def _write(self, send: Send, part: bytes) -> None:
        if part:
            async with asyncio.timeout(self._patience):
                await send({"type": "http.response.body", "body": part, "more_body": True})


async def _woken(wake: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        return False
    return True


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cut_off(scope: Scope, receive: Receive) -> None:
    extensions: dict[str, Any] = scope.get("extensions") or {}
    abort: Callable[[], None] | None = extensions.get(ABORT)
    if abort is not None:
        abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await _until_gone(receive)
