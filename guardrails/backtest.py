"""Replaying recorded events through the same append, tick, judge and rollback as the service.

Time is a stepped clock: the first exposure starts the experiment, the clock then moves from
one look to the next, and before each look the events that had happened by then are appended.
An exposure that carries a variant is used as recorded; one without is assigned by the spec's
hash as it is served at that moment, so a treatment that was turned back gets no more units.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from experiments.assignment import TARGETING_KEY
from experiments.database import ControlPlane
from experiments.errors import TurnbackError
from guardrails.clock import SteppedClock
from guardrails.engine import Engine
from guardrails.settings import EngineSettings
from guardrails.spec_file import SpecFile, load_spec
from guardrails.ticks import floor_to
from guardrails.views import ExperimentView, TransitionView
from metrics.catalogue import Catalogue
from metrics.cells import MICRO
from metrics.events import EXPOSURE, Event, exposure
from metrics.plant import Plant
from metrics.store import MetricStore
from metrics.stores.passing import PassingMetricStore

_MILESTONES = 12
_OVER = frozenset({"finished", "stopped"})
_OWN_FIELDS = frozenset({"experiment", "variant", "seed"})


class BacktestError(TurnbackError):
    """The events cannot be replayed with this spec."""

    code = "backtest"
    status = 422


@dataclass(frozen=True, slots=True)
class Moment:
    """Something worth a line in the timeline.

    ``what`` is ``start``, ``check`` (another decision), ``evidence``, ``end`` or a new state.
    """

    at: datetime
    what: str
    words: str


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """How a replay ended.

    Attributes:
        experiment: Key.
        seed: Seed of the assignment hash.
        planted: The sentence about a planted effect, ``None`` without one.
        every: Time between two looks.
        started_at: First exposure.
        ended_at: Last look.
        rolled_back: Whether a treatment was turned back by the engine.
        variant: The first one, ``None`` without any.
        kpi: The KPI whose harm was proven.
        at: When.
        checks: Ticks run.
        looks: Looks of the comparison that took most.
        exposed: Units per variant.
        events: Events appended, exposures included.
        ignored: Exposures of other experiments, or without a unit of this one.
        timeline: What happened, in order.
        view: Everything shown of the experiment at the end.
    """

    experiment: str
    seed: int
    planted: str | None
    every: timedelta
    started_at: datetime
    ended_at: datetime
    rolled_back: bool
    variant: str | None
    kpi: str | None
    at: datetime | None
    checks: int
    looks: int
    exposed: Mapping[str, int]
    events: int
    ignored: int
    timeline: tuple[Moment, ...]
    view: ExperimentView


def backtest(
    spec: str,
    events: Sequence[Event],
    *,
    every: timedelta,
    seed: int | None = None,
    plant: Plant | None = None,
    source: str = "<text>",
    store: MetricStore | None = None,
    control: ControlPlane | None = None,
    show_core: bool = False,
    catalogue: Catalogue | None = None,
) -> BacktestResult:
    """Replay ``events`` and return how the experiment of ``spec`` ended.

    The replay ends when every treatment is turned back, the experiment is over, or nothing
    more can enter a window.

    Args:
        spec: Text of a spec file.
        events: Any order; exposures without ``experiment`` belong to this one.
        every: Time between two looks, in place of the file's ``check_every``.
        seed: In place of the file's ``seed``.
        plant: An effect to plant; every output must then say so.
        source: Name of the spec file in problems.
        store: Where events go; closed at the end. Memory by default: nothing is left of it.
        control: Where states go; closed at the end. A database in memory by default.
        show_core: Whether the twelve core KPIs are measured too, for display.
        catalogue: KPIs known beside those of the file; the built-in ones by default.

    Raises:
        SpecError: The file has problems.
        BacktestError: There is no exposure to start from, or the planted variant is unknown.
    """
    load_spec(spec, source=source, catalogue=catalogue)  # its problems, at its own lines
    text = _overridden(spec, every=every, seed=seed)
    loaded = load_spec(text, source=source, catalogue=catalogue)
    if plant is not None and plant.variant not in loaded.experiment.treatments:
        raise BacktestError(
            f"nothing can be planted in {plant.variant!r}",
            hint=f"treatments of {source}: {', '.join(loaded.experiment.treatments)}",
        )
    in_order = sorted(events, key=lambda event: (event.happened_at, event.id))
    started = _first_exposure(in_order, loaded)
    plane = control or ControlPlane()
    metrics = store or PassingMetricStore()
    try:
        replay = _Replay(
            loaded,
            metrics,
            plane,
            in_order,
            started,
            plant,
            # nobody can ask about the checks of a database that is gone
            EngineSettings(show_core=show_core, accounts=control is not None),
            catalogue=catalogue,
        )
        return replay.run(every)
    finally:
        plane.close()
        metrics.close()


def _overridden(text: str, *, every: timedelta, seed: int | None) -> str:
    """Return the file with another ``check_every`` and ``seed``."""
    yaml = YAML()
    document = yaml.load(text)
    document["check_every"] = f"{int(every.total_seconds())}s"
    if seed is not None:
        document["seed"] = seed
    out = StringIO()
    yaml.dump(document, out)
    return out.getvalue()


def _first_exposure(events: Iterable[Event], spec: SpecFile) -> datetime:
    for event in events:
        if event.name == EXPOSURE and _concerns(event, spec):
            return event.happened_at
    raise BacktestError(
        f"no exposure of {spec.experiment.key} in the events",
        hint=(
            f"each unit needs an event named exposure with units.{spec.experiment.unit}, "
            "with or without fields.variant"
        ),
    )


def _concerns(event: Event, spec: SpecFile) -> bool:
    experiment = event.fields.get("experiment", spec.experiment.key)
    return experiment == spec.experiment.key and spec.experiment.unit in event.units


@dataclass
class _Replay:
    """The state of one replay."""

    spec: SpecFile
    store: MetricStore
    control: ControlPlane
    events: Sequence[Event]
    started: datetime
    plant: Plant | None
    settings: EngineSettings
    catalogue: Catalogue | None = field(kw_only=True)
    met: dict[str, str] = field(default_factory=dict[str, str])
    delayed: list[tuple[datetime, str, Event]] = field(
        default_factory=list[tuple[datetime, str, Event]]
    )
    position: int = 0
    appended: int = 0
    ignored: int = 0
    checks: int = 0
    timeline: list[Moment] = field(default_factory=list[Moment])

    def run(self, every: timedelta) -> BacktestResult:
        clock = SteppedClock(self.started)
        engine = Engine(
            control=self.control,
            store=self.store,
            clock=clock,
            settings=self.settings,
            catalogue=self.catalogue,
        )
        applied = engine.apply(self.spec.text, source="backtest", actor="backtest")
        self._note(self.started, "start", "; ".join(applied.words))
        said = ""
        for now in self._ticks(every):
            self._append_until(engine, now)
            clock.move_to(now)
            for report in engine.run_due():
                self.checks += 1
                if report.decision != said and not report.transitions:
                    self._note(report.at, "check", report.decision)
                said = report.decision
                for change in report.transitions:
                    self._note(change.at, change.after, change.reason)
            if self._over(engine):
                break
        return self._result(engine, clock.now(), every)

    def _ticks(self, every: timedelta) -> Iterator[datetime]:
        longest = max(window.length for kpi in self.spec.kpis.values() for window in kpi.windows)
        newest = max(self.events[-1].happened_at, self.started)
        end = newest + longest + self.spec.experiment.lag + every
        now = floor_to(self.started, every) + every
        while now <= end:
            yield now
            now += every

    def _over(self, engine: Engine) -> bool:
        compiled = engine.serving().experiments[self.spec.experiment.key]
        back = compiled.serving.rolled_back.issuperset(self.spec.experiment.treatments)
        return back or compiled.serving.state in _OVER

    def _append_until(self, engine: Engine, now: datetime) -> None:
        batch: list[Event] = []
        while self.position < len(self.events) and self.events[self.position].happened_at <= now:
            event = self._replayed(engine, self.events[self.position])
            self.position += 1
            if event is None:
                self.ignored += 1
            elif event.happened_at > now:
                heapq.heappush(self.delayed, (event.happened_at, event.id, event))
            else:
                batch.append(event)
        while self.delayed and self.delayed[0][0] <= now:
            batch.append(heapq.heappop(self.delayed)[2])
        if batch:
            self.appended += self.store.append(batch, received_at=now).accepted

    def _replayed(self, engine: Engine, event: Event) -> Event | None:
        unit = event.units.get(self.spec.experiment.unit)
        if event.name != EXPOSURE:
            met = self.met.get(unit) if unit is not None else None
            return event if self.plant is None else self.plant.apply(event, met)
        if unit is None or not _concerns(event, self.spec):
            return None
        spec = self.spec.experiment
        variant = event.fields.get("variant")
        if not isinstance(variant, str):
            served = engine.serving().experiments[spec.key].assign(_context(event, unit))
            if not served.counts:
                return None
            variant = served.variant
        self.met.setdefault(unit, variant)
        return exposure(
            spec.key, spec.seed, spec.unit, unit, variant, event.happened_at, source="backtest"
        )

    def _note(self, at: datetime, what: str, words: str) -> None:
        self.timeline.append(Moment(at, what, words))

    def _result(self, engine: Engine, now: datetime, every: timedelta) -> BacktestResult:
        view = engine.experiment(self.spec.experiment.key)
        first = _first_rollback(view.transitions)
        windows = [w for guardrail in view.guardrails for w in guardrail.windows]
        self.timeline += _evidence(view, self.started, now)
        self.timeline.sort(key=lambda moment: moment.at)
        self._note(now, "end", f"{view.state}, {self.checks} checks")
        return BacktestResult(
            experiment=view.key,
            seed=view.seed,
            planted=self.plant.words if self.plant is not None else None,
            every=every,
            started_at=self.started,
            ended_at=now,
            rolled_back=first is not None,
            variant=first.variant if first is not None else None,
            kpi=rollback_kpi(first) if first is not None else None,
            at=first.at if first is not None else None,
            checks=self.checks,
            looks=max((window.look for window in windows), default=0),
            exposed={variant.name: variant.exposed for variant in view.variants},
            events=self.appended,
            ignored=self.ignored,
            timeline=tuple(self.timeline),
            view=view,
        )


def _evidence(view: ExperimentView, started: datetime, ended: datetime) -> Iterator[Moment]:
    """Yield how strong the strongest evidence was, at a dozen instants of the replay."""
    for part in range(1, _MILESTONES):
        at = started + (ended - started) * part / _MILESTONES
        newest = [
            (points[-1][1], points[-1][0], guardrail.guardrail)
            for guardrail in view.guardrails
            if (points := [point for point in guardrail.history if point[0] <= at])
        ]
        if newest:
            evidence, seen_at, name = max(newest)
            yield Moment(
                seen_at, "evidence", f"strongest: {name} at {evidence:.0%} of its boundary"
            )


def _first_rollback(transitions: Iterable[TransitionView]) -> TransitionView | None:
    return next((t for t in transitions if t.after == "rolled_back"), None)


def rollback_kpi(transition: TransitionView) -> str | None:
    """Return the KPI whose harm a rollback was built on, ``None`` when a person decided."""
    finding = (transition.evidence or {}).get("finding") or {}
    return finding.get("kpi")


def _context(event: Event, unit: str) -> dict[str, Any]:
    """Return the evaluation context of a recorded exposure: its ids and its own fields."""
    attributes = {
        name: value / MICRO if isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in event.fields.items()
        if name not in _OWN_FIELDS
    }
    return {**attributes, **event.units, TARGETING_KEY: unit}
