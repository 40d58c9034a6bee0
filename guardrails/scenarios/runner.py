"""Playing a scenario: time moves from instant to instant, and what is expected is looked at."""

import itertools
import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from experiments.assignment import TARGETING_KEY, CompiledExperiment
from experiments.errors import TurnbackError
from experiments.language.amounts import format_duration
from experiments.spec import Exposure
from guardrails.replay import Verdict
from guardrails.scenarios.acts import ACTS, PERSON
from guardrails.scenarios.expects import EXPECTS
from guardrails.scenarios.people import People, Person, happened
from guardrails.scenarios.values import (
    TOP,
    Expectation,
    Failure,
    Scenario,
    ScenarioResult,
    Step,
)
from guardrails.scenarios.world import Clock, World

LONGEST_STEP = timedelta(hours=6)
"""Units come in spans of at most this length."""

SHORTEST_STEP = timedelta(minutes=10)
"""And of at least this length where the checks are closer together."""

_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder inside it has a name of its own
_ROOM = 2_000_000_000

Progress = Callable[[timedelta, timedelta], None]
"""Told how far the timeline is, and how long it is."""


def play(
    scenario: Scenario, *, folder: Path | None = None, progress: Progress | None = None
) -> ScenarioResult:
    """Play a scenario to its end and return everything that was not as expected.

    Args:
        scenario: What is played.
        folder: Keeps the two files of the service there; a temporary folder by default.
        progress: Told after every instant.
    """
    begun = time.monotonic()
    # what goes wrong on purpose is told by the result, not by the service's log
    logging.getLogger("turnback").addHandler(logging.NullHandler())
    with TemporaryDirectory(prefix="turnback-", dir=_passing_folder()) as temporary:
        world = World(scenario, folder or Path(temporary), Clock(scenario.starts))
        world.open()
        try:
            player = _Player(scenario, world, progress or (lambda _now, _end: None))
            player.play()
        finally:
            world.close()
    return player.result(time.monotonic() - begun)


def _passing_folder() -> Path | None:
    """Return a folder in memory where there is one: files that are thrown away wait for no disk."""
    told = "TMPDIR" in os.environ or not os.access(_MEMORY, os.W_OK)
    return None if told or shutil.disk_usage(_MEMORY).free < _ROOM else _MEMORY


@dataclass
class _Player:
    """One run of a scenario."""

    scenario: Scenario
    world: World
    progress: Progress
    failures: list[Failure] = field(default_factory=list[Failure])
    story: list[str] = field(default_factory=list[str])
    expectations: int = 0
    replayed: int = 0
    spans: int = 0
    owed: float = 0.0

    def __post_init__(self) -> None:
        scenario = self.scenario
        self.people = People(scenario.seed, scenario.attributes, scenario.people, scenario.effects)
        self.losing = Random(f"{scenario.seed}/lost")  # noqa: S311 - simulated losses

    def play(self) -> None:
        """Play the timeline, then look at the end, then replay every decision."""
        scenario, world = self.scenario, self.world
        world.traffic, world.text = scenario.traffic, scenario.spec.text
        for spec in (*scenario.beside, scenario.spec):
            name = f"{spec.experiment.key}.yaml"
            world.engine.apply(spec.text, source=name, actor=PERSON)
        waiting = list(scenario.timeline)
        for now, following in itertools.pairwise(self._instants()):
            self._reach(now)
            while waiting and waiting[0].at <= now:
                self._step(waiting.pop(0))
            self._come(following - now)
            self.progress(now, scenario.lasts)
        self._reach(scenario.lasts)
        for step in waiting:
            self._step(step)
        self._expect(scenario.expects)
        self._replay()

    def _instants(self) -> list[timedelta]:
        """Return every instant at which something may happen, the end last."""
        every = self.scenario.spec.experiment.check_every
        every = min(max(every, SHORTEST_STEP), LONGEST_STEP)
        lasts = self.scenario.lasts
        regular = {every * k for k in range(int(lasts / every) + 1)}
        told = {step.at for step in self.scenario.timeline}
        return sorted(regular | told | {timedelta(0), lasts})

    def _reach(self, now: timedelta) -> None:
        """Let the time come: what is due arrives, then checks run."""
        world = self.world
        world.clock.true = self.scenario.starts + now
        if world.asleep:
            return
        world.deliver()
        before = len(world.reports)
        world.check()
        for report in world.reports[before:]:
            for change in report.transitions:
                self._tell(f"{change.variant or change.experiment}: {change.after}", change.reason)

    def _tell(self, what: str, why: str = "") -> None:
        reason = f" ({why})" if why else ""
        self.story.append(f"{format_duration(self.world.after)}  {what}{reason}")

    def _step(self, step: Step) -> None:
        world = self.world
        refusals: list[str] = []
        for act in step.acts:
            self._tell(f"{act.name}: {act.told}")
            try:
                ACTS[act.name](world, act.value)
            except TurnbackError as error:
                refusals.append(str(error))
                if step.refused is None:
                    self._fail(act, "it is done", f"refused: {error}")
        if any(act.name == "alert" for act in step.acts):
            self._reach(world.after)  # which waits for no scheduled check
        if step.refused is not None:
            self.expectations += 1
            said = "; ".join(refusals)
            if step.refused.lower() not in said.lower() or not refusals:
                last = Expectation("refused", None, step.mark)
                self._fail(last, f"refused, saying `{step.refused}`", said or "it was done")
        self._expect(step.expects)

    def _expect(self, expects: tuple[Expectation, ...]) -> None:
        for each in expects:
            self.expectations += 1
            for expected, was in EXPECTS[each.name](self.world, each.value):
                self._fail(each, expected, was)

    def _fail(self, what: Any, expected: str, was: str) -> None:
        where = f"{self.scenario.file}:{what.at.line}:{what.at.column}"
        self.failures.append(Failure(where, self.world.after, what.name, expected, was))

    def _come(self, span: timedelta) -> None:
        """Let the units of a span of time come, all at its beginning."""
        self.owed += self.world.traffic * (span / timedelta(hours=1))
        count = int(self.owed + 1e-9)
        self.owed -= count
        self.spans += 1
        served = self.world.engine.serving().experiments.values()
        for person in self.people.coming(self.spans, count):
            for compiled in served:
                if compiled.key == self.scenario.key:
                    self._visit(person, compiled)
                else:
                    self._meet(person, compiled)

    def _meet(self, person: Person, compiled: CompiledExperiment) -> None:
        """Let a unit meet another experiment, of which nothing else is told."""
        spec = compiled.spec
        answer = compiled.assign({spec.unit: person.unit, TARGETING_KEY: person.unit})
        if answer.exposed:
            self.world.exposures.record(spec.key, spec.seed, spec.unit, person.unit, answer.variant)

    def _visit(self, person: Person, compiled: CompiledExperiment) -> None:
        world, spec = self.world, compiled.spec
        context = {spec.unit: person.unit, TARGETING_KEY: person.unit, **person.attributes}
        answer = compiled.assign(context)
        variant, counts = answer.variant, answer.counts
        if world.stale and not counts and answer.assigned is not None:
            variant, counts = answer.assigned, answer.assigned != answer.variant
        if not counts:
            return
        losses, draw = world.lost, self.losing.random()
        affected = losses.of in {None, variant}
        world.met.setdefault(variant, []).append(person.unit)
        if not (affected and draw < losses.exposures):
            self._exposed(person, variant, compiled, by_event=not answer.exposed)
        if world.silent:
            return
        since = world.after
        told = self.people.happenings(person, variant=variant, since=since)
        for number, each in enumerate(told):
            if affected and self.losing.random() < losses.events:
                continue
            event = happened(person, spec.unit, world.clock.true, each, number)
            for _ in range(world.copies):
                world.put(event, world.clock.true + each[0] + world.delay)

    def _exposed(
        self, person: Person, variant: str, compiled: CompiledExperiment, *, by_event: bool
    ) -> None:
        """Record an exposure: by the evaluation itself, or by an event of the application."""
        world, spec = self.world, compiled.spec
        if not by_event and spec.exposure is Exposure.EVALUATE:
            world.exposures.record(
                spec.key,
                spec.seed,
                spec.unit,
                person.unit,
                variant,
                segments=spec.segments,
                context=person.attributes,
            )
            return
        event = {
            "id": f"{person.unit}-exposure",
            "name": "exposure",
            "happened_at": world.clock.true.isoformat(),
            "units": {spec.unit: person.unit},
            "fields": {"experiment": spec.key, "variant": variant},
        }
        world.put(event, world.clock.true + world.delay)

    def _replay(self) -> None:
        """Compute every decision again from the log of events; all must be equal."""
        for decision, count in self.world.engine.newest_decisions():
            self.replayed += count
            self.expectations += 1
            found = self.world.engine.replay(decision, from_start=True)
            if found.verdict is not Verdict.EQUAL:
                what = Expectation("replay", None, TOP)
                was = "; ".join(f"{c.where}: {c.kept} -> {c.found}" for c in found.differences[:3])
                self._fail(what, "every decision follows from its evidence", was or str(found.gone))

    def result(self, seconds: float) -> ScenarioResult:
        """Return how it ended."""
        scenario, world = self.scenario, self.world
        failed = bool(self.failures)
        return ScenarioResult(
            file=scenario.file,
            title=scenario.title,
            passed=failed if scenario.not_yet is not None else not failed,
            failures=tuple(self.failures),
            not_yet=scenario.not_yet,
            simulated=scenario.lasts,
            checks=sum(report.result in {"ok", "error"} for report in world.reports),
            units=sum(map(len, world.met.values())),
            expectations=self.expectations,
            replayed=self.replayed,
            story=tuple(self.story),
            seconds=round(seconds, 2),
        )
