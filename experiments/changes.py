"""Who is told when what is served changes: one feed, any number of open streams.

A stream holds nothing but a flag that says "look": what it then sends is the newest state, so
a slow one misses what lies between and never piles anything up.
"""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime, timedelta

AT_ONCE = 10_000.0
"""Streams woken a second where what they send is all their clients need."""

PACED = 2_000.0
"""Streams woken a second where every client then asks for something: as many as are answered."""

_SLICE = 0.01
_LEAST = timedelta(milliseconds=1)


class ChangeFeed:
    """Notices every change of the served version and wakes the open streams.

    The engine changes the version in whatever thread it works in and then calls `notice`;
    a look every ``every`` seconds finds what nobody told. All else happens in the event loop.

    Args:
        version: Returns the version served now.
        now: The clock, for the time of the last change.
        every: Seconds between two looks at the version.
        told: Called after the waiting were woken.

    Attributes:
        current: Version last seen.
        changed_at: When it was first seen; later than that of any version before it, also
            where the clock stands still.
    """

    def __init__(
        self,
        version: Callable[[], str],
        *,
        now: Callable[[], datetime],
        every: float = 1.0,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        self._version = version
        self._now = now
        self._every = every
        self._told = told
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: dict[asyncio.Event, float] = {}
        self.current = version()
        self.changed_at = now()

    @property
    def closed(self) -> bool:
        """Whether the service is stopping: streams end now."""
        return self._closed

    @property
    def listeners(self) -> int:
        """Streams that are open."""
        return len(self._listeners)

    async def run(self) -> None:
        """Watch until cancelled or closed."""
        self._loop = asyncio.get_running_loop()
        while not self._closed:
            self.look()
            await asyncio.sleep(self._every)

    def notice(self) -> None:
        """Look soon; from any thread, never blocks."""
        if self._loop is not None and not self._closed:
            try:
                self._loop.call_soon_threadsafe(self.look)
            except RuntimeError:  # the loop ended in this very moment, and every stream with it
                self._closed = True

    def look(self) -> None:
        """Compare once and wake the open streams when the version is another."""
        version = self._version()
        if version == self.current:
            return
        self.current = version
        self.changed_at = max(self._now(), self.changed_at + _LEAST)
        self._wake_in_turn()
        self._told()

    @contextmanager
    def listening(self, *, paced: bool) -> Generator[asyncio.Event]:
        """Give an event that is set when there is something to look at; the holder clears it.

        Args:
            paced: Whether whoever is told will ask for something at once. With thousands of
                streams these are told a little later one after another, not all together.
        """
        self.look()  # a new stream starts with what is served now, not at the last look
        wake = asyncio.Event()
        self._listeners[wake] = PACED if paced else AT_ONCE
        try:
            yield wake
        finally:
            del self._listeners[wake]

    async def close(self) -> None:
        """End every stream."""
        self._closed = True
        for wake in self._listeners:
            wake.set()

    def _wake_in_turn(self) -> None:
        """Wake every stream at its rate, in slices: answers to others go in between."""
        loop, woken = asyncio.get_running_loop(), dict.fromkeys((PACED, AT_ONCE), 0)
        for wake, rate in self._listeners.items():
            delay = woken[rate] // (rate * _SLICE) * _SLICE
            woken[rate] += 1
            if delay:
                loop.call_later(delay, wake.set)
            else:
                wake.set()
