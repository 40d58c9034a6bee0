"""The page of what can be asked over HTTP."""

from collections.abc import Sequence

from fastapi import FastAPI, Request, Response

from console.dashboard.shell import Page, Shell


def route_pages(shell: Shell, app: FastAPI) -> Sequence[Page]:
    """Return the list of routes."""

    async def routes(request: Request) -> Response:
        paths = app.openapi()["paths"]
        return shell.html(request, "docs.html", paths=paths, version=app.version)

    return (Page("/docs", routes),)
