"""The pages of experiments: all of them, one of them, and its charts."""

from collections.abc import Sequence

from fastapi import Request, Response
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool

from console.charts import KINDS, Shown, svg
from console.dashboard.lines import GuardrailLine, KpiText
from console.dashboard.shell import Page, Shell, json_of
from console.dashboard.views import ExperimentPage, Overview, experiment_page, overview
from experiments.errors import TurnbackError, UnknownExperimentError


def experiment_pages(shell: Shell) -> Sequence[Page]:
    """Return the overview, the page of an experiment, their twins and the charts."""
    pages = _Experiments(shell)
    return (
        Page("/", pages.home),
        Page("/overview.json", pages.home_json),
        Page("/experiments/{key}.json", pages.experiment_json),
        Page("/experiments/{key}/charts/{guardrail}/{treatment}", pages.chart),
        Page("/experiments/{key}", pages.experiment),
    )


class _Experiments:
    """The handlers; what they show is read in a thread, so that evaluations never wait."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._services = shell.services
        core = {kpi.key for kpi in self._services.catalogue.core}
        self._texts = {
            kpi.key: KpiText(
                title=kpi.title,
                unit=kpi.unit,
                better=kpi.better.value,
                words=kpi.words,
                window=min(w.length for w in kpi.windows),
                core=kpi.key in core,
            )
            for kpi in self._services.catalogue
        }

    async def home(self, request: Request) -> Response:
        page = await run_in_threadpool(self._overview)
        return self._shell.html(request, "overview.html", page=page)

    async def home_json(self, _request: Request) -> Response:
        return json_of(await run_in_threadpool(self._overview))

    async def experiment(self, request: Request) -> Response:
        try:
            page = await run_in_threadpool(self._page, request.path_params["key"])
        except UnknownExperimentError as error:
            return self._shell.html(request, "missing.html", status=404, error=error)
        leading = page.leading
        drawn = await run_in_threadpool(_charts, leading) if leading is not None else ()
        return self._shell.html(request, "experiment.html", page=page, charts=drawn)

    async def experiment_json(self, request: Request) -> Response:
        return json_of(await run_in_threadpool(self._page, request.path_params["key"]))

    async def chart(self, request: Request) -> Response:
        params = request.path_params
        page = await run_in_threadpool(self._page, params["key"])
        for line in page.guardrails:
            if (line.guardrail, line.treatment) == (params["guardrail"], params["treatment"]):
                drawn = await run_in_threadpool(_charts, line)
                return self._shell.html(request, "charts.html", charts=drawn)
        raise _UnknownGuardrailError(
            f"{page.key} has no guardrail '{params['guardrail']}' of '{params['treatment']}'"
        )

    def _overview(self) -> Overview:
        services = self._services
        return overview(
            services.engine.experiments(),
            now=services.clock.now(),
            attention=services.specs_view().attention,
        )

    def _page(self, key: str) -> ExperimentPage:
        return experiment_page(self._services.engine.experiment(key), self._texts)


class _UnknownGuardrailError(TurnbackError):
    """The experiment has no such guardrail."""

    code = "unknown_guardrail"
    status = 404


def _charts(line: GuardrailLine) -> tuple[Markup, ...]:
    shown = Shown(tuple(line.history), proof=line.proof, margin=line.margin)
    # drawn by us from numbers and fixed words alone
    return tuple(Markup(drawn) for kind in KINDS if (drawn := svg(kind, shown)))  # noqa: S704 - see above
