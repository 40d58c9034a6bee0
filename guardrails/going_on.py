"""A file is applied to a run that has started: what it may change, and what is refused."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlmodel import Session

from experiments.errors import ConflictError, ReshuffleError
from experiments.layers import width
from experiments.lifecycle import State
from experiments.repository import NOT_APPROVED, ExperimentRecord, load_treatments
from guardrails.applying import Applying
from guardrails.changes import Refusal, refusals, renewed
from guardrails.layering import own_buckets, reserve
from guardrails.loaded import Loaded, observe_for
from guardrails.ramp import Position, position
from guardrails.repository import forget_monitors, load_snapshot
from guardrails.schedule import Span, span_from
from guardrails.words import instant, percent
from metrics.wording import gettext as _


def go_on(
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
    span = _span(before, current, loaded)
    found = (
        *refusals(current, loaded, rolled_back=back, held=width(own)),
        *_misplaced(place),
        *_met(before, current, loaded, asked),
        *_ended(before, span),
    )
    _refuse(loaded.key, found)
    buckets = reserve(session, spec, own=own, unit_of=asked.unit_of)
    changes: dict[str, Any] = {"ends_at": span.ends_at, "observe_until": span.observe_until}
    if buckets != own:
        changes["layer_buckets"] = [list(interval) for interval in buckets]
    words = [
        _("{variant} stays rolled back: re-applying changes nothing about it", variant=v)
        for v in back
    ]
    if isinstance(place, Position):
        changes |= _moved(session, before, place, asked)
        words += _traffic_words(before, current, loaded, place)
    words += _monitored(session, before, current, loaded)
    if span.ends_at != before.ends_at:
        words.append(_("it ends at {at}", at=instant(span.ends_at)))
    if spec.starts != current.spec.experiment.starts:
        words.append(_("it has started already: `starts` changes nothing before a raised seed"))
    return changes, tuple(words)


def _span(before: ExperimentRecord, current: Loaded, loaded: Loaded) -> Span:
    """Return when the run ends: as the file says, later where a person extended it.

    An end that the file does not change stays where it was moved to.
    """
    spec, observed = loaded.spec.experiment, observe_for(loaded.spec)
    span = span_from(spec, before.started_at, observed=observed)
    old = current.spec.experiment.ends
    if (old.after, old.at) != (spec.ends.after, spec.ends.at) or before.ends_at <= span.ends_at:
        return span
    return Span(None, before.started_at, before.ends_at, before.ends_at + observed)


def _met(
    before: ExperimentRecord, current: Loaded, loaded: Loaded, asked: Applying
) -> tuple[Refusal, ...]:
    """Refuse overrides of units that have met an arm: they would move."""
    known = current.spec.experiment.force
    wanted = loaded.spec.experiment.force
    new = [unit for unit, variant in wanted.items() if known.get(unit) != variant]
    met = sorted(asked.exposed(before.key, before.seed, new)) if new else []
    if not met:
        return ()
    names = ", ".join(met[:5]) + (f" and {len(met) - 5} more" if len(met) > 5 else "")  # noqa: PLR2004 - enough to find them
    words = f"an override of a unit that has been exposed would move it: {names}"
    return (Refusal(words, "force", hint="try variants out with ids of their own"),)


def _misplaced(place: Position | str) -> tuple[Refusal, ...]:
    """Refuse a ramp in which the traffic that is served has no place."""
    if isinstance(place, Position):
        return ()
    hint = "keep a step with the traffic that is served, and what it asks for"
    return (Refusal(place, "ramp", hint=hint),)


def _ended(before: ExperimentRecord, span: Span) -> tuple[Refusal, ...]:
    """Refuse another end for a run that lets nobody in any more."""
    if State(before.state) is not State.OBSERVING or span.ends_at == before.ends_at:
        return ()
    words = f"no new units have come in since {instant(before.ends_at)}: its end is past"
    return (Refusal(words, "ends", moves=False),)


def _monitored(
    session: Session, before: ExperimentRecord, current: Loaded, loaded: Loaded
) -> list[str]:
    """Forget where changed guardrails stood; return in words which start over."""
    changed = renewed(current, loaded)
    forget_monitors(session, loaded.key, before.seed, set(changed))
    # a guardrail that is new or gone is said already
    both = {g.id for g in current.spec.guardrails} & {g.id for g in loaded.spec.guardrails}
    return [
        _("monitors of {guardrail} start over", guardrail=name) for name in sorted(changed & both)
    ]


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
        words.append(
            _(
                "traffic is {share} now, and the step's hold begins anew",
                share=percent(now, digits=2),
            )
        )
    elif current.spec.experiment.ramp != loaded.spec.experiment.ramp:
        words.append(_("traffic stays {share}", share=percent(now, digits=2)))
    if before.approved == before.step and place.approved == NOT_APPROVED:
        words.append(_("the approval that was given was for another step: it is needed again"))
    return words
