"""One ring of the clock for one experiment: start it if it is due, or run the check that is due."""

import logging
import time
from collections.abc import Callable
from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from experiments.database import ControlPlane
from experiments.errors import TurnbackError
from experiments.lifecycle import CHECKED, State
from experiments.repository import (
    ChangedMeanwhileError,
    ExperimentRecord,
    load_experiment,
    load_experiments,
    load_treatments,
)
from guardrails.actions import start
from guardrails.alert_rows import newest_told
from guardrails.asked import Asked
from guardrails.check import check
from guardrails.consequences import ENGINE
from guardrails.failpoints import Point, reached
from guardrails.loaded import Loaded
from guardrails.monitors import load_monitors
from guardrails.present import transition_view
from guardrails.questions import Answers, Heard, ask_all
from guardrails.schedule import too_late
from guardrails.settings import EngineSettings
from guardrails.shelf import Shelf
from guardrails.suspension import is_suspended
from guardrails.ticks import Tick, due_tick
from guardrails.views import CheckReport
from guardrails.words import instant
from metrics.store import MetricStore, StoreError
from metrics.wording import gettext as _

logger = logging.getLogger("turnback.engine")

STARTED = "started"
"""Result in the report of a draft that the clock started; it is no check."""


class Ring:
    """Runs what is due, one experiment at a time; the engine sees to it that nobody else does.

    Args:
        control: The control plane.
        store: The metric store.
        shelf: Revisions.
        settings: Of the engine.
        follow: Called after every change, so that it is served.
    """

    def __init__(
        self,
        control: ControlPlane,
        store: MetricStore,
        shelf: Shelf,
        settings: EngineSettings,
        follow: Callable[[], None],
    ) -> None:
        self._control = control
        self._store = store
        self._shelf = shelf
        self._settings = settings
        self._follow = follow
        self.trouble: dict[str, str] = {}

    def due(self, now: datetime) -> list[str]:
        """Return the keys of what may be due, oldest first: a look that costs one statement."""
        with self._control.reading() as session:
            records = load_experiments(session)
            told = newest_told(session)
            return [
                record.key
                for record in records
                if self._may_be_due(session, record, now, told.get(record.key))
            ]

    def _may_be_due(
        self, session: Session, record: ExperimentRecord, now: datetime, told: datetime | None
    ) -> bool:
        state = State(record.state)
        if state not in CHECKED:
            starts = record.starts_at
            return state is State.DRAFT and starts is not None and starts <= now
        if record.last_tick_at is None or record.last_tick_at > now:
            return True
        try:
            return _tick(record, self._shelf.load(session, record), now, told) is not None
        except Exception:  # noqa: BLE001 - the check meets the same defect, and reports it
            return True

    def ask(self, key: str, now: datetime, answers: Answers) -> Heard:
        """Ask what the check that is due wants to know of Prometheus; changes nothing.

        It waits for Prometheus as long as that takes: hold no lock meanwhile.

        Args:
            key: The experiment.
            now: Instant of the ring.
            answers: What was answered before in this run of checks; new answers are added.
        """
        try:
            with self._control.reading() as session:
                record = load_experiment(session, key)
                if record is None or State(record.state) not in CHECKED:
                    return Heard()
                loaded = self._shelf.load(session, record)
                if not loaded.queries:
                    return Heard()
                tick = _tick(record, loaded, now, newest_told(session).get(key))
                if tick is None:
                    return Heard()
                treatments = load_treatments(session, key, record.seed)
                monitors = load_monitors(session, key, record.seed)
        except Exception:  # the check meets the same defect, and reports it
            logger.exception("%s: Prometheus could not be asked", key)
            return Heard()
        source = self._settings.prometheus
        return ask_all(loaded, record, treatments, source, answers, at=tick.at, monitors=monitors)

    def guarded(self, key: str, now: datetime, heard: Heard) -> CheckReport | None:
        """Run what is due: a defect in one experiment's check must not blind the others."""
        begun = time.monotonic()
        try:
            report = self._run(key, now, heard)
        except Exception as error:
            logger.exception("%s: the check failed", key)
            known = isinstance(error, TurnbackError | StoreError)
            what = str(error) if known else f"{type(error).__name__}: {error}"
            text = _("checks fail since {at}: {error}", at=instant(now), error=what)
            self.trouble.setdefault(key, text)
            return CheckReport(
                experiment=key,
                at=now,
                result="error",
                decision=f"the check failed: {type(error).__name__}",
                transitions=(),
                seconds=time.monotonic() - begun,
            )
        if report is not None and report.result == "ok":
            self.trouble.pop(key, None)
        return report

    def _run(self, key: str, now: datetime, heard: Heard) -> CheckReport | None:
        with self._control.reading() as session:
            record = load_experiment(session, key)
            if record is None:
                return None
            state = State(record.state)
            # a suspended engine could not turn back what it starts
            due = record.starts_at is not None and record.starts_at <= now
            due = due and not is_suspended(session, by_setting=self._settings.suspended)
            if state not in CHECKED and not (state is State.DRAFT and due):
                return None
            loaded = self._shelf.load(session, record)
            told = newest_told(session).get(key)
        if state is State.DRAFT:
            return self._start(record, loaded, now)
        tick = _tick(record, loaded, now, told)
        return None if tick is None else self._check(record, loaded, tick, now, heard)

    def _start(self, record: ExperimentRecord, loaded: Loaded, now: datetime) -> CheckReport | None:
        """Start a draft whose time has come, also long ago: nobody was there to do it."""
        if too_late(loaded.spec.experiment, now):
            return None  # it would end at once; what needs attention says so
        begun = time.monotonic()
        asked = Asked(actor=ENGINE, reason=_("the time set in the file has come"), at=now)
        try:
            with self._control.transaction() as session:
                done = start(session, record, loaded, asked, holdout=self._settings.holdout)
        except (ChangedMeanwhileError, IntegrityError):
            logger.info("%s: somebody else started or changed the draft", record.key)
            return None
        self._follow()
        return CheckReport(
            experiment=record.key,
            at=now,
            result=STARTED,
            decision=asked.reason,
            transitions=(transition_view(done),),
            seconds=time.monotonic() - begun,
        )

    def _check(
        self, record: ExperimentRecord, loaded: Loaded, tick: Tick, now: datetime, heard: Heard
    ) -> CheckReport:
        begun = time.monotonic()
        reached(Point.DUE)
        done = check(
            self._control,
            self._store,
            self._settings,
            record=record,
            loaded=loaded,
            tick=tick,
            heard=heard,
            now=now,
        )
        if done.transitions or done.result == "taken":
            self._follow()  # nothing else of a check changes what is served
        reached(Point.SERVED)
        return CheckReport(
            experiment=record.key,
            at=tick.at,
            result=done.result,
            decision=done.decision.words,
            transitions=tuple(transition_view(t) for t in done.transitions),
            seconds=time.monotonic() - begun,
            missed=tick.missed if done.result != "taken" else 0,
        )


def _tick(
    record: ExperimentRecord, loaded: Loaded, now: datetime, told: datetime | None
) -> Tick | None:
    every = loaded.spec.experiment.check_every
    return due_tick(record.last_tick_at, now, every, started=record.started_at, told=told)
