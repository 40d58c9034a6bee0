"""Simulated experiments, judged check by check: what a guardrail finds, and when. Pure, seeded.

No event log: the exact integer cells are drawn directly, then the real ``judge`` looks at them
and the real ``decide`` moves the ramp, so thousands of experiments take minutes.
"""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from experiments.spec import Advance, ExperimentSpec, Freeze, Mode, RampStep
from guardrails.decide import Rule, Standing, Step, decide
from guardrails.judge import judge
from guardrails.levels import AnyComparison, Comparison, cohort_length
from guardrails.outcome import Finding, Outcome, WindowState
from guardrails.schedule import frozen
from guardrails.simulate_units import Population, UnitKind, ratings_of, score_shares
from metrics.cells import Cell, Snapshot, Sums

__all__ = [
    "Course",
    "Courses",
    "Population",
    "Ratings",
    "Run",
    "Seen",
    "UnitKind",
    "hours_to_breach",
    "score_shares",
    "simulated_checks",
    "simulated_findings",
    "simulated_run",
    "time_to_breach",
]

Counts = npt.NDArray[np.int64]

HOUR = timedelta(hours=1)

_ORIGIN = datetime(2026, 1, 1, tzinfo=UTC)
_PART_SO_FAR = 32
_PART_OF_ALL = 400

Course = Sequence[tuple[timedelta, Population]]
"""An arm's units: from which first exposure on they are which, ascending, the first from 0."""

Courses = Mapping[str, Mapping[str, Course]]
"""The arms' courses, by KPI."""


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
        every_check: Whether all checks are simulated; else some of them, see ``checks``.
        starts: Instant of the start, ``None`` where nobody knows it and freezes are left out.
        freeze: When the ramp does not advance.
        stands: Whether the ramp stands still at its first step (shadow mode).
    """

    units_per_day: float
    weights: Mapping[str, float]
    ends: timedelta
    observe_for: timedelta = timedelta(0)
    check_every: timedelta = HOUR
    lag: timedelta = timedelta(0)
    ramp: tuple[RampStep, ...] = (RampStep(),)
    cohort: timedelta = timedelta(hours=12)
    every_check: bool = True
    starts: datetime | None = None
    freeze: tuple[Freeze, ...] = ()
    stands: bool = False

    @classmethod
    def of(cls, spec: ExperimentSpec, units_per_day: float, *, every_check: bool = True) -> "Run":
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
            every_check=every_check,
            starts=spec.starts if isinstance(spec.starts, datetime) else None,
            freeze=spec.freeze,
            stands=spec.mode is Mode.SHADOW,
        )

    @property
    def observed(self) -> timedelta:
        """Last check, since the start."""
        return self.ends + self.observe_for

    def checks(self) -> tuple[timedelta, ...]:
        """Return when the simulated checks are, since the start.

        Where not all are simulated, the next one is ``check_every`` later at least, and no sooner
        than after 1/32 of the time so far or 1/400 of the whole run: the whole-run boundary is
        only looked at when its information has grown by 2%, so little is lost but time.
        """
        last = max(1, math.ceil(self.observed / self.check_every))
        if self.every_check:
            return tuple(self.check_every * k for k in range(1, last + 1))
        found, number = list[timedelta](), 0
        while number < last:
            gap = max(number / _PART_SO_FAR, last / _PART_OF_ALL)
            number = min(last, number + max(1, math.floor(gap)))
            found.append(self.check_every * number)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one check of a simulated experiment found.

    Attributes:
        after: Time since the start.
        findings: By the number of the comparison.
        exposed: Units exposed so far by arm.
    """

    after: timedelta
    findings: Mapping[int, Finding]
    exposed: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Batch:
    """Units first exposed in one short span, by KPI, arm and kind."""

    until: timedelta
    cohort: int
    kinds: Mapping[str, Mapping[str, tuple[Population, Counts]]]


@dataclass
class _WindowCells:
    """The cells of one window of a KPI, growing as batches enter."""

    kpi: str
    length: timedelta
    entered: int = 0  # batches
    held: dict[tuple[str, int], Cell] = field(default_factory=dict[tuple[str, int], Cell])

    def enter(self, batches: Sequence[_Batch], closed: timedelta) -> None:
        """Take in every batch that was over by ``closed``."""
        fresh: dict[tuple[str, int, int], tuple[Population, Counts]] = {}
        while self.entered < len(batches) and batches[self.entered].until <= closed:
            batch = batches[self.entered]
            self.entered += 1
            for variant, (population, counts) in batch.kinds[self.kpi].items():
                key = variant, batch.cohort, id(population)
                before = fresh.get(key)
                fresh[key] = population, counts if before is None else before[1] + counts
        for (variant, cohort, _), (population, counts) in fresh.items():
            before = self.held.get((variant, cohort), Cell(variant, 0, cohort, 0, Sums()))
            sums = before.sums + population.sums(self.length, counts.tolist())
            units = before.entered + int(counts.sum())
            self.held[variant, cohort] = Cell(variant, 0, cohort, units, sums)


class _Drawn:
    """One simulated experiment: batches are drawn as time goes on, at the traffic of the ramp."""

    def __init__(
        self, run: Run, courses: Courses, checks: Sequence[timedelta], lengths: Iterable[timedelta]
    ) -> None:
        self.run = run
        self.courses = courses
        self.edges = deque(_edges(run, courses, checks, lengths))
        self.batches: list[_Batch] = []
        self.exposed = dict.fromkeys(run.weights, 0)
        self.step = 0
        self.step_since = timedelta(0)
        self.step_units = dict.fromkeys(run.weights, 0)

    def draw_until(self, now: timedelta, rng: np.random.Generator) -> None:
        """Draw every batch that is over by ``now``."""
        while self.edges and self.edges[0][1] <= now:
            begin, until = self.edges.popleft()
            self.batches.append(self._batch(begin, until, rng))

    def _batch(self, begin: timedelta, until: timedelta, rng: np.random.Generator) -> _Batch:
        traffic = self.run.ramp[self.step].traffic
        mean = self.run.units_per_day * traffic * ((until - begin) / timedelta(days=1))
        kinds: dict[str, dict[str, tuple[Population, Counts]]] = {kpi: {} for kpi in self.courses}
        for variant, weight in self.run.weights.items():
            units = int(rng.poisson(mean * weight))
            self.step_units[variant] += units
            self.exposed[variant] += units
            for kpi, arms in self.courses.items():
                if variant in arms:
                    population = _at(arms[variant], begin)
                    kinds[kpi][variant] = population, rng.multinomial(units, population.shares)
        return _Batch(until, begin // self.run.cohort, kinds)

    def decided(self, findings: Sequence[Finding], now: timedelta) -> None:
        """Move the ramp as the engine does after a check; approval is taken to come in time."""
        run = self.run
        if self.step + 1 >= len(run.ramp) or run.stands or not findings:
            return
        standing = Standing(
            state="running" if now < run.ends else "observing",
            live=frozenset(f.treatment for f in findings),
            acting=True,
            rules={f.guardrail: Rule(f.guardrail, "rollback", dry_run=False) for f in findings},
            ends_at=_ORIGIN + run.ends,
            observe_until=_ORIGIN + run.observed,
            steps=tuple(
                Step(s.hold, s.min_units, proven=s.advance is Advance.PROVEN) for s in run.ramp
            ),
            step=self.step,
            step_since=_ORIGIN + self.step_since,
            step_units=self.step_units,
            frozen=frozen(run.freeze, run.starts + now) if run.starts is not None else None,
        )
        if decide(findings, standing, now=_ORIGIN + now).advance:
            self.step += 1
            self.step_since = now
            self.step_units = dict.fromkeys(run.weights, 0)


def _at(course: Course, begin: timedelta) -> Population:
    index = bisect_right([since for since, _ in course], begin) - 1
    return course[max(index, 0)][1]


def _edges(
    run: Run, courses: Courses, checks: Sequence[timedelta], lengths: Iterable[timedelta]
) -> list[tuple[timedelta, timedelta]]:
    """Return spans of first exposures, none of which is torn apart by a check of any window.

    At a check a unit is in if its exposure, window and lag are over: so spans end at every
    check less every window and lag, at every check, at every cohort and where units change.
    """
    ends = {run.ends}
    for wait in {timedelta(0), *(length + run.lag for length in lengths)}:
        ends.update(at - wait for at in checks)
    ends.update(run.cohort * k for k in range(math.ceil(run.ends / run.cohort)))
    ends.update(
        since for arms in courses.values() for course in arms.values() for since, _ in course
    )
    inside = sorted(at for at in ends if timedelta(0) <= at <= run.ends)
    return list(zip([timedelta(0), *inside], inside, strict=False))[1:]


def simulated_checks(
    run: Run,
    comparisons: Sequence[AnyComparison],
    courses: Courses,
    rng: np.random.Generator,
    *,
    until_breach: bool = False,
) -> Iterator[Seen]:
    """Yield what every check of one simulated experiment found.

    The KPIs of a unit are independent of each other; the guardrails and windows of one KPI see
    the same units, and treatments share control. Nobody acts on a breach.

    Args:
        run: Units, ramp and checks.
        comparisons: What is judged.
        courses: Units of all arms, for each KPI that is compared.
        rng: Source of all randomness.
        until_breach: Whether a comparison is no longer judged after its first breach; the last
            one's ends the simulation. Otherwise states go on regardless.
    """
    lengths = {(c.kpi, plan.length) for c in comparisons for plan in c.windows}
    checks = run.checks()
    drawn = _Drawn(run, courses, checks, {length for _, length in lengths})
    windows = [_WindowCells(kpi, length) for kpi, length in sorted(lengths)]
    states: dict[int, dict[str, WindowState]] = {i: {} for i in range(len(comparisons))}
    for number, now in enumerate(checks, start=1):
        drawn.draw_until(min(now, run.ends), rng)
        for window in windows:
            window.enter(drawn.batches, now - window.length - run.lag)
        cells = {(w.kpi, w.length): tuple(w.held.values()) for w in windows}
        snapshot = Snapshot(_ORIGIN + now, number, cells, {})
        found: dict[int, Finding] = {}
        for index, before in states.items():
            found[index] = judge(snapshot, comparisons[index], before)
            states[index] = dict(found[index].states)
        drawn.decided(list(found.values()), now)
        yield Seen(now, found, dict(drawn.exposed))
        if until_breach:
            for index, finding in found.items():
                if finding.outcome is Outcome.BREACH:
                    del states[index]
            if not states:
                return


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
    for seen in simulated_checks(run, [comparison], {comparison.kpi: courses}, rng):
        yield seen.after, seen.findings[0]


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
