"""Where an experiment stands, as a decision sees it. Pure: records in, a value out."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from experiments.lifecycle import State
from experiments.repository import ExperimentRecord, TransitionRecord, TreatmentRecord
from experiments.spec import Mode
from guardrails.decide import Standing
from guardrails.loaded import Loaded
from guardrails.repository import Monitor
from guardrails.schedule import frozen
from guardrails.spells import standing_spells


def standing_of(
    record: ExperimentRecord,
    loaded: Loaded,
    treatments: Mapping[str, TreatmentRecord],
    monitors: Iterable[Monitor],
    exposed: Mapping[str, int],
    *,
    suspended: bool,
    now: datetime,
) -> Standing:
    """Return what a decision must know of an experiment.

    Args:
        record: Where it stands.
        loaded: Its revision.
        treatments: Newest attempts by variant.
        monitors: What the last checks left behind.
        exposed: Units first exposed so far, by variant; empty when they could not be read.
        suspended: Whether the engine watches and acts on nothing.
        now: The current instant.
    """
    spec, known = loaded.spec.experiment, tuple(monitors)
    return Standing(
        state=record.state,
        live=frozenset(v for v, t in treatments.items() if t.state == "live"),
        acting=spec.mode is Mode.LIVE and not suspended,
        rules=loaded.rules,
        ends_at=record.ends_at,
        observe_until=record.observe_until,
        steps=loaded.steps,
        step=record.step,
        step_since=record.step_since,
        step_units=step_units(record, loaded, treatments, exposed),
        told=frozenset(
            (m.guardrail, m.treatment)
            for m in known
            if m.told and m.treatment in treatments and m.attempt == treatments[m.treatment].attempt
        ),
        key=record.key,
        approved=record.approved,
        frozen=frozen(spec.freeze, now),
        shadow=spec.mode is Mode.SHADOW,
        spells=standing_spells(known, treatments, loaded.rules),
    )


def step_units(
    record: ExperimentRecord,
    loaded: Loaded,
    treatments: Mapping[str, TreatmentRecord],
    exposed: Mapping[str, int],
) -> Mapping[str, int]:
    """Return units first exposed in the current ramp step, of control and the live arms."""
    control = loaded.spec.experiment.control
    counted = {control, *(v for v, t in treatments.items() if t.state == "live")}
    return {
        variant: count - record.step_exposed.get(variant, 0)
        for variant, count in exposed.items()
        if variant in counted
    }


def pointless(
    record: ExperimentRecord, loaded: Loaded, treatments: Mapping[str, TreatmentRecord]
) -> frozenset[str]:
    """Return the actions that would do nothing for an experiment, whatever its state allows.

    Approving where no step asks for it or it has it, turning back where nothing is live, and
    resuming where nothing was turned back.
    """
    step, last = loaded.steps[record.step], record.step + 1 >= len(loaded.steps)
    waits = step.approval and not last and record.approved != record.step
    states = {treatment.state for treatment in treatments.values()}
    back = "live" in states if record.state != State.FINISHED else winner_of(record, treatments)
    useful = {"approve": waits, "roll_back": back, "resume": states - {"live"}}
    return frozenset(action for action, use in useful.items() if not use)


def winner_of(record: ExperimentRecord, treatments: Mapping[str, TreatmentRecord]) -> str | None:
    """Return the treatment that the audience gets now that the run is over, ``None`` for none."""
    shipped = treatments.get(record.shipped or "")
    served = record.state == State.FINISHED and shipped is not None and shipped.state == "live"
    return record.shipped if served else None


def paused_since(record: ExperimentRecord, transitions: Sequence[TransitionRecord]) -> datetime:
    """Return since when the current step of a paused experiment has stood still.

    Args:
        record: Where it stands; paused.
        transitions: Its changes of state, oldest first.
    """
    paused = [t.at for t in transitions if t.variant is None and t.after == "paused"]
    return max([record.step_since, *paused[-1:]])
