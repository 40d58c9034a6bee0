"""The rows a page is made of: arms, guardrails, KPIs, changes, in words and plain values. Pure."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from console.charts import Point, Shown
from console.quoted import of_engine, reason
from console.views import words
from console.views.bars import Bar, bar_of
from console.views.phrases import short_json
from guardrails.outcome import Outcome, WindowFinding
from guardrails.rules import WATCH_RULES, Alert, Catastrophe, Limit, PromQL
from guardrails.views import (
    ExperimentView,
    GuardrailView,
    RollbackView,
    TransitionView,
    VariantView,
)
from guardrails.words_rollback import unverified_words
from metrics.wording import gettext as _
from metrics.wording import marked, wording

__all__ = [
    "NOT_ENOUGH",
    "GuardrailLine",
    "KpiText",
    "Point",
    "RollbackLine",
    "TransitionLine",
    "VariantLine",
    "guardrail_line",
    "guardrail_lines",
    "is_proof",
    "main_window",
    "percent_of_proof",
    "rollback_line",
    "transition_line",
    "variant_line",
]

NOT_ENOUGH = marked("not enough yet")


@dataclass(frozen=True, slots=True)
class VariantLine:
    """One arm: what its units get now. ``share`` is of all units; ``tone`` is for colour."""

    name: str
    state: str
    state_words: str
    tone: str
    share: float
    share_words: str
    weight_words: str
    exposed_words: str
    gets: str
    flow: str


@dataclass(frozen=True, slots=True)
class GuardrailLine:
    """One promise about one treatment, and how near it is to being broken.

    ``evidence`` is 1 at the proof of harm; ``meter`` the same cut to 0-100 for a bar.
    ``margin`` is relative to control, signed in the direction of harm, ``None`` unknown.
    ``decision`` is what ``turnback replay`` takes, empty before the first.
    ``proof`` says that evidence is statistical; else it is the share of samples beyond a limit.
    ``past`` is the effect that must be exceeded with proof, signed as the margin is; ``bar`` the
    effect drawn to scale.
    """

    guardrail: str
    treatment: str
    title: str
    limit: str
    outcome: str
    outcome_words: str
    tone: str
    evidence: float
    evidence_words: str
    meter: float
    effect_words: str
    interval_words: str
    words: str
    acts: str
    margin: float | None
    history: tuple[Point, ...]
    proof: bool = True
    decision: str = ""
    past: float | None = None
    turned_back_at: datetime | None = None
    rule: str = ""
    blind_since: datetime | None = None
    bar: Bar | None = None

    @property
    def shown(self) -> Shown:
        """What its charts show."""
        return Shown(self.history, self.proof, self.margin, self.past, self.turned_back_at)


@dataclass(frozen=True, slots=True)
class TransitionLine:
    """A change of state in one sentence, and its reason; ``ours`` where the engine wrote that.

    ``decision`` is what ``turnback replay`` takes, empty where a person decided; ``page`` is where
    the page of a rollback is, empty for what is none; not quoted.
    """

    id: int
    experiment: str
    at: datetime
    at_words: str
    what: str
    tone: str
    actor: str
    reason: str
    ours: bool
    decision: str = ""
    page: str = ""


@dataclass(frozen=True, slots=True)
class RollbackLine:
    """Whether clients follow a rollback, in words."""

    variant: str
    tone: str
    words: str


@dataclass(frozen=True, slots=True)
class KpiText:
    """How a KPI is shown: title, unit of its value, direction, definition, shortest window.

    ``core`` ones have a row in every experiment, without data too.
    """

    title: str
    unit: str
    better: str
    words: str
    window: timedelta
    core: bool


def variant_line(variant: VariantView, view: ExperimentView) -> VariantLine:
    """Return one arm in words."""
    tones = {"rolled_back": "bad", "live": "live", "control": "quiet"}
    if variant.state == "control":
        gets = _("the control experience")
    elif variant.state == "rolled_back":
        gets = _("control's experience, turned back")
    elif view.state == "running" or variant.name == view.shipped:
        gets = _("its own experience")
    else:
        gets = _("control's experience, {state}", state=words.state_words(view.state).lower())
    return VariantLine(
        name=variant.name,
        state=variant.state,
        state_words=words.state_words(variant.state),
        tone=tones.get(variant.state, "quiet"),
        share=variant.share,
        share_words=words.share(variant.share),
        weight_words=words.share(variant.weight),
        exposed_words=wording().grouped(variant.exposed),
        gets=gets,
        flow=short_json(variant.flow),
    )


def guardrail_lines(view: ExperimentView) -> tuple[GuardrailLine, ...]:
    """Return every guardrail of every treatment, in the order of the file."""
    back = {t.variant: t.at for t in view.transitions if t.variant and t.after == "rolled_back"}
    return tuple(guardrail_line(g, turned_back_at=back.get(g.treatment)) for g in view.guardrails)


def guardrail_line(view: GuardrailView, *, turned_back_at: datetime | None = None) -> GuardrailLine:
    """Return one guardrail in words."""
    tones = {
        Outcome.BREACH: "bad",
        Outcome.PASS: "good",
        Outcome.INCONCLUSIVE: "quiet",
        Outcome.NO_DATA: "warn",
        Outcome.ERROR: "warn",
        None: "quiet",
    }
    window = main_window(view)
    effect = window.effect if window is not None else math.nan
    outcome = view.outcome.value if view.outcome is not None else "unchecked"
    margin = _signed_margin(view, window)
    past = None if margin is None or view.prove_past is None else margin * view.prove_past
    return GuardrailLine(
        guardrail=view.guardrail,
        treatment=view.treatment,
        title=view.title,
        limit=view.limit,
        outcome=outcome,
        outcome_words=_outcome_words(view, outcome),
        tone=tones[view.outcome],
        evidence=view.evidence,
        evidence_words=_evidence_words(view),
        meter=round(100 * min(1.0, max(0.0, view.evidence)), 1),
        effect_words=words.effect(effect),
        interval_words=""
        if window is None
        else words.interval(window.effect_low, window.effect_high),
        words=view.words,
        acts=_acts(view),
        margin=margin,
        # an alert fires or does not: there is nothing to draw
        history=() if view.rule == Alert.rule else view.history,
        proof=is_proof(view),
        decision=view.decision or "",
        past=past,
        turned_back_at=turned_back_at,
        rule=view.rule,
        blind_since=view.blind_since,
        bar=None if window is None else bar_of(window, margin, past),
    )


def is_proof(view: GuardrailView) -> bool:
    """Return whether a guardrail compares KPIs; others prove no harm."""
    return view.rule not in {PromQL.rule, Alert.rule, *WATCH_RULES}


def _outcome_words(view: GuardrailView, outcome: str) -> str:
    if view.rule in WATCH_RULES:
        known = words.WATCH_WORDS
    elif view.rule == Alert.rule:
        known = words.ALERT_WORDS
    else:
        known = words.OUTCOME_WORDS if is_proof(view) else words.QUERY_WORDS
    return _(known.get(outcome, marked("Not checked yet")))


def _evidence_words(view: GuardrailView) -> str:
    if view.outcome is None:
        return words.unknown()
    if view.outcome in {Outcome.NO_DATA, Outcome.ERROR}:
        return _("cannot be judged now")
    if not is_proof(view):
        return _unproven_words(view)
    if view.evidence >= 1:
        return _("harm is proven")
    measured = _measured(view)
    if view.evidence <= 0 or not measured:
        return _("no evidence of harm") if measured else _(NOT_ENOUGH)
    return _("{share} of what would prove harm", share=percent_of_proof(view.evidence))


def _unproven_words(view: GuardrailView) -> str:
    """Return what there is in the place of evidence: samples, or what the data show."""
    if view.rule == PromQL.rule:
        return _("{share} of its samples are beyond the limit", share=words.share(view.evidence))
    if view.rule == Alert.rule:
        return _("an alert fires") if view.evidence >= 1 else _("no alert counts now")
    if view.evidence >= 1:
        return _("the data need a look")
    return _("nothing is amiss") if view.outcome is Outcome.PASS else _(NOT_ENOUGH)


_EXACT = {Limit.rule, Catastrophe.rule}


def _measured(view: GuardrailView) -> bool:
    """Return whether there is a statistic; some need no effect against control."""
    window = main_window(view)
    if window is None:
        return False
    return math.isfinite(window.e_value if view.rule in _EXACT else window.effect)


def percent_of_proof(evidence: float) -> str:
    """Return how much of the needed evidence there is; all only when harm is proven."""
    return f"{min(99, math.floor(100 * evidence))}%" if evidence < 1 else _("all")


def _acts(view: GuardrailView) -> str:
    if view.dry_run:
        return _("dry run: shown, never acts")
    return _(words.ACTION_WORDS.get(view.action, view.action))


def _signed_margin(view: GuardrailView, window: WindowFinding | None) -> float | None:
    """Return the margin as an effect relative to control, negative where a drop is the harm."""
    if view.margin is None:
        return None
    size = view.margin
    if view.absolute:
        if window is None or not math.isfinite(window.control_value) or not window.control_value:
            return None
        size /= abs(window.control_value)
    return -size if view.side == "drop" else size


def main_window(view: GuardrailView) -> WindowFinding | None:
    """Return the window with the strongest evidence that has a measured effect, if any."""
    return max(view.windows, key=lambda w: (math.isfinite(w.effect), w.evidence), default=None)


def transition_line(view: TransitionView) -> TransitionLine:
    """Return a change of state in one sentence."""
    if view.after == "rolled_back":
        whom = view.variant or _("The experiment")
        what, tone = _("{variant} was turned back", variant=whom), "bad"
    elif view.before == "rolled_back" and view.after == "live":
        whom = view.variant or _("The experiment")
        what, tone = _("{variant} was resumed", variant=whom), "warn"
    elif view.variant is None and view.after == "running":
        again = view.before == "paused"
        what = _("The experiment went on") if again else _("The experiment started")
        tone = "good"
    else:
        what, tone = words.happened(view.variant, view.before, view.after), "quiet"
    return TransitionLine(
        id=view.id,
        experiment=view.experiment,
        at=view.at,
        at_words=words.instant(view.at),
        what=what,
        tone=tone,
        actor=view.actor,
        reason=reason(view.reason, view.actor, view.after),
        ours=of_engine(view.reason, view.actor, view.after),
        decision=f"t{view.id}" if view.evaluation is not None else "",
        page=f"/experiments/{view.experiment}/rollbacks/t{view.id}"
        if view.after == "rolled_back" and view.variant
        else "",
    )


def rollback_line(view: RollbackView) -> RollbackLine:
    """Return whether clients follow a rollback."""
    if view.effective is None:
        said = unverified_words(view, at=words.instant(view.verify_after))
        return RollbackLine(view.variant, "quiet", said)
    rates = _(
        "units an hour meeting {variant}: {before} before, {after} since",
        variant=view.variant,
        before=words.rate(view.rate_before),
        after=words.rate(view.rate_after),
    )
    if view.effective:
        said = _("Verified: clients follow ({rates}).", rates=rates)
        return RollbackLine(view.variant, "good", said)
    said = _(
        "NOT effective: {variant} is still being shown ({rates}).",
        variant=view.variant,
        rates=rates,
    )
    return RollbackLine(view.variant, "bad", said)
