"""The report of an experiment as a page, and as files to share.

The page is the file that `turnback report` writes, with a line above it that leads back and to
the downloads and is not printed.
"""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Final

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from console.dashboard.experiments import kpi_texts
from console.dashboard.shell import PAGE_HEADERS, Page, Shell
from console.reports.experiment import Report, report_of
from console.reports.files import Format, file_of
from console.reports.html import POLICY, html_of
from experiments.errors import UnknownExperimentError
from guardrails.build import build_version

_TYPES: Final = MappingProxyType(
    {
        "html": "text/html; charset=utf-8",
        "md": "text/markdown; charset=utf-8",
        "png": "image/png",
    }
)


def report_pages(shell: Shell) -> Sequence[Page]:
    """Return the report of an experiment, and its files."""
    pages = _Reports(shell)
    base = "/experiments/{key}/report"
    return (
        Page(base, pages.report),
        *(Page(f"{base}.{suffix}", pages.file) for suffix in _TYPES),
    )


class _Reports:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._services = shell.services

    async def report(self, request: Request) -> Response:
        try:
            made = await run_in_threadpool(self._html, request)
        except UnknownExperimentError as error:
            return self._shell.html(request, "missing.html", status=404, error=error)
        headers = {**PAGE_HEADERS, "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'"}
        return Response(made, headers=headers, media_type=_TYPES["html"])

    async def file(self, request: Request) -> Response:
        suffix = request.url.path.rpartition(".")[2]
        made = await run_in_threadpool(self._made, request, suffix)
        name = f"{request.path_params['key']}.{suffix}"
        headers = {
            **PAGE_HEADERS,
            "Content-Security-Policy": f"{POLICY}; sandbox",
            "Content-Disposition": f'attachment; filename="{name}"',
        }
        return Response(made, headers=headers, media_type=_TYPES[suffix])

    def _made(self, request: Request, suffix: str) -> bytes:
        return file_of(self._report(request), Format(suffix))

    def _html(self, request: Request) -> bytes:
        values: dict[str, Any] = {"report": self._report(request), "version": build_version()}
        return html_of("experiment.html", **values, linked=True).encode()

    def _report(self, request: Request) -> Report:
        services = self._services
        view = services.engine.experiment(request.path_params["key"])
        refused = services.store.quarantine_counts()
        return report_of(
            view, kpi_texts(services), quarantined=refused, demo=services.settings.demo
        )
