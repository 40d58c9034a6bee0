"""Where reports come from: a running service, or the files of one that does not run."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from console.child import made_by_demo
from console.client import ServiceClient, experiment_path
from console.offline import opened
from console.output import CommandError
from console.views.lines import KpiText
from experiments.errors import TurnbackError
from guardrails.outcome import WindowFinding
from guardrails.views import DenominatorView, ExperimentView
from metrics.catalogue_words import kpi_to_json
from metrics.wording import language


@dataclass(frozen=True, slots=True)
class Source:
    """What a report is made from.

    Attributes:
        experiment: Returns one experiment by its key.
        experiments: Returns all of them.
        kpis: Every KPI as ``/api/v1/kpis`` tells it.
        quarantined: Refused events by reason, of the whole service; ``None`` where that is
            not told.
        demo: Whether shop, people and clock are simulated.
    """

    experiment: Callable[[str], ExperimentView]
    experiments: Callable[[], Sequence[ExperimentView]]
    kpis: Sequence[Mapping[str, Any]]
    quarantined: Mapping[str, int] | None
    demo: bool

    def texts(self) -> Mapping[str, KpiText]:
        """Return how every KPI is shown, in the language of the context."""
        return {kpi["key"]: _text(kpi) for kpi in self.kpis}


def _text(kpi: Mapping[str, Any]) -> KpiText:
    lengths = [msgspec.convert(w["length"], timedelta) for w in kpi["windows"]]
    return KpiText(
        title=(kpi["title_zh"] if language() == "zh" else "") or kpi["title"],
        unit=kpi["unit"],
        better=kpi["better"],
        words=kpi["words"],
        window=min(lengths),
        core=kpi["core"],
    )


@contextmanager
def from_service(client: ServiceClient) -> Generator[Source]:
    """Ask a running service.

    Raises:
        CommandError: Nobody answers, or the service refuses.
    """

    def experiments() -> Sequence[ExperimentView]:
        return [view_of(each) for each in client.get("/api/v1/experiments")["experiments"]]

    try:
        quarantined = client.get("/api/v1/quarantine?limit=1")["counts"]
    except CommandError as error:
        if error.code not in {"unauthorized", "forbidden"}:
            raise
        quarantined = None
    yield Source(
        experiment=lambda key: view_of(client.get(experiment_path(key))),
        experiments=experiments,
        kpis=client.get("/api/v1/kpis")["kpis"],
        quarantined=quarantined,
        demo=bool(client.get("/readyz").get("demo")),
    )


@contextmanager
def from_files(data: Path) -> Generator[Source]:
    """Open the files of a folder that no service holds.

    Raises:
        CommandError: There are none, somebody holds them, or the experiment is not there.
    """
    with opened(data) as files:
        engine = files.engine
        if engine is None:
            raise CommandError(
                f"{data}: no control plane is here",
                hint="both files of a service are needed: experiments are in control.db",
                code="no_control_plane",
            )
        try:
            yield Source(
                experiment=engine.experiment_at_rest,
                experiments=engine.experiments,
                kpis=[msgspec.to_builtins(kpi_to_json(kpi)) for kpi in files.catalogue],
                quarantined=files.store.quarantine_counts(),
                demo=made_by_demo(data),
            )
        except TurnbackError as error:
            raise CommandError.of(error) from error


def view_of(told: Mapping[str, Any]) -> ExperimentView:
    """Return an experiment as the API tells it; numbers that are none are ``nan`` again."""
    guardrails = [
        {**each, "windows": [_numbers(WindowFinding, w) for w in each["windows"]]}
        for each in told["guardrails"]
    ]
    denominators = [_numbers(DenominatorView, d) for d in told.get("denominators") or ()]
    whole = {**told, "guardrails": guardrails, "denominators": denominators}
    return msgspec.convert(whole, ExperimentView)


def _numbers(kind: Any, told: Mapping[str, Any]) -> Mapping[str, Any]:
    floats = {field.name for field in fields(kind) if field.type is float}
    return {
        name: float("nan") if value is None and name in floats else value
        for name, value in told.items()
    }
