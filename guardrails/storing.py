"""Writing down one check: the evaluation, its findings, and what was done about them."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlmodel import Session

from experiments.lifecycle import State
from experiments.repository import NOT_APPROVED, TransitionRecord, update_experiment
from guardrails.blindness import tell_blind
from guardrails.consequences import act
from guardrails.evidence import account_of
from guardrails.evidence_rows import insert_account
from guardrails.facts import is_blind
from guardrails.failpoints import Point, reached
from guardrails.kpi_intervals import add_intervals, kpi_intervals
from guardrails.monitors import save_monitors
from guardrails.outcome import Finding, Outcome
from guardrails.repository import (
    Monitor,
    insert_evaluation,
    insert_finding,
    save_snapshot,
    snapshot_to_json,
)
from guardrails.settings import EngineSettings
from guardrails.sight import Sight
from guardrails.ticks import Tick


def store_check(
    session: Session,
    settings: EngineSettings,
    sight: Sight,
    *,
    tick: Tick,
    result: str,
    now: datetime,
) -> tuple[TransitionRecord, ...]:
    """Write everything one check found and did; all of it or nothing.

    Args:
        session: The transaction.
        settings: Of the engine.
        sight: What the check read and decided.
        tick: Which check it was.
        result: ``ok``, or ``error`` where the store could not be read.
        now: When it is done; later than the tick where the check is late.

    Returns:
        What changed, to be told.
    """
    record, decision = sight.record, sight.decision
    evaluation = insert_evaluation(
        session,
        experiment=record.key,
        seed=record.seed,
        at=tick.at,
        watermark=_watermark(sight),
        missed=tick.missed,
        result=result,
        decision=decision.words,
    )
    reached(Point.EVALUATION)
    kept = _store_findings(session, settings, sight, at=tick.at, evaluation=evaluation)
    reached(Point.FINDINGS)
    if sight.snapshot is not None:
        body = snapshot_to_json(sight.snapshot)
        add_intervals(body, kpi_intervals(sight.loaded, sight.snapshot))
        save_snapshot(session, record.key, tick.at, body)
    tell_blind(session, sight, at=tick.at)
    transitions = act(session, settings, sight, at=now, evaluation=evaluation)
    if settings.accounts and (kept or transitions):
        account = account_of(
            sight,
            engine=settings.version,
            missed=tick.missed,
            result=result,
            watermark=_watermark(sight),
            kept=kept,
            transitions=transitions,
        )
        insert_account(
            session,
            account,
            evaluation=evaluation,
            experiment=record.key,
            seed=record.seed,
            at=tick.at,
            engine=settings.version,
        )
        reached(Point.EVIDENCE)
    update_experiment(session, record, **_changes(sight, tick.at, now))
    reached(Point.STATE)
    return transitions


def _watermark(sight: Sight) -> int:
    return sight.snapshot.watermark if sight.snapshot is not None else sight.record.watermark


def _changes(sight: Sight, at: datetime, now: datetime) -> dict[str, Any]:
    record, decision = sight.record, sight.decision
    changes: dict[str, Any] = {"last_tick_at": at, "checks": record.checks + 1}
    if sight.snapshot is not None:
        changes["watermark"] = sight.snapshot.watermark
    if decision.advance:
        reach = sight.snapshot.reach if sight.snapshot is not None else {}
        changes |= {
            "step": record.step + 1,
            "step_since": now,
            "step_exposed": {variant: r.exposed for variant, r in reach.items()},
            "approved": NOT_APPROVED,
        }
    if decision.anew and not decision.advance:
        changes["step_since"] = now
    if decision.become is not None:
        changes["state"] = State(decision.become).value
    if decision.ship is not None:
        changes["shipped"] = decision.ship
    return changes


def _store_findings(
    session: Session, settings: EngineSettings, sight: Sight, *, at: datetime, evaluation: int
) -> list[Finding]:
    """Write where every guardrail stands, and the evidence where it is worth keeping.

    Returns:
        The findings that are kept.
    """
    found: list[Finding] = []
    stand: list[tuple[Monitor, Monitor | None]] = []
    record, decision = sight.record, sight.decision
    told = {(f.guardrail, f.treatment) for f in decision.tell}
    acting = (*decision.rollbacks, *([decision.stop] if decision.stop is not None else []))
    acted = {(f.guardrail, f.treatment) for f in acting}
    for finding in sight.findings:
        attempt = sight.treatments[finding.treatment].attempt
        before = sight.monitors.get((finding.guardrail, finding.treatment, attempt))
        pair = (finding.guardrail, finding.treatment)
        keep = pair in told | acted or _is_evidence(finding, before, settings, at=at)
        if keep:
            found.append(finding)
            insert_finding(
                session,
                finding,
                evaluation=evaluation,
                experiment=record.key,
                seed=record.seed,
                attempt=attempt,
                at=at,
            )
        after = _monitor(finding, before, attempt=attempt, at=at, kept=keep, told=pair in told)
        stand.append((after, before))
    save_monitors(session, record.key, record.seed, stand)
    return found


def _is_evidence(
    finding: Finding, before: Monitor | None, settings: EngineSettings, *, at: datetime
) -> bool:
    """Return whether a finding is kept: at looks, changes of outcome, and now and then."""
    return (
        before is None
        or before.outcome != finding.outcome.value
        or before.stored_at is None
        or at - before.stored_at >= settings.evidence_every
        or any(window.is_look for window in finding.windows)
    )


def _monitor(
    finding: Finding,
    before: Monitor | None,
    *,
    attempt: int,
    at: datetime,
    kept: bool,
    told: bool,
) -> Monitor:
    """Return where a guardrail stands after a check."""
    blind_since = before.blind_since if before is not None else None
    blind = is_blind(finding)
    # a breach stands at looks only: told stays until the guardrail has passed
    still = before is not None and before.told and finding.outcome is not Outcome.PASS
    return Monitor(
        treatment=finding.treatment,
        attempt=attempt,
        guardrail=finding.guardrail,
        checked_at=at,
        stored_at=at if kept or before is None else before.stored_at,
        outcome=finding.outcome.value,
        blind_since=(blind_since or at) if blind else None,
        blind_checks=1 + (before.blind_checks if before is not None else 0) if blind else 0,
        told=told or still,
        states={**(before.states if before is not None else {}), **finding.states},
        finding=replace(finding, states={}),
    )
