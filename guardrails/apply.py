"""Applying a file: what changes, in words, and what is refused."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session

from experiments.errors import ConflictError, ReshuffleError
from experiments.layers import width
from experiments.lifecycle import OVER, State, begin
from experiments.repository import (
    NOT_APPROVED,
    ExperimentRecord,
    forget_treatments,
    highest_seed,
    insert_experiment,
    insert_revision,
    insert_transition,
    insert_treatment,
    load_treatments,
    update_experiment,
)
from guardrails.changes import Refusal, refusals, renewed
from guardrails.differences import differences
from guardrails.layering import own_buckets, reserve
from guardrails.loaded import Loaded, observe_for
from guardrails.meanings import keep_meanings
from guardrails.ramp import Position, position
from guardrails.repository import forget_monitors, forget_snapshot, load_snapshot
from guardrails.schedule import Span, span_from, span_of_draft, too_late, waits
from guardrails.views import ApplyView
from guardrails.words import command, instant, percent


@dataclass(frozen=True, slots=True)
class Applying:
    """Who applies a file from where, when, and what the service adds to it.

    Attributes:
        holdout: Share of all units the service keeps out of runs that begin now.
        load: Returns the newest revision of any experiment.
        exposed: Returns the units exposed so far of an experiment and seed.
    """

    source: str
    actor: str
    now: datetime
    holdout: float
    load: Callable[[ExperimentRecord], Loaded]
    exposed: Callable[[str, int], Collection[str]]

    def unit_of(self, record: ExperimentRecord) -> str:
        """Return the unit type of an experiment."""
        return self.load(record).spec.experiment.unit


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
    if current.spec.sha256 == loaded.spec.sha256:
        over = State(before.state) in OVER
        words = (f"it is {before.state}: raise `seed` to run it again",) if over else ()
        return ApplyView(loaded.key, "unchanged", before.revision, words, warnings)
    words = differences(current.spec, loaded.spec) or ("only comments or layout change",)
    number = before.revision + 1
    _check_seed(session, before, loaded)
    drafted = State(before.state) is State.DRAFT
    if drafted or loaded.spec.experiment.seed > before.seed:
        changes, more = _begin_again(session, before, current, loaded, asked)
    else:
        changes, more = _go_on(session, before, current, loaded, asked)
    words = (*words, *more)
    _revision(session, loaded, number=number, asked=asked)
    update_experiment(session, before, revision=number, **changes)
    for was, becomes, reason in (
        (f"revision {number - 1}", f"revision {number}", "; ".join(words)),
        (before.state, changes.get("state", before.state), f"revision {number} applied"),
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
    state, span = _span(loaded, None, None, asked)
    values = _fresh(session, loaded, state, span, asked)
    insert_experiment(
        session,
        ExperimentRecord(
            key=spec.key, version=0, revision=1, checks=0, last_tick_at=None, watermark=0, **values
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
        reason=f"revision 1 applied from {asked.source}",
    )
    words = (f"{loaded.key} starts now with revision 1",)
    if drafted:
        words = (f"{loaded.key} is a draft with revision 1", *_draft_words(spec.key, span))
    return (*words, *_reserved_words(loaded, values))


def _span(
    loaded: Loaded, before: ExperimentRecord | None, current: Loaded | None, asked: Applying
) -> tuple[State, Span]:
    """Return the state and the times of a run that begins with this file.

    Raises:
        ConflictError: The end that the file names has passed.
    """
    spec, observed = loaded.spec.experiment, observe_for(loaded.spec)
    if too_late(spec, asked.now):
        raise ConflictError(
            f"{loaded.key} would end before it starts: its end has passed",
            hint="name a later `ends: {at: ...}`, or `ends: {after: ...}`",
            path="ends.at",
        )
    was = State(before.state) if before is not None else None
    # a pause was somebody's decision: a draft that followed it waits for a person as long as the
    # file says the same about its start
    held = (
        was is State.DRAFT
        and before is not None
        and before.starts_at is None
        and current is not None
        and current.spec.experiment.starts == spec.starts
    )
    state = begin(was, waits=held or waits(spec, asked.now))
    if state is not State.DRAFT:
        return state, span_from(spec, asked.now, observed=observed)
    by_hand = held or was is State.PAUSED
    return state, span_of_draft(spec, asked.now, observed=observed, by_hand=by_hand)


def _fresh(
    session: Session, loaded: Loaded, state: State, span: Span, asked: Applying
) -> dict[str, Any]:
    """Return everything that a run begins with; its room in the layer is taken here."""
    spec = loaded.spec.experiment
    buckets = reserve(session, spec, unit_of=asked.unit_of)
    return {
        "state": state.value,
        "seed": spec.seed,
        "step": 0,
        "step_since": span.started_at,
        "step_exposed": {},
        "starts_at": span.starts_at,
        "started_at": span.started_at,
        "ends_at": span.ends_at,
        "observe_until": span.observe_until,
        "approved": NOT_APPROVED,
        "layer": spec.layer.name if spec.layer is not None else None,
        "layer_buckets": [list(interval) for interval in buckets],
        "holdout": asked.holdout if spec.holdout else 0.0,
    }


def _begin_again(
    session: Session, before: ExperimentRecord, current: Loaded, loaded: Loaded, asked: Applying
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what a changed draft or a raised seed changes, and its consequences in words."""
    spec = loaded.spec.experiment
    state, span = _span(loaded, before, current, asked)
    values = _fresh(session, loaded, state, span, asked)
    forget_snapshot(session, loaded.key)
    words: list[str] = []
    if State(before.state) is State.DRAFT:
        forget_treatments(session, loaded.key, before.seed)
        if state is not State.DRAFT:
            words.append("it starts now")
    else:
        words.append(f"the analysis starts over with seed {spec.seed}")
        gone = load_treatments(session, before.key, before.seed)
        words += [
            f"{v}, turned back under seed {before.seed}, is served again under seed {spec.seed}"
            for v, t in gone.items()
            if t.state == "rolled_back" and v in spec.treatments
        ]
        if state.value != before.state and state is not State.DRAFT:
            words.append(f"it is {state.value} again")
        if state is State.DRAFT:
            words.append("it becomes a draft: everybody gets control until it starts")
    begin_treatments(session, loaded, seed=spec.seed, now=asked.now)
    if state is State.DRAFT:
        words += _draft_words(spec.key, span)
    return values, (*words, *_reserved_words(loaded, values))


def _go_on(
    session: Session, before: ExperimentRecord, current: Loaded, loaded: Loaded, asked: Applying
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what a file changes in a run that has started, and its consequences in words.

    Raises:
        ReshuffleError: It would move exposed units.
        ConflictError: It changes what units have met or what the budget was split over.
    """
    spec = loaded.spec.experiment
    treatments = load_treatments(session, before.key, before.seed)
    back = sorted(v for v, t in treatments.items() if t.state == "rolled_back")
    place = position(
        current.spec.experiment.ramp, spec.ramp, step=before.step, approved=before.approved
    )
    own = own_buckets(before)
    found = refusals(current, loaded, rolled_back=back, held=width(own))
    if isinstance(place, str):
        hint = "keep a step with the traffic that is served"
        found = (*found, Refusal(place, "ramp", hint=hint))
    span = span_from(spec, before.started_at, observed=observe_for(loaded.spec))
    found = (*found, *_met(before, current, loaded, asked))
    if State(before.state) is State.OBSERVING and span.ends_at != before.ends_at:
        words = f"no new units have come in since {instant(before.ends_at)}: its end is past"
        found = (*found, Refusal(words, "ends", moves=False))
    _refuse(loaded.key, found)
    buckets = reserve(session, spec, own=own, unit_of=asked.unit_of)
    changes: dict[str, Any] = {"ends_at": span.ends_at, "observe_until": span.observe_until}
    if buckets != own:
        changes["layer_buckets"] = [list(interval) for interval in buckets]
    words = [f"{v} stays rolled back: re-applying changes nothing about it" for v in back]
    if isinstance(place, Position):
        changes |= _moved(session, before, place, asked)
        words += _traffic_words(before, current, loaded, place)
    changed = renewed(current, loaded)
    forget_monitors(session, loaded.key, before.seed, set(changed))
    # a guardrail that is new or gone is said already
    both = {g.id for g in current.spec.guardrails} & {g.id for g in loaded.spec.guardrails}
    words += [f"monitors of {name} start over" for name in sorted(changed & both)]
    if span.ends_at != before.ends_at:
        words.append(f"it ends at {instant(span.ends_at)}")
    if spec.starts != current.spec.experiment.starts:
        words.append("it has started already: `starts` changes nothing before a raised seed")
    return changes, tuple(words)


def _met(
    before: ExperimentRecord, current: Loaded, loaded: Loaded, asked: Applying
) -> tuple[Refusal, ...]:
    """Refuse overrides of units that have met an arm: they would move."""
    known = current.spec.experiment.force
    wanted = loaded.spec.experiment.force
    new = [unit for unit, variant in wanted.items() if known.get(unit) != variant]
    met = sorted(set(new) & set(asked.exposed(before.key, before.seed))) if new else []
    if not met:
        return ()
    names = ", ".join(met[:5]) + (f" and {len(met) - 5} more" if len(met) > 5 else "")  # noqa: PLR2004 - enough to find them
    words = f"an override of a unit that has been exposed would move it: {names}"
    return (Refusal(words, "force", hint="try variants out with ids of their own"),)


def _refuse(key: str, found: Sequence[Refusal]) -> None:
    """Refuse everything at once.

    Raises:
        ReshuffleError: Something would move exposed units.
        ConflictError: Nothing would, but it does not fit the run.
    """
    if not found:
        return
    hints = ["raise `seed` to start the analysis over, or leave it as it is"]
    hints += dict.fromkeys(refusal.hint for refusal in found if refusal.hint)
    kind = ReshuffleError if any(refusal.moves for refusal in found) else ConflictError
    raise kind(
        f"{key}: {'; '.join(refusal.words for refusal in found)}",
        hint="; ".join(hints),
        path=found[0].path,
    )


def _moved(
    session: Session, before: ExperimentRecord, place: Position, asked: Applying
) -> dict[str, Any]:
    changes: dict[str, Any] = {"step": place.step, "approved": place.approved}
    if place.anew:
        changes |= step_anew(session, before.key, now=asked.now)
    return changes


def step_anew(session: Session, key: str, *, now: datetime) -> dict[str, Any]:
    """Return what changes when a ramp's step begins anew: hold and units are counted from now."""
    newest = load_snapshot(session, key)
    exposed = newest[1].get("exposed", {}) if newest is not None else {}
    return {"step_since": now, "step_exposed": dict(exposed)}


def _traffic_words(
    before: ExperimentRecord, current: Loaded, loaded: Loaded, place: Position
) -> list[str]:
    served = current.spec.experiment.ramp[min(before.step, len(current.steps) - 1)].traffic
    now = loaded.spec.experiment.ramp[place.step].traffic
    words: list[str] = []
    if now != served:
        words.append(f"traffic is {percent(now, digits=2)} now, and the step's hold begins anew")
    elif current.spec.experiment.ramp != loaded.spec.experiment.ramp:
        words.append(f"traffic stays {percent(now, digits=2)}")
    if before.approved == before.step and place.approved == NOT_APPROVED:
        words.append("the approval that was given was for another step: it is needed again")
    return words


def _draft_words(key: str, span: Span) -> list[str]:
    if span.starts_at is None:
        return [f"it waits until a person starts it: {command('start', key)}"]
    return [f"it starts at {instant(span.starts_at)} and ends at {instant(span.ends_at)}"]


def _reserved_words(loaded: Loaded, values: dict[str, Any]) -> list[str]:
    spec, words = loaded.spec.experiment, list[str]()
    if spec.layer is not None:
        words.append(
            f"it takes {percent(spec.layer.share, digits=2)} of the layer {values['layer']}"
        )
    if values["holdout"]:
        words.append(f"{percent(values['holdout'], digits=2)} of all units are held out of it")
    return words


def begin_treatments(session: Session, loaded: Loaded, *, seed: int, now: datetime) -> None:
    """Begin the first attempt of every treatment."""
    for variant in loaded.spec.experiment.treatments:
        insert_treatment(
            session,
            experiment=loaded.key,
            variant=variant,
            seed=seed,
            attempt=1,
            first_phase=0,
            since=now,
        )


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
