"""Many open streams at once, on plain sockets, in an event loop of their own."""

import asyncio
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread


@dataclass(eq=False)
class Stream:
    """One open stream.

    Attributes:
        events: Time of day and data of every event.
        comments: Comments so far.
        ended: Whether the service ended it.
    """

    path: str
    events: list[tuple[float, bytes]] = field(default_factory=list)
    comments: int = 0
    ended: bool = False
    writer: asyncio.StreamWriter | None = None


class Crowd:
    """Opens streams and notes what they are told."""

    def __init__(self, host, port, loop):
        self._address, self._loop = (host, port), loop
        self.streams: list[Stream] = []

    def open(self, paths):
        """Open one stream for every path; returns once all of them were told something."""
        self._run(self._open(list(paths)))

    def told(self, count, *, within):
        """Wait until every stream was told ``count`` events; return those that were not."""
        until = time.monotonic() + within
        while time.monotonic() < until:
            if not (late := [s for s in self.streams if len(s.events) < count]):
                return []
            time.sleep(0.01)
        return late

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(120)

    async def _open(self, paths):
        for start in range(0, len(paths), 50):  # a listening socket has a short queue
            await asyncio.gather(*(self._one(path) for path in paths[start : start + 50]))

    async def _one(self, path):
        stream = Stream(path)
        reader, stream.writer = await asyncio.open_connection(*self._address, limit=2**20)
        stream.writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        status = await reader.readline()
        assert b" 200 " in status, status
        self.streams.append(stream)
        begun = asyncio.Event()
        stream.task = asyncio.ensure_future(self._follow(reader, stream, begun))
        await begun.wait()

    async def _follow(self, reader, stream, begun):
        try:
            while line := await reader.readline():
                if line.startswith(b"data: "):
                    stream.events.append((time.time(), line[6:].strip()))
                    begun.set()
                stream.comments += line.startswith(b": ")
        except ConnectionError:
            pass
        stream.ended = True
        begun.set()

    async def _close(self):
        for stream in self.streams:
            stream.writer.close()
            stream.task.cancel()


@contextmanager
def crowd(url):
    """Give a crowd for a service; its streams are closed with the block."""
    host, port = url.removeprefix("http://").split(":")
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    them = Crowd(host, int(port), loop)
    try:
        yield them
    finally:
        them._run(them._close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
