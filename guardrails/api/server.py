"""The web server that runs the application."""

import socket
from typing import Protocol, cast

import uvicorn
from fastapi import FastAPI


class _Feed(Protocol):
    async def close(self) -> None: ...


class QuietServer(uvicorn.Server):
    """Finishes the requests it has for at most ten seconds when it is stopped.

    It ends open change streams first (``app.state.feed``): they would otherwise keep a stopping
    server waiting.

    Args:
        app: The application.
        host: Address to listen on.
        port: TCP port; 0 takes a free one.
    """

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                loop="auto",
                http="httptools",
                ws="none",
                lifespan="on",
                access_log=False,
                log_level="warning",
                server_header=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=10,
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End open streams, then stop as every server does."""
        feed: _Feed | None = getattr(cast("FastAPI", self.config.app).state, "feed", None)
        if feed is not None:
            await feed.close()
        await super().shutdown(sockets)
