"""A run begins: with a new file, a changed draft or a raised seed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlmodel import Session

from experiments.errors import ConflictError
from experiments.lifecycle import State, begin
from experiments.repository import (
    NOT_APPROVED,
    ExperimentRecord,
    TreatmentRecord,
    forget_treatments,
    insert_treatment,
    load_treatments,
)
from experiments.spec import ExperimentSpec
from guardrails.applying import Applying
from guardrails.layering import reserve
from guardrails.loaded import Loaded, observe_for
from guardrails.repository import forget_snapshot
from guardrails.schedule import Span, passed, span_from, span_of_draft, too_late, waits
from guardrails.words import command, instant, percent
from metrics.wording import gettext as _


def begun_span(
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


def fresh_values(
    session: Session, loaded: Loaded, state: State, span: Span, asked: Applying
) -> dict[str, Any]:
    """Return everything that a run begins with; its room in the layer is taken here."""
    spec = loaded.spec.experiment
    buckets = reserve(session, spec, unit_of=asked.unit_of)
    return {
        "state": state.value,
        "seed": spec.seed,
        "checks": 0,
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
        "shipped": None,
    }


def begin_again(
    session: Session, before: ExperimentRecord, current: Loaded, loaded: Loaded, asked: Applying
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what a changed draft or a raised seed changes, and its consequences in words."""
    spec = loaded.spec.experiment
    state, span = begun_span(loaded, before, current, asked)
    values = fresh_values(session, loaded, state, span, asked)
    forget_snapshot(session, loaded.key)
    if State(before.state) is State.DRAFT:
        forget_treatments(session, loaded.key, before.seed)
        words = (
            [_("it starts now{late}", late=late_words(loaded, asked))]
            if state is not State.DRAFT
            else []
        )
    else:
        gone = load_treatments(session, before.key, before.seed)
        words = _starts_over(before, gone, spec, state, late=late_words(loaded, asked))
    begin_treatments(session, loaded, seed=spec.seed, now=asked.now)
    if state is State.DRAFT:
        words += draft_words(spec.key, span)
    return values, (*words, *reserved_words(loaded, values))


def _starts_over(
    before: ExperimentRecord,
    gone: Mapping[str, TreatmentRecord],
    spec: ExperimentSpec,
    state: State,
    *,
    late: str,
) -> list[str]:
    """Return in words what a raised seed does to a run, given its treatments so far."""
    words = [_("the analysis starts over with seed {seed}", seed=spec.seed)]
    words += [
        _(
            "{variant}, turned back under seed {before}, is served again under seed {seed}",
            variant=v,
            before=before.seed,
            seed=spec.seed,
        )
        for v, t in gone.items()
        if t.state == "rolled_back" and v in spec.treatments
    ]
    if state is State.DRAFT:
        words.append(_("it becomes a draft: everybody gets control until it starts"))
    elif state.value != before.state:
        words.append(_("it is {state} again{late}", state=state.value, late=late))
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


def late_words(loaded: Loaded, asked: Applying) -> str:
    """Return that the start which the file names has passed, where it has."""
    starts = passed(loaded.spec.experiment, asked.now)
    if starts is None:
        return ""
    return _(": its start, {at}, has passed", at=instant(starts))


def draft_words(key: str, span: Span) -> list[str]:
    """Return what a draft waits for."""
    if span.starts_at is None:
        return [_("it waits until a person starts it: {command}", command=command("start", key))]
    starts, ends = instant(span.starts_at), instant(span.ends_at)
    return [_("it starts at {start} and ends at {end}", start=starts, end=ends)]


def reserved_words(loaded: Loaded, values: Mapping[str, Any]) -> list[str]:
    """Return what a run takes of a layer, and what the holdout takes of it."""
    spec, words = loaded.spec.experiment, list[str]()
    if spec.layer is not None:
        words.append(
            _(
                "it takes {share} of the layer {name}",
                share=percent(spec.layer.share, digits=2),
                name=values["layer"],
            )
        )
    if values["holdout"]:
        out = percent(values["holdout"], digits=2)
        words.append(_("{share} of all units are held out of it", share=out))
    return words
