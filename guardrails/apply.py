"""Applying a file: what changes, in words, and what is refused."""

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import Session

from experiments.errors import ConflictError, ReshuffleError
from experiments.lifecycle import State
from experiments.repository import (
    ExperimentRecord,
    insert_experiment,
    insert_revision,
    insert_transition,
    insert_treatment,
    update_experiment,
)
from experiments.spec import ExperimentSpec
from guardrails.levels import Comparison
from guardrails.loaded import Loaded, observe_for
from guardrails.repository import forget_monitors
from guardrails.views import ApplyView


def differences(before: Loaded, after: Loaded) -> tuple[str, ...]:
    """Return what a file changes, one sentence each; empty when only its text differs."""
    old, new = before.spec.experiment, after.spec.experiment
    words = [
        f"{name}: {getattr(old, name)} becomes {getattr(new, name)}"
        for name in ("title", "owner", "unit", "seed", "alpha", "check_every", "lag", "mode")
        if getattr(old, name) != getattr(new, name)
    ]
    words += [
        f"{name} changes"
        for name in ("variants", "audience", "ramp", "goal", "watch", "ends", "notify")
        if getattr(old, name) != getattr(new, name)
    ]
    earlier = {g.id: g for g in before.spec.guardrails}
    later = {g.id: g for g in after.spec.guardrails}
    words += [f"guardrail {name} is new" for name in later if name not in earlier]
    words += [f"guardrail {name} is gone" for name in earlier if name not in later]
    words += [
        f"guardrail {name} changes"
        for name in later
        if name in earlier and later[name] != earlier[name]
    ]
    return tuple(words)


def reshuffles(old: ExperimentSpec, new: ExperimentSpec) -> tuple[str, ...]:
    """Return what would move exposed units to another arm or make them other units."""
    found: list[str] = []
    if old.unit != new.unit:
        found.append(f"unit {old.unit} becomes {new.unit}")
    if [(v.name, v.weight) for v in old.variants] != [(v.name, v.weight) for v in new.variants]:
        found.append("the variants or their weights change")
    return tuple(found)


def apply_file(
    session: Session,
    loaded: Loaded,
    *,
    before: ExperimentRecord | None,
    current: Loaded | None,
    source: str,
    actor: str,
    now: datetime,
) -> ApplyView:
    """Make a file the newest revision inside the caller's transaction.

    Re-applying after a rollback changes nothing about it: the latch is keyed by experiment,
    variant, seed and attempt. A raised seed starts the analysis, and the treatments, over.

    Raises:
        ReshuffleError: It would move exposed units and does not raise the seed.
        ConflictError: The seed goes down, the experiment is over, or what the budget was split
            over changes without a new seed.
        ChangedMeanwhileError: Somebody else changed the experiment.
    """
    warnings = tuple(str(problem) for problem in loaded.spec.warnings)
    if before is None or current is None:
        _start(session, loaded, source=source, actor=actor, now=now)
        words = (f"{loaded.key} starts now with revision 1",)
        return ApplyView(loaded.key, "created", 1, words, warnings)
    if current.spec.sha256 == loaded.spec.sha256:
        return ApplyView(loaded.key, "unchanged", before.revision, (), warnings)
    _refuse(before, current, loaded)
    words = differences(current, loaded) or ("only comments or layout change",)
    number = before.revision + 1
    _revision(session, loaded, number=number, source=source, actor=actor, now=now)
    over = loaded.spec.experiment.seed > before.seed
    started = now if over else before.started_at
    ends = started + loaded.spec.experiment.ends.after
    changes = {
        "revision": number,
        "seed": loaded.spec.experiment.seed,
        "started_at": started,
        "ends_at": ends,
        "observe_until": ends + observe_for(loaded.spec),
        "step": min(before.step, len(loaded.steps) - 1),
    }
    if over:
        # a pause was somebody's decision: it outlasts a new seed
        paused = State(before.state) is State.PAUSED
        state = State.PAUSED if paused else State.RUNNING
        changes |= {"step": 0, "step_since": now, "step_exposed": {}, "state": state.value}
        _treatments(session, loaded, now=now)
        words = (*words, f"the analysis starts over with seed {loaded.spec.experiment.seed}")
        if state.value != before.state:
            words = (*words, f"it is {state.value} again")
    else:
        changed = {
            g.id
            for g in (*current.spec.guardrails, *loaded.spec.guardrails)
            if g not in current.spec.guardrails or g not in loaded.spec.guardrails
        }
        forget_monitors(session, loaded.key, before.seed, changed)
    update_experiment(session, before, **changes)
    _note(session, loaded, number=number, actor=actor, now=now, words=words)
    return ApplyView(loaded.key, "updated", number, words, warnings)


def _refuse(before: ExperimentRecord, current: Loaded, loaded: Loaded) -> None:
    old, new = current.spec.experiment, loaded.spec.experiment
    if State(before.state) in {State.FINISHED, State.STOPPED} and new.seed <= before.seed:
        raise ConflictError(
            f"{loaded.key} is {before.state}", hint="raise `seed` to run it again", path="seed"
        )
    if new.seed < before.seed:
        raise ConflictError(
            f"seed {new.seed} is lower than {before.seed}, which is running",
            hint="seeds only go up: units keep the arm they had",
            path="seed",
        )
    if new.seed > before.seed:
        return
    moved = reshuffles(old, new)
    if moved:
        raise ReshuffleError(f"{loaded.key}: {'; '.join(moved)}", path="variants")
    if promised(current) != promised(loaded):
        raise ConflictError(
            f"{loaded.key}: the guardrails that can turn back, alpha, ends or expect_units change: "
            "its looks so far were taken under another plan, and the promise holds for one",
            hint="raise `seed` to start the analysis over, or keep them; guardrails with "
            "`action: alert` may change at any time",
            path="guardrails",
        )


def promised(loaded: Loaded) -> frozenset[Comparison]:
    """Return what the budget was split over: every comparison that can turn a treatment back."""
    return frozenset(c for c in loaded.comparisons if c.acts)


def _start(session: Session, loaded: Loaded, *, source: str, actor: str, now: datetime) -> None:
    spec = loaded.spec.experiment
    ends = now + spec.ends.after
    insert_experiment(
        session,
        ExperimentRecord(
            key=spec.key,
            version=0,
            state=State.RUNNING.value,
            seed=spec.seed,
            revision=1,
            step=0,
            step_since=now,
            step_exposed={},
            started_at=now,
            ends_at=ends,
            observe_until=ends + observe_for(loaded.spec),
            checks=0,
            last_tick_at=None,
            watermark=0,
        ),
    )
    _revision(session, loaded, number=1, source=source, actor=actor, now=now)
    _treatments(session, loaded, now=now)
    insert_transition(
        session,
        experiment=spec.key,
        variant=None,
        before="draft",
        after=State.RUNNING.value,
        at=now,
        actor=actor,
        reason=f"revision 1 applied from {source}",
    )


def _revision(
    session: Session, loaded: Loaded, *, number: int, source: str, actor: str, now: datetime
) -> None:
    insert_revision(
        session,
        experiment=loaded.key,
        number=number,
        text=loaded.spec.text,
        sha256=loaded.spec.sha256,
        source=source,
        actor=actor,
        at=now,
    )


def _treatments(session: Session, loaded: Loaded, *, now: datetime) -> None:
    for variant in loaded.spec.experiment.treatments:
        insert_treatment(
            session,
            experiment=loaded.key,
            variant=variant,
            seed=loaded.spec.experiment.seed,
            attempt=1,
            first_phase=0,
            since=now,
        )


def _note(
    session: Session,
    loaded: Loaded,
    *,
    number: int,
    actor: str,
    now: datetime,
    words: Sequence[str],
) -> None:
    insert_transition(
        session,
        experiment=loaded.key,
        variant=None,
        before=f"revision {number - 1}",
        after=f"revision {number}",
        at=now,
        actor=actor,
        reason="; ".join(words),
    )
