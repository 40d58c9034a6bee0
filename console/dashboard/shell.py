"""What every page has around it: who may look, language, theme, navigation, headers.

A page is a `Page` in a list that `console.dashboard` puts onto the application. Its handler runs
in the language of the visitor, so whatever it says with `metrics.wording.gettext` is in it, also
in the threads it hands work to.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request, Response
from jinja2 import Environment
from markupsafe import Markup, escape

from console.charts import caption, numbers
from console.coded import coded
from console.i18n import LANGUAGES, in_language, instant, wanted
from console.quoted import quoted, said
from console.templating import environment
from console.views.briefs import Briefs
from console.views.phrases import of_a_demo
from console.views.words import capital, signed
from experiments.errors import InvalidRequestError, TurnbackError
from guardrails.api import UnknownParameterError, encoded
from metrics.wording import gettext, language, marked
from service import Services

POLICY: Final = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
PAGE_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Content-Security-Policy": POLICY,
        "Cache-Control": "no-cache",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept-Language, Cookie",
    }
)
THEMES: Final[Mapping[str, str]] = MappingProxyType(
    {"system": marked("Like the system"), "light": marked("Light"), "dark": marked("Dark")}
)
NAVIGATION: Final[Mapping[str, str]] = MappingProxyType(
    {
        "/": marked("Overview"),
        "/kpis": marked("KPIs"),
        "/events": marked("Events"),
        "/audit": marked("Audit"),
        "/health": marked("Health"),
        "/docs": marked("API"),
    }
)
"""Paths of the pages that every page leads to, and their names; those not attached are left out."""

STATIC: Final[Mapping[str, str]] = MappingProxyType(
    {"style.css": "text/css", "page.js": "text/javascript"}
)
_SWITCHES: Final = {"lang": tuple(LANGUAGES), "theme": tuple(THEMES)}
_YEAR: Final = 31_536_000

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Page:
    """A page or its twin.

    Attributes:
        path: Where it is, as a route is written.
        handler: Answers a request; it runs in the visitor's language.
        parameters: Query parameters it knows, beside ``lang`` and ``theme``.
        methods: What it answers.
    """

    path: str
    handler: Handler
    parameters: frozenset[str] = frozenset()
    methods: tuple[str, ...] = ("GET",)


class Shell:
    """Dresses the pages of one service.

    Attributes:
        services: Everything that runs.
        briefs: Returns every experiment without the history of its guardrails.
        paths: Paths of all pages attached.
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        self.briefs = Briefs(services.engine, services.clock.now)
        self.paths: frozenset[str] = frozenset()

    def guarded(self, page: Page) -> Handler:
        """Let pass who may look and no unknown query parameter; answer in their language."""
        known = page.parameters | _SWITCHES.keys()

        async def guard(request: Request) -> Response:
            self.services.guard.may_read(request)
            _refuse_unknown(request, known)
            with in_language(_chosen(request, "lang") or wanted(_accepts(request))):
                answer = await page.handler(request)
            if not answer.headers.get("content-type", "").startswith("text/html"):
                return answer  # a twin speaks as it is asked to and chooses nothing for pages
            for name in _SWITCHES.keys() & request.query_params.keys():
                value = request.query_params[name]
                answer.set_cookie(
                    f"turnback_{name}", value, max_age=_YEAR, samesite="lax", httponly=True
                )
            return answer

        return guard

    def html(
        self, request: Request, template: str, *, status: int = 200, **values: Any
    ) -> Response:
        """Render a page; the same page again is answered with 304."""
        body = (
            templates()
            .get_template(template)
            .render(
                assets=assets(),
                lang=language(),
                theme=_chosen(request, "theme") or next(iter(THEMES)),
                languages=_switch(request, "lang", LANGUAGES),
                themes=_switch(request, "theme", {k: gettext(v) for k, v in THEMES.items()}),
                navigation=self._navigation(request.url.path),
                demo=of_a_demo() if self.services.settings.demo else "",
                live=request.method == "GET",  # the answer to a form is no page to fetch again
                **values,
            )
            .encode()
        )
        tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
        headers = {**PAGE_HEADERS, "ETag": tag, "Content-Language": language()}
        if status == 200 and request.headers.get("if-none-match") == tag:  # noqa: PLR2004 - HTTP
            return Response(status_code=304, headers=headers)
        return Response(body, status, headers, media_type="text/html; charset=utf-8")

    def _navigation(self, here: str) -> list[tuple[str, str, str]]:
        """Return path, name and ``aria-current`` of the pages that every page leads to."""
        section = "/" if here.startswith("/experiments") else here
        return [
            (path, gettext(name), "page" if path == here else "true" if path == section else "")
            for path, name in NAVIGATION.items()
            if path in self.paths
        ]


def json_of(view: object) -> Response:
    """Answer with the twin of a page."""
    headers = {"Cache-Control": "no-cache", "Vary": "Accept-Language, Cookie"}
    return Response(encoded(view), media_type="application/json", headers=headers)


@cache
def templates() -> Environment:
    """Return the templates; text is escaped, and every message is translated when it is shown."""
    return environment(
        "console.dashboard",
        _html=_html,
        coded=coded,
        caption=caption,
        numbers=numbers,
        instant=instant,
        signed=signed,
        capital=capital,
        quoted=quoted,
        said=said,
    )


def _html(message: str, **values: object) -> Markup:
    """Return a message that holds markup of its own; its values are escaped."""
    return Markup(gettext(message)).format(**{k: escape(v) for k, v in values.items()})  # noqa: S704 - of our catalogue


def _accepts(request: Request) -> str | None:
    return request.headers.get("accept-language")


def _chosen(request: Request, name: str) -> str | None:
    """Return what a visitor chose: by the address, else by an earlier one; ``None`` for neither.

    Raises:
        InvalidRequestError: The address asks for what there is not.
    """
    allowed = _SWITCHES[name]
    asked = request.query_params.get(name)
    if asked is None:
        kept = request.cookies.get(f"turnback_{name}")
        return kept if kept in allowed else None
    if asked not in allowed:
        raise InvalidRequestError(
            f"no {name} '{asked}'", hint=f"known: {', '.join(allowed)}", path=name
        )
    return asked


def _switch(request: Request, name: str, values: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return code, name and address of each choice: this page, chosen otherwise."""
    kept = [(k, v) for k, v in request.query_params.multi_items() if k not in _SWITCHES]
    return [(code, said, f"?{urlencode([*kept, (name, code)])}") for code, said in values.items()]


def _refuse_unknown(request: Request, known: frozenset[str]) -> None:
    for name in request.query_params:
        if name not in known:
            raise UnknownParameterError(
                f"unknown query parameter '{name}'",
                hint=f"known here: {', '.join(sorted(known))}",
                path=name,
            )


@cache
def assets() -> str:
    """Return a token of our own files' contents: another version is another address."""
    digest = hashlib.blake2b(digest_size=6)
    for name in STATIC:
        digest.update(_asset(name))
    return digest.hexdigest()


@cache
def _asset(name: str) -> bytes:
    return files("console.dashboard").joinpath("static", name).read_bytes()


async def static(request: Request) -> Response:
    """Answer with one of our own files."""
    name = request.path_params["name"]
    if name not in STATIC:
        raise UnknownFileError(f"there is no file '{name}'")
    headers = {"Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"}
    return Response(_asset(name), headers=headers, media_type=STATIC[name])


class UnknownFileError(TurnbackError):
    """There is no such file."""

    code = "not_found"
    status = 404


Pages = Callable[[Shell], Sequence[Page]]
"""What a module of pages gives: its pages, for one service."""
