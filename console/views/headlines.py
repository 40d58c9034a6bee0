"""The sentences at the top: what is the case with an experiment, in one breath. Pure."""

import math
from collections.abc import Sequence
from typing import Final

from console.views import words
from console.views.lines import is_proof, main_window, percent_of_proof
from experiments.lifecycle import OVER, State
from guardrails.consequences import ENGINE
from guardrails.outcome import Code, Outcome
from guardrails.rules import WATCH_RULES, Alert, Catastrophe, Regression
from guardrails.views import ExperimentView, GuardrailView, NeedKind, TransitionView
from metrics.wording import gettext as _
from metrics.wording import language, marked, ngettext, wording

_ASKED: Final = frozenset(
    {
        NeedKind.APPROVAL,
        NeedKind.CHANNEL,
        NeedKind.DRAFT,
        NeedKind.ENDED,
        NeedKind.MEANING,
        NeedKind.SERVICE,
        NeedKind.UNASKED,
    }
)
"""What a person is asked or told, though nothing is wrong with the experiment."""

_BLIND: Final = {
    Code.EVENTS_STOPPED: marked("Events no longer arrive"),
    Code.NO_VALUES: marked("Units arrive without values"),
    Code.QUERY_FAILED: marked("The store could not be read"),
    Code.SOURCE_FAILED: marked("Prometheus gives no usable answer"),
}


def tone_of(view: ExperimentView) -> str:
    """Return ``bad`` when something was turned back, ``warn`` when blind, else good or quiet."""
    if any(v.state == "rolled_back" for v in view.variants):
        return "bad"
    if blind_ones(view) or any(need.kind not in _ASKED for need in view.needs):
        return "warn"
    met = any(variant.exposed for variant in view.variants)
    return "good" if met and view.state in {"running", "observing"} else "quiet"


def blind_ones(view: ExperimentView) -> tuple[GuardrailView, ...]:
    """Return the guardrails that cannot be judged now."""
    return tuple(g for g in view.guardrails if g.outcome in {Outcome.ERROR, Outcome.NO_DATA})


def headline(view: ExperimentView) -> str:
    """Return the one sentence a person must read."""
    turned = [v for v in view.variants if v.state == "rolled_back"]
    if turned:
        return " ".join(_turned_back(view, v.name) for v in turned)
    if blind := blind_ones(view):
        return _cannot_judge(view, blind)
    live = tuple(v.name for v in view.variants if v.state == "live")
    if view.state == "running":
        return _running(view, live)
    return _at_rest(view, words.joined(live))


def _running(view: ExperimentView, live: Sequence[str]) -> str:
    arms = words.joined(live)
    if view.last_check_at is None:
        return (
            _("{arms} has just started; the first check is still to come.", arms=arms)
            if len(view.variants) < 3  # noqa: PLR2004 - control and one
            else _("{arms} have just started; the first check is still to come.", arms=arms)
        )
    breached = [g for g in view.guardrails if g.evidence >= 1]
    if firing := [g.title for g in breached if g.rule == Alert.rule]:
        names = words.joined(tuple(dict.fromkeys(firing)))
        return _(
            "No harm is proven for {arms}, but others are alarmed: {names}.",
            arms=arms,
            names=names,
        )
    if amiss := [lower_first(g.title) for g in breached if g.rule in WATCH_RULES]:
        names = words.joined(tuple(dict.fromkeys(amiss)))
        return _(
            "No harm is proven for {arms}, but the data need a look: {names}.",
            arms=arms,
            names=names,
        )
    told = _("No harm is proven for {arms}. {nearest}", arms=arms, nearest=_nearest_words(view))
    return told.rstrip()


def _at_rest(view: ExperimentView, arms: str) -> str:
    if view.state == "draft":
        if view.starts_at is None:
            return _("Draft: everybody gets control until a person starts it.")
        return _(
            "Draft: everybody gets control until it starts on {at}.",
            at=words.instant(view.starts_at),
        )
    if view.state == "paused":
        return _("Paused: everybody gets control.")
    if view.shipped is not None:
        return _(
            "Finished: the audience gets {variant}, shipped by `auto_ship`.", variant=view.shipped
        )
    stops = [g for g in view.guardrails if g.action == "stop" and g.outcome is Outcome.BREACH]
    if view.state == "stopped" and stops:
        return _(
            "Stopped because {why}: everybody gets control.",
            why=_beyond(stops[0]),
        )
    return _(
        "{state}: everybody gets control. No harm was proven for {arms}.",
        state=words.state_words(view.state),
        arms=arms,
    )


def _cannot_judge(view: ExperimentView, blind: Sequence[GuardrailView]) -> str:
    names = words.joined(tuple(dict.fromkeys(lower_first(g.title) for g in blind)))
    what = _("any guardrail") if len(blind) == len(view.guardrails) > 1 else names
    code = blind[0].code
    unknown = marked("There is no data")
    return _(
        "{reason}: the engine cannot judge {what}. Nothing was turned back.",
        reason=_(_BLIND.get(code, unknown) if code is not None else unknown),
        what=what,
    )


def _turned_back(view: ExperimentView, variant: str) -> str:
    guardrail = culprit(view, variant)
    if guardrail is not None and guardrail.rule != Regression.rule:
        return _(
            "{variant} was turned back because {why}.", variant=variant, why=_beyond(guardrail)
        )
    window = main_window(guardrail) if guardrail is not None else None
    if guardrail is not None and window is not None and math.isfinite(window.effect):
        return _moved(variant, lower_first(guardrail.title), window.effect)
    newest = rollback_of(view, variant)
    if newest is not None and newest.actor != ENGINE:
        return _("{variant} was turned back by {actor}.", variant=variant, actor=newest.actor)
    return _("{variant} was turned back.", variant=variant)


def _moved(variant: str, title: str, effect: float) -> str:
    told = {"variant": variant, "title": title, "size": words.percent(effect)}
    if abs(effect) < words.SMALLEST_EFFECT:
        return _("{variant} was turned back because of {title}.", **told)
    if effect < 0:
        return _("{variant} was turned back because {title} fell by {size}.", **told)
    return _("{variant} was turned back because {title} rose by {size}.", **told)


def culprit(view: ExperimentView, variant: str) -> GuardrailView | None:
    """Return the guardrail that has the strongest proof against a variant, if any has."""
    return max(
        (
            g
            for g in view.guardrails
            if g.treatment == variant
            and g.outcome is Outcome.BREACH
            and g.rule not in WATCH_RULES  # these turn nobody back
        ),
        key=lambda g: g.evidence,
        default=None,
    )


def _beyond(guardrail: GuardrailView) -> str:
    title = lower_first(guardrail.title)
    if guardrail.rule == Catastrophe.rule:
        return _("{title} is more times control's than is tolerated", title=title)
    if guardrail.rule == Alert.rule:
        return _("the alert {title} fires", title=guardrail.title)
    return _("{title} is beyond its limit", title=title)


def lower_first(text: str) -> str:
    """Return a title for the middle of a sentence, leaving abbreviations alone."""
    if language() != "en":
        return text
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def rollback_of(view: ExperimentView, variant: str) -> TransitionView | None:
    """Return the newest rollback of a variant."""
    found = [t for t in view.transitions if t.variant == variant and t.after == "rolled_back"]
    return found[-1] if found else None


def lead(view: ExperimentView) -> str:
    """Return the paragraph below the headline."""
    turned = [v.name for v in view.variants if v.state == "rolled_back"]
    if not turned:
        return _("The hypothesis: {text}", text=view.hypothesis) if view.hypothesis else ""
    newest = rollback_of(view, turned[-1])
    stands = _stands(view)
    return (
        stands
        if newest is None
        else _("On {at}. {stands}", at=words.instant(newest.at), stands=stands)
    )


def _stands(view: ExperimentView) -> str:
    """Return what the units of a treatment that was turned back get now."""
    if State(view.state) is State.OBSERVING:
        return _("Its units get control from then on, for good: no new units come.")
    if State(view.state) not in OVER:
        return _("Its units get control from then on, until a person resumes it.")
    if view.shipped is not None:
        return _("The experiment is over; the audience gets {variant}.", variant=view.shipped)
    return _("The experiment is over: everybody gets control.")


def _nearest_words(view: ExperimentView) -> str:
    proofs = [g for g in view.guardrails if is_proof(g)]
    safe = sum(g.outcome is Outcome.PASS for g in proofs)
    if safe:
        total = ngettext("{n} guardrail", "{n} guardrails", len(proofs))
        return ngettext(
            "{n} of {total} is proven safe.", "{n} of {total} are proven safe.", safe, total=total
        )
    judged = [g for g in proofs if g.outcome is not None and g.evidence > 0]
    if not judged:
        if not any(variant.exposed for variant in view.variants):
            return _("Nobody has taken part yet.")
        return _("There is not enough evidence yet to say more.")
    near = max(judged, key=lambda g: g.evidence)
    return _(
        "Nearest to its limit is {title}, with {share} of the evidence that would turn it back.",
        title=lower_first(near.title),
        share=percent_of_proof(near.evidence),
    )


def traffic_words(view: ExperimentView) -> str:
    """Return how much traffic takes part now."""
    if view.state != "running":
        return _("no new units")
    if view.steps < 2:  # noqa: PLR2004 - no ramp
        return _("{share} of traffic", share=words.share(view.traffic))
    return _(
        "{share} of traffic, step {step} of {steps}",
        share=words.share(view.traffic),
        step=wording().grouped(view.step + 1),
        steps=wording().grouped(view.steps),
    )
