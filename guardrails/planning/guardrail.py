"""What one guardrail and treatment can find at the planned traffic. Pure, seeded."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from experiments.spec import ExperimentSpec
from guardrails.levels import AnyComparison, Comparison, WindowPlan
from guardrails.planning.baselines import Baseline, Baselines, baseline_of
from guardrails.planning.bisection import nearest
from guardrails.planning.calendar import Calendar
from guardrails.planning.paths import Schedule, Walks, found_at, schedule, walks
from guardrails.planning.scores import Arms, Score, possible, same_units, score_under
from guardrails.planning.values import Found, GuardrailPlan, Reached, WindowFigure
from guardrails.rules import Regression, Statistical
from guardrails.words import limit_words
from metrics.catalogue import Kind, KpiDefinition
from metrics.stats.power import Monitor

Array = npt.NDArray[np.float64]
Enough = Callable[[float], bool | None]

POWER = 0.8
"""Probability with which the smallest harm is found."""

_SEARCHED = 1_000  # paths behind each step of the search for the smallest harm
_STEPS = 12
_POINTS = 60
_LARGEST = 64.0  # margins: a harm beyond is no longer looked for


@dataclass(frozen=True, slots=True)
class Setting:
    """What all guardrails of a plan share.

    Attributes:
        experiment: The spec.
        kpis: Definitions by key.
        calendar: Units by when.
        baselines: Where control's values come from, the surest first.
        seed: Of the paths.
        paths: How many.
        held: Monitors already solved.
    """

    experiment: ExperimentSpec
    kpis: Mapping[str, KpiDefinition]
    calendar: Calendar
    baselines: Sequence[Baselines]
    seed: int
    paths: int
    held: dict[object, Monitor]

    def closes(self, length: timedelta) -> float:
        """Return the share of the planned units whose window closes before the last check."""
        if not self.calendar.units > 0.0:
            return 0.0
        by = self.calendar.observed - length - self.experiment.lag
        seconds = np.array([min(max(by, timedelta(0)), self.calendar.ends).total_seconds()])
        return float(self.calendar.units_by(seconds)[0]) / self.calendar.units

    def reached(self, seconds: float, treatment: str) -> Reached | None:
        """Return a moment of the run, ``None`` where it never comes."""
        if not math.isfinite(seconds):
            return None
        units = float(self.calendar.units_by(np.array([seconds]))[0])
        arms = self.weights(treatment)
        named = {self.experiment.control: arms.control, treatment: arms.treatment}
        after = timedelta(seconds=seconds)
        return Reached(after, round(units), {v: round(units * w) for v, w in named.items()})

    def weights(self, treatment: str) -> Arms:
        """Return the planned shares of control and of a treatment."""
        spec = self.experiment
        return Arms(spec.variant(spec.control).weight, spec.variant(treatment).weight)


@dataclass(frozen=True, slots=True)
class _Known:
    """A comparison with everything a plan knows of it."""

    comparison: Comparison
    arms: Arms
    baselines: tuple[Baseline, ...]
    scores: tuple[Score, ...]  # under a harm of the margin
    schedules: tuple[Schedule, ...]

    def scores_at(self, harm: float) -> tuple[Score, ...] | None:
        """Return how each window's statistic behaves, ``None`` where no such harm is possible."""
        found = [
            score_under(self.comparison, baseline, self.arms, harm=harm)
            for baseline in self.baselines
        ]
        known = tuple(score for score in found if score is not None)
        return known if len(known) == len(found) else None


def plan_guardrail(
    guardrail: Regression, comparison: Comparison, setting: Setting
) -> GuardrailPlan:
    """Return what a guardrail can find in a treatment.

    Args:
        guardrail: As the file says it.
        comparison: The same, ready to be judged.
        setting: What all guardrails share.
    """
    kpi = setting.kpis[comparison.kpi]
    arms = setting.weights(comparison.treatment)
    baselines = tuple(
        baseline_of(kpi, plan.length, setting.baselines) for plan in comparison.windows
    )
    unknown = unknown_words(comparison.kind, kpi, baselines)
    known = None if unknown else _known(comparison, arms, baselines, setting)
    if known is None and not unknown:
        unknown = "the margin means nothing at this value of control"
    walked = _walked(known, setting) if known is not None else None
    margin, twice, curve = _found(known, walked, setting)
    smallest = _smallest(known, walked) if known is not None and walked is not None else None
    return replace(
        plain_plan(guardrail, comparison, kpi),
        margin=comparison.margin,
        absolute=comparison.absolute,
        prove_past=comparison.prove_past,
        windows=_figures(comparison, baselines, known, setting),
        at_margin=margin,
        at_twice=twice,
        smallest=smallest,
        curve=curve,
        unknown=unknown,
        at_smallest=_found_smallest(known, walked, smallest, setting),
    )


def _found_smallest(
    known: _Known | None, walked: Walks | None, smallest: float | None, setting: Setting
) -> Found | None:
    """Return when the smallest harm is found, where any harm counts."""
    if known is None or walked is None or smallest is None or known.comparison.margin:
        return None
    at = _times(known, walked, smallest)
    return None if at is None else found_in(at, smallest, known.comparison.treatment, setting)


def plain_plan(
    guardrail: Statistical, comparison: AnyComparison, kpi: KpiDefinition
) -> GuardrailPlan:
    """Return what a plan says of a guardrail and treatment whatever they can find."""
    return GuardrailPlan(
        guardrail=guardrail.id,
        rule=guardrail.rule,
        kpi=comparison.kpi,
        treatment=comparison.treatment,
        limit=limit_words(comparison, kpi.title),
        action=str(guardrail.action.value),
        acts=comparison.acts,
        level=sum(w.level for w in comparison.windows),
        side=comparison.side,
    )


def unknown_words(kind: Kind, kpi: KpiDefinition, baselines: Sequence[Baseline]) -> str:
    """Return what nobody knows of a KPI and how to say it, empty where all is known."""
    lacking = {b.missing(kind) for b in baselines} - {None}
    if "value" in lacking:
        return f"nobody knows control's {kpi.key}: say --baseline {kpi.key}=..."
    if lacking:
        return f"nobody knows the spread of {kpi.key}: say --baseline {kpi.key}=...,sd=..."
    return ""


def answering_of(baseline: Baseline) -> float:
    """Return the share of units with a value: all where nobody says otherwise."""
    return baseline.answering.value if baseline.answering is not None else 1.0


def spread_checks(
    units: Array | npt.NDArray[np.int64], least: float, *, most: int
) -> npt.NDArray[np.intp]:
    """Return some checks at which units have come, evenly in the logarithm of their number.

    Args:
        units: By each check, never falling.
        least: Fewest that count.
        most: Of the checks returned.
    """
    if not units.size or units[-1] < least:
        return np.empty(0, dtype=np.intp)
    wanted = np.geomspace(least, float(units[-1]), most)
    return np.unique(np.searchsorted(units, wanted - 1e-9)).astype(np.intp)


def _known(
    comparison: Comparison, arms: Arms, baselines: tuple[Baseline, ...], setting: Setting
) -> _Known | None:
    scores: list[Score] = []
    for baseline in baselines:
        # the gates of a harm that is impossible are those of no harm
        harm = comparison.margin
        if baseline.value is not None and not possible(comparison, baseline.value.value, harm):
            harm = 0.0
        score = score_under(comparison, baseline, arms, harm=harm)
        if score is None:
            return None
        scores.append(score)
    schedules = tuple(
        schedule(
            plan,
            setting.calendar,
            arms,
            answering=answering_of(baseline),
            gate=score.gate,
            lag=setting.experiment.lag,
            held=setting.held,
        )
        for plan, baseline, score in zip(comparison.windows, baselines, scores, strict=True)
    )
    return _Known(comparison, arms, baselines, tuple(scores), schedules)


def _walked(known: _Known, setting: Setting) -> Walks:
    kind = known.comparison.kind
    pairs = itertools.pairwise(known.baselines)
    return walks(
        known.schedules,
        [0.0, *(same_units(kind, short, long) for short, long in pairs)],
        setting.calendar,
        [answering_of(b) * known.arms.effective for b in known.baselines],
        paths=setting.paths,
        rng=np.random.default_rng([setting.seed, setting.paths]),
    )


def _found(
    known: _Known | None, walked: Walks | None, setting: Setting
) -> tuple[Found | None, Found | None, tuple[tuple[float, float, float], ...]]:
    if known is None or walked is None or known.comparison.margin == 0.0:
        return None, None, ()
    margin = known.comparison.margin
    times = [_times(known, walked, part * margin) for part in (1.0, 2.0)]
    found = [
        None if at is None else found_in(at, part * margin, known.comparison.treatment, setting)
        for at, part in zip(times, (1.0, 2.0), strict=True)
    ]
    return found[0], found[1], curve_of(times, setting)


def _times(known: _Known, walked: Walks, harm: float) -> Array | None:
    scores = known.scores_at(harm)
    return None if scores is None else found_at(walked, scores)


def found_in(at: Array, harm: float, treatment: str, setting: Setting) -> Found:
    """Return when half and when 90% of all paths have found a harm."""
    half, ninety = np.quantile(at, [0.5, 0.9], method="inverted_cdf")
    return Found(
        harm=harm,
        probability=float(np.isfinite(at).mean()),
        median=setting.reached(float(half), treatment),
        ninety=setting.reached(float(ninety), treatment),
    )


def curve_of(
    times: Sequence[Array | None], setting: Setting
) -> tuple[tuple[float, float, float], ...]:
    """Return (days, probability of each of two harms found by then); ``nan`` without times."""
    end = setting.calendar.observed.total_seconds()
    ordered = [np.sort(at) if at is not None else None for at in times]
    points: list[tuple[float, float, float]] = []
    for seconds in np.linspace(0.0, end, _POINTS + 1):
        shares = [
            math.nan if at is None else float(np.searchsorted(at, seconds, side="right")) / at.size
            for at in ordered
        ]
        points.append((round(float(seconds) / 86400.0, 3), shares[0], shares[1]))
    return tuple(points)


def _smallest(known: _Known, walked: Walks) -> float | None:
    """Return the smallest harm found by the end with 80% probability, by bisection.

    More harm is found on every path on which less is, so the probability only grows with it.
    """
    if not any(s.looks.size for s in known.schedules):
        return None
    few = walked.first(min(_SEARCHED, walked.paths))

    def enough(harm: float) -> bool | None:
        at = _times(known, few, harm)
        return None if at is None else float(np.isfinite(at).mean()) >= POWER

    low, high = _bracket(known, enough)
    if high is None:
        return None
    return nearest(enough, low, high, steps=_STEPS, within=0.005)


def _bracket(known: _Known, enough: Enough) -> tuple[float, float | None]:
    """Return a harm that is not found often enough and one that is, near to each other."""
    comparison = known.comparison
    tolerated = comparison.prove_past * comparison.margin
    unit = comparison.margin or 0.05
    low, high = tolerated, _single(known, tolerated, unit)
    for _ in range(_STEPS):
        answer = enough(high)
        if answer:
            return low, high
        if answer is None:
            break
        low, high = high, tolerated + 1.3 * (high - tolerated)
    most = _most(known)
    return (low, most) if most > low and enough(most) else (low, None)


def _single(known: _Known, tolerated: float, unit: float) -> float:
    """Return about the harm that the best window finds by itself."""
    best = tolerated + _LARGEST * unit
    for plan, score in zip(known.schedules, known.scores, strict=True):
        per_harm = score.drift / (known.comparison.margin - tolerated or unit)
        if known.comparison.margin == tolerated:
            nearby = known.scores_at(tolerated + 0.1 * unit)
            per_harm = 0.0 if nearby is None else nearby[0].drift / (0.1 * unit)
        drift = plan.monitor.drift_for(POWER)
        if per_harm > 0.0 and math.isfinite(drift):
            best = min(best, tolerated + drift / per_harm)
    return min(best, _most(known))


def _most(known: _Known) -> float:
    """Return the largest harm that is possible and looked for."""
    comparison = known.comparison
    high = _LARGEST * (comparison.margin or 0.05)
    values = [b.value.value for b in known.baselines if b.value is not None]
    if comparison.side == "drop":
        high = min([high, *(v if comparison.absolute else 1.0 for v in values)])
    elif comparison.kind == "proportion":
        room = [(1.0 - v) if comparison.absolute else (1.0 - v) / v for v in values]
        high = min([high, *room])
    return high * (1.0 - 1e-9)


def _figures(
    comparison: Comparison, baselines: Sequence[Baseline], known: _Known | None, setting: Setting
) -> tuple[WindowFigure, ...]:
    found: list[WindowFigure] = []
    for index, (plan, baseline) in enumerate(zip(comparison.windows, baselines, strict=True)):
        table = None if known is None else known.schedules[index]
        figure = window_figure(comparison, plan, baseline, setting, table)
        if known is not None and comparison.margin:
            alone = known.schedules[index].monitor.power(known.scores[index].drift)
            figure = replace(figure, alone=alone)
        found.append(figure)
    return tuple(found)


def window_figure(
    comparison: AnyComparison,
    plan: WindowPlan,
    baseline: Baseline,
    setting: Setting,
    table: Schedule | None,
) -> WindowFigure:
    """Return what is told of one window; ``table`` is ``None`` where nothing can be said."""
    closes = setting.closes(plan.length)
    arms = setting.weights(comparison.treatment)
    named = {comparison.control: arms.control, comparison.treatment: arms.treatment}
    inside = setting.calendar.units * closes * answering_of(baseline)
    looks = 0 if table is None else int(table.looks.size)
    first = None
    if table is not None and looks:
        first = timedelta(seconds=float(table.at[table.looks[0]]))
    return WindowFigure(
        length=plan.length,
        level=plan.level,
        baseline=baseline,
        closes=closes,
        units={name: math.floor(inside * share) for name, share in named.items()},
        first_look=first,
        looks=looks,
        alone=None,
    )
