"""Applying a file: what changes, in words, and what is refused."""

from sqlmodel import Session

from experiments.errors import ConflictError
from experiments.lifecycle import OVER, State
from experiments.repository import (
    ExperimentRecord,
    highest_seed,
    insert_experiment,
    insert_revision,
    insert_transition,
    update_experiment,
)
from guardrails.applying import Applying
from guardrails.beginning import (
    begin_again,
    begin_treatments,
    begun_span,
    draft_words,
    fresh_values,
    late_words,
    reserved_words,
)
from guardrails.differences import differences
from guardrails.going_on import go_on
from guardrails.loaded import Loaded
from guardrails.meanings import goes_on, keep_meanings
from guardrails.views import ApplyView
from metrics.wording import gettext as _


def apply_file(
    session: Session, loaded: Loaded, *, before: ExperimentRecord | None, asked: Applying
) -> ApplyView:
    """Make a file the newest revision inside the caller's transaction.

    A file that starts later, or by hand, makes a draft: what it needs is reserved, everybody
    gets control, and until it starts anything may be changed. Re-applying after a rollback
    changes nothing about it: the latch is keyed by experiment, variant, seed and attempt. A
    raised seed begins a new run: analysis and treatments start over.

    Raises:
        ReshuffleError: It would move exposed units and does not raise the seed.
        LayerConflictError: Its layer has no room for it.
        ConflictError: The seed goes down, the experiment is over, its end has passed, or what
            units have met or the budget was split over changes without a new seed.
        ChangedMeanwhileError: Somebody else changed the experiment.
    """
    warnings = tuple(str(problem) for problem in loaded.spec.warnings)
    if before is None:
        words = _create(session, loaded, asked)
        return ApplyView(loaded.key, "created", 1, words, warnings)
    current = asked.load(before)
    if goes_on(before, loaded.spec.experiment.seed):
        loaded = asked.keep(loaded, current)
        warnings = (*warnings, *asked.moved(current))
    if current.spec.sha256 == loaded.spec.sha256:
        over = State(before.state) in OVER
        words = (f"it is {before.state}: raise `seed` to run it again",) if over else ()
        return ApplyView(loaded.key, "unchanged", before.revision, words, warnings)
    words = differences(current.spec, loaded.spec) or (_("only comments or layout change"),)
    number = before.revision + 1
    _check_seed(session, before, loaded)
    drafted = State(before.state) is State.DRAFT
    if drafted or loaded.spec.experiment.seed > before.seed:
        changes, more = begin_again(session, before, current, loaded, asked)
    else:
        changes, more = go_on(session, before, current, loaded, asked)
    words = (*words, *more)
    _revision(session, loaded, number=number, asked=asked)
    update_experiment(session, before, revision=number, **changes)
    for was, becomes, reason in (
        (f"revision {number - 1}", f"revision {number}", "; ".join(words)),
        (
            before.state,
            changes.get("state", before.state),
            _("revision {number} applied", number=number),
        ),
    ):
        if was != becomes:
            _note(session, loaded.key, asked, before=was, after=becomes, reason=reason)
    return ApplyView(loaded.key, "updated", number, words, warnings)


def _check_seed(session: Session, before: ExperimentRecord, loaded: Loaded) -> None:
    """Refuse a seed that was used up.

    Raises:
        ConflictError: It is lower than one that ran, or the experiment is over under it.
    """
    seed = loaded.spec.experiment.seed
    if State(before.state) in OVER and seed <= before.seed:
        raise ConflictError(
            f"{loaded.key} is {before.state}", hint="raise `seed` to run it again", path="seed"
        )
    lowest = before.seed
    if State(before.state) is State.DRAFT:
        lowest = (highest_seed(session, loaded.key, besides=before.seed) or 0) + 1
    if seed < lowest:
        raise ConflictError(
            f"seed {seed} is lower than {lowest}, which it has now"
            if lowest == before.seed
            else f"seed {seed} was used before; the next is {lowest}",
            hint="seeds only go up: units keep the arm they had",
            path="seed",
        )


def _create(session: Session, loaded: Loaded, asked: Applying) -> tuple[str, ...]:
    spec = loaded.spec.experiment
    state, span = begun_span(loaded, None, None, asked)
    values = fresh_values(session, loaded, state, span, asked)
    insert_experiment(
        session,
        ExperimentRecord(
            key=spec.key, version=0, revision=1, last_tick_at=None, watermark=0, **values
        ),
    )
    _revision(session, loaded, number=1, asked=asked)
    begin_treatments(session, loaded, seed=spec.seed, now=asked.now)
    drafted = state is State.DRAFT
    _note(
        session,
        loaded.key,
        asked,
        before="new" if drafted else State.DRAFT.value,
        after=state.value,
        reason=_("revision {number} applied from {file}", number=1, file=asked.source),
    )
    words = (f"{loaded.key} starts now with revision 1{late_words(loaded, asked)}",)
    if drafted:
        words = (f"{loaded.key} is a draft with revision 1", *draft_words(spec.key, span))
    return (*words, *reserved_words(loaded, values))


def _revision(session: Session, loaded: Loaded, *, number: int, asked: Applying) -> None:
    insert_revision(
        session,
        experiment=loaded.key,
        number=number,
        text=loaded.spec.text,
        sha256=loaded.spec.sha256,
        source=asked.source,
        actor=asked.actor,
        at=asked.now,
    )
    keep_meanings(session, loaded, number=number)


def _note(
    session: Session, key: str, asked: Applying, *, before: str, after: str, reason: str
) -> None:
    insert_transition(
        session,
        experiment=key,
        variant=None,
        before=before,
        after=after,
        at=asked.now,
        actor=asked.actor,
        reason=reason,
    )
