"""Applying a set of files without keeping it: what would change, what is refused, and where."""

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from sqlmodel import Session

from experiments.errors import ConflictError, Problem, Severity, SpecError, TurnbackError
from experiments.lifecycle import OVER, State
from experiments.repository import ExperimentRecord, experiment_keys, load_experiment
from guardrails.apply import Applying, apply_file
from guardrails.loaded import Loaded
from guardrails.spec_set import place_of
from guardrails.views import ApplyView

_ALIKE = 0.85
"""Likeness of two keys from which one may be the other misspelt."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A file that is to be rehearsed.

    Attributes:
        source: Its name, for problems.
        text: Its text.
        problems: What is known to be wrong with it on this service, warnings included.
        loaded: The file made ready, or what applying it would find wrong with it.
        warnings: What applying it would warn of beside the file's own warnings.
    """

    source: str
    text: str
    problems: tuple[Problem, ...]
    loaded: Loaded | SpecError
    warnings: tuple[str, ...] = ()

    @property
    def forces(self) -> bool:
        """Whether it gives some units a variant by name."""
        return isinstance(self.loaded, Loaded) and bool(self.loaded.spec.experiment.force)


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What applying one file would do.

    Attributes:
        source: Name of the file.
        problems: Everything wrong with it here and now, warnings included, each where it stands.
        refusal: Why applying it would be refused, ``None`` where it would not.
        view: What it would change, ``None`` where it would be refused.
    """

    source: str
    problems: tuple[Problem, ...]
    refusal: TurnbackError | None = None
    view: ApplyView | None = None

    @property
    def applied(self) -> ApplyView:
        """What it would change.

        Raises:
            TurnbackError: It would be refused.
        """
        if self.view is None:
            raise self.refusal or TurnbackError(f"{self.source} was not rehearsed")
        return self.view


Load = Callable[[ExperimentRecord], Loaded]
"""Returns the newest revision of an experiment."""


@dataclass(slots=True)
class Rehearsing:
    """Reads revisions of a rehearsal too, and keeps none of them.

    Attributes:
        stored: Reads what was applied in truth; it may remember, since that never changes.
    """

    stored: Load
    _fresh: dict[tuple[str, int], Loaded] = field(default_factory=dict[tuple[str, int], Loaded])

    def load(self, record: ExperimentRecord) -> Loaded:
        """Return the newest revision of an experiment, be it of this rehearsal alone."""
        held = self._fresh.get((record.key, record.revision))
        return held if held is not None else self.stored(record)

    def keep(self, loaded: Loaded, revision: int) -> None:
        """Remember a revision until the rehearsal ends."""
        self._fresh[loaded.key, revision] = loaded


def rehearse(
    session: Session, drafts: Sequence[Draft], *, asked: Callable[[str, Load], Applying], load: Load
) -> tuple[Rehearsed, ...]:
    """Apply files one after another inside a transaction that the caller takes back.

    Each finds what those before it have left, as it would if all were applied: room of a layer
    that the first takes is not there for the second. A refused file leaves nothing behind.

    Args:
        session: The transaction.
        drafts: The files, in the order in which they would be applied.
        asked: Returns who applies a file of that name, reading revisions as given.
        load: Reads revisions that were applied in truth.
    """
    rehearsing = Rehearsing(load)
    named = {d.loaded.key for d in drafts if isinstance(d.loaded, Loaded)}
    return tuple(
        _one(session, draft, rehearsing, asked(draft.source, rehearsing.load), named=named)
        for draft in drafts
    )


def _one(
    session: Session, draft: Draft, rehearsing: Rehearsing, asked: Applying, *, named: set[str]
) -> Rehearsed:
    loaded = draft.loaded
    if isinstance(loaded, SpecError):
        return Rehearsed(draft.source, draft.problems, loaded)
    twin = twin_problem(session, loaded, source=draft.source, besides=named)
    before = load_experiment(session, loaded.key)
    try:
        with session.begin_nested():
            view = apply_file(session, loaded, before=before, asked=asked)
    except ConflictError as refusal:
        found = (*draft.problems, problem_of(refusal, draft.text, source=draft.source))
        return Rehearsed(draft.source, found, refusal)
    if view.result != "unchanged":
        rehearsing.keep(loaded, view.revision)
    warnings = (*view.warnings, *draft.warnings, *map(str, twin))
    view = replace(view, dry_run=True, warnings=warnings)
    return Rehearsed(draft.source, (*draft.problems, *twin), view=view)


def problem_of(refusal: TurnbackError, text: str, *, source: str) -> Problem:
    """Return a refusal as a problem of the file, at the place that it is about."""
    at = place_of(text, refusal.path)
    return Problem(source, at.line, at.column, refusal.path, refusal.message, refusal.hint)


def twin_problem(
    session: Session, loaded: Loaded, *, source: str, besides: set[str]
) -> tuple[Problem, ...]:
    """Return a warning where a new key is nearly that of an experiment that goes on.

    A renamed key is no renamed experiment: it would begin beside the old one, with other units.
    Numbers in keys are meant: ``cart-2`` is no misspelt ``cart-1``.

    Args:
        session: The transaction, before the file is applied.
        loaded: The file.
        source: Its name.
        besides: Keys that files beside it have: those are no misspelling.
    """
    if load_experiment(session, loaded.key) is not None:
        return ()
    for other in experiment_keys(session):
        record = load_experiment(session, other)
        if other in besides or record is None or State(record.state) in OVER:
            continue
        if _alike(loaded.key, other):
            at = place_of(loaded.spec.text, "experiment")
            message = f"nothing runs under `{loaded.key}`"
            hint = f"did you mean `{other}`? Applying this starts a new experiment beside it"
            warned = Severity.WARNING
            return (Problem(source, at.line, at.column, "experiment", message, hint, warned),)
    return ()


def _alike(key: str, other: str) -> bool:
    if re.findall(r"\d+", key) != re.findall(r"\d+", other):
        return False
    plain, known = (re.sub(r"[^a-z0-9]", "", name.lower()) for name in (key, other))
    return plain == known or difflib.SequenceMatcher(None, plain, known).ratio() >= _ALIKE
