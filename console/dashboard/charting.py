"""The charts of a guardrail over HTTP: as pictures, as definitions, and the script that draws.

A page names its charts as pictures, so it is there before they are drawn and shows them without a
script; the address holds everything a picture depends on, so it is fetched once.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, cast

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from console import charts
from console.charts import KINDS, SIZES, Style
from console.dashboard.shell import PAGE_HEADERS, Page, Shell, UnknownFileError
from console.i18n import LANGUAGES, in_language
from console.views.lines import GuardrailLine, guardrail_lines
from experiments.errors import InvalidRequestError, TurnbackError

_PICTURE_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_KEPT: Final = "private, max-age=86400"
_CHOICES: Final = {
    "colours": ("system", "light", "dark"),
    "size": tuple(SIZES),
    "language": tuple(LANGUAGES),
}


def chart_pages(shell: Shell) -> Sequence[Page]:
    """Return the charts of every guardrail, and the script that makes them interactive."""
    pages = _Charts(shell)
    one = "/experiments/{key}/charts/{guardrail}/{treatment}"
    known = frozenset({*_CHOICES, "v"})
    return (
        Page("/static/vega.js", pages.script, frozenset({"v"})),
        Page(f"{one}/{{kind}}.svg", pages.picture, known),
        Page(f"{one}/{{kind}}.json", pages.definition, known),
    )


class UnknownGuardrailError(TurnbackError):
    """The experiment has no such guardrail."""

    code = "unknown_guardrail"
    status = 404


class _Charts:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    async def picture(self, request: Request) -> Response:
        line, kind = await self._line(request), _kind(request)
        theme, size = _asked(request, "colours"), _asked(request, "size")

        def draw() -> str:
            with in_language(_asked(request, "language")):
                return charts.image(kind, line.shown, theme=theme, size=size)

        drawn = await run_in_threadpool(draw)
        if not drawn:
            raise _nothing(line)
        headers = {"Cache-Control": _KEPT, "Content-Security-Policy": _PICTURE_POLICY}
        return Response(drawn, headers=headers, media_type="image/svg+xml")

    async def definition(self, request: Request) -> Response:
        line, kind = await self._line(request), _kind(request)
        style = Style(size=_asked(request, "size"), interactive=True)

        def define() -> dict[str, Any] | None:
            with in_language(_asked(request, "language")):
                return charts.definition(kind, line.shown, style)

        found = await run_in_threadpool(define)
        if found is None:
            raise _nothing(line)
        headers = {"Cache-Control": _KEPT}
        return Response(json.dumps(found), headers=headers, media_type="application/json")

    async def script(self, _request: Request) -> Response:
        text = await run_in_threadpool(charts.javascript)
        headers = {**PAGE_HEADERS, "Cache-Control": "public, max-age=86400"}
        return Response(text, headers=headers, media_type="text/javascript")

    async def _line(self, request: Request) -> GuardrailLine:
        params = cast("dict[str, str]", request.path_params)
        engine = self._shell.services.engine
        view = await run_in_threadpool(engine.experiment, params["key"])
        for line in guardrail_lines(view):
            if (line.guardrail, line.treatment) == (params["guardrail"], params["treatment"]):
                return line
        raise UnknownGuardrailError(
            f"{view.key} has no guardrail '{params['guardrail']}' of '{params['treatment']}'"
        )


def _kind(request: Request) -> str:
    kind = request.path_params["kind"]
    if kind not in KINDS:
        raise UnknownFileError(f"there is no chart '{kind}'", hint=f"known: {', '.join(KINDS)}")
    return kind


def _asked(request: Request, name: str) -> str:
    known = _CHOICES[name]
    asked = request.query_params.get(name, known[0])
    if asked not in known:
        hint = f"known: {', '.join(known)}"
        raise InvalidRequestError(f"no {name} '{asked}'", hint=hint, path=name)
    return asked


def _nothing(line: GuardrailLine) -> TurnbackError:
    return UnknownFileError(
        f"there is no chart of {line.guardrail} yet", hint="it appears after the second look"
    )
