"""The pages: an overview, one page per experiment, and the list of routes.

Every page is rendered from one view object, which its ``.json`` twin shows as it is. Nothing
is loaded from elsewhere; text of experiments is text, whatever markup it holds.
"""

from collections.abc import Sequence

from fastapi import FastAPI
from starlette.routing import Route

from console.dashboard.action_pages import action_pages
from console.dashboard.charting import chart_pages
from console.dashboard.experiments import experiment_pages
from console.dashboard.live import Live
from console.dashboard.report_pages import report_pages
from console.dashboard.rollback_pages import rollback_pages
from console.dashboard.routes import route_pages
from console.dashboard.runbooks import runbook_pages
from console.dashboard.service_pages import service_pages
from console.dashboard.shell import Pages, Shell, static
from service import Services

PAGES: Sequence[Pages] = (
    rollback_pages,
    action_pages,
    service_pages,
    chart_pages,
    report_pages,
    experiment_pages,
    runbook_pages,
)
"""Every module of pages; another one is one line here."""


def attach(app: FastAPI, services: Services) -> None:
    """Put the pages onto the application."""
    shell = Shell(services)
    pages = [page for module in PAGES for page in module(shell)]
    pages += route_pages(shell, app)
    shell.paths = frozenset(page.path for page in pages)
    app.router.routes.extend(
        Route(page.path, shell.guarded(page), methods=list(page.methods)) for page in pages
    )
    app.router.routes.append(Route("/static/{name}", static))
    live = Live(
        app.state.feed,
        services.engine.activity,
        now=services.clock.now,
        may_read=services.guard.may_read,
    )
    # an instance is called as it is; a function would be given a request
    app.router.routes.append(Route("/live", live))
