"""The pages: an overview, one page per experiment, and the list of routes.

Every page is rendered from one view object, which its ``.json`` twin shows as it is. Nothing
is loaded from elsewhere; text of experiments is text, whatever markup it holds.
"""

import hashlib
from collections.abc import Awaitable, Callable
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from console.dashboard.charts import effect_chart, evidence_chart
from console.dashboard.lines import GuardrailLine, KpiText
from console.dashboard.views import ExperimentPage, Overview, experiment_page, overview
from experiments.errors import TurnbackError, UnknownExperimentError
from guardrails.api import encoded, known_parameters
from service import Services

POLICY = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
PAGE_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
STATIC = {"style.css": "text/css", "page.js": "text/javascript"}

Handler = Callable[[Request], Awaitable[Response]]


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("console.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


class _Pages:
    """The handlers; what they show is read in a thread, so that evaluations never wait."""

    def __init__(self, app: FastAPI, services: Services) -> None:
        self._app = app
        self._services = services
        core = {kpi.key for kpi in services.catalogue.core}
        self._texts = {
            kpi.key: KpiText(
                title=kpi.title,
                unit=kpi.unit,
                better=kpi.better.value,
                words=kpi.words,
                window=min(w.length for w in kpi.windows),
                core=kpi.key in core,
            )
            for kpi in services.catalogue
        }

    def guarded(self, handler: Handler) -> Handler:
        """Let pass who may look, and no unknown query parameter."""

        async def guard(request: Request) -> Response:
            self._services.guard.may_read(request)
            known_parameters(request)
            return await handler(request)

        return guard

    async def home(self, request: Request) -> Response:
        return _html(request, "overview.html", page=await run_in_threadpool(self._overview))

    async def home_json(self, _request: Request) -> Response:
        return _json(await run_in_threadpool(self._overview))

    async def experiment(self, request: Request) -> Response:
        try:
            page = await run_in_threadpool(self._page, request.path_params["key"])
        except UnknownExperimentError as error:
            return _html(request, "missing.html", status=404, error=error)
        leading = page.leading
        drawn = await run_in_threadpool(_charts, leading) if leading is not None else ()
        return _html(request, "experiment.html", page=page, charts=drawn)

    async def experiment_json(self, request: Request) -> Response:
        return _json(await run_in_threadpool(self._page, request.path_params["key"]))

    async def chart(self, request: Request) -> Response:
        params = request.path_params
        page = await run_in_threadpool(self._page, params["key"])
        for line in page.guardrails:
            if (line.guardrail, line.treatment) == (params["guardrail"], params["treatment"]):
                drawn = await run_in_threadpool(_charts, line)
                return _html(request, "charts.html", charts=drawn)
        raise _UnknownGuardrailError(
            f"{page.key} has no guardrail '{params['guardrail']}' of '{params['treatment']}'"
        )

    async def routes(self, request: Request) -> Response:
        paths = self._app.openapi()["paths"]
        return _html(request, "docs.html", paths=paths, version=self._app.version)

    def _overview(self) -> Overview:
        services = self._services
        return overview(
            services.engine.experiments(),
            now=services.clock.now(),
            attention=services.specs_view().attention,
        )

    def _page(self, key: str) -> ExperimentPage:
        return experiment_page(self._services.engine.experiment(key), self._texts)


def attach(app: FastAPI, services: Services) -> None:
    """Put the pages onto the application."""
    pages = _Pages(app, services)
    handlers: dict[str, Handler] = {
        "/": pages.home,
        "/overview.json": pages.home_json,
        "/experiments/{key}.json": pages.experiment_json,
        "/experiments/{key}/charts/{guardrail}/{treatment}": pages.chart,
        "/experiments/{key}": pages.experiment,
        "/docs": pages.routes,
    }
    app.router.routes.extend(
        Route(path, pages.guarded(handler)) for path, handler in handlers.items()
    )
    app.router.routes.append(Route("/static/{name}", _static))


class _UnknownGuardrailError(TurnbackError):
    """The experiment has no such guardrail."""

    code = "unknown_guardrail"
    status = 404


def _charts(line: GuardrailLine) -> tuple[Markup, ...]:
    evidence = evidence_chart(line.history, proof=line.proof)
    drawn = (evidence, effect_chart(line.history, line.margin))
    # drawn by us from numbers and fixed words alone
    return tuple(Markup(svg) for svg in drawn if svg)  # noqa: S704 - see above


def _html(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
    """Render a page; the same page again is answered with 304."""
    body = _templates().get_template(template).render(assets=_assets(), **values).encode()
    tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = {**PAGE_HEADERS, "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, status, headers, media_type="text/html; charset=utf-8")


def _json(view: object) -> Response:
    return Response(
        encoded(view), media_type="application/json", headers={"Cache-Control": "no-cache"}
    )


@cache
def _assets() -> str:
    """Return a token of our own files' contents: another version is another address."""
    digest = hashlib.blake2b(digest_size=6)
    for name in STATIC:
        digest.update(_asset(name))
    return digest.hexdigest()


@cache
def _asset(name: str) -> bytes:
    return files("console.dashboard").joinpath("static", name).read_bytes()


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in STATIC:
        raise _UnknownFileError(f"there is no file '{name}'")
    headers = {"Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"}
    return Response(_asset(name), headers=headers, media_type=STATIC[name])


class _UnknownFileError(TurnbackError):
    """There is no such file."""

    code = "not_found"
    status = 404
