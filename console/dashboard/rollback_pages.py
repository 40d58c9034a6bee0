"""The page of a rollback, its twin, and the answer of its replay button."""

import time
from collections.abc import Mapping, Sequence

from fastapi import Request, Response
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from console.charts import KINDS, Shown, Style, caption, svg
from console.dashboard.shell import Page, Shell, json_of
from console.views.replayed import ReplayPage, replay_page
from console.views.rollback import RollbackPage, rollback_page
from experiments.errors import TurnbackError
from metrics.catalogue_words import title_of
from metrics.wording import language

_REMEMBERED = 30.0
"""Seconds for which a replay is shown as it was computed: a page keeps itself current."""

_MOST = 32

_NARROW = Style(size="narrow")


def rollback_pages(shell: Shell) -> Sequence[Page]:
    """Return the page of a rollback and of its replay, and their twins."""
    pages = _Rollbacks(shell)
    base = "/experiments/{key}/rollbacks/{id}"
    return (
        Page(f"{base}.json", pages.rollback_json),
        Page(f"{base}/replay.json", pages.replay_json),
        Page(f"{base}/replay", pages.replay),
        Page(base, pages.rollback),
    )


class _Rollbacks:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._services = shell.services
        self._replayed: dict[str, tuple[float, ReplayPage]] = {}

    async def rollback(self, request: Request) -> Response:
        try:
            page = await run_in_threadpool(self._page, request)
        except TurnbackError as error:
            return self._shell.html(request, "missing.html", status=error.status, error=error)
        if page.id != request.path_params["id"]:  # the link that lasts has one form
            return RedirectResponse(f"/experiments/{page.key}/rollbacks/{page.id}", 303)
        drawn = await run_in_threadpool(_drawn, page)
        return self._shell.html(request, "rollback.html", page=page, charts=drawn)

    async def rollback_json(self, request: Request) -> Response:
        return json_of(await run_in_threadpool(self._page, request))

    async def replay(self, request: Request) -> Response:
        try:
            page = await run_in_threadpool(self._replay, request)
        except TurnbackError as error:
            return self._shell.html(request, "missing.html", status=error.status, error=error)
        return self._shell.html(request, "replay.html", page=page)

    async def replay_json(self, request: Request) -> Response:
        return json_of(await run_in_threadpool(self._replay, request))

    def _page(self, request: Request) -> RollbackPage:
        params = request.path_params
        story = self._services.engine.rollback(params["key"], params["id"])
        return rollback_page(story, titles=self._titles(), units=self._units())

    def _replay(self, request: Request) -> ReplayPage:
        page = self._page(request)
        # texts are in a language, so each has its own
        kept, now = f"{page.key} {page.id} {language()}", time.monotonic()
        held = self._replayed.get(kept)
        if held is not None and now - held[0] < _REMEMBERED:
            return held[1]
        done = replay_page(page, self._services.engine.replay(page.id))
        while len(self._replayed) >= _MOST:
            self._replayed.pop(next(iter(self._replayed)))
        self._replayed[kept] = now, done
        return done

    def _titles(self) -> Mapping[str, str]:
        return {kpi.key: title_of(kpi) for kpi in self._services.catalogue}

    def _units(self) -> Mapping[str, str]:
        return {kpi.key: kpi.unit for kpi in self._services.catalogue}


def _drawn(page: RollbackPage) -> tuple[tuple[Markup, Markup, str], ...]:
    """Return the charts for a desk and a phone, and in words for those who do not see them."""
    shown = Shown(
        page.history,
        proof=page.proof,
        margin=page.margin,
        past=page.past,
        turned_back_at=page.at,
    )
    # drawn by us from numbers and fixed words alone
    return tuple(
        (Markup(drawn), Markup(svg(kind, shown, _NARROW)), caption(kind, shown))  # noqa: S704 - see above
        for kind in KINDS
        if (drawn := svg(kind, shown))
    )
