"""The pages about the whole service: KPIs, events, audit, health; and their twins."""

import os
import platform
import shutil
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlencode

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from console.dashboard.shell import Page, Shell, json_of
from console.views import audit, events
from console.views.audit import AuditPage, audit_page
from console.views.events import EventsPage, Received, events_page
from console.views.health import HealthPage, Vitals, health_page
from console.views.kpis import KpisPage, kpis_page
from experiments.errors import InvalidRequestError
from guardrails.audit_reading import Sort
from guardrails.build import build_version
from guardrails.clock import SystemClock
from guardrails.files import CONTROL, STORE
from metrics.wording import gettext as _

_PARTS = ("duckdb", "sqlmodel", "fastapi", "scipy")
Read = Callable[[Request], object]


def service_pages(shell: Shell) -> Sequence[Page]:
    """Return the pages about the whole service, and their twins."""
    pages = _ServicePages(shell)
    known: tuple[tuple[str, str, Read, frozenset[str]], ...] = (
        ("/kpis", "kpis.html", pages.kpis, frozenset()),
        ("/events", "events.html", pages.events, frozenset({"code", "before"})),
        ("/audit", "audit.html", pages.audit, frozenset({"sort", "actor", "before"})),
        ("/health", "health.html", pages.health, frozenset()),
    )
    found: list[Page] = []
    for path, template, read, parameters in known:
        found.append(Page(f"{path}.json", _twin(read), parameters))
        found.append(Page(path, _page(shell, template, read), parameters))
    return found


def _page(shell: Shell, template: str, read: Read) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        page = await run_in_threadpool(read, request)
        return shell.html(request, template, page=page, address=_address(request))

    return answer


def _twin(read: Read) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return json_of(await run_in_threadpool(read, request))

    return answer


def _address(request: Request) -> Callable[..., str]:
    """Return what makes an address of this page with other parameters; empty ones are left out."""

    def address(**changes: object) -> str:
        kept = {k: v for k, v in request.query_params.items() if k not in {"lang", "theme"}}
        asked = {**kept, **{k: str(v) for k, v in changes.items()}}
        return f"?{urlencode({k: v for k, v in asked.items() if v})}"

    return address


class _ServicePages:
    """What the pages read; in a thread, so that evaluations never wait."""

    def __init__(self, shell: Shell) -> None:
        self._services = shell.services
        self._briefs = shell.briefs
        self._wall = SystemClock()
        self._started_at = self._wall.now()

    def kpis(self, _request: Request) -> KpisPage:
        engine = self._services.engine
        return kpis_page(engine.kpis(), engine.guarding())

    def events(self, request: Request) -> EventsPage:
        services, asked = self._services, request.query_params
        store, code = services.store, asked.get("code", "")
        return events_page(
            Received(
                counts=services.counts,
                stored=store.watermark(),
                waiting=services.ingest.queued,
                room=services.settings.queue_events,
                exposures_waiting=services.exposures.waiting,
                evaluated=sum(each.count for each in dict(services.exposures.latest).values()),
                doubts=services.events.doubted(),
                refusing=services.ingest.attention(),
            ),
            store.quarantine_counts(),
            store.quarantined(
                limit=events.PAGE + 1, code=code or None, before=_number(asked.get("before"))
            ),
            self._briefs(),
            code=code,
        )

    def audit(self, request: Request) -> AuditPage:
        asked = request.query_params
        sort, actor = asked.get("sort", ""), asked.get("actor", "")
        if sort not in audit.SORTS:
            raise InvalidRequestError(
                _("there is no kind '{sort}'", sort=sort),
                hint=", ".join(name for name in audit.SORTS if name),
                path="sort",
            )
        found = self._services.engine.audit(
            most=audit.PAGE + 1,
            before=_instant(asked.get("before")),
            sort=Sort(sort) if sort else None,
            actor=actor,
        )
        return audit_page(found, sort=sort, actor=actor)

    def health(self, _request: Request) -> HealthPage:
        services = self._services
        engine, settings = services.engine, services.settings
        suspension = engine.suspension()
        vitals = Vitals(
            now=services.clock.now(),
            started_at=self._started_at,
            wall=self._wall.now(),
            pid=os.getpid(),
            demo=settings.demo,
            checks_on=settings.checks,
            suspended=suspension.words if suspension.suspended else "",
            config=services.specs_view().attention,
            store_bytes=_size(settings.data, STORE),
            control_bytes=_size(settings.data, CONTROL),
            free_bytes=shutil.disk_usage(settings.data).free,
            events=services.store.watermark(),
            waiting=services.ingest.queued,
            room=settings.queue_events,
            versions=_versions(),
            notices=services.guarding.notices(),
            retain=settings.retain,
        )
        return health_page(vitals, engine.sights(), engine.channel_list(), engine.untold())


def _size(folder: Path, name: str) -> int:
    """Return the bytes of a file and of what its engine keeps beside it."""
    return sum(path.stat().st_size for path in folder.glob(f"{name}*") if path.is_file())


def _versions() -> tuple[tuple[str, str], ...]:
    found = [("Turnback", build_version()), ("Python", platform.python_version())]
    for name in _PARTS:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return tuple(found)


def _number(text: str | None) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or len(text) > 18:  # noqa: PLR2004 - 64 bits
        raise InvalidRequestError(_("'{text}' is no number", text=text[:40]), path="before")
    return int(text)


def _instant(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        at = None
    if at is None or at.utcoffset() is None:
        raise InvalidRequestError(
            _("'{text}' is no instant", text=text[:40]), hint="2026-12-01T09:00:00Z", path="before"
        )
    return at
