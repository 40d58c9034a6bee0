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

from console.dashboard import words
from console.dashboard.charts import effect_chart, evidence_chart
from console.dashboard.lines import GuardrailLine, KpiText
from console.dashboard.views import ExperimentPage, Overview, experiment_page, overview
from experiments.errors import TurnbackError, UnknownExperimentError
from guardrails.api import encoded, known_parameters
from service import Services

POLICY = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
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
    environment = Environment(
        loader=PackageLoader("console.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["state_words"] = words.state_words
    return environment


def attach(app: FastAPI, services: Services) -> None:
    """Put the pages onto the application."""

    def guarded(handler: Handler) -> Handler:
        async def guard(request: Request) -> Response:
            services.guard.may_read(request)
            known_parameters(request)
            return await handler(request)

        return guard

    def overview_now() -> Overview:
        return overview(services.engine.experiments(), now=services.clock.now())

    def page_now(key: str) -> ExperimentPage:
        return experiment_page(services.engine.experiment(key), _kpi_texts(services))

    async def home(request: Request) -> Response:
        page = await run_in_threadpool(overview_now)
        return _html(request, "overview.html", page=page)

    async def home_json(_request: Request) -> Response:
        return _json(await run_in_threadpool(overview_now))

    async def experiment(request: Request) -> Response:
        key = request.path_params["key"]
        try:
            page = await run_in_threadpool(page_now, key)
        except UnknownExperimentError as error:
            return _html(request, "missing.html", status=404, error=error)
        leading = page.leading
        drawn = await run_in_threadpool(_charts, leading) if leading is not None else ()
        return _html(request, "experiment.html", page=page, charts=drawn)

    async def experiment_json(request: Request) -> Response:
        return _json(await run_in_threadpool(page_now, request.path_params["key"]))

    async def chart(request: Request) -> Response:
        params = request.path_params
        page = await run_in_threadpool(page_now, params["key"])
        for line in page.guardrails:
            if (line.guardrail, line.treatment) == (params["guardrail"], params["treatment"]):
                drawn = await run_in_threadpool(_charts, line)
                return _html(request, "charts.html", charts=drawn)
        raise _UnknownGuardrailError(
            f"{page.key} has no guardrail '{params['guardrail']}' of '{params['treatment']}'"
        )

    async def routes(request: Request) -> Response:
        return _html(request, "docs.html", paths=app.openapi()["paths"], version=app.version)

    pages = {
        "/": home,
        "/overview.json": home_json,
        "/experiments/{key}.json": experiment_json,
        "/experiments/{key}/charts/{guardrail}/{treatment}": chart,
        "/experiments/{key}": experiment,
        "/docs": routes,
    }
    app.router.routes.extend(Route(path, guarded(handler)) for path, handler in pages.items())
    app.router.routes.append(Route("/static/{name}", _static))


class _UnknownGuardrailError(TurnbackError):
    """The experiment has no such guardrail."""

    code = "unknown_guardrail"
    status = 404


def _kpi_texts(services: Services) -> dict[str, KpiText]:
    return {kpi.key: KpiText(kpi.unit, kpi.words) for kpi in services.catalogue}


def _charts(line: GuardrailLine) -> tuple[Markup, ...]:
    drawn = (evidence_chart(line.history), effect_chart(line.history, line.margin))
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
