"""What one check does: rollbacks, messages, the next step of the ramp, the end."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlmodel import Session

from experiments.repository import TransitionRecord, insert_transition
from guardrails.advice import Recommended
from guardrails.facts import Spell, holds_the_ramp
from guardrails.outcome import Finding
from guardrails.repository import message_exists
from guardrails.rollback import message, record_rollback
from guardrails.rules.failures import Open
from guardrails.settings import EngineSettings
from guardrails.sight import Sight, advice_of, evidence_of, reason_of
from guardrails.spells import UNLIKE_ARMS
from guardrails.tidings import after_breach, after_change, become_title, facts_of
from guardrails.words import again_words, command, duration, instant, percent
from metrics.wording import gettext as _

SHIPPED = "shipped"
"""What a treatment becomes that the audience gets once the run is over."""

ENGINE = "turnback"
"""Who acts when nobody asked."""


def act(
    session: Session, settings: EngineSettings, sight: Sight, *, at: datetime, evaluation: int
) -> tuple[TransitionRecord, ...]:
    """Turn back, tell, ask, advance and end, as decided, inside the check's transaction.

    Args:
        session: The transaction of the check.
        settings: Of the engine.
        sight: What the check read and decided.
        at: When it is done; later than the tick where the check is late.
        evaluation: Id of the stored check.

    Returns:
        What changed, to be told.
    """
    record, decision, channels = sight.record, sight.decision, sight.loaded.channels
    done = [
        record_rollback(
            session,
            record,
            sight.treatments[finding.treatment],
            at=at,
            grace=settings.grace,
            actor=ENGINE,
            reason=reason_of(sight, finding),
            evidence=evidence_of(sight, finding),
            evaluation=evaluation,
            channels=channels,
            guardrail=finding.guardrail,
            facts=facts_of(sight.loaded, finding),
            public_url=settings.public_url,
        )
        for finding in decision.rollbacks
    ]
    for finding in decision.tell:
        _tell(session, sight, finding, at=at, channels=channels)
    if decision.ask:
        _ask(session, sight, at=at)
    if decision.advance:
        done.append(_advance(session, sight, at=at, evaluation=evaluation))
    if decision.become is not None:
        done.append(_become(session, sight, decision.become, at=at, evaluation=evaluation))
    if decision.ship is not None:
        done.append(_ship(session, sight, decision.ship, at=at, evaluation=evaluation))
    return tuple(done)


def _advance(session: Session, sight: Sight, *, at: datetime, evaluation: int) -> TransitionRecord:
    record = sight.record
    before, after = sight.loaded.spec.experiment.ramp[record.step : record.step + 2]
    return insert_transition(
        session,
        experiment=record.key,
        variant=None,
        before=f"traffic {before.traffic:.4g}",
        after=f"traffic {after.traffic:.4g}",
        at=at,
        actor=ENGINE,
        reason=_("the step's hold is over, its units are in and no guardrail objects"),
        evaluation=evaluation,
    )


def _become(
    session: Session, sight: Sight, after: str, *, at: datetime, evaluation: int
) -> TransitionRecord:
    """Record a new state of the experiment: its time has come, or a breach stops it."""
    record, stop, overdue = sight.record, sight.decision.stop, sight.decision.overdue
    come = _("the time set in the file has come")
    reason = reason_of(sight, stop) if stop is not None else come
    if overdue is not None and after in {"paused", "stopped"}:
        reason = _overdue_words(overdue, after, at)
    message(
        session,
        key=f"{after}:{record.key}/{record.seed}@{at.isoformat()}",
        kind=after,
        experiment=record.key,
        variant=None,
        at=at,
        title=become_title(record.key, after),
        text=reason,
        evidence=evidence_of(sight, stop) if stop is not None else None,
        channels=sight.loaded.channels,
        guardrail=stop.guardrail if stop is not None else None,
        facts=(facts_of(sight.loaded, stop) if stop is not None else {})
        | after_change(record.key, after),
    )
    evidence = evidence_of(sight, stop) if stop is not None else None
    if sight.decision.advice is not None:
        evidence = advice_of(sight, sight.decision.advice)
        _tell_advice(session, sight, evidence, at=at)
    return insert_transition(
        session,
        experiment=record.key,
        variant=None,
        before=record.state,
        after=after,
        at=at,
        actor=ENGINE,
        reason=reason,
        evidence=evidence,
        evaluation=evaluation,
    )


def _tell_advice(session: Session, sight: Sight, evidence: dict[str, Any], *, at: datetime) -> None:
    record, advice = sight.record, evidence["advice"]
    message(
        session,
        key=f"advice:{record.key}/{record.seed}",
        kind="advice",
        experiment=record.key,
        variant=advice["treatment"],
        at=at,
        title=_(
            "{experiment} is over: {advice}",
            experiment=record.key,
            advice=advice["recommended"].replace("_", " "),
        ),
        text=" ".join([*(advice["reasons"] or [advice["words"]]), *_open_words(sight, advice)]),
        evidence=evidence,
        channels=sight.loaded.channels,
        facts=after_change(record.key, "finished"),
    )


def _ship(
    session: Session, sight: Sight, treatment: str, *, at: datetime, evaluation: int
) -> TransitionRecord:
    """Record that the audience gets a treatment from now on, and tell it."""
    record, advice = sight.record, sight.decision.advice or {}
    reason = _("auto_ship: {advice}", advice=advice["words"])
    undo = command("roll-back", f"{record.key} {treatment}")
    message(
        session,
        key=f"shipped:{record.key}/{record.seed}",
        kind="shipped",
        experiment=record.key,
        variant=treatment,
        at=at,
        title=_(
            "{experiment}: the audience gets {variant} from now on",
            experiment=record.key,
            variant=treatment,
        ),
        text=f"{reason} {undo} gives everybody control again.",
        evidence=advice_of(sight, advice),
        channels=sight.loaded.channels,
        facts={"next": undo},
    )
    return insert_transition(
        session,
        experiment=record.key,
        variant=treatment,
        before="live",
        after=SHIPPED,
        at=at,
        actor=ENGINE,
        reason=reason,
        evidence=advice_of(sight, advice),
        evaluation=evaluation,
    )


def _open_words(sight: Sight, advice: Mapping[str, Any]) -> list[str]:
    """Return what was proven neither harmful nor safe, and how it is tried for longer."""
    found, rules = sight.decision.open, sight.loaded.rules
    if not found or advice["recommended"] == Recommended.SHIP:
        return []
    names = ", ".join(dict.fromkeys(f"{f.guardrail} of {f.treatment}" for f in found))
    asked = any(rules[f.guardrail].policies.on_inconclusive is Open.KEEP_CONTROL for f in found)
    how = asked and advice["recommended"] != Recommended.EXTEND  # that says it already
    words = [f"Neither harm nor its absence is proven by {names}."]
    return [*words, again_words(sight.record.seed)] if how else words


def _overdue_words(spell: Spell, after: str, at: datetime) -> str:
    """Return why a failure gives everybody control, as the file says."""
    blind = spell.code not in UNLIKE_ARMS
    told = {
        "guardrail": spell.guardrail,
        "variant": spell.treatment,
        "at": instant(spell.since),
        "length": duration(at - spell.since),
        "does": _("pauses") if after == "paused" else _("stops"),
    }
    if blind:
        return _(
            "{guardrail} of {variant} could not be judged since {at}, {length} ago: the file "
            "{does} the experiment then",
            **told,
        )
    return _(
        "{guardrail} of {variant} found the arms unlike since {at}, {length} ago: the file {does} "
        "the experiment then",
        **told,
    )


def _ask(session: Session, sight: Sight, *, at: datetime) -> None:
    """Tell once for each step that only a person's approval is missing."""
    record, ramp = sight.record, sight.loaded.spec.experiment.ramp
    now, then = (percent(s.traffic, digits=2) for s in ramp[record.step : record.step + 2])
    since = record.step_since.isoformat()
    key = f"approval:{record.key}/{record.seed}/{record.step}@{since}/{now}-{then}"
    if message_exists(session, key):
        return
    message(
        session,
        key=key,
        kind="approval_wanted",
        experiment=record.key,
        variant=None,
        at=at,
        title=_(
            "{experiment} waits for approval to go from {before} to {after} of the traffic",
            experiment=record.key,
            before=now,
            after=then,
        ),
        text=f"Everything else that step {record.step + 1} of the ramp asks for is there. "
        f"{command('approve', record.key)} allows the next step.",
        evidence=None,
        channels=sight.loaded.channels,
        facts={"next": command("approve", record.key)},
    )


def _tell(
    session: Session, sight: Sight, finding: Finding, *, at: datetime, channels: Sequence[str]
) -> None:
    record = sight.record
    attempt = sight.treatments[finding.treatment].attempt
    kind, held = "breach_told", False
    if finding.code in UNLIKE_ARMS:
        kind = "uneven_split"
        held = holds_the_ramp(sight.loaded.rules[finding.guardrail])
    told = {
        "experiment": record.key,
        "guardrail": finding.guardrail,
        "variant": finding.treatment,
    }
    title = _("{experiment}: {guardrail} of {variant} is breached, nothing is done", **told)
    if held:
        title = _(
            "{experiment}: {guardrail} of {variant} is breached, the ramp stands still", **told
        )
    message(
        session,
        key=f"breach:{record.key}/{finding.treatment}/{record.seed}/{attempt}/{finding.guardrail}"
        f"@{at.isoformat()}",
        kind=kind,
        experiment=record.key,
        variant=finding.treatment,
        at=at,
        title=title,
        text=reason_of(sight, finding),
        evidence=evidence_of(sight, finding),
        channels=channels,
        guardrail=finding.guardrail,
        facts=facts_of(sight.loaded, finding) | after_breach(record.key, finding.treatment),
    )
