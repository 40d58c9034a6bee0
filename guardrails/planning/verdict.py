"""The verdict on a plan: one line on what the run protects, from the plan's own figures. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.spec import Mode
from guardrails.planning.baselines import Source
from guardrails.planning.guardrail import POWER
from guardrails.planning.values import Found, GuardrailPlan, Plan, Protects, Reached, Verdict
from guardrails.planning.words import OF_VALUES, harm_words, size_words, span_words
from guardrails.rules import turns_back
from guardrails.spec_file import SpecFile
from guardrails.words import percent
from metrics.stats.comparison import MIN_UNITS

_NAMED = 3  # guardrails: more are counted


@dataclass(frozen=True, slots=True)
class _Line:
    """One guardrail and what its KPI and treatment are called; ``good``: found well enough."""

    plan: GuardrailPlan
    title: str
    of: str  # " of t1", where treatments differ
    good: bool


def verdict_of(plan: Plan, spec: SpecFile) -> Verdict:
    """Return what a run protects, in one line.

    Only guardrails that can turn a treatment back within the guarantee count. One protects where
    it finds a harm of its margin by the end with at least 80% (of a limit: a value twice as far
    from control as the limit; of a catastrophe: a total failure; of a margin of nothing: any harm
    at all). Of several treatments the worst is told.
    """
    nothing = _nothing(plan, spec)
    if nothing:
        return Verdict(Protects.NOTHING, f"This run cannot protect: {nothing}.")
    acting = [g for g in plan.guardrails if g.acts]
    lines = _lines([g for g in acting if not g.unknown], spec)
    unknown = tuple(dict.fromkeys(g.guardrail for g in acting if g.unknown))
    good, weak = [one for one in lines if one.good], [one for one in lines if not one.good]
    more = f"; nothing can be said of {_named(unknown)}" if unknown else ""
    if not lines:
        return Verdict(
            Protects.UNKNOWN,
            f"Whether this run protects cannot be said: {acting[0].unknown}.",
        )
    if not good:
        words = f"{_weak_words(weak)}{more}{_if(plan)}"
        return Verdict(Protects.NOTHING, f"This run cannot protect at these margins: {words}.")
    found = _good_words(good)
    if weak or unknown:
        missed = f"; not protected: {_weak_words(weak)}" if weak else ""
        words = f"{found}{missed}{more}"
        return Verdict(Protects.PARTLY, f"This run protects in part: {words}{_if(plan)}.")
    return Verdict(Protects.ALL, f"This run protects: {found}{_if(plan)}.")


def _nothing(plan: Plan, spec: SpecFile) -> str:
    """Return why nothing is turned back whatever the figures are, empty where it may be."""
    if spec.experiment.mode is Mode.SHADOW:
        return "in shadow mode harm is told, and nothing is turned back"
    if not any(g.acts for g in plan.guardrails):
        if any(map(turns_back, spec.guardrails)):
            return (
                "only a query of Prometheus may turn a treatment back, and nobody can plan what "
                "it finds"
            )
        return "no guardrail can turn a treatment back"
    if min(plan.by_arm.values(), default=0) < MIN_UNITS:
        return f"an arm gets fewer than {MIN_UNITS} units, and no guardrail decides on so few"
    return ""


def _lines(plans: Sequence[GuardrailPlan], spec: SpecFile) -> list[_Line]:
    """Return each guardrail once: of its treatments the one that is protected worst."""
    found: dict[str, list[GuardrailPlan]] = {}
    for plan in plans:
        found.setdefault(plan.guardrail, []).append(plan)
    lines: list[_Line] = []
    for same in found.values():
        worst = min(same, key=_found_how_well)
        alike = all(_found_how_well(one) == _found_how_well(worst) for one in same)
        title = spec.kpis[worst.kpi].title if worst.kpi is not None else worst.guardrail
        title = title[:1].lower() + title[1:] if title[1:2].islower() else title
        of = "" if alike else f" of {worst.treatment}"
        lines.append(_Line(worst, title, of, _good(worst)))
    return lines


def _judged(plan: GuardrailPlan) -> Found | None:
    return plan.at_twice if plan.rule in OF_VALUES else plan.at_margin


def _good(plan: GuardrailPlan) -> bool:
    judged = _judged(plan)
    return judged.probability >= POWER if judged is not None else plan.smallest is not None


def _found_how_well(plan: GuardrailPlan) -> tuple[float, float, float]:
    """Return what orders guardrails: probability first, then the earlier the better."""
    judged = _judged(plan)
    if judged is None:
        smallest = plan.smallest
        return (POWER, 0.0, -smallest) if smallest is not None else (0.0, 0.0, 0.0)
    probability = 1.0 if _good(plan) else judged.probability
    return probability, _early(judged.ninety), _early(judged.median)


def _early(at: Reached | None) -> float:
    return -math.inf if at is None else -at.after.total_seconds()


def _good_words(good: Sequence[_Line]) -> str:
    if len(good) == 1:
        return _found_words(good[0])
    worst = min(good, key=lambda one: _found_how_well(one.plan))
    return f"{len(good)} guardrails find harm in time; latest, {_found_words(worst)}"


def _found_words(line: _Line) -> str:
    judged = _judged(line.plan)
    if judged is None:
        assert line.plan.smallest is not None  # noqa: S101 - `_good` says so
        return (
            f"any {line.plan.side} in {line.title}{line.of} counts as harm, and the smallest that "
            f"is found by the end in 8 of 10 runs is {_size(line.plan, line.plan.smallest)}"
        )
    harm = _harm(line, judged.harm)
    if judged.median is None:  # pragma: no cover - 80% are found
        return f"{harm} is found in {percent(judged.probability, digits=0)} of runs"
    half = f"{harm} is found in {span_words(judged.median.after)} (median)"
    if judged.ninety is None:
        return f"{half}, in {percent(judged.probability, digits=0)} of runs by the end"
    return f"{half}, 9 of 10 within {span_words(judged.ninety.after)}"


def _weak_words(weak: Sequence[_Line]) -> str:
    if len(weak) == 1:
        return _missed_words(weak[0])
    return _named([_rare_words(one) for one in sorted(weak, key=lambda w: _found_how_well(w.plan))])


def _rare_words(line: _Line) -> str:
    judged = _judged(line.plan)
    if judged is None:
        return f"harm in {line.title}{line.of} (found too rarely, however large)"
    runs = percent(judged.probability, digits=0)
    return f"{_harm(line, judged.harm)} (found in {runs} of runs)"


def _missed_words(line: _Line) -> str:
    judged, smallest = _judged(line.plan), line.plan.smallest
    only = (
        "no harm is found in 8 of 10 runs"
        if smallest is None
        else f"8 of 10 only from {harm_words(line.plan, smallest)}"
    )
    if judged is None:
        return f"harm in {line.title}{line.of} ({only})"
    runs = percent(judged.probability, digits=0)
    return f"{_harm(line, judged.harm)} is found in {runs} of runs ({only})"


def _size(plan: GuardrailPlan, harm: float) -> str:
    return f"a {plan.side} of {size_words(harm, absolute=plan.absolute)}"


def _harm(line: _Line, harm: float) -> str:
    if line.plan.rule in OF_VALUES:
        return f"a value of {harm_words(line.plan, harm)} in {line.title}{line.of}"
    return f"{_size(line.plan, harm)} in {line.title}{line.of}"


def _if(plan: Plan) -> str:
    """Return what the figures rest on beside the file."""
    known = [w.baseline for g in plan.guardrails if g.acts for w in g.windows]
    rests: list[str] = []
    if any(Source.ASSUMED in baseline.sources for baseline in known):
        rests.append("control is as assumed")
    if any(step.also for step in plan.ramp if step.begins is not None):
        rests.append("the ramp's approvals and proofs come in time")
    return f" (if {' and '.join(rests)})" if rests else ""


def _named(names: Sequence[str]) -> str:
    left = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {left} more" if left > 0 else "")
