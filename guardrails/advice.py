"""Whether to ship, when a run is over: advice with its reasons, never an act. Pure.

The risk-aware rule of ``metrics.stats.ship`` for every treatment that is live at the end: the goal
is better, no guardrail is past its margin, nothing is worse. Units of whole weeks at full traffic
say the first two (one test each, read once; a guardrail's stays valid at any look), those of the
whole run the third. The level is that of the goal in ``turnback plan``, shared by the treatments.

Source: STATISTICS 0.8 and 1(g); DESIGN 9.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from experiments.repository import ExperimentRecord, TreatmentRecord
from guardrails.advice_reading import MetricRead, Span, read_metrics
from guardrails.advice_words import (
    extension_words,
    metric_words,
    shipping_words,
    too_short_words,
)
from guardrails.judge_sample_ratio import SplitWatch, judge_split
from guardrails.levels import treated_part
from guardrails.loaded import Loaded
from guardrails.outcome import Finding, Outcome
from guardrails.planning.goal import GOAL_ALPHA
from guardrails.rules import Limit
from guardrails.words import instant
from metrics.cells import Snapshot
from metrics.stats.sample_ratio import ALPHA as SPLIT_LEVEL
from metrics.stats.ship import MetricEvidence, Role, ShipAdvice, ShipOutcome, ship
from metrics.wording import gettext as _

ADVICE_ALPHA = GOAL_ALPHA / 2.0
"""One-sided level of a wrong "ship", shared by the treatments; as much again of a wrong "worse"."""

MOST_WEEKS = 26
"""What needs longer than this is not worth an extension."""


class Recommended(StrEnum):
    """What is advised."""

    SHIP = "ship"
    KEEP_CONTROL = "keep_control"
    EXTEND = "extend"
    NOTHING = "no_advice"


@dataclass(frozen=True, slots=True)
class TreatmentAdvice:
    """What is advised of one treatment.

    Attributes:
        treatment: Arm.
        recommended: Advice.
        outcome: Of the rule (``ShipOutcome``); empty where it was not asked.
        words: One sentence.
        reasons: A sentence for every metric that says why.
        metrics: What was read.
        weeks: Whole weeks an extension would take, ``None`` where nobody can say.
    """

    treatment: str
    recommended: Recommended
    outcome: str
    words: str
    reasons: tuple[str, ...] = ()
    metrics: tuple[MetricRead, ...] = ()
    weeks: int | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """What is advised of a run that is over.

    Attributes:
        recommended: Advice.
        treatment: The one to ship, ``None`` where none is.
        words: One sentence for whoever decides.
        reasons: Sentences.
        treatments: Of every treatment.
    """

    recommended: Recommended
    treatment: str | None
    words: str
    reasons: tuple[str, ...]
    treatments: tuple[TreatmentAdvice, ...] = ()


def advise(
    loaded: Loaded,
    record: ExperimentRecord,
    treatments: Mapping[str, TreatmentRecord],
    snapshot: Snapshot | None,
    findings: Sequence[Finding],
) -> Advice:
    """Return what is advised when a run has been observed to its end.

    Args:
        loaded: The revision.
        record: Where the experiment stands: ``observing``, about to be finished.
        treatments: Newest attempts by variant.
        snapshot: The cells of the last check, ``None`` where they could not be read.
        findings: What its guardrails found at that check.
    """
    live = {v: t for v, t in treatments.items() if t.state == "live"}
    if not live:
        told = tuple(_turned_back(t) for t in treatments.values())
        words = _("Keep control: every treatment was turned back.")
        return Advice(Recommended.KEEP_CONTROL, None, words, tuple(t.words for t in told), told)
    why_not = _no_advice(loaded, snapshot)
    if why_not is not None or snapshot is None:
        return Advice(Recommended.NOTHING, None, _("No advice: {why}.", why=why_not), ())
    told = tuple(
        _of_treatment(loaded, record, treatment, snapshot, findings, share=len(treatments))
        if variant in live
        else _turned_back(treatment)
        for variant, treatment in treatments.items()
    )
    return _together(told)


def _no_advice(loaded: Loaded, snapshot: Snapshot | None) -> str | None:
    """Return why nothing can be said of any treatment."""
    goal = loaded.spec.experiment.goal
    if goal is None:
        return _("the file names no goal, so nobody can say what would be better; add `goal`")
    if snapshot is None:
        return _("the store could not be read at the last check")
    return None


def _turned_back(treatment: TreatmentRecord) -> TreatmentAdvice:
    variant, at = treatment.variant, treatment.rolled_back_at
    words = _("Keep control instead of {treatment}: it was turned back.", treatment=variant)
    if at is not None:
        words = _(
            "Keep control instead of {treatment}: it was turned back on {at}.",
            treatment=variant,
            at=instant(at),
        )
    return TreatmentAdvice(treatment.variant, Recommended.KEEP_CONTROL, "", words)


def _of_treatment(
    loaded: Loaded,
    record: ExperimentRecord,
    treatment: TreatmentRecord,
    snapshot: Snapshot,
    findings: Sequence[Finding],
    *,
    share: int,
) -> TreatmentAdvice:
    own = [f for f in findings if f.treatment == treatment.variant]
    span = Span.of(loaded, record, treatment)
    doubt = _doubt(loaded, treatment, snapshot, own)
    if span.weeks == 0:
        doubt = too_short_words(span.full_for)
    if doubt is not None:
        words = _("No advice on {treatment}: {why}.", treatment=treatment.variant, why=doubt)
        return TreatmentAdvice(treatment.variant, Recommended.NOTHING, "", words)
    level = ADVICE_ALPHA / share
    metrics = read_metrics(loaded, treatment, snapshot, span, level=level)
    evidence = [
        MetricEvidence(m.name, m.role, m.worse, better=m.better, within_margin=m.within_margin)
        for m in metrics
        if m.role is not Role.WATCHED or math.isfinite(m.worse)  # a watched one may be silent
    ]
    if not any(m.role is Role.SUCCESS for m in metrics):
        why = _("nobody says which direction of the goal is good")
        words = _("No advice on {treatment}: {why}.", treatment=treatment.variant, why=why)
        return TreatmentAdvice(treatment.variant, Recommended.NOTHING, "", words)
    found = ship(evidence, alpha=level, alpha_worse=level, trusted=True)
    return _said(loaded, treatment.variant, found, metrics, own, span)


def _doubt(
    loaded: Loaded, treatment: TreatmentRecord, snapshot: Snapshot, findings: Sequence[Finding]
) -> str | None:
    """Return why the numbers of a treatment are not to be trusted, ``None`` where they are."""
    experiment = loaded.spec.experiment
    watch = SplitWatch(
        guardrail="split",
        level=SPLIT_LEVEL / len(experiment.treatments),
        part=treated_part(experiment, treatment.variant),
        control=experiment.control,
        treatment=treatment.variant,
    )
    split = judge_split(watch, snapshot, {}, first_phase=treatment.first_phase)
    uneven = _("its units are not split as the file plans, so the arms cannot be compared")
    if split.outcome is Outcome.BREACH:
        return uneven
    for finding in findings:
        rule = loaded.rules[finding.guardrail]
        if rule.dry_run:
            continue
        if rule.rule == "sample_ratio" and finding.outcome is Outcome.BREACH:
            return uneven
        if finding.outcome in {Outcome.ERROR, Outcome.NO_DATA}:
            return _(
                "{guardrail} could not be judged at the last check", guardrail=finding.guardrail
            )
    return None


def _said(  # noqa: PLR0917 - as above
    loaded: Loaded,
    treatment: str,
    found: ShipAdvice,
    metrics: tuple[MetricRead, ...],
    findings: Sequence[Finding],
    span: Span,
) -> TreatmentAdvice:
    breached = _breached(loaded, findings)
    reasons = tuple(metric_words(loaded, m, found) for m in metrics if m.role is not Role.WATCHED)
    reasons += tuple(metric_words(loaded, m, found) for m in metrics if m.name in found.harmed)
    reasons += tuple(_("{guardrail} stands in breach", guardrail=name) for name in breached)
    reasons = tuple(dict.fromkeys(reasons))
    if found.outcome is ShipOutcome.HARMED or breached:
        outcome = ShipOutcome.HARMED.value
        words = _("Keep control instead of {treatment}: something is worse.", treatment=treatment)
        return TreatmentAdvice(
            treatment, Recommended.KEEP_CONTROL, outcome, words, reasons, metrics
        )
    if found.outcome is ShipOutcome.SHIP:
        words = shipping_words(treatment, span.weeks)
        return TreatmentAdvice(
            treatment, Recommended.SHIP, found.outcome.value, words, reasons, metrics
        )
    needed = _weeks_needed(found, metrics, span.weeks)
    if needed is not None and needed > MOST_WEEKS:
        words = _(
            "Keep control instead of {treatment}: what is missing would not be proven within "
            "{weeks} weeks.",
            treatment=treatment,
            weeks=MOST_WEEKS,
        )
        return TreatmentAdvice(
            treatment, Recommended.KEEP_CONTROL, found.outcome.value, words, reasons, metrics
        )
    words = extension_words(treatment, needed)
    return TreatmentAdvice(
        treatment, Recommended.EXTEND, found.outcome.value, words, reasons, metrics, needed
    )


def _breached(loaded: Loaded, findings: Sequence[Finding]) -> tuple[str, ...]:
    """Return what stands in breach without a margin that the rule could read."""
    return tuple(
        f.guardrail
        for f in findings
        if f.outcome is Outcome.BREACH and not loaded.rules[f.guardrail].dry_run
    )


def _weeks_needed(found: ShipAdvice, metrics: Sequence[MetricRead], weeks: int) -> int | None:
    """Return how many weeks would prove what is missing, if the estimates are true.

    ``None`` where a number is missing; more than ``MOST_WEEKS`` where no time is enough.
    """
    missing = {*found.unproven, *(m.name for m in metrics if m.role is Role.SUCCESS)}
    missing -= set(found.better)
    factors = [m.more for m in metrics if m.name in missing]
    if not factors or any(factor is None for factor in factors):
        return None
    most = max(factor for factor in factors if factor is not None)
    return MOST_WEEKS + 1 if most * weeks > MOST_WEEKS else max(weeks + 1, -int(-most * weeks // 1))


def _together(told: tuple[TreatmentAdvice, ...]) -> Advice:
    """Return the advice on the run: the best of what may be shipped, else the most hopeful."""
    may = [t for t in told if t.recommended is Recommended.SHIP]
    reasons = tuple(f"{t.words} {'; '.join(t.reasons)}".strip() for t in told)
    if may:
        best = max(may, key=_goal_gain)
        return Advice(Recommended.SHIP, best.treatment, best.words, reasons, told)
    for wanted in (Recommended.EXTEND, Recommended.NOTHING):
        first = next((t for t in told if t.recommended is wanted), None)
        if first is not None:
            return Advice(wanted, None, first.words, reasons, told)
    none = _("Keep control: no treatment is to be shipped.")
    words = told[0].words if len(told) == 1 else none
    return Advice(Recommended.KEEP_CONTROL, None, words, reasons, told)


def _goal_gain(told: TreatmentAdvice) -> float:
    goal = next(m for m in told.metrics if m.role is Role.SUCCESS)
    return goal.gain


def shipped(loaded: Loaded, advice: Advice, findings: Sequence[Finding]) -> str | None:
    """Return the treatment that ``auto_ship`` serves to everybody, ``None`` for control.

    Beside the advice to ship it, every limit must be proven to be kept.
    """
    if not loaded.spec.experiment.auto_ship or advice.recommended is not Recommended.SHIP:
        return None
    limits = [
        f
        for f in findings
        if f.treatment == advice.treatment
        and loaded.rules[f.guardrail].rule == Limit.rule
        and not loaded.rules[f.guardrail].dry_run
    ]
    return advice.treatment if all(f.outcome is Outcome.PASS for f in limits) else None


def advice_to_json(advice: Advice) -> dict[str, Any]:
    """Return advice as JSON; what is undefined is ``None``."""
    return {
        "recommended": advice.recommended.value,
        "treatment": advice.treatment,
        "words": advice.words,
        "reasons": list(advice.reasons),
        "treatments": [
            {
                "treatment": t.treatment,
                "recommended": t.recommended.value,
                "outcome": t.outcome,
                "words": t.words,
                "reasons": list(t.reasons),
                "weeks": t.weeks,
                "metrics": [m.to_json() for m in t.metrics],
            }
            for t in advice.treatments
        ],
    }
