"""What an experiment went through and where it stands, in sentences a person forwards. Pure."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from experiments.lifecycle import State
from experiments.repository import TransitionRecord
from experiments.spec import Mode
from guardrails.extending import extension_words
from guardrails.known import Known
from guardrails.outcome import Outcome
from guardrails.past import notes_words
from guardrails.rules import WATCH_RULES, Action, Alert, PromQL
from guardrails.standing import winner_of
from guardrails.views import ExperimentView, Explanation, GuardrailView, RollbackView
from guardrails.words import duration, instant, percent
from guardrails.words_rollback import unverified_words


def explanation(known: Known, view: ExperimentView, *, now: datetime) -> Explanation:
    """Return what happened and why, in words, with the numbers it rests on."""
    back = {v.name for v in view.variants if v.state == "rolled_back"}
    rolled = [t for t in known.transitions if t.after == "rolled_back"]
    standing = [t for t in rolled if t.variant in back]
    paragraphs: list[str] = []
    evidence: Mapping[str, Any] | None = None
    headline = _state_words(known)
    if standing:
        newest = standing[-1]
        over = "" if view.state in {"running", "observing"} else f" {headline}"
        headline = (
            f"{newest.variant} was turned back to control on {instant(newest.at)} "
            f"by {newest.actor}.{over}"
        )
        paragraphs.append(newest.reason)
        if newest.evaluation is not None:
            paragraphs.append(
                f"This is decision t{newest.id}: `turnback replay t{newest.id}` computes it again "
                "from the recorded events."
            )
        paragraphs.extend(_effect_of(r) for r in view.rollbacks if r.variant == newest.variant)
        evidence = newest.evidence
    elif rolled:
        paragraphs.append(_earlier(rolled[-1]))
    paragraphs.extend(_extended(known))
    paragraphs.extend(_advised(view))
    paragraphs.extend(_meant(view))
    several = len({g.treatment for g in view.guardrails}) > 1
    paragraphs.extend(
        f"{g.limit}{f', {g.treatment}' if several else ''}: {_standing(g)}."
        for g in view.guardrails
    )
    if view.waiting:
        paragraphs.append(f"Now: {view.waiting}.")
    paragraphs.extend(notes_words(known.transitions))
    checks = "No check yet"
    if view.last_check_at is not None:
        plural = "" if view.checks == 1 else "s"
        checks = f"{view.checks:,} check{plural}, the last on {instant(view.last_check_at)}"
    paragraphs.append(f"{checks}, one every {duration(view.check_every)}. {_promise(view)}")
    paragraphs.extend(f"Needs attention: {words}." for words in view.attention)
    return Explanation(
        key=view.key,
        at=now,
        headline=headline,
        paragraphs=tuple(paragraphs),
        evidence=evidence,
    )


def _extended(known: Known) -> list[str]:
    """Return until when units come in, where a person moved that; the newest alone."""
    told = [extension_words(t.before, t.after, t.actor, t.reason) for t in known.transitions]
    return [words for words in told if words][-1:]


def _advised(view: ExperimentView) -> list[str]:
    """Return what was recommended when the run was over."""
    if view.advice is None:
        return []
    told = [f"Advice: {view.advice['words']}", *map(str, view.advice["reasons"])]
    number = view.advice["decision"]
    return [*told, f"This is decision {number}: `turnback replay {number}` computes it again."]


def _meant(view: ExperimentView) -> list[str]:
    """Return what is believed, what should improve and whom to ask, where the file says it."""
    told = [f"Hypothesis: {view.hypothesis}"] if view.hypothesis else []
    told += [f"Goal: {view.goal['words']}."] if view.goal is not None else []
    return told + ([f"Owner: {view.owner}."] if view.owner else [])


def _state_words(known: Known) -> str:
    """Return the state as a sentence, with who brought it about where it is no plain run."""
    state = State(known.record.state)
    if state is State.DRAFT:
        return f"{known.record.key} is a draft: everybody gets control."
    if state is State.RUNNING:
        return f"{known.record.key} is running; no treatment is turned back."
    since = [t for t in known.transitions if t.variant is None and t.after == state.value]
    told = f" since {instant(since[-1].at)}, by {since[-1].actor}" if since else ""
    gets = "everybody gets control"
    if winner := winner_of(known.record, known.treatments):
        gets = f"the audience gets {winner}, shipped by `auto_ship`"
    return f"{known.record.key} is {state.value}{told}: {gets}."


def _earlier(rollback: TransitionRecord) -> str:
    """Return a rollback that is over as a sentence."""
    return (
        f"Earlier, on {instant(rollback.at)}, {rollback.variant} was turned back by "
        f"{rollback.actor}: {rollback.reason.rstrip('.')}."
    )


def _promise(view: ExperimentView) -> str:
    """Return what the engine promises about turning back."""
    if view.mode == Mode.SHADOW:
        return (
            "It runs in shadow mode: everything is judged and recorded, a breach is told, nobody "
            "is turned back by a guardrail, and the ramp stands still."
        )
    return (
        "A treatment whose true harm on every KPI is at most the proven part of its margin, every "
        f"value within its limit, is turned back with probability at most {percent(view.alpha)} "
        f"over the whole experiment, all guardrails, treatments and looks.{_outside(view)}"
    )


def _outside(view: ExperimentView) -> str:
    """Return which guardrails that promise does not cover."""
    names = list(dict.fromkeys(g.guardrail for g in view.guardrails if g.rule == PromQL.rule))
    watches = list(dict.fromkeys(g.guardrail for g in view.guardrails if g.rule in WATCH_RULES))
    watched = f" What watches the data ({', '.join(watches)}) turns nobody back." if watches else ""
    alerts = list(dict.fromkeys(g.guardrail for g in view.guardrails if g.rule == Alert.rule))
    if alerts:
        watched += (
            f" Alerts of Alertmanager ({', '.join(alerts)}) are somebody else's judgement: they "
            "are outside statistics and outside this promise."
        )
    if not names:
        return watched
    return (
        f"{watched} Queries of Prometheus ({', '.join(names)}) are compared with a number: they "
        "are outside statistics and outside this promise."
    )


def _standing(guardrail: GuardrailView) -> str:
    if guardrail.outcome is None:
        return "not checked yet"
    text = f"{guardrail.outcome.value.replace('_', ' ')}, {guardrail.words.rstrip('.')}"
    if guardrail.outcome is Outcome.BREACH and guardrail.action == Action.ROLLBACK:
        return f"breach (see above), evidence {guardrail.evidence:.2f} of 1"
    kept = "" if guardrail.decision is None else f", decision {guardrail.decision}"
    return f"{text} (evidence {guardrail.evidence:.2f} of 1{kept})"


def _effect_of(rollback: RollbackView) -> str:
    if rollback.effective is None:
        return unverified_words(rollback)
    after = rollback.rate_after if rollback.rate_after is not None else math.nan
    before = rollback.rate_before if rollback.rate_before is not None else math.nan
    if rollback.effective:
        return (
            f"The rollback is effective: {rollback.variant} was met by {before:.1f} units an hour "
            f"before and by {after:.1f} since."
        )
    return (
        f"The rollback is NOT effective: {after:.1f} units an hour still meet {rollback.variant} "
        f"({before:.1f} before)."
    )
