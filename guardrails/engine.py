"""The engine: what can be asked of running experiments, from any thread."""

import logging
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from threading import RLock

from sqlmodel import Session

from experiments.database import ControlPlane
from experiments.errors import StaleWriteError, UnknownExperimentError
from experiments.lifecycle import CHECKED, Move, State
from experiments.repository import (
    ChangedMeanwhileError,
    ExperimentRecord,
    TransitionRecord,
    experiment_keys,
    load_experiment,
    load_revision,
    load_transitions,
    load_treatments,
    served_facts,
)
from guardrails.actions import Asked, change_state, resume, roll_back
from guardrails.apply import apply_file
from guardrails.channels.log import LogChannel
from guardrails.check import check
from guardrails.clock import Clock
from guardrails.loaded import Loaded, load
from guardrails.outbox import deliver_due
from guardrails.present import Known, experiment_view, explanation, transition_view
from guardrails.repository import load_findings, load_monitors, load_snapshot
from guardrails.served import ServedConfig, Standing, compile_all
from guardrails.settings import EngineHook, EngineSettings
from guardrails.ticks import due_tick
from guardrails.views import (
    ApplyView,
    CheckReport,
    ExperimentView,
    Explanation,
    TransitionView,
)
from guardrails.words import instant
from metrics.catalogue import Catalogue, load_catalogue
from metrics.store import MetricStore

__all__ = ["Engine", "ServedConfig"]

logger = logging.getLogger("turnback.engine")


class Engine:
    """Applies files, runs checks, turns treatments back and says why.

    One object per store. Several engines on one control plane do no harm: every tick has an
    identity in the database and every write is compare-and-set.

    Args:
        control: The control plane, tables created.
        store: The metric store.
        clock: Where now comes from.
        flush: Called before every run of checks so that buffered events are counted.
        settings: What may be told from outside.
        catalogue: KPIs known beside those of a file; the shipped ones by default.
        hooks: Receive measurements.
        deliver_inline: Whether messages are sent by whoever caused them. A service says no and
            calls ``deliver`` from a job of its own, so that a slow receiver delays nothing.
    """

    def __init__(
        self,
        *,
        control: ControlPlane,
        store: MetricStore,
        clock: Clock,
        flush: Callable[[], None] = lambda: None,
        settings: EngineSettings | None = None,
        catalogue: Catalogue | None = None,
        hooks: Sequence[EngineHook] = (),
        deliver_inline: bool = True,
    ) -> None:
        self._control = control
        self._store = store
        self._clock = clock
        self._flush = flush
        self.settings = settings or EngineSettings()
        self._catalogue = catalogue or load_catalogue()
        self._hooks = tuple(hooks)
        self._channels = {"log": LogChannel(), **self.settings.channels}
        self._lock = RLock()
        self._delivering = RLock()
        self._deliver_inline = deliver_inline
        self._loaded: dict[tuple[str, int], Loaded] = {}
        self._trouble: dict[str, str] = {}
        control.create()
        self._facts: object = None
        self._served = ServedConfig("", {})
        self._refresh()

    @property
    def catalogue(self) -> Catalogue:
        """KPIs known beside those of a file."""
        return self._catalogue

    def serving(self) -> ServedConfig:
        """Return what applications are answered from; never blocks."""
        return self._served

    def apply(self, text: str, *, source: str, actor: str) -> ApplyView:
        """Validate a file and make it the experiment's newest revision, starting it when new.

        Raises:
            SpecError: The file has problems; nothing changed.
            ConflictError: It would move exposed units, or the experiment is over.
        """
        loaded = load(
            text, source=source, catalogue=self._catalogue, show_core=self.settings.show_core
        )
        with self._lock:
            with _compare_and_set(), self._control.transaction() as session:
                before = load_experiment(session, loaded.key)
                current = self._load(session, before) if before is not None else None
                view = apply_file(
                    session,
                    loaded,
                    before=before,
                    current=current,
                    source=source,
                    actor=actor,
                    now=self._clock.now(),
                )
            self._follow()
        self._tell()
        return replace(view, warnings=(*view.warnings, *self._unknown_channels(loaded, source)))

    def _unknown_channels(self, loaded: Loaded, source: str) -> tuple[str, ...]:
        return tuple(
            f"{source}: notify: this service has no channel named `{name}`; messages for it are "
            "not delivered until its settings name one"
            for name in loaded.spec.experiment.notify
            if name not in self._channels
        )

    def run_due(self, *, now: datetime | None = None) -> tuple[CheckReport, ...]:
        """Run every check that is due, of every experiment; late ones collapse to the newest."""
        self._refresh()
        self._flush()
        at = now or self._clock.now()
        with self._control.reading() as session:
            keys = experiment_keys(session)
        reports = tuple(r for key in keys if (r := self._run_guarded(key, at)) is not None)
        for report in reports:
            for hook in self._hooks:
                hook.on_check(report)
        if reports:
            self._tell()
        return reports

    def _run_guarded(self, key: str, now: datetime) -> CheckReport | None:
        """Run one experiment's check: a defect in one must not blind the others."""
        begun = time.monotonic()
        try:
            report = self._run_one(key, now)
        except Exception as error:
            logger.exception("%s: the check failed", key)
            text = f"checks fail since {instant(now)}: {type(error).__name__}: {error}"
            self._trouble.setdefault(key, text)
            return CheckReport(
                experiment=key,
                at=now,
                result="error",
                decision=f"the check failed: {type(error).__name__}",
                transitions=(),
                seconds=time.monotonic() - begun,
            )
        if report is not None and report.result == "ok":
            self._trouble.pop(key, None)
        return report

    def _run_one(self, key: str, now: datetime) -> CheckReport | None:
        with self._lock:
            with self._control.reading() as session:
                record = load_experiment(session, key)
                if record is None or State(record.state) not in CHECKED:
                    return None
                loaded = self._load(session, record)
            every = loaded.spec.experiment.check_every
            tick = due_tick(record.last_tick_at, now, every, started=record.started_at)
            if record.last_tick_at is not None and record.last_tick_at > now + every:
                self._trouble[key] = (
                    f"the clock says {instant(now)}, before the newest check "
                    f"({instant(record.last_tick_at)}): nothing is due until it has caught up"
                )
            if tick is None:
                return None
            begun = time.monotonic()
            done = check(
                self._control,
                self._store,
                self.settings,
                record=record,
                loaded=loaded,
                tick=tick,
                now=now,
            )
            self._follow()
            return CheckReport(
                experiment=key,
                at=tick.at,
                result=done.result,
                decision=done.decision.words,
                transitions=tuple(transition_view(t) for t in done.transitions),
                seconds=time.monotonic() - begun,
            )

    def roll_back(self, key: str, variant: str, *, reason: str, actor: str) -> TransitionView:
        """Turn a treatment back by hand, latched like the engine's own.

        Raises:
            UnknownExperimentError: No such experiment.
            UnknownVariantError: No such treatment.
            ConflictError: It is rolled back already.
        """
        asked = Asked(actor=actor, reason=reason, at=self._clock.now())
        return self._act(
            key, lambda s, r, x: roll_back(s, r, x, variant, asked, settings=self.settings)
        )

    def resume(self, key: str, variant: str, *, reason: str, actor: str) -> TransitionView:
        """Begin a new attempt of a rolled back treatment.

        The same units get the same arm; only units first exposed from now on count for it, and
        for control in its comparisons, at a fresh level.

        Raises:
            UnknownExperimentError: No such experiment.
            UnknownVariantError: No such treatment.
            ConflictError: It is live, or the experiment is over.
        """
        asked = Asked(actor=actor, reason=reason, at=self._clock.now())
        return self._act(key, lambda s, r, x: resume(s, r, x, variant, asked))

    def move(self, key: str, step: Move, *, reason: str, actor: str) -> TransitionView:
        """Pause, continue or stop an experiment.

        Raises:
            UnknownExperimentError: No such experiment.
            IllegalTransitionError: Not from its present state.
        """
        asked = Asked(actor=actor, reason=reason, at=self._clock.now())
        return self._act(key, lambda s, r, _x: change_state(s, r, step, asked))

    def _act(
        self,
        key: str,
        action: Callable[[Session, ExperimentRecord, Loaded], TransitionRecord],
    ) -> TransitionView:
        with self._lock:
            with _compare_and_set(), self._control.transaction() as session:
                record, loaded = self._known(session, key)
                done = action(session, record, loaded)
            self._follow()
        self._tell()
        return transition_view(done)

    def pause(self, key: str, *, reason: str, actor: str) -> TransitionView:
        """Give everybody control and go on checking; ``continue`` undoes it."""
        return self.move(key, Move.PAUSE, reason=reason, actor=actor)

    def stop(self, key: str, *, reason: str, actor: str) -> TransitionView:
        """End an experiment for good: everybody gets control, checks end."""
        return self.move(key, Move.STOP, reason=reason, actor=actor)

    def experiments(self) -> tuple[ExperimentView, ...]:
        """Return every experiment, oldest first."""
        with self._control.reading() as session:
            keys = experiment_keys(session)
        return tuple(self.experiment(key) for key in keys)

    def experiment(self, key: str) -> ExperimentView:
        """Return everything shown of one experiment.

        Raises:
            UnknownExperimentError: No such experiment.
        """
        return experiment_view(self._all_of(key))

    def transitions(self, key: str) -> tuple[TransitionView, ...]:
        """Return every change of state of an experiment, oldest first.

        Raises:
            UnknownExperimentError: No such experiment.
        """
        with self._control.reading() as session:
            self._known(session, key)
            return tuple(transition_view(t) for t in load_transitions(session, key))

    def explain(self, key: str) -> Explanation:
        """Say what happened and why, in words, from stored evidence.

        Raises:
            UnknownExperimentError: No such experiment.
        """
        known = self._all_of(key)
        return explanation(known, experiment_view(known), now=self._clock.now())

    def seed_of(self, key: str) -> int | None:
        """Return the seed an experiment's exposures count for now, ``None`` when unknown."""
        compiled = self._served.experiments.get(key)
        return None if compiled is None else compiled.spec.seed

    def deliver(self) -> int:
        """Try every message that is due once; return how many were delivered."""
        with self._delivering:
            return deliver_due(
                self._control, self._channels, now=self._clock.now(), report=self._told
            )

    def close(self) -> None:
        """Release the control plane; the store belongs to whoever opened it."""
        self._control.close()

    def _told(self, channel: str, result: str) -> None:
        for hook in self._hooks:
            hook.on_notification(channel, result)

    def _load(self, session: Session, record: ExperimentRecord) -> Loaded:
        held = self._loaded.get((record.key, record.revision))
        if held is None:
            row = load_revision(session, record.key, record.revision)
            held = load(
                row.text,
                source=row.source,
                catalogue=self._catalogue,
                show_core=self.settings.show_core,
            )
            self._loaded[record.key, record.revision] = held
        return held

    def _known(self, session: Session, key: str) -> tuple[ExperimentRecord, Loaded]:
        record = load_experiment(session, key)
        if record is None:
            known = experiment_keys(session)
            hint = f"known: {', '.join(known)}" if known else "no file was applied yet"
            raise UnknownExperimentError(f"no experiment named {key!r}", hint=hint)
        return record, self._load(session, record)

    def _all_of(self, key: str) -> Known:
        with self._control.reading() as session:
            record, loaded = self._known(session, key)
            return Known(
                record=record,
                loaded=loaded,
                treatments=load_treatments(session, key, record.seed),
                monitors=load_monitors(session, key, record.seed),
                findings=load_findings(session, key, record.seed),
                transitions=load_transitions(session, key),
                snapshot=load_snapshot(session, key),
                suspended=self.settings.suspended,
                trouble=self._trouble.get(key),
            )

    def _tell(self) -> None:
        if self._deliver_inline:
            self.deliver()

    def _follow(self) -> None:
        """Serve what is stored now; if that fails, the next run of checks tries again."""
        try:
            self._refresh()
        except Exception:
            # what was committed stays committed; serving catches up at the next ring
            logger.exception("the served configuration could not be made anew")

    def _refresh(self) -> None:
        """Serve what is stored, whoever stored it (another engine on the same database too)."""
        with self._lock, self._control.reading() as session:
            facts = served_facts(session)
            if facts == self._facts:
                return
            self._served = self._compile(session)
            self._facts = facts

    def _compile(self, session: Session) -> ServedConfig:
        standings: list[Standing] = []
        for key in experiment_keys(session):
            record, loaded = self._known(session, key)
            treatments = load_treatments(session, key, record.seed)
            back = frozenset(v for v, t in treatments.items() if t.state == "rolled_back")
            standings.append(Standing(record, loaded, back))
        return compile_all(standings)


@contextmanager
def _compare_and_set() -> Generator[None]:
    """Say in words that somebody else wrote first."""
    try:
        yield
    except ChangedMeanwhileError as error:
        raise StaleWriteError(
            f"{error} was changed by somebody else meanwhile", hint="look again, then retry"
        ) from error
