"""The web server with the settings that Turnback's service gives it."""

from typing import Any

import uvicorn


def run(app: Any, *, port: int) -> None:
    """Serve until terminated."""
    uvicorn.run(
        app,
        port=port,
        loop="auto",
        http="httptools",
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=30,
    )
