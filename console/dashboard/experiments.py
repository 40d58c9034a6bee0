"""The pages of experiments: all of them, and one of them."""

from collections.abc import Mapping, Sequence

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from console.dashboard.shell import Page, Shell, json_of
from console.views.experiment import ExperimentPage, experiment_page
from console.views.lines import KpiText
from console.views.overview import Asked, Overview, overview
from console.views.quarantined import refused_exposures
from console.views.revisions import file_of, loader
from experiments.errors import InvalidRequestError, UnknownExperimentError
from metrics.catalogue import KpiDefinition
from metrics.catalogue_words import title_of
from metrics.counting import together
from service import Services

_FILTERS = frozenset({"state", "owner", "q"})
_LONGEST = 200
"""Characters of a text that is searched for."""


def experiment_pages(shell: Shell) -> Sequence[Page]:
    """Return the overview, the page of an experiment, and their twins."""
    pages = _Experiments(shell)
    return (
        Page("/", pages.home, _FILTERS),
        Page("/overview.json", pages.home_json, _FILTERS),
        Page("/experiments/{key}.json", pages.experiment_json),
        Page("/experiments/{key}", pages.experiment, frozenset({"done"})),
    )


class _Experiments:
    """The handlers; what they show is read in a thread, so that evaluations never wait."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._services = shell.services
        self._load = loader(shell.services.catalogue)

    async def home(self, request: Request) -> Response:
        page = await run_in_threadpool(self._overview, _asked(request))
        return self._shell.html(request, "overview.html", page=page)

    async def home_json(self, request: Request) -> Response:
        return json_of(await run_in_threadpool(self._overview, _asked(request)))

    async def experiment(self, request: Request) -> Response:
        try:
            page = await run_in_threadpool(self._page, request.path_params["key"])
        except UnknownExperimentError as error:
            return self._shell.html(request, "missing.html", status=404, error=error)
        done = next((t for t in page.transitions if f"t{t.id}" == _done(request)), None)
        return self._shell.html(request, "experiment.html", page=page, done=done)

    async def experiment_json(self, request: Request) -> Response:
        return json_of(await run_in_threadpool(self._page, request.path_params["key"]))

    def _overview(self, asked: Asked) -> Overview:
        services = self._services
        return overview(
            self._shell.briefs(),
            now=services.clock.now(),
            attention=services.specs_view().attention,
            asked=asked,
        )

    def _page(self, key: str) -> ExperimentPage:
        services, engine = self._services, self._services.engine
        came = together(services.counts.exposed, services.exposures.latest).get(key)
        return experiment_page(
            engine.experiment(key),
            kpi_texts(self._services),
            file=file_of(engine.revisions(key), self._load),
            quarantined=refused_exposures(services.store, key),
            arrived=None if came is None else came.last_at,
        )


def _done(request: Request) -> str:
    """Return the id of what was done on a page before this one, empty for nothing."""
    return request.query_params.get("done", "")


def kpi_texts(services: Services) -> Mapping[str, KpiText]:
    """Return how every KPI of the catalogue is shown, in the language of the context."""
    core = {kpi.key for kpi in services.catalogue.core}
    return {kpi.key: _text(kpi, core=kpi.key in core) for kpi in services.catalogue}


def _text(kpi: KpiDefinition, *, core: bool) -> KpiText:
    return KpiText(
        title=title_of(kpi),
        unit=kpi.unit,
        better=kpi.better.value,
        words=kpi.words,
        window=min(w.length for w in kpi.windows),
        core=core,
    )


def _asked(request: Request) -> Asked:
    asked = Asked(**{name: request.query_params.get(name, "") for name in _FILTERS})
    for name in _FILTERS:
        if len(getattr(asked, name)) > _LONGEST:
            raise InvalidRequestError(
                f"{name} is longer than {_LONGEST} characters", hint="shorten it", path=name
            )
    return asked
