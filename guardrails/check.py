"""One check of one experiment: read, judge, decide, and store it all in one transaction."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from experiments.database import ControlPlane
from experiments.lifecycle import State
from experiments.repository import (
    NOT_APPROVED,
    ChangedMeanwhileError,
    ExperimentRecord,
    TransitionRecord,
    TreatmentRecord,
    insert_transition,
    load_phases,
    load_treatments,
    update_experiment,
)
from guardrails.blindness import tell_blind
from guardrails.decide import Decision, decide, is_blind
from guardrails.loaded import Loaded
from guardrails.look import judge_all, read_cells
from guardrails.outcome import Finding, Outcome
from guardrails.questions import Heard
from guardrails.repository import (
    Monitor,
    evaluation_exists,
    finding_to_json,
    insert_evaluation,
    insert_finding,
    load_monitors,
    message_exists,
    save_monitor,
    save_snapshot,
    snapshot_to_json,
)
from guardrails.rollback import message, record_rollback
from guardrails.schedule import frozen
from guardrails.settings import EngineSettings
from guardrails.standing import standing_of
from guardrails.ticks import Tick
from guardrails.verify import store_verified, verify_rollbacks
from guardrails.words import breach_words, command, instant, percent
from metrics.cells import Snapshot
from metrics.store import MetricStore

logger = logging.getLogger("turnback.check")

ENGINE = "turnback"
"""Who acts when nobody asked."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What one check did: ``ok``, ``error`` (the store failed) or ``taken`` (already recorded)."""

    result: str
    decision: Decision
    transitions: tuple[TransitionRecord, ...] = ()


def _recorded(control: ControlPlane, experiment: str, at: datetime) -> bool:
    with control.reading() as session:
        return evaluation_exists(session, experiment, at)


@dataclass(frozen=True, slots=True)
class _Sight:
    """What one check read."""

    record: ExperimentRecord
    loaded: Loaded
    treatments: Mapping[str, TreatmentRecord]
    monitors: Mapping[tuple[str, str, int], Monitor]
    snapshot: Snapshot | None
    failure: str
    findings: tuple[Finding, ...]
    decision: Decision


def check(
    control: ControlPlane,
    store: MetricStore,
    settings: EngineSettings,
    *,
    record: ExperimentRecord,
    loaded: Loaded,
    tick: Tick,
    heard: Heard,
    now: datetime,
) -> Checked:
    """Run one tick. Everything before the transaction only reads: doing it twice is harmless.

    The cells are those of the tick's instant; what is done about them happens ``now``, which is
    later when the tick is.
    """
    sight = _look(
        control, store, settings, record=record, loaded=loaded, heard=heard, at=tick.at, now=now
    )
    verified = verify_rollbacks(store, record, sight.treatments, at=tick.at)
    result = "ok" if sight.snapshot is not None else "error"
    try:
        with control.transaction() as session:
            transitions = _store(session, settings, sight, tick=tick, result=result, now=now)
            store_verified(session, record, verified, channels=loaded.channels, at=now)
    except (IntegrityError, ChangedMeanwhileError) as error:
        if isinstance(error, IntegrityError) and not _recorded(control, record.key, tick.at):
            raise
        # another scheduler recorded this instant or a person acted meanwhile: drop ours
        logger.info("%s: the check of %s was already taken", record.key, instant(tick.at))
        return Checked("taken", sight.decision)
    return Checked(result, sight.decision, transitions)


def _look(
    control: ControlPlane,
    store: MetricStore,
    settings: EngineSettings,
    *,
    record: ExperimentRecord,
    loaded: Loaded,
    heard: Heard,
    at: datetime,
    now: datetime,
) -> _Sight:
    with control.reading() as session:
        treatments = load_treatments(session, record.key, record.seed)
        phases = load_phases(session, record.key, record.seed)
        monitors = {
            (m.guardrail, m.treatment, m.attempt): m
            for m in load_monitors(session, record.key, record.seed)
        }
    snapshot, failure = read_cells(store, loaded.frame(record, phases), at=at)
    findings = judge_all(
        loaded,
        treatments,
        monitors,
        snapshot,
        failure,
        record=record,
        heard=heard,
        at=at,
    )
    reach = snapshot.reach if snapshot is not None else {}
    standing = standing_of(
        record,
        loaded,
        treatments,
        monitors.values(),
        {variant: r.exposed for variant, r in reach.items()},
        suspended=settings.suspended,
        now=at,
    )
    if standing.frozen is None:  # a late check acts now
        standing = replace(standing, frozen=frozen(loaded.spec.experiment.freeze, now))
    decision = decide(findings, standing, now=at)
    return _Sight(record, loaded, treatments, monitors, snapshot, failure, findings, decision)


def _store(
    session: Session,
    settings: EngineSettings,
    sight: _Sight,
    *,
    tick: Tick,
    result: str,
    now: datetime,
) -> tuple[TransitionRecord, ...]:
    """Write everything one check found and did; all of it or nothing."""
    record, decision = sight.record, sight.decision
    evaluation = insert_evaluation(
        session,
        experiment=record.key,
        seed=record.seed,
        at=tick.at,
        watermark=sight.snapshot.watermark if sight.snapshot is not None else record.watermark,
        missed=tick.missed,
        result=result,
        decision=decision.words,
    )
    _store_findings(session, settings, sight, at=tick.at, evaluation=evaluation)
    if sight.snapshot is not None:
        save_snapshot(session, record.key, tick.at, snapshot_to_json(sight.snapshot))
    tell_blind(session, record, sight.loaded, sight.monitors, sight.findings, at=tick.at)
    transitions = _act(session, settings, sight, at=now, evaluation=evaluation)
    update_experiment(session, record, **_changes(sight, tick.at, now))
    return transitions


def _changes(sight: _Sight, at: datetime, now: datetime) -> dict[str, Any]:
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
    if decision.become is not None:
        changes["state"] = State(decision.become).value
    return changes


def _store_findings(
    session: Session, settings: EngineSettings, sight: _Sight, *, at: datetime, evaluation: int
) -> None:
    record = sight.record
    told = {(f.guardrail, f.treatment) for f in sight.decision.tell}
    stop = sight.decision.stop
    acting = (*sight.decision.rollbacks, *([stop] if stop is not None else []))
    acted = {(f.guardrail, f.treatment) for f in acting}
    for finding in sight.findings:
        attempt = sight.treatments[finding.treatment].attempt
        before = sight.monitors.get((finding.guardrail, finding.treatment, attempt))
        pair = (finding.guardrail, finding.treatment)
        keep = (
            before is None
            or before.outcome != finding.outcome.value
            or before.stored_at is None
            or at - before.stored_at >= settings.evidence_every
            or any(w.is_look for w in finding.windows)
            or pair in told | acted
        )
        if keep:
            insert_finding(
                session,
                finding,
                evaluation=evaluation,
                experiment=record.key,
                seed=record.seed,
                attempt=attempt,
                at=at,
            )
        states = dict(before.states) if before is not None else {}
        states.update(finding.states)
        blind_since = before.blind_since if before is not None else None
        save_monitor(
            session,
            record.key,
            record.seed,
            Monitor(
                treatment=finding.treatment,
                attempt=attempt,
                guardrail=finding.guardrail,
                checked_at=at,
                stored_at=at if keep or before is None else before.stored_at,
                outcome=finding.outcome.value,
                blind_since=(blind_since or at) if is_blind(finding) else None,
                # a breach stands at looks only: told stays until the guardrail has passed
                told=pair in told
                or (before is not None and before.told and finding.outcome is not Outcome.PASS),
                states=states,
                finding=replace(finding, states={}),
            ),
            known=before is not None,
        )


def _act(
    session: Session, settings: EngineSettings, sight: _Sight, *, at: datetime, evaluation: int
) -> tuple[TransitionRecord, ...]:
    record, decision, loaded = sight.record, sight.decision, sight.loaded
    channels = loaded.channels
    done = [
        record_rollback(
            session,
            record,
            sight.treatments[finding.treatment],
            at=at,
            grace=settings.grace,
            actor=ENGINE,
            reason=_reason(loaded, finding),
            evidence=_evidence(sight, finding),
            evaluation=evaluation,
            channels=channels,
        )
        for finding in decision.rollbacks
    ]
    for finding in decision.tell:
        _tell(session, sight, finding, at=at, channels=channels)
    if decision.ask:
        _ask(session, sight, at=at)
    if decision.advance:
        before, after = loaded.spec.experiment.ramp[record.step : record.step + 2]
        done.append(
            insert_transition(
                session,
                experiment=record.key,
                variant=None,
                before=f"traffic {before.traffic:.4g}",
                after=f"traffic {after.traffic:.4g}",
                at=at,
                actor=ENGINE,
                reason="the step's hold is over, its units are in and no guardrail objects",
                evaluation=evaluation,
            )
        )
    if decision.become is not None:
        done.append(_become(session, sight, decision.become, at=at, evaluation=evaluation))
    return tuple(done)


def _become(
    session: Session, sight: _Sight, after: str, *, at: datetime, evaluation: int
) -> TransitionRecord:
    """Record a new state of the experiment: its time has come, or a breach stops it."""
    record, stop = sight.record, sight.decision.stop
    reason = "the time set in the file has come"
    if stop is not None:
        reason = _reason(sight.loaded, stop)
        message(
            session,
            key=f"stopped:{record.key}/{record.seed}@{at.isoformat()}",
            kind="stopped",
            experiment=record.key,
            variant=None,
            at=at,
            title=f"{record.key} was stopped: everybody gets control",
            text=reason,
            evidence=_evidence(sight, stop),
            channels=sight.loaded.channels,
        )
    return insert_transition(
        session,
        experiment=record.key,
        variant=None,
        before=record.state,
        after=after,
        at=at,
        actor=ENGINE,
        reason=reason,
        evidence=_evidence(sight, stop) if stop is not None else None,
        evaluation=evaluation,
    )


def _ask(session: Session, sight: _Sight, *, at: datetime) -> None:
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
        title=f"{record.key} waits for approval to go from {now} to {then} of the traffic",
        text=f"Everything else that step {record.step + 1} of the ramp asks for is there. "
        f"{command('approve', record.key)} allows the next step.",
        evidence=None,
        channels=sight.loaded.channels,
    )


def _tell(
    session: Session, sight: _Sight, finding: Finding, *, at: datetime, channels: Sequence[str]
) -> None:
    record = sight.record
    attempt = sight.treatments[finding.treatment].attempt
    message(
        session,
        key=f"breach:{record.key}/{finding.treatment}/{record.seed}/{attempt}/{finding.guardrail}"
        f"@{at.isoformat()}",
        kind="breach_told",
        experiment=record.key,
        variant=finding.treatment,
        at=at,
        title=f"{record.key}: {finding.guardrail} of {finding.treatment} is breached, "
        "nothing is done",
        text=_reason(sight.loaded, finding),
        evidence=_evidence(sight, finding),
        channels=channels,
    )


def _reason(loaded: Loaded, finding: Finding) -> str:
    comparison = loaded.comparison(finding.guardrail, finding.treatment)
    if comparison is None:
        return f"{finding.guardrail} is breached"
    return breach_words(finding, comparison, loaded.title(finding.kpi))


def _evidence(sight: _Sight, finding: Finding) -> dict[str, Any]:
    return {
        "finding": finding_to_json(finding),
        "watermark": sight.snapshot.watermark if sight.snapshot is not None else None,
        "revision": sight.record.revision,
        "spec_sha256": sight.loaded.spec.sha256,
    }
