"""The web server that runs the application."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import uvicorn
from fastapi import FastAPI

from guardrails.api.connection import Limits, limited, look_at


class _Feed(Protocol):
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Ready:
    """A service that answers from now on.

    Attributes:
        url: Where.
        data: Folder of its two files.
        experiments: How many it knows.
        specs: Folder that it follows, if any.
    """

    url: str
    data: Path
    experiments: int
    specs: Path | None


class QuietServer(uvicorn.Server):
    """Finishes the requests it has for at most ten seconds when it is stopped.

    It ends open change streams first (``app.state.feed``): they would otherwise keep a stopping
    server waiting.

    Args:
        app: The application.
        host: Address to listen on.
        port: TCP port; 0 takes a free one.
        limits: What one connection may do.
        ready: Called once it answers.
    """

    def __init__(
        self,
        app: FastAPI,
        host: str,
        port: int,
        *,
        limits: Limits,
        ready: Callable[[], None] | None = None,
    ) -> None:
        self._ready = ready
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                loop="auto",
                http=cast("Any", limited(limits)),
                ws="none",
                lifespan="on",
                access_log=False,
                log_level="warning",
                server_header=False,
                timeout_keep_alive=limits.idle_seconds,  # pyright: ignore[reportArgumentType] - whole seconds are not needed
                timeout_graceful_shutdown=10,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as every server does, then say so."""
        await super().startup(sockets)
        if self._ready is not None and self.started:
            self._ready()

    async def on_tick(self, counter: int) -> bool:
        """Look at the connections once a second; called ten times as often."""
        if counter % 10 == 0:
            look_at(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End open streams, then stop as every server does.

        Nothing is accepted any more before they end: a client that comes back at once must
        find nobody and try again later. Told that streams are refused, some never come back.
        """
        for each in self.servers:
            each.close()
        for each in sockets or []:
            each.close()
        feed: _Feed | None = getattr(cast("FastAPI", self.config.app).state, "feed", None)
        if feed is not None:
            await feed.close()
        await super().shutdown(sockets)
