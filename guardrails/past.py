"""Where an experiment stood at an instant of the past, and why, in words a person forwards.

Everything is from what was kept then: decisions, evidence and files. Nothing is counted, so it is
told alike after a restart, an upgrade, a retention and a forgotten unit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from experiments.lifecycle import State
from experiments.repository import RevisionRecord, TransitionRecord, TreatmentRecord
from guardrails.actions import NOTE
from guardrails.loaded import Loaded
from guardrails.outcome import Finding
from guardrails.suspension import Suspending
from guardrails.views import Explanation
from guardrails.words import instant, limit_words, outcome_words, percent

_STATES = frozenset(state.value for state in State)
_NOTES = 5
"""Notes that are told: the newest."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest evidence of one guardrail and treatment that was kept by an instant."""

    number: int
    at: datetime
    finding: Finding


@dataclass(frozen=True, slots=True)
class Past:
    """What was known of an experiment at an instant.

    Attributes:
        key: The experiment.
        at: The instant.
        revision: Its file then.
        loaded: The file made ready, ``None`` where this version cannot read it.
        transitions: Changes of state until then, oldest first.
        treatments: The newest attempt of every treatment then.
        seen: Newest evidence kept until then.
        checks: Checks run until then.
        last_check: The last of them.
        suspensions: Of the engine, until then, oldest first.
        gone: What left the log since, in words.
    """

    key: str
    at: datetime
    revision: RevisionRecord
    loaded: Loaded | None
    transitions: Sequence[TransitionRecord]
    treatments: Sequence[TreatmentRecord]
    seen: Sequence[Seen]
    checks: int
    last_check: datetime | None
    suspensions: Sequence[Suspending]
    gone: Sequence[str]


def past_explanation(past: Past) -> Explanation:
    """Return where an experiment stood, and why."""
    back = _turned_back(past)
    newest = _rollback(past, back[-1]) if back else None
    paragraphs = [] if newest is None else _because(newest)
    paragraphs.append(_file_words(past))
    paragraphs += [_seen_words(past, seen) for seen in past.seen]
    paragraphs.append(_checks_words(past))
    last = past.suspensions[-1] if past.suspensions else None
    if last is not None and last.suspended:
        paragraphs.append(
            f"The engine was suspended since {instant(last.at)}, by {last.actor} "
            f"({last.reason.rstrip('.')}): it watched and acted on nothing."
        )
    paragraphs += notes_words(past.transitions)
    if past.gone:
        paragraphs.append(
            f"Since then there left the log: {'; '.join(past.gone)}. What is said here is as it "
            "was kept at the time; what they counted for cannot be computed again from the log."
        )
    evidence: Mapping[str, Any] | None = newest.evidence if newest is not None else None
    return Explanation(
        key=past.key,
        at=past.at,
        headline=_headline(past, newest),
        paragraphs=tuple(paragraphs),
        evidence=evidence,
    )


def notes_words(transitions: Sequence[TransitionRecord]) -> list[str]:
    """Return the newest notes on the timeline, as sentences, oldest first."""
    notes = [t for t in transitions if t.after == NOTE][-_NOTES:]
    return [f"Note of {instant(t.at)} by {t.actor}: {t.reason}" for t in notes]


def _turned_back(past: Past) -> list[TreatmentRecord]:
    """Return treatments that were turned back then, the newest last."""
    back = [
        (t.rolled_back_at, t)
        for t in past.treatments
        if t.rolled_back_at is not None and t.rolled_back_at <= past.at
    ]
    return [t for _, t in sorted(back, key=lambda pair: pair[0])]


def _rollback(past: Past, treatment: TreatmentRecord) -> TransitionRecord | None:
    found = [
        t for t in past.transitions if t.variant == treatment.variant and t.after == "rolled_back"
    ]
    return found[-1] if found else None


def _because(rollback: TransitionRecord) -> list[str]:
    told = [rollback.reason]
    if rollback.evaluation is not None:
        told.append(
            f"This is decision t{rollback.id}: `turnback replay t{rollback.id}` computes it again "
            "from the recorded events."
        )
    return told


def _state(past: Past) -> TransitionRecord | None:
    """Return the change that led to the state then."""
    found = [t for t in past.transitions if t.variant is None and t.after in _STATES]
    return found[-1] if found else None


def _headline(past: Past, rollback: TransitionRecord | None) -> str:
    head = f"On {instant(past.at)}"
    entered = _state(past)
    state = entered.after if entered is not None else State.RUNNING.value
    running = state in {State.RUNNING, State.OBSERVING}
    stood = f"{past.key} was {state}"
    if entered is not None:
        stood += f" since {instant(entered.at)}, by {entered.actor}"
    if not running:
        stood += ": everybody got control"
    if rollback is None:
        rest = "; no treatment was turned back." if running else "."
        return f"{head} {stood}{rest}"
    turned = (
        f"{head} {rollback.variant} had been turned back to control, on {instant(rollback.at)} "
        f"by {rollback.actor}."
    )
    return turned if state == State.RUNNING else f"{turned} {stood}."


def _file_words(past: Past) -> str:
    revision = past.revision
    said = (
        f"Revision {revision.number} of the file was in force, applied on {instant(revision.at)} "
        f"by {revision.actor} from {revision.source}"
    )
    traffic = [t.after for t in past.transitions if t.after.startswith("traffic ")]
    if traffic:
        share = float(traffic[-1].removeprefix("traffic "))
        said += f"; its ramp had reached {percent(share, digits=2)} of the traffic"
    if past.loaded is None:
        said += "; this version cannot read it any more, so guardrails are named by their ids"
    return f"{said}."


def _seen_words(past: Past, seen: Seen) -> str:
    finding, loaded = seen.finding, past.loaded
    known = f"on {instant(seen.at)}, evidence {finding.evidence:.2f} of 1, decision f{seen.number}"
    judged = loaded and loaded.comparison(finding.guardrail, finding.treatment)
    if loaded is None or judged is None:
        outcome = finding.outcome.value.replace("_", " ")
        return f"{finding.guardrail} of {finding.treatment}: {outcome} ({known})."
    title = loaded.title(finding.kpi) if finding.kpi else str(finding.detail.get("query", ""))
    words = outcome_words(finding, judged, title).rstrip(".")
    outcome = finding.outcome.value.replace("_", " ")
    return f"{limit_words(judged, title)}: {outcome}, {words} ({known})."


def _checks_words(past: Past) -> str:
    if past.last_check is None:
        return "No check had run by then."
    checks = f"{past.checks:,} check{'' if past.checks == 1 else 's'}"
    return f"{checks} had run by then, the last on {instant(past.last_check)}."
