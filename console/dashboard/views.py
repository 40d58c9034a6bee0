"""What a page says, as plain values: the HTML page and its ``.json`` twin show the same. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from console.dashboard import words
from console.dashboard.lines import (
    GuardrailLine,
    KpiRow,
    KpiText,
    RollbackLine,
    TransitionLine,
    VariantLine,
    guardrail_lines,
    is_proof,
    kpi_rows,
    main_window,
    percent_of_proof,
    rollback_line,
    transition_line,
    variant_line,
)
from console.dashboard.ramp import StepLine, step_lines
from experiments.lifecycle import State
from guardrails.outcome import Code, Outcome
from guardrails.rules import WATCH_RULES, Alert, Catastrophe, Regression
from guardrails.views import ExperimentView, GuardrailView, TransitionView

ENGINE = "turnback"
"""Actor of what the engine did by itself."""

NEAREST = 3
RECENT = 12


@dataclass(frozen=True, slots=True)
class Card:
    """One experiment on the overview."""

    key: str
    title: str
    state: str
    state_words: str
    tone: str
    headline: str
    traffic_words: str
    exposed_words: str
    variants: tuple[VariantLine, ...]
    nearest: tuple[GuardrailLine, ...]
    attention: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """The first page."""

    at: datetime
    at_words: str
    headline: str
    tone: str
    experiments: tuple[Card, ...]
    recent: tuple[TransitionLine, ...]
    attention: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExperimentPage:
    """The page of one experiment."""

    key: str
    title: str
    hypothesis: str
    owner: str
    state: str
    state_words: str
    tone: str
    headline: str
    lead: str
    facts: tuple[tuple[str, str], ...]
    variants: tuple[VariantLine, ...]
    guardrails: tuple[GuardrailLine, ...]
    leading: GuardrailLine | None
    kpis: tuple[KpiRow, ...]
    transitions: tuple[TransitionLine, ...]
    rollbacks: tuple[RollbackLine, ...]
    attention: tuple[str, ...]
    ramp: tuple[StepLine, ...] = ()
    waiting: str = ""
    advice: Mapping[str, Any] | None = None


def overview(
    views: Sequence[ExperimentView], *, now: datetime, attention: tuple[str, ...] = ()
) -> Overview:
    """Return the first page; ``attention`` is about the service, not an experiment."""
    order = {"bad": 0, "warn": 1, "good": 2}
    cards = sorted((_card(v) for v in views), key=lambda c: order.get(c.tone, 3))
    recent = sorted(
        (t for v in views for t in v.transitions), key=lambda t: (t.at, t.id), reverse=True
    )
    turned = sum(v.state == "rolled_back" for view in views for v in view.variants)
    running = sum(v.state == "running" for v in views)
    if not views:
        headline, tone = "No experiment yet.", "quiet"
    else:
        headline = f"{words.count(running, 'experiment')} running"
        headline += (
            f", {words.count(turned, 'variant')} turned back." if turned else ", none turned back."
        )
        tone = "bad" if turned else "good" if running else "quiet"
    return Overview(
        at=now,
        at_words=words.instant(now),
        headline=headline,
        tone=tone,
        experiments=tuple(cards),
        recent=tuple(transition_line(t) for t in recent[:RECENT]),
        attention=attention,
    )


def _card(view: ExperimentView) -> Card:
    lines = guardrail_lines(view)
    return Card(
        key=view.key,
        title=view.title,
        state=view.state,
        state_words=words.state_words(view.state),
        tone=tone_of(view),
        headline=headline(view),
        traffic_words=traffic_words(view),
        exposed_words=words.count(sum(v.exposed for v in view.variants), "unit"),
        variants=tuple(variant_line(v, view) for v in view.variants),
        nearest=tuple(_by_urgency(lines)[:NEAREST]),
        attention=view.attention,
    )


def experiment_page(view: ExperimentView, kpis: Mapping[str, KpiText]) -> ExperimentPage:
    """Return the page of one experiment.

    Args:
        view: The experiment as the engine shows it.
        kpis: How KPIs are shown, by key; those missing are shown as plain numbers.
    """
    lines = guardrail_lines(view)
    urgent = _by_urgency(lines)
    return ExperimentPage(
        key=view.key,
        title=view.title,
        hypothesis=view.hypothesis,
        owner=view.owner,
        state=view.state,
        state_words=words.state_words(view.state),
        tone=tone_of(view),
        headline=headline(view),
        lead=lead(view),
        facts=_facts(view),
        variants=tuple(variant_line(v, view) for v in view.variants),
        guardrails=lines,
        leading=next((line for line in urgent if line.proof or line.history), None),
        kpis=kpi_rows(view, kpis),
        transitions=tuple(transition_line(t) for t in reversed(view.transitions)),
        rollbacks=tuple(rollback_line(r) for r in view.rollbacks),
        attention=view.attention,
        ramp=step_lines(view),
        waiting=_sentence(view.waiting),
        advice=view.advice,
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def tone_of(view: ExperimentView) -> str:
    """Return ``bad`` when something was turned back, ``warn`` when blind, else good or quiet."""
    if any(v.state == "rolled_back" for v in view.variants):
        return "bad"
    if view.attention or any(
        g.outcome in {Outcome.ERROR, Outcome.NO_DATA} for g in view.guardrails
    ):
        return "warn"
    return "good" if view.state in {"running", "observing"} else "quiet"


def headline(view: ExperimentView) -> str:
    """Return the one sentence a person must read."""
    turned = [v for v in view.variants if v.state == "rolled_back"]
    if turned:
        return " ".join(_turned_back(view, v.name) for v in turned)
    blind = [g for g in view.guardrails if g.outcome in {Outcome.ERROR, Outcome.NO_DATA}]
    if blind:
        return _cannot_judge(view, blind)
    arms = words.joined(tuple(v.name for v in view.variants if v.state == "live"))
    if view.state == "running":
        if view.last_check_at is None:
            verb = "have" if len(view.variants) > 2 else "has"  # noqa: PLR2004 - control and one
            return f"{arms} {verb} just started; the first check is still to come."
        but = _amiss(view)
        if but:
            return f"No harm is proven for {arms}, but {but}."
        return f"No harm is proven for {arms}. {_nearest_words(view)}".rstrip()
    return _at_rest(view, arms)


def _amiss(view: ExperimentView) -> str:
    """Return what else is breached where no harm is proven; empty where nothing is."""
    breached = [g for g in view.guardrails if g.evidence >= 1]
    firing = dict.fromkeys(g.title for g in breached if g.rule == Alert.rule)
    amiss = dict.fromkeys(_lower_first(g.title) for g in breached if g.rule in WATCH_RULES)
    if firing:
        return f"others are alarmed: {words.joined(tuple(firing))}"
    return f"the data need a look: {words.joined(tuple(amiss))}" if amiss else ""


def _at_rest(view: ExperimentView, arms: str) -> str:
    if view.state == "draft":
        at = view.starts_at
        start = "a person starts it" if at is None else f"it starts on {words.instant(at)}"
        return f"Draft: everybody gets control until {start}."
    if view.state == "paused":
        return "Paused: everybody gets control."
    if view.shipped is not None:
        return f"Finished: the audience gets {view.shipped}, shipped by `auto_ship`."
    stops = [g for g in view.guardrails if g.action == "stop" and g.outcome is Outcome.BREACH]
    if view.state == "stopped" and stops:
        return f"Stopped because {_beyond(stops[0])}: everybody gets control."
    return (
        f"{words.state_words(view.state)}: everybody gets control. No harm was proven for {arms}."
    )


def _cannot_judge(view: ExperimentView, blind: Sequence[GuardrailView]) -> str:
    names = words.joined(tuple(dict.fromkeys(_lower_first(g.title) for g in blind)))
    what = "any guardrail" if len(blind) == len(view.guardrails) > 1 else names
    why = {
        Code.EVENTS_STOPPED: "Events no longer arrive",
        Code.NO_VALUES: "Units arrive without values",
        Code.QUERY_FAILED: "The store could not be read",
        Code.SOURCE_FAILED: "Prometheus gives no usable answer",
    }
    code = blind[0].code
    reason = why.get(code, "There is no data") if code is not None else "There is no data"
    return f"{reason}: the engine cannot judge {what}. Nothing was turned back."


def _turned_back(view: ExperimentView, variant: str) -> str:
    guardrail = max(
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
    if guardrail is not None and guardrail.rule != Regression.rule:
        return f"{variant} was turned back because {_beyond(guardrail)}."
    window = main_window(guardrail) if guardrail is not None else None
    if guardrail is not None and window is not None and math.isfinite(window.effect):
        return (
            f"{variant} was turned back because {_lower_first(guardrail.title)} "
            f"{words.moved(window.effect)}."
        )
    newest = _rollback_of(view, variant)
    by = f" by {newest.actor}" if newest is not None and newest.actor != ENGINE else ""
    return f"{variant} was turned back{by}."


def _beyond(guardrail: GuardrailView) -> str:
    title = _lower_first(guardrail.title)
    if guardrail.rule == Catastrophe.rule:
        return f"{title} is more times control's than is tolerated"
    if guardrail.rule == Alert.rule:
        return f"the alert {guardrail.title} fires"
    return f"{title} is beyond its limit"


def _lower_first(text: str) -> str:
    """Return a title for the middle of a sentence, leaving abbreviations alone."""
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _rollback_of(view: ExperimentView, variant: str) -> TransitionView | None:
    found = [t for t in view.transitions if t.variant == variant and t.after == "rolled_back"]
    return found[-1] if found else None


def lead(view: ExperimentView) -> str:
    """Return the paragraph below the headline."""
    turned = [v.name for v in view.variants if v.state == "rolled_back"]
    if turned:
        newest = _rollback_of(view, turned[-1])
        when = f"On {words.instant(newest.at)}. " if newest is not None else ""
        return f"{when}Its units get control from then on, until a person resumes it."
    return view.hypothesis


def _nearest_words(view: ExperimentView) -> str:
    proofs = [g for g in view.guardrails if is_proof(g)]
    safe = sum(g.outcome is Outcome.PASS for g in proofs)
    if safe:
        total = words.count(len(proofs), "guardrail")
        return f"{safe} of {total} {'is' if safe == 1 else 'are'} proven safe."
    judged = [g for g in proofs if g.outcome is not None and g.evidence > 0]
    if not judged:
        return "There is not enough evidence yet to say more."
    near = max(judged, key=lambda g: g.evidence)
    return (
        f"Nearest to its limit is {_lower_first(near.title)}, with "
        f"{percent_of_proof(near.evidence)} of the evidence that would turn it back."
    )


def traffic_words(view: ExperimentView) -> str:
    """Return how much traffic takes part now."""
    if view.state != "running":
        return "no new units"
    step = f", step {view.step + 1} of {view.steps}" if view.steps > 1 else ""
    return f"{words.share(view.traffic)} of traffic{step}"


def _facts(view: ExperimentView) -> tuple[tuple[str, str], ...]:
    facts = [
        ("Traffic", traffic_words(view)),
        *_times(view),
        ("Checks", f"{view.checks:,}, one every {words.duration(view.check_every)}"),
        (
            "Last check",
            "none yet" if view.last_check_at is None else words.instant(view.last_check_at),
        ),
        ("Chance of a false rollback", f"at most {words.share(view.alpha)} in all"),
        ("Unit", view.unit),
        ("Revision", f"{view.revision}, seed {view.seed}"),
    ]
    if view.layer is not None:
        facts.append(("Layer", f"{words.share(view.layer.owned)} of {view.layer.name}"))
    if view.holdout:
        facts.append(("Global holdout", f"{words.share(view.holdout)} of all units stay out"))
    if view.mode != "live":
        facts.insert(0, ("Mode", "shadow: it watches and acts on nothing"))
    if view.conflicted:
        facts.append(("Seen in two variants", f"{words.count(view.conflicted, 'unit')}, left out"))
    if view.goal is not None:
        facts.insert(0, ("Goal", view.goal["words"]))
    if view.owner:
        facts.append(("Owner", view.owner))
    return tuple(facts)


def _times(view: ExperimentView) -> tuple[tuple[str, str], ...]:
    """Return when a run began and ends; of a stopped one what happened, not what was planned."""
    times = (
        ("Started", view.started_at),
        ("New units until", view.ends_at),
        ("Watched until", view.observe_until),
    )
    if view.state != State.STOPPED:
        return tuple((name, words.instant(at)) for name, at in times)
    stops = [t.at for t in view.transitions if t.variant is None and t.after == State.STOPPED]
    known = (*times, ("Stopped", stops[-1] if stops else None))
    return tuple((name, words.instant(at)) for name, at in known if at is not None)


def _by_urgency(lines: Sequence[GuardrailLine]) -> list[GuardrailLine]:
    rank = {"bad": 0, "warn": 1}
    return sorted(lines, key=lambda g: (rank.get(g.tone, 2), -g.evidence))
