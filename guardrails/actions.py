"""What people do to experiments by hand. Each runs inside the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from experiments.errors import ConflictError, InvalidRequestError, UnknownVariantError
from experiments.lifecycle import Move, State, move
from experiments.repository import (
    ExperimentRecord,
    TransitionRecord,
    TreatmentRecord,
    insert_phase,
    insert_transition,
    insert_treatment,
    load_phases,
    load_treatments,
    update_experiment,
)
from guardrails.loaded import Loaded
from guardrails.rollback import message, record_rollback
from guardrails.settings import EngineSettings

LONGEST_TEXT = 2_000
"""Characters of a reason or a name."""


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked for something, when and why; the reason is kept.

    Raises:
        InvalidRequestError: Without a reason.
    """

    actor: str
    reason: str
    at: datetime

    def __post_init__(self) -> None:
        for name, text in (("reason", self.reason), ("actor", self.actor)):
            if len(text) > LONGEST_TEXT or not _encodable(text):
                raise InvalidRequestError(
                    f"the {name} is not text of at most {LONGEST_TEXT:,} characters",
                    hint="shorten it, and send valid Unicode",
                    path=name,
                )
        if not self.reason.strip():
            raise InvalidRequestError(
                "a reason is needed", hint="say in a few words why; it is kept", path="reason"
            )


def roll_back(
    session: Session,
    record: ExperimentRecord,
    loaded: Loaded,
    variant: str,
    asked: Asked,
    *,
    settings: EngineSettings,
) -> TransitionRecord:
    """Turn a treatment back.

    Raises:
        UnknownVariantError: No such treatment.
        ConflictError: It is rolled back already.
        ChangedMeanwhileError: Somebody else changed the experiment.
    """
    treatment = _treatment(session, record, loaded, variant)
    if State(record.state) in {State.FINISHED, State.STOPPED}:
        raise ConflictError(
            f"{record.key} is {record.state}", hint="everybody gets control already"
        )
    if treatment.state != "live":
        raise ConflictError(
            f"{variant} of {record.key} is rolled back already",
            hint=f"turnback explain {record.key} says since when and why",
        )
    done = record_rollback(
        session,
        record,
        treatment,
        at=asked.at,
        grace=settings.grace,
        actor=asked.actor,
        reason=asked.reason,
        evidence=None,
        evaluation=None,
        channels=loaded.channels,
    )
    update_experiment(session, record)
    return done


def resume(
    session: Session, record: ExperimentRecord, loaded: Loaded, variant: str, asked: Asked
) -> TransitionRecord:
    """Begin a new attempt: a new phase, in which alone units count for it.

    Raises:
        UnknownVariantError: No such treatment.
        ConflictError: It is live, or the experiment is over.
        ChangedMeanwhileError: Somebody else changed the experiment.
    """
    treatment = _treatment(session, record, loaded, variant)
    if treatment.state == "live":
        raise ConflictError(f"{variant} of {record.key} is live", hint="nothing to resume")
    if State(record.state) not in {State.RUNNING, State.PAUSED}:
        raise ConflictError(
            f"{record.key} is {record.state}", hint="only a running experiment can be resumed"
        )
    number = len(load_phases(session, record.key, record.seed)) + 1
    insert_phase(
        session,
        experiment=record.key,
        seed=record.seed,
        number=number,
        at=asked.at,
        reason=f"{variant} resumed",
    )
    insert_treatment(
        session,
        experiment=record.key,
        variant=variant,
        seed=record.seed,
        attempt=treatment.attempt + 1,
        first_phase=number,
        since=asked.at,
    )
    done = insert_transition(
        session,
        experiment=record.key,
        variant=variant,
        before="rolled_back",
        after="live",
        at=asked.at,
        actor=asked.actor,
        reason=asked.reason,
    )
    message(
        session,
        key=f"resumed:{record.key}/{variant}/{record.seed}/{treatment.attempt + 1}",
        kind="resumed",
        experiment=record.key,
        variant=variant,
        at=asked.at,
        title=f"{record.key}: {variant} is live again (attempt {treatment.attempt + 1})",
        text=asked.reason,
        evidence=None,
        channels=loaded.channels,
    )
    update_experiment(session, record)
    return done


def change_state(
    session: Session, record: ExperimentRecord, step: Move, asked: Asked
) -> TransitionRecord:
    """Pause, continue or stop an experiment.

    Raises:
        IllegalTransitionError: Not from its present state.
        ChangedMeanwhileError: Somebody else changed the experiment.
    """
    after = move(State(record.state), step)
    done = insert_transition(
        session,
        experiment=record.key,
        variant=None,
        before=record.state,
        after=after.value,
        at=asked.at,
        actor=asked.actor,
        reason=asked.reason,
    )
    update_experiment(session, record, state=after.value)
    return done


def _treatment(
    session: Session, record: ExperimentRecord, loaded: Loaded, variant: str
) -> TreatmentRecord:
    treatments = load_treatments(session, record.key, record.seed)
    if variant not in treatments:
        names = ", ".join(loaded.spec.experiment.treatments)
        raise UnknownVariantError(
            f"{record.key} has no treatment named {variant!r}", hint=f"its treatments: {names}"
        )
    return treatments[variant]
