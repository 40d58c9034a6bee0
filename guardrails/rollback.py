"""Turning a treatment back: state, transition, evidence and messages in one transaction."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session

from experiments.repository import (
    ExperimentRecord,
    TransitionRecord,
    TreatmentRecord,
    close_latch,
    insert_transition,
)
from guardrails.failpoints import Point, reached
from guardrails.links import rollback_link
from guardrails.repository import enqueue
from guardrails.tidings import after_rollback
from metrics.wording import gettext as _


def latch_key(experiment: str, treatment: TreatmentRecord) -> str:
    """Return what a rollback is latched by: experiment, variant, seed and attempt."""
    return f"{experiment}/{treatment.variant}/{treatment.seed}/{treatment.attempt}"


def record_rollback(
    session: Session,
    record: ExperimentRecord,
    treatment: TreatmentRecord,
    *,
    at: datetime,
    grace: timedelta,
    actor: str,
    reason: str,
    evidence: dict[str, Any] | None,
    evaluation: int | None,
    channels: Sequence[str],
    guardrail: str | None = None,
    facts: Mapping[str, str] | None = None,
    public_url: str = "",
    by_hand: bool = False,
) -> TransitionRecord:
    """Close the latch of a live treatment inside the caller's transaction.

    The caller also compares and sets the experiment's version, so two checks that both want
    this can not both do it; the latch column of the transition makes it impossible even so.

    Raises:
        ChangedMeanwhileError: The treatment is not live any more.
    """
    close_latch(session, experiment=record.key, treatment=treatment, at=at, verify_after=at + grace)
    reached(Point.LATCH)
    latch = latch_key(record.key, treatment)
    transition = insert_transition(
        session,
        experiment=record.key,
        variant=treatment.variant,
        before="live",
        after="rolled_back",
        at=at,
        actor=actor,
        reason=reason,
        evaluation=evaluation,
        evidence=evidence,
        latch=latch,
    )
    reached(Point.TRANSITION)
    message(
        session,
        key=f"rolled_back:{latch}",
        kind="rolled_back",
        experiment=record.key,
        variant=treatment.variant,
        at=at,
        title=_(
            "{experiment}: {variant} was turned back to control",
            experiment=record.key,
            variant=treatment.variant,
        ),
        text=f"By hand, by {actor}: {reason}" if by_hand else reason,
        evidence=evidence,
        channels=channels,
        guardrail=guardrail,
        facts=dict(facts or {})
        | after_rollback(record.key, treatment.variant, None if by_hand else transition.id),
        link=rollback_link(public_url, record.key, transition.id),
    )
    reached(Point.MESSAGE)
    return transition


def message(
    session: Session,
    *,
    key: str,
    kind: str,
    experiment: str,
    variant: str | None,
    at: datetime,
    title: str,
    text: str,
    evidence: dict[str, Any] | None,
    channels: Sequence[str],
    guardrail: str | None = None,
    facts: Mapping[str, str] | None = None,
    link: str = "",
) -> None:
    """Put a message into the outbox inside the caller's transaction."""
    body = {
        "key": key,
        "kind": kind,
        "experiment": experiment,
        "variant": variant,
        "at": at.isoformat(),
        "title": title,
        "text": text,
        "evidence": evidence,
        "guardrail": guardrail,
        "facts": dict(facts or {}),
        "link": link,
    }
    enqueue(session, key=key, channels=channels, experiment=experiment, at=at, body=body)
