"""Tells open pages that there is something new: server-sent events at ``/live``.

An event says only that something changed; the page then asks for itself again and is answered
with 304 where nothing of it did. Checks may be made by another process on the same control
plane, so while anybody listens the database is asked for its newest activity once a second, and
at once when what is served changes here.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from experiments.changes import ChangeFeed
from experiments.streaming import Streams

EVERY: Final = 1.0
"""Seconds between two questions to the database while somebody listens."""


class Live:
    """The open pages of a service.

    Args:
        served: Ends with the service, and says when what is served changes.
        read: Returns what is another one after every check and every change of state.
        now: The clock.
        may_read: Raises where a request may not look.
    """

    def __init__(
        self,
        served: ChangeFeed,
        read: Callable[[], str],
        *,
        now: Callable[[], datetime],
        may_read: Callable[[Request], None],
    ) -> None:
        self._served = served
        self._read = read
        self._may_read = may_read
        self._seen = ""
        self._feed = ChangeFeed(lambda: self._seen, now=now)
        self._streams = Streams(self._feed, self._event, paced=True, most=500)
        self._watching: asyncio.Task[None] | None = None

    def _event(self) -> bytes:
        seen = self._feed.current
        return b"id: %b\nevent: change\ndata: %b\n\n" % (seen.encode(), seen.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one page until it is closed."""
        self._may_read(Request(scope))
        if self._streams.full:
            await PlainTextResponse("full", 503, {"Retry-After": "30"})(scope, receive, send)
            return
        await self._look()
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())
        await self._streams.serve(scope, receive, send)

    async def _watch(self) -> None:
        """Look as long as anybody listens; end every stream with the service."""
        with self._served.listening(paced=False) as wake:
            while not self._served.closed:
                with suppress(TimeoutError):
                    async with asyncio.timeout(EVERY):
                        await wake.wait()
                wake.clear()
                if not self._streams.open:
                    return
                await self._look()
        await self._feed.close()

    async def _look(self) -> None:
        # a database that does not answer now is asked again; the page shows what it has
        with suppress(Exception):
            self._seen = await run_in_threadpool(self._read)
        self._feed.look()
