"""One check of one experiment: read, judge, decide, and store it all in one transaction."""

import logging
from dataclasses import dataclass
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
from guardrails.alert_rows import alerts_told
from guardrails.conclude import Inputs, conclude
from guardrails.decide import Decision
from guardrails.failpoints import Point, reached
from guardrails.loaded import Loaded
from guardrails.look import read_cells
from guardrails.monitors import load_monitors
from guardrails.questions import Heard, answered
from guardrails.repository import evaluation_exists, running_since
from guardrails.settings import EngineSettings
from guardrails.sight import Sight
from guardrails.storing import store_check
from guardrails.suspension import is_suspended
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
    reached(Point.LOOKED_BACK)
    result = "ok" if sight.snapshot is not None else "error"
    try:
        with control.transaction() as session:
            reached(Point.BEGUN)
            transitions = store_check(session, settings, sight, tick=tick, result=result, now=now)
            store_verified(
                session,
                record,
                verified,
                channels=loaded.channels,
                at=now,
                public_url=settings.public_url,
            )
            reached(Point.BEFORE_COMMIT)
    except (IntegrityError, ChangedMeanwhileError) as error:
        if isinstance(error, IntegrityError) and not _recorded(control, record.key, tick.at):
            raise
        # another scheduler recorded this instant or a person acted meanwhile: drop ours
        logger.info("%s: the check of %s was already taken", record.key, instant(tick.at))
        return Checked("taken", sight.decision)
    reached(Point.COMMITTED)
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
        suspended = is_suspended(session, by_setting=settings.suspended)
        since = running_since(session, record) if loaded.ends_it else None
        alerts = alerts_told(session, record.key, loaded.alerts)
    reached(Point.BEFORE_CELLS)
    snapshot, failure = read_cells(store, loaded.frame(record, phases), at=at)
    reached(Point.AFTER_CELLS)
    inputs = Inputs(
        record=record,
        treatments=treatments,
        phases=phases,
        monitors={(m.guardrail, m.treatment, m.attempt): m for m in known},
        snapshot=snapshot,
        failure=failure,
        answers=answered(heard, loaded, record, treatments, at),
        suspended=suspended,
        at=at,
        now=now,
        running_since=since,
        alerts=alerts,
    )
    findings, decision = conclude(loaded, inputs)
    reached(Point.JUDGED)
    return Sight(loaded, inputs, findings, decision)
