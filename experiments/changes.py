"""Who is told when what is served changes: one watcher, any number of open streams."""

import asyncio
from collections.abc import Callable
from datetime import datetime


class ChangeFeed:
    """Notices every change of the served version and wakes whoever waits for one.

    The engine changes the version in whatever thread it works in; reading it is one attribute,
    so watching it from the event loop needs no lock between the two.

    Args:
        version: Returns the version served now.
        now: The clock, for the time of the last change.
        every: Seconds between two looks at the version.
        told: Called after the waiting were woken.
    """

    def __init__(
        self,
        version: Callable[[], str],
        *,
        now: Callable[[], datetime],
        every: float = 0.1,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        self._version = version
        self._now = now
        self._every = every
        self._told = told
        self._changed = asyncio.Condition()
        self._closed = False
        self.current = version()
        self.changed_at = now()

    @property
    def closed(self) -> bool:
        """Whether the service is stopping: streams end now."""
        return self._closed

    async def run(self) -> None:
        """Watch until cancelled or closed."""
        while not self._closed:
            await self.look()
            await asyncio.sleep(self._every)

    async def look(self) -> None:
        """Compare once and wake the waiting when the version is another."""
        version = self._version()
        if version == self.current:
            return
        async with self._changed:
            self.current = version
            self.changed_at = self._now()
            self._changed.notify_all()
        self._told()

    async def wait_beyond(self, known: str | None, *, timeout: float) -> str | None:  # noqa: ASYNC109 - the answer to a timeout is a value, not an exception
        """Return the version once it differs from ``known``; ``None`` after ``timeout`` seconds."""
        await self.look()  # a new stream starts with what is served now, not at the last look
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: self._closed or self.current != known)
        except TimeoutError:
            return None
        return None if self._closed else self.current

    async def close(self) -> None:
        """End every stream."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()
