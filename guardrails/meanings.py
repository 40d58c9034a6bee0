"""What the KPIs of a run mean, kept with its revision.

A spec file names KPIs of the catalogue, and the catalogue may change: another version of Turnback,
another catalogue file. Evidence so far is of the meaning a KPI had when the file was applied, so
the run keeps that meaning until its seed is raised.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from sqlmodel import Session, select

from experiments.lifecycle import OVER, State
from experiments.repository import ExperimentRecord, experiment_keys, load_experiment
from guardrails.loaded import Loaded
from guardrails.models import MeaningRow
from metrics.catalogue import Catalogue, KpiDefinition, parse_kpi
from metrics.catalogue_words import BUILT_IN, as_written, kpi_to_json
from metrics.wording import gettext as _

FROM_FILE = "catalogue file"
Meanings = Mapping[str, KpiDefinition]


@dataclass(frozen=True, slots=True)
class ListedKpi:
    """A KPI that can be named or is in use, and where it is defined."""

    kpi: KpiDefinition
    source: str

    def to_json(self) -> Mapping[str, Any]:
        """Return everything people are shown of it."""
        return kpi_to_json(self.kpi, source=self.source)


def named(loaded: Loaded) -> Meanings:
    """Return the KPIs a file names that are not its own."""
    spec = loaded.spec
    return {key: kpi for key, kpi in spec.kpis.items() if key not in spec.own}


def keep_meanings(session: Session, loaded: Loaded, *, number: int) -> None:
    """Keep what the KPIs of a revision mean."""
    body = {key: as_written(kpi) for key, kpi in named(loaded).items()}
    session.add(MeaningRow(experiment=loaded.key, number=number, kpis=body))
    session.flush()


def kept_meanings(session: Session, key: str, number: int) -> Meanings | None:
    """Return what the KPIs of a revision mean; ``None`` where nobody kept it."""
    row = session.exec(
        select(MeaningRow).where(MeaningRow.experiment == key, MeaningRow.number == number)
    ).one_or_none()
    if row is None:
        return None
    kept = cast("Mapping[str, Mapping[str, object]]", row.kpis)
    return {name: parse_kpi(name, written) for name, written in kept.items()}


def adopt_meanings(session: Session, load: Callable[[Session, ExperimentRecord], Loaded]) -> None:
    """Keep today's meaning for revisions of an earlier version, which kept none."""
    for key in experiment_keys(session):
        record = load_experiment(session, key)
        if record is not None and kept_meanings(session, key, record.revision) is None:
            keep_meanings(session, load(session, record), number=record.revision)


def goes_on(before: ExperimentRecord | None, seed: int) -> bool:
    """Whether a file with this seed changes a run that has started."""
    if before is None:
        return False
    return State(before.state) not in {State.DRAFT, *OVER} and before.seed == seed


def moved(loaded: Loaded, catalogue: Catalogue) -> tuple[str, ...]:
    """Return, in words, every KPI of a run that the catalogue describes otherwise by now."""
    told: list[str] = []
    for key, kpi in named(loaded).items():
        today = catalogue.kpis.get(key)
        if today is None:
            told.append(
                _(
                    "{kpi} is no longer in the catalogue: this run goes on with the meaning it was "
                    "applied with; raise `seed` to begin anew with today's",
                    kpi=key,
                )
            )
        elif _meaning(today) != _meaning(kpi):
            told.append(
                _(
                    "{kpi} means something else in the catalogue now: this run goes on with the "
                    "meaning it was applied with; raise `seed` to begin anew with today's",
                    kpi=key,
                )
            )
    return tuple(told)


def listed(catalogue: Catalogue, built_in: Catalogue, running: Sequence[Loaded]) -> list[ListedKpi]:
    """Return every KPI: core ones, the others, those of running files, and meanings kept.

    Args:
        catalogue: KPIs a file may name.
        built_in: Those of them that Turnback ships.
        running: Newest revisions of experiments that are not over.
    """
    of_catalogue = sorted(catalogue, key=lambda kpi: (not kpi.core, kpi.key not in built_in))
    found = [ListedKpi(kpi, BUILT_IN if kpi.key in built_in else FROM_FILE) for kpi in of_catalogue]
    for loaded in running:
        own = [kpi for key, kpi in loaded.spec.kpis.items() if key in loaded.spec.own]
        found += [ListedKpi(kpi, loaded.key) for kpi in own]
        for key, kpi in named(loaded).items():
            if key not in catalogue or _meaning(catalogue.get(key)) != _meaning(kpi):
                found.append(ListedKpi(kpi, f"{loaded.key} (kept)"))
    return found


def _meaning(kpi: KpiDefinition) -> KpiDefinition:
    """Return a KPI without what changes no number."""
    return replace(kpi, title="", title_zh="", words="", core=False)
