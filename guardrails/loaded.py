"""A revision made ready: parsed once, compared, framed. Pure values, cached by its hash."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from experiments.repository import ExperimentRecord
from experiments.spec import Advance
from guardrails.decide import Step
from guardrails.facts import Rule
from guardrails.judge_alert import AlertWatch, plan_alerts
from guardrails.judge_baseline import BaselineWatch
from guardrails.judge_query import QueryWatch, plan_queries
from guardrails.judge_sample_ratio import unasked_split
from guardrails.levels import (
    AnyComparison,
    CatastropheComparison,
    cohort_length,
    plan_comparisons,
)
from guardrails.rules import Guardrail, PromQL
from guardrails.rules.failures import Policies
from guardrails.spec_file import SpecFile, load_spec
from guardrails.watches import Watch, plan_watches
from metrics.caps import beside
from metrics.catalogue import Catalogue, KpiDefinition
from metrics.catalogue_words import title_of
from metrics.store import Frame


@dataclass(frozen=True, slots=True)
class Loaded:
    """One revision of one experiment, ready to be checked.

    Attributes:
        spec: The file.
        comparisons: Every comparison of every guardrail and treatment.
        kpis: Definitions by key: those the file names, what their caps hide, and those shown.
        measured: (definition, windows) asked of the store at every check.
        rules: What decisions must know of each guardrail, also of what is watched unasked.
        steps: The ramp.
        queries: Every query of every guardrail outside statistics and treatment.
        texts: PromQL by name, of the queries it names.
        watches: Every guardrail that watches the data, and treatment.
        alerts: Every guardrail of rule ``alert`` and treatment.
    """

    spec: SpecFile
    comparisons: tuple[AnyComparison, ...]
    kpis: Mapping[str, KpiDefinition]
    measured: tuple[tuple[KpiDefinition, tuple[timedelta, ...]], ...]
    rules: Mapping[str, Rule]
    steps: tuple[Step, ...]
    queries: tuple[QueryWatch, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict[str, str])
    watches: tuple[Watch, ...] = ()
    alerts: tuple[AlertWatch, ...] = ()

    @property
    def judged(self) -> tuple[AnyComparison | QueryWatch | AlertWatch | Watch, ...]:
        """Whatever its guardrails judge, those of statistics first."""
        return (*self.comparisons, *self.queries, *self.alerts, *self.watches)

    @property
    def ends_it(self) -> bool:
        """Whether a failure of any guardrail may give everybody control after a deadline."""
        return any(rule.policies.ends_it for rule in self.rules.values())

    @property
    def key(self) -> str:
        """Key of the experiment."""
        return self.spec.experiment.key

    def frame(self, record: ExperimentRecord, phases: tuple[datetime, ...]) -> Frame:
        """Return the question put to the store at every check."""
        experiment = self.spec.experiment
        return Frame(
            experiment=experiment.key,
            seed=record.seed,
            unit=experiment.unit,
            variants=tuple(v.name for v in experiment.variants),
            origin=record.started_at,
            cohort=cohort_length(experiment.ends.after),
            until=record.ends_at,
            phases=phases,
            kpis=self.measured,
            lag=experiment.lag,
        )

    @property
    def channels(self) -> tuple[str, ...]:
        """Where its messages go: the log, and the channels its file names."""
        return tuple(dict.fromkeys(("log", *self.spec.experiment.notify)))

    @property
    def settle(self) -> timedelta:
        """How long silence of all events is normal: twice the shortest window, plus the lag.

        Those of catastrophes are short to be early, not because the events come so fast.
        """
        shortest = min(
            (
                w.length
                for c in self.comparisons
                if not isinstance(c, CatastropheComparison)
                for w in c.windows
            ),
            default=timedelta(hours=1),
        )
        return 2 * shortest + self.spec.experiment.lag

    def title(self, kpi: str | None) -> str:
        """Return a KPI's title in the language of the context, its key where it is not known."""
        definition = self.kpis.get(kpi) if kpi is not None else None
        return title_of(definition) if definition is not None else (kpi or "")

    def comparison(
        self, guardrail: str, treatment: str
    ) -> AnyComparison | QueryWatch | AlertWatch | Watch | None:
        """Return what a guardrail judges, ``None`` when the revision has no such guardrail."""
        for candidate in self.judged:
            if candidate.guardrail == guardrail and candidate.treatment == treatment:
                return candidate
        return None


def observe_for(spec: SpecFile) -> timedelta:
    """Return how long units are watched after the last exposure: at least the longest window."""
    given = spec.experiment.ends.observe_for
    if given is not None:
        return given
    windows = [w.length for g in spec.guardrails for w in g.windows]
    return max(windows, default=timedelta(0)) + spec.experiment.lag


def load(
    text: str,
    *,
    source: str,
    catalogue: Catalogue,
    show_core: bool,
    queries: Mapping[str, str] | None = None,
    kept: Mapping[str, KpiDefinition] | None = None,
) -> Loaded:
    """Parse a file and make it ready.

    Args:
        text: The file.
        source: Its name, for problems.
        catalogue: KPIs known beside those of the file.
        show_core: Whether the core KPIs are measured for display.
        queries: PromQL by name, from the service's settings.
        kept: KPIs of the catalogue as they were when the file was applied: it names these alone.

    Raises:
        SpecError: With every problem of the file.
    """
    names = catalogue if kept is None else Catalogue(kept, catalogue.events)
    spec = load_spec(text, source=source, catalogue=names)
    return prepare(spec, catalogue, show_core=show_core, queries=queries)


def prepare(
    spec: SpecFile,
    catalogue: Catalogue,
    *,
    show_core: bool,
    queries: Mapping[str, str] | None = None,
) -> Loaded:
    """Make a parsed file ready.

    Args:
        spec: The file.
        catalogue: KPIs known beside those of the file.
        show_core: Whether the core KPIs are measured for display.
        queries: PromQL by name, from the service's settings.
    """
    named = queries or {}
    comparisons, asked = plan_comparisons(spec), plan_queries(spec, named)
    watches = plan_watches(spec)
    shown = {d.key: d for d in catalogue.core} if show_core else {}
    hidden = {more.key: more for kpi in spec.kpis.values() for more in beside(kpi)}
    kpis = {**shown, **spec.kpis, **hidden}
    return Loaded(
        spec=spec,
        comparisons=comparisons,
        kpis=kpis,
        measured=_measured(kpis, comparisons, watches),
        rules={
            g.id: _rule(g, named, spec.policies.get(g.id, spec.default_policies))
            for g in (*spec.guardrails, *_unasked(spec))
        },
        steps=tuple(
            Step(
                step.hold,
                step.min_units,
                proven=step.advance is Advance.PROVEN,
                approval=step.approval,
            )
            for step in spec.experiment.ramp
        ),
        queries=asked,
        texts={each.query: named[each.query] for each in asked if each.query in named},
        watches=watches,
        alerts=plan_alerts(spec),
    )


def _unasked(spec: SpecFile) -> tuple[Guardrail, ...]:
    """Return what watches the data of every experiment, where the file has no rule of its own."""
    split = unasked_split(spec)
    return () if split is None else (split,)


def _rule(guardrail: Guardrail, queries: Mapping[str, str], policies: Policies) -> Rule:
    action = guardrail.action
    if isinstance(guardrail, PromQL):
        action = guardrail.action_for(queries.get(guardrail.query))
    return Rule(guardrail.id, str(action.value), guardrail.dry_run, guardrail.rule, policies)


def _measured(
    kpis: Mapping[str, KpiDefinition],
    comparisons: tuple[AnyComparison, ...],
    watches: tuple[Watch, ...],
) -> tuple[tuple[KpiDefinition, tuple[timedelta, ...]], ...]:
    windows = {key: {w.length for w in kpi.windows} for key, kpi in kpis.items()}
    for key in {c.kpi for c in comparisons}:
        windows[key] = {w.length for c in comparisons if c.kpi == key for w in c.windows}
    for watch in watches:
        if isinstance(watch, BaselineWatch):
            windows[watch.kpi] |= {watch.window}
    for key in {c.kpi for c in comparisons}:
        windows |= {more.key: windows[key] for more in beside(kpis[key])}
    return tuple((kpi, tuple(sorted(windows[key]))) for key, kpi in kpis.items())
