"""One check of one experiment: read, judge, decide, and store it all in one transaction."""

import logging
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.exc import IntegrityError

from experiments.database import ControlPlane
from experiments.repository import (
    ChangedMeanwhileError,
    ExperimentRecord,
    TransitionRecord,
    load_phases,
    load_treatments,
)
from guardrails.decide import Decision, decide
from guardrails.loaded import Loaded
from guardrails.look import judge_all, read_cells
from guardrails.questions import Heard
from guardrails.repository import evaluation_exists, load_monitors
from guardrails.schedule import frozen
from guardrails.settings import EngineSettings
from guardrails.sight import Sight
from guardrails.standing import standing_of
from guardrails.storing import store_check
from guardrails.ticks import Tick
from guardrails.verify import store_verified, verify_rollbacks
from guardrails.words import instant
from metrics.store import MetricStore

logger = logging.getLogger("turnback.check")


@dataclass(frozen=True, slots=True)
class Checked:
    """What one check did: ``ok``, ``error`` (the store failed) or ``taken`` (already recorded)."""

    result: str
    decision: Decision
    transitions: tuple[TransitionRecord, ...] = ()


def _recorded(control: ControlPlane, experiment: str, at: datetime) -> bool:
    with control.reading() as session:
        return evaluation_exists(session, experiment, at)


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
            transitions = store_check(session, settings, sight, tick=tick, result=result, now=now)
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
) -> Sight:
    with control.reading() as session:
        treatments = load_treatments(session, record.key, record.seed)
        phases = load_phases(session, record.key, record.seed)
        known = load_monitors(session, record.key, record.seed)
        monitors = {(m.guardrail, m.treatment, m.attempt): m for m in known}
    snapshot, failure = read_cells(store, loaded.frame(record, phases), at=at)
    findings = judge_all(
        loaded, treatments, monitors, snapshot, failure, record=record, heard=heard, at=at
    )
    reach = snapshot.reach if snapshot is not None else {}
    exposed = {variant: r.exposed for variant, r in reach.items()}
    standing = standing_of(
        record,
        loaded,
        treatments,
        known,
        exposed,
        suspended=settings.suspended,
        now=at,
    )
    if standing.frozen is None:  # a late check acts now
        standing = replace(standing, frozen=frozen(loaded.spec.experiment.freeze, now))
    decision = decide(findings, standing, now=at)
    return Sight(record, loaded, treatments, monitors, snapshot, findings, decision)
