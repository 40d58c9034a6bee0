"""What can be read of experiments: views, revisions, transitions, explanations."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime

from experiments.database import ControlPlane
from experiments.lifecycle import OVER
from experiments.repository import (
    experiment_keys,
    load_phases,
    load_revisions,
    load_transitions,
    newest_revisions,
)
from guardrails.audit_reading import Entry, Sort, entries
from guardrails.clock import Clock
from guardrails.evidence_rows import newest_of_runs
from guardrails.health_reading import ExperimentSight, UntoldMessage, sights, untold_messages
from guardrails.known import Known
from guardrails.meanings import ListedKpi, listed
from guardrails.past import past_explanation
from guardrails.past_reading import past_of
from guardrails.planning.measured import Measured, measured_of
from guardrails.present import experiment_view, revision_view, transition_view
from guardrails.present_explained import explanation
from guardrails.present_guardrails import Guarding, guarding
from guardrails.replay import Replayed
from guardrails.replaying import Replayer
from guardrails.repository import activities, activity, missed_checks
from guardrails.ring import Ring
from guardrails.rollback_reading import rollback_story
from guardrails.rollback_views import RollbackStory
from guardrails.segment_desk import SegmentDesk, Wanted
from guardrails.segments import asked_of, read_once, segments_view
from guardrails.settings import EngineSettings
from guardrails.shelf import Shelf
from guardrails.suspension import SuspensionView, view_of
from guardrails.views import (
    ExperimentView,
    Explanation,
    RevisionView,
    SegmentsView,
    TransitionView,
)
from metrics.catalogue import Catalogue, load_catalogue
from metrics.store import Frame, MetricStore


def nothing_own(_key: str) -> tuple[str, ...]:
    """Return nothing: no experiment has anything of its own to look at."""
    return ()


class Reading:
    """The reading half of the engine: changes nothing, waits for no lock. Safe from any thread.

    Attributes:
        settings: What may be told from outside.
        notices: Each returns what a person should look at in the whole service; it is told of
            every experiment that is not over.
        own_notices: Returns the same of one experiment, by its key.
    """

    settings: EngineSettings
    notices: tuple[Callable[[], tuple[str, ...]], ...]
    own_notices: Callable[[str], tuple[str, ...]]
    _control: ControlPlane
    _store: MetricStore
    _clock: Clock
    _catalogue: Catalogue
    _shelf: Shelf
    _ring: Ring
    _desk: SegmentDesk

    def experiments(self) -> tuple[ExperimentView, ...]:
        """Return every experiment, oldest first."""
        with self._control.reading() as session:
            keys = experiment_keys(session)
        return tuple(self._view(key)[0] for key in keys)

    def experiment(self, key: str) -> ExperimentView:
        """Return everything shown of one experiment.

        Raises:
            UnknownExperimentError: No such experiment.
        """
        view, wanted = self._view(key)
        return view if wanted is None else replace(view, segments=self._desk.ask(wanted))

    def experiment_at_rest(self, key: str) -> ExperimentView:
        """Return everything shown of one experiment, segments too, as of its newest check.

        For what is written once: whoever asks waits for the segments to be counted.

        Raises:
            UnknownExperimentError: No such experiment.
            StoreError: Its segments cannot be counted.
        """
        view, wanted = self._view(key)
        if wanted is None or view.last_check_at is None:
            return view
        return replace(view, segments=self.count_segments(key, at=view.last_check_at))

    def _view(self, key: str) -> tuple[ExperimentView, Wanted | None]:
        """Return an experiment with its segments as they were last counted."""
        known = self._all_of(key)
        view, declared = experiment_view(known), known.loaded.spec.experiment.segments
        if not declared:
            return view, None
        wanted = Wanted(key, (view.seed, view.revision, view.state), declared)
        return replace(view, segments=self._desk.latest(wanted)), wanted

    def count_segments(self, key: str, *, at: datetime | None = None) -> SegmentsView:
        """Count where the effect differs among the attributes that a file declares.

        Args:
            key: The experiment.
            at: As of this instant; now by default.

        Raises:
            UnknownExperimentError: No such experiment.
            StoreError: It cannot be counted.
        """
        known, now = self._all_of(key), at or self._clock.now()
        loaded, record, view = known.loaded, known.record, experiment_view(known)
        with self._control.reading() as session:
            phases = load_phases(session, key, record.seed)
        asked, frame = asked_of(view, loaded), loaded.frame(record, phases)
        by = loaded.spec.experiment.segments
        split = self._store.segments(frame, by=by, asked=asked, now=now) if asked else ()
        return segments_view(
            loaded,
            split,
            asked=asked,
            first_phases={name: t.first_phase for name, t in known.treatments.items()},
            repeated=not read_once(view),
            at=now,
        )

    def transitions(self, key: str) -> tuple[TransitionView, ...]:
        """Return every change of state of an experiment, oldest first.

        Raises:
            UnknownExperimentError: No such experiment.
        """
        with self._control.reading() as session:
            self._shelf.known(session, key)
            return tuple(transition_view(t) for t in load_transitions(session, key))

    def measured(self, key: str) -> Measured:
        """Return what is known of control's KPIs and the traffic, for the plan of another run.

        Raises:
            UnknownExperimentError: No such experiment.
        """
        with self._control.reading() as session:
            record, loaded = self._shelf.known(session, key)
            phases = load_phases(session, key, record.seed)
        frame = loaded.frame(record, phases)
        return measured_of(loaded, record, self._store.snapshot(frame, now=self._clock.now()))

    def frames(self) -> tuple[Frame, ...]:
        """Return what the store is asked at every check of the experiments that run."""
        with self._control.reading() as session:
            return self._shelf.frames(session)

    def revisions(self, key: str) -> tuple[RevisionView, ...]:
        """Return every applied file of an experiment, oldest first.

        Raises:
            UnknownExperimentError: No such experiment.
        """
        with self._control.reading() as session:
            self._shelf.known(session, key)
            return tuple(map(revision_view, load_revisions(session, key)))

    def newest(self) -> Mapping[str, RevisionView]:
        """Return the newest applied file of every experiment that is not over, by key."""
        with self._control.reading() as session:
            return {key: revision_view(r) for key, r in newest_revisions(session, OVER).items()}

    def explain(self, key: str, *, at: datetime | None = None) -> Explanation:
        """Say what happened and why, in words, from stored evidence.

        Args:
            key: The experiment.
            at: As of this instant of the past; now by default.

        Raises:
            UnknownExperimentError: No such experiment.
            InvalidRequestError: It was not there yet, or the instant is still to come.
        """
        if at is not None:
            with self._control.reading() as session:
                past = past_of(
                    session,
                    self._shelf,
                    self._store,
                    self.settings,
                    key=key,
                    at=at,
                    now=self._clock.now(),
                )
            return past_explanation(past)
        known = self._all_of(key)
        return explanation(known, experiment_view(known), now=self._clock.now())

    def replay(self, decision: str, *, from_start: bool = False) -> Replayed:
        """Compute a decision again from the log of events, and say what is not equal.

        Args:
            decision: Id of a transition (``t3``), a finding (``f12``) or a check (``c12``).
            from_start: Compute every look before it again too.

        Raises:
            InvalidRequestError: It is no id.
            UnknownDecisionError: Nothing has this id.
            NotReplayableError: It was no check's decision, or too little was kept of it.
        """
        replayer = Replayer(self._control, self._store, self._shelf, version=self.settings.version)
        return replayer.replay(decision, from_start=from_start)

    def rollback(self, key: str, asked: str) -> RollbackStory:
        """Return everything kept of one rollback, however long ago it was.

        Args:
            key: The experiment.
            asked: Id of the rollback (``t3``), of its check (``c12``) or its finding (``f7``).

        Raises:
            UnknownExperimentError: No such experiment.
            InvalidRequestError: It is no id.
            UnknownDecisionError: Nothing of this experiment has this id.
            NoRollbackError: It turned nobody back.
        """
        with self._control.reading() as session:
            return rollback_story(
                session,
                self._shelf,
                self._store,
                self.settings,
                key=key,
                asked=asked,
                now=self._clock.now(),
            )

    def newest_decisions(self) -> tuple[tuple[str, int], ...]:
        """Return the newest kept check of every run, and how many checks are kept of it.

        Replaying each ``from_start`` replays everything that was ever decided.
        """
        with self._control.reading() as session:
            return newest_of_runs(session)

    def activity(self) -> str:
        """Return a token that is another one after every check and every change of state."""
        with self._control.reading() as session:
            return f"{activity(session)}.{self._desk.counted}"

    def activities(self) -> Mapping[str, str]:
        """Return such a token of every experiment by key, oldest first."""
        with self._control.reading() as session:
            return activities(session)

    def briefs(self, keys: Collection[str]) -> Mapping[str, ExperimentView]:
        """Return experiments without the history of their guardrails, by key.

        Many cost little: they are read in one transaction, and stored looks not at all.

        Args:
            keys: Which; those unknown are left out.
        """
        notices = tuple(words for each in self.notices for words in each())
        with self._control.reading() as session:
            known = self._shelf.in_brief(
                session,
                keys,
                by_setting=self.settings.suspended,
                trouble=self._ring.trouble,
                notices=notices,
                now=self._clock.now(),
            )
            return {each.record.key: experiment_view(self._with_own(each)) for each in known}

    def missed(self, key: str) -> int:
        """Return how many checks of an experiment nobody ran: its blind time in ticks."""
        with self._control.reading() as session:
            return missed_checks(session, key)

    def sights(self) -> tuple[ExperimentSight, ...]:
        """Return how well every experiment was seen: checks missed and failed, blind time."""
        with self._control.reading() as session:
            return sights(session, self._shelf, now=self._clock.now())

    def untold(self, *, most: int = 50) -> tuple[UntoldMessage, ...]:
        """Return messages that wait or were given up, also of experiments that are over."""
        with self._control.reading() as session:
            return untold_messages(session, most=most)

    def audit(
        self,
        *,
        most: int,
        before: datetime | None = None,
        sort: Sort | None = None,
        actor: str = "",
    ) -> tuple[Entry, ...]:
        """Return who did what, newest first (``guardrails.audit_reading``)."""
        with self._control.reading() as session:
            return entries(session, most=most, before=before, sort=sort, actor=actor)

    def suspension(self) -> SuspensionView:
        """Return whether the engine acts on nothing, since when and why."""
        with self._control.reading() as session:
            return view_of(session, by_setting=self.settings.suspended)

    def kpis(self) -> tuple[ListedKpi, ...]:
        """Return every KPI that a file may name or that a run uses, core ones first."""
        with self._control.reading() as session:
            running = self._shelf.not_over(session)
        return tuple(listed(self._catalogue, load_catalogue(), running))

    def guarding(self) -> tuple[Guarding, ...]:
        """Return by which KPIs experiments guard that are not over."""
        with self._control.reading() as session:
            return guarding(self._shelf.not_over(session))

    def _all_of(self, key: str) -> Known:
        known = self._shelf.everything(
            key,
            by_setting=self.settings.suspended,
            trouble=self._ring.trouble.get(key),
            notices=tuple(words for each in self.notices for words in each()),
            now=self._clock.now(),
        )
        return self._with_own(known)

    def _with_own(self, known: Known) -> Known:
        return replace(known, own_notices=self.own_notices(known.record.key))
