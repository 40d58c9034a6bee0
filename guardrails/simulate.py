"""Simulated experiments, judged check by check: what a guardrail finds, and when. Pure, seeded.

No event log: the exact integer cells are drawn directly, then the real ``judge`` looks at them
and the real ``decide`` moves the ramp, so thousands of experiments take minutes.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from experiments.spec import Advance, ExperimentSpec, RampStep
from guardrails.decide import Rule, Standing, Step, decide
from guardrails.judge import judge
from guardrails.levels import AnyComparison, Comparison, cohort_length
from guardrails.outcome import Finding, Outcome, WindowState
from guardrails.simulate_units import Population, UnitKind, ratings_of, score_shares
from metrics.cells import Cell, Snapshot, Sums

__all__ = [
    "Course",
    "Population",
    "Ratings",
    "Run",
    "UnitKind",
    "hours_to_breach",
    "score_shares",
    "simulated_findings",
    "simulated_run",
    "time_to_breach",
]

Counts = npt.NDArray[np.int64]

HOUR = timedelta(hours=1)

_ORIGIN = datetime(2026, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)

Course = Sequence[tuple[timedelta, Population]]
"""An arm's units: from which first exposure on they are which, ascending, the first from 0."""


@dataclass(frozen=True, slots=True)
class Run:
    """The outer course of a simulated experiment.

    Attributes:
        units_per_day: Mean number of units a day and all arms at full traffic (Poisson).
        weights: Share of each arm, control among them.
        ends: Last new exposure.
        observe_for: How long checks go on after that.
        check_every: Time between two checks.
        lag: A unit enters a comparison this long after its window.
        ramp: Steps of traffic; each is left as the engine's decision says.
        cohort: Length of a cohort of first exposures.
    """

    units_per_day: float
    weights: Mapping[str, float]
    ends: timedelta
    observe_for: timedelta = timedelta(0)
    check_every: timedelta = HOUR
    lag: timedelta = timedelta(0)
    ramp: tuple[RampStep, ...] = (RampStep(),)
    cohort: timedelta = timedelta(hours=12)

    @classmethod
    def of(cls, spec: ExperimentSpec, units_per_day: float) -> "Run":
        """Return the course of an experiment; its layer takes its share of the units."""
        return cls(
            units_per_day=units_per_day * (spec.layer.share if spec.layer is not None else 1.0),
            weights={v.name: v.weight for v in spec.variants},
            ends=spec.ends.after,
            observe_for=spec.ends.observe_for or timedelta(0),
            check_every=spec.check_every,
            lag=spec.lag,
            ramp=spec.ramp,
            cohort=cohort_length(spec.ends.after),
        )


@dataclass(frozen=True, slots=True)
class _Batch:
    """Units first exposed in one short span, by arm and kind."""

    until: timedelta
    cohort: int
    kinds: Mapping[str, tuple[Population, Counts]]


@dataclass
class _WindowCells:
    """The cells of one window, growing as batches enter."""

    length: timedelta
    entered: int = 0  # batches
    held: dict[tuple[str, int], Cell] = field(default_factory=dict[tuple[str, int], Cell])

    def enter(self, batch: _Batch) -> None:
        for variant, (population, counts) in batch.kinds.items():
            before = self.held.get(
                (variant, batch.cohort), Cell(variant, 0, batch.cohort, 0, Sums())
            )
            sums = before.sums + population.sums(self.length, counts.tolist())
            units = before.entered + int(counts.sum())
            self.held[variant, batch.cohort] = Cell(variant, 0, batch.cohort, units, sums)


class _Drawn:
    """One simulated experiment: batches are drawn as time goes on, at the traffic of the ramp."""

    def __init__(
        self, run: Run, courses: Mapping[str, Course], lengths: Sequence[timedelta]
    ) -> None:
        self.run = run
        self.courses = courses
        self.edges = _edges(run, courses, lengths)
        self.batches: list[_Batch] = []
        self.step = 0
        self.step_since = timedelta(0)
        self.step_units = dict.fromkeys(run.weights, 0)

    def draw_until(self, now: timedelta, rng: np.random.Generator) -> None:
        """Draw every batch that is over by ``now``."""
        while self.edges and self.edges[0][1] <= now:
            begin, until = self.edges.pop(0)
            self.batches.append(self._batch(begin, until, rng))

    def _batch(self, begin: timedelta, until: timedelta, rng: np.random.Generator) -> _Batch:
        traffic = self.run.ramp[self.step].traffic
        mean = self.run.units_per_day * traffic * ((until - begin) / timedelta(days=1))
        kinds: dict[str, tuple[Population, Counts]] = {}
        for variant, weight in self.run.weights.items():
            units = int(rng.poisson(mean * weight))
            self.step_units[variant] += units
            if variant in self.courses:
                population = _at(self.courses[variant], begin)
                kinds[variant] = population, rng.multinomial(units, population.shares)
        return _Batch(until, begin // self.run.cohort, kinds)

    def decided(self, finding: Finding, now: timedelta) -> None:
        """Move the ramp as the engine does after a check; approval is taken to come in time."""
        if self.step + 1 >= len(self.run.ramp):
            return
        standing = Standing(
            state="running" if now < self.run.ends else "observing",
            live=frozenset({finding.treatment}),
            acting=True,
            rules={finding.guardrail: Rule(finding.guardrail, "rollback", dry_run=False)},
            ends_at=_ORIGIN + self.run.ends,
            observe_until=_ORIGIN + self.run.ends + self.run.observe_for,
            steps=tuple(
                Step(s.hold, s.min_units, proven=s.advance is Advance.PROVEN) for s in self.run.ramp
            ),
            step=self.step,
            step_since=_ORIGIN + self.step_since,
            step_units=self.step_units,
        )
        if decide([finding], standing, now=_ORIGIN + now).advance:
            self.step += 1
            self.step_since = now
            self.step_units = dict.fromkeys(self.run.weights, 0)


def _at(course: Course, begin: timedelta) -> Population:
    index = bisect_right([since for since, _ in course], begin) - 1
    return course[max(index, 0)][1]


def _edges(
    run: Run, courses: Mapping[str, Course], lengths: Sequence[timedelta]
) -> list[tuple[timedelta, timedelta]]:
    """Return spans of first exposures, none of which is torn apart by a check of any window.

    At a check a unit is in if its exposure, window and lag are over: so spans end at every
    check less every window and lag, at every check, at every cohort and where units change.
    """
    every = run.check_every
    ends = {run.ends}
    rests = {timedelta(0), *((-(length + run.lag)) % every for length in lengths)}
    for rest in rests:
        ends.update(rest + every * k for k in range(math.ceil(run.ends / every) + 1))
    ends.update(run.cohort * k for k in range(math.ceil(run.ends / run.cohort)))
    ends.update(since for course in courses.values() for since, _ in course)
    inside = sorted(at for at in ends if timedelta(0) <= at <= run.ends)
    return list(zip([timedelta(0), *inside], inside, strict=False))[1:]


def simulated_run(
    run: Run, comparison: AnyComparison, courses: Mapping[str, Course], rng: np.random.Generator
) -> Iterator[tuple[timedelta, Finding]]:
    """Yield (time since the start, finding) of every check; states go on regardless.

    Args:
        run: Units, ramp and checks.
        comparison: What is judged.
        courses: Units of control and of the treatment.
        rng: Source of all randomness.
    """
    lengths = [plan.length for plan in comparison.windows]
    drawn = _Drawn(run, courses, lengths)
    windows = [_WindowCells(length) for length in lengths]
    states: dict[str, WindowState] = {}
    for number in range(1, math.ceil((run.ends + run.observe_for) / run.check_every) + 1):
        now = run.check_every * number
        drawn.draw_until(min(now, run.ends), rng)
        for window in windows:
            closed = now - window.length - run.lag
            while window.entered < len(drawn.batches):
                batch = drawn.batches[window.entered]
                if batch.until > closed:
                    break
                window.enter(batch)
                window.entered += 1
        cells = {(comparison.kpi, w.length): tuple(w.held.values()) for w in windows}
        finding = judge(Snapshot(_ORIGIN + now, number, cells, {}), comparison, states)
        states = dict(finding.states)
        drawn.decided(finding, now)
        yield now, finding


def time_to_breach(
    run: Run, comparison: AnyComparison, courses: Mapping[str, Course], seed: Sequence[int]
) -> timedelta | None:
    """Return after how long a simulated experiment is turned back, ``None`` if never."""
    rng = np.random.default_rng(seed)
    for now, finding in simulated_run(run, comparison, courses, rng):
        if finding.outcome is Outcome.BREACH:
            return now
    return None


@dataclass(frozen=True, slots=True)
class Ratings:
    """An experiment on a five-point score, the same number of units in both arms.

    Attributes:
        units_per_hour: Mean number of units first exposed per arm and hour (Poisson).
        answering: Share of units that ever answer.
        prompt: Share of the answers that come within the first hour; the rest within a day.
        mean: Mean score of control.
        sd: Standard deviation of the scores, in both arms whatever the effect.
        effect: Relative effect on the treatment's mean, -0.05 is 5% lower.
        onset: Hour of first exposure from which the effect holds.
        hours: Length of the experiment; a check at the end of every hour.
        cohort: Hours of first exposure in one cohort.
    """

    units_per_hour: float = 2000 / 24
    answering: float = 0.3
    prompt: float = 0.5
    mean: float = 4.2
    sd: float = 1.0
    effect: float = 0.0
    onset: int = 0
    hours: int = 14 * 24
    cohort: int = 12


def simulated_findings(
    ratings: Ratings, comparison: Comparison, rng: np.random.Generator
) -> Iterator[tuple[int, Finding]]:
    """Yield (hours since the start, finding) of every hourly check; states go on regardless."""
    run = Run(
        units_per_day=2.0 * 24.0 * ratings.units_per_hour,
        weights={comparison.control: 0.5, comparison.treatment: 0.5},
        ends=ratings.hours * HOUR,
        cohort=ratings.cohort * HOUR,
    )
    answering = {
        plan.length: ratings.answering * (1.0 if plan.length > HOUR else ratings.prompt)
        for plan in comparison.windows
    }
    before = ratings_of(ratings.mean, ratings.sd, answering)
    after = ratings_of(ratings.mean * (1.0 + ratings.effect), ratings.sd, answering)
    courses = {
        comparison.control: ((timedelta(0), before),),
        comparison.treatment: ((timedelta(0), before), (ratings.onset * HOUR, after)),
    }
    for now, finding in simulated_run(run, comparison, courses, rng):
        yield now // HOUR, finding


def hours_to_breach(ratings: Ratings, comparison: Comparison, seed: Sequence[int]) -> int | None:
    """Return after how many hours a simulated experiment is turned back, ``None`` if never."""
    rng = np.random.default_rng(seed)
    for now, finding in simulated_findings(ratings, comparison, rng):
        if finding.outcome is Outcome.BREACH:
            return now
    return None
