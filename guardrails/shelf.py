"""Revisions made ready, and everything known of an experiment, read from the control plane."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime

from sqlmodel import Session

from experiments.database import ControlPlane
from experiments.errors import UnknownExperimentError
from experiments.lifecycle import CHECKED, OVER, State
from experiments.repository import (
    ExperimentRecord,
    experiment_keys,
    load_experiment,
    load_experiments,
    load_phases,
    load_revision,
    load_transitions,
    load_treatments,
)
from guardrails.evidence_rows import newest_findings
from guardrails.known import Known
from guardrails.loaded import Loaded, load
from guardrails.meanings import Meanings, kept_meanings, moved, named
from guardrails.monitors import load_monitors
from guardrails.repository import load_changes, load_findings, load_snapshot, load_snapshots
from guardrails.served import Standing
from guardrails.suspension import suspended_words
from metrics.catalogue import Catalogue
from metrics.store import Frame
from metrics.wording import gettext as _


class Shelf:
    """Reads experiments; revisions never change, so each is parsed once. Safe from any thread.

    Args:
        control: The control plane.
        catalogue: KPIs known beside those of a file.
        show_core: Whether the core KPIs are measured for display.
        queries: PromQL by the names that spec files use.
    """

    def __init__(
        self,
        control: ControlPlane,
        catalogue: Catalogue,
        *,
        show_core: bool,
        queries: Mapping[str, str] | None = None,
    ) -> None:
        self._control = control
        self._catalogue = catalogue
        self._show_core = show_core
        self._queries = queries or {}
        self._loaded: dict[tuple[str, int], Loaded] = {}

    def parse(self, text: str, *, source: str, catalogue: Catalogue | None = None) -> Loaded:
        """Make a text ready that is no revision yet.

        Args:
            text: The file.
            source: Its name, for problems.
            catalogue: KPIs it may name; those of the service by default.

        Raises:
            SpecError: With every problem of the file.
        """
        return self._load(text, source, catalogue or self._catalogue, None)

    def _load(self, text: str, source: str, catalogue: Catalogue, kept: Meanings | None) -> Loaded:
        return load(
            text,
            source=source,
            catalogue=catalogue,
            show_core=self._show_core,
            queries=self._queries,
            kept=kept,
        )

    def keep(self, loaded: Loaded, current: Loaded, *, source: str) -> Loaded:
        """Return a file as it changes a run: KPIs the run has named keep their meaning.

        Args:
            loaded: The file.
            current: The newest revision of the run.
            source: Its name, for problems.
        """
        kept = named(current)
        if all(loaded.spec.kpis.get(key, kpi) == kpi for key, kpi in kept.items()):
            return loaded
        still = {key: kpi for key, kpi in kept.items() if key not in loaded.spec.own}
        return self.parse(
            loaded.spec.text, source=source, catalogue=self._catalogue.including(still)
        )

    def moved(self, loaded: Loaded) -> tuple[str, ...]:
        """Return in words which KPIs of a revision mean something else by now."""
        return moved(loaded, self._catalogue)

    def load(self, session: Session, record: ExperimentRecord) -> Loaded:
        """Return the newest revision of an experiment."""
        held = self._loaded.get((record.key, record.revision))
        if held is None:
            row = load_revision(session, record.key, record.revision)
            kept = kept_meanings(session, record.key, record.revision)
            held = self._load(row.text, row.source, self._catalogue, kept)
            self._loaded[record.key, record.revision] = held
        return held

    def as_of(
        self, session: Session, key: str, number: int, *, queries: Mapping[str, str]
    ) -> Loaded:
        """Return a revision as it was when its checks ran.

        Args:
            session: The session.
            key: The experiment.
            number: Of the revision.
            queries: PromQL by name, as it was then.

        Raises:
            SpecError: This version cannot read the file any more.
        """
        row = load_revision(session, key, number)
        return load(
            row.text,
            source=row.source,
            catalogue=self._catalogue,
            show_core=self._show_core,
            queries=queries,
            kept=kept_meanings(session, key, number),
        )

    def loader(self, session: Session) -> Callable[[ExperimentRecord], Loaded]:
        """Return ``load`` for one session."""
        return lambda record: self.load(session, record)

    def known(self, session: Session, key: str) -> tuple[ExperimentRecord, Loaded]:
        """Return where an experiment stands, and its revision.

        Raises:
            UnknownExperimentError: No such experiment.
        """
        record = load_experiment(session, key)
        if record is None:
            known = experiment_keys(session)
            hint = _("no file was applied yet")
            if known:
                hint = _("known: {names}", names=", ".join(known))
            missing = _("no experiment named {name}", name=repr(key))
            raise UnknownExperimentError(missing, hint=hint)
        return record, self.load(session, record)

    def not_over(self, session: Session) -> list[Loaded]:
        """Return the newest revision of every experiment that is not over."""
        found = [self.known(session, key) for key in experiment_keys(session)]
        return [loaded for record, loaded in found if State(record.state) not in OVER]

    def standings(self, session: Session) -> list[Standing]:
        """Return every experiment as it is to be served."""
        standings: list[Standing] = []
        for key in experiment_keys(session):
            record, loaded = self.known(session, key)
            treatments = load_treatments(session, key, record.seed)
            back = frozenset(v for v, t in treatments.items() if t.state == "rolled_back")
            standings.append(Standing(record, loaded, back))
        return standings

    def frames(self, session: Session) -> tuple[Frame, ...]:
        """Return what the store is asked at every check of the experiments that run."""
        frames: list[Frame] = []
        for key in experiment_keys(session):
            record = load_experiment(session, key)
            if record is not None and State(record.state) in CHECKED:
                phases = load_phases(session, key, record.seed)
                frames.append(self.load(session, record).frame(record, phases))
        return tuple(frames)

    def in_brief(
        self,
        session: Session,
        keys: Collection[str],
        *,
        by_setting: bool,
        trouble: Mapping[str, str],
        notices: Sequence[str],
        now: datetime,
    ) -> Iterator[Known]:
        """Yield what the control plane knows of experiments, without their stored looks.

        Args:
            session: The session.
            keys: Which.
            by_setting: Whether the setting suspends the engine.
            trouble: Why checks fail, by key.
            notices: What concerns every experiment that is not over, in words.
            now: The current instant.
        """
        suspended = suspended_words(session, by_setting=by_setting)
        snapshots, changes = load_snapshots(session, keys), load_changes(session, keys)
        for record in load_experiments(session):
            if record.key not in keys:
                continue
            loaded = self.load(session, record)
            yield Known(
                record=record,
                loaded=loaded,
                treatments=load_treatments(session, record.key, record.seed),
                monitors=load_monitors(session, record.key, record.seed),
                findings=(),
                transitions=changes[record.key],
                snapshot=snapshots.get(record.key),
                suspended=suspended,
                trouble=trouble.get(record.key),
                now=now,
                meanings=moved(loaded, self._catalogue),
                notices=notices,
            )

    def everything(
        self,
        key: str,
        *,
        by_setting: bool,
        trouble: str | None,
        notices: Sequence[str],
        now: datetime,
    ) -> Known:
        """Return everything the control plane knows of one experiment.

        Args:
            key: The experiment.
            by_setting: Whether the setting suspends the engine.
            trouble: Why its checks fail, if they do.
            notices: What concerns every experiment that is not over, in words.
            now: The current instant.

        Raises:
            UnknownExperimentError: No such experiment.
        """
        with self._control.reading() as session:
            record, loaded = self.known(session, key)
            return Known(
                record=record,
                loaded=loaded,
                treatments=load_treatments(session, key, record.seed),
                monitors=load_monitors(session, key, record.seed),
                findings=load_findings(session, key, record.seed),
                transitions=load_transitions(session, key),
                snapshot=load_snapshot(session, key),
                suspended=suspended_words(session, by_setting=by_setting),
                trouble=trouble,
                now=now,
                meanings=moved(loaded, self._catalogue),
                notices=notices,
                kept=newest_findings(session, key, record.seed),
            )
