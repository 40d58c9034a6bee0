"""Turning treatments back by hand: one, or every one that is live. In the caller's transaction."""

from sqlmodel import Session

from experiments.errors import ConflictError, IllegalTransitionError
from experiments.lifecycle import State
from experiments.repository import (
    ExperimentRecord,
    TransitionRecord,
    TreatmentRecord,
    load_treatments,
    update_experiment,
)
from guardrails.actions import require_action, treatment_of
from guardrails.asked import Asked
from guardrails.loaded import Loaded
from guardrails.rollback import record_rollback
from guardrails.settings import EngineSettings
from metrics.wording import gettext as _


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
        IllegalTransitionError: Nobody is shown anything in its present state.
        ConflictError: It is rolled back already.
        ChangedMeanwhileError: Somebody else changed the experiment.
    """
    treatment = treatment_of(session, record, loaded, variant)
    if record.state == State.FINISHED and record.shipped != variant:
        raise IllegalTransitionError(state=record.state, action="roll_back", legal=())
    require_action(session, record, loaded, "roll_back")
    if treatment.state != "live":
        raise ConflictError(
            _(
                "{variant} of {experiment} is rolled back already",
                variant=variant,
                experiment=record.key,
            ),
            hint=_("{command} says since when and why", command=f"turnback explain {record.key}"),
        )
    done = _turned_back(session, record, loaded, treatment, asked, settings=settings)
    update_experiment(session, record)
    return done


def roll_back_all(
    session: Session,
    record: ExperimentRecord,
    loaded: Loaded,
    asked: Asked,
    *,
    settings: EngineSettings,
) -> tuple[TransitionRecord, ...]:
    """Turn every live treatment back: all of them, or none where it is refused.

    Of a finished experiment it is the one that the audience gets.

    Returns:
        A transition of each, in the order of the file.

    Raises:
        IllegalTransitionError: Nobody is shown anything in its present state.
        ConflictError: None is live.
        ChangedMeanwhileError: Somebody else changed the experiment.
    """
    require_action(session, record, loaded, "roll_back")
    treatments = load_treatments(session, record.key, record.seed)
    finished = record.state == State.FINISHED
    live = [
        treatment
        for name in loaded.spec.experiment.treatments
        if (treatment := treatments.get(name)) is not None
        and treatment.state == "live"
        and (not finished or record.shipped == name)
    ]
    if not live:
        raise ConflictError(
            f"no treatment of {record.key} is live",
            hint=f"turnback explain {record.key} says since when and why",
        )
    done = tuple(
        _turned_back(session, record, loaded, treatment, asked, settings=settings)
        for treatment in live
    )
    update_experiment(session, record)
    return done


def _turned_back(
    session: Session,
    record: ExperimentRecord,
    loaded: Loaded,
    treatment: TreatmentRecord,
    asked: Asked,
    *,
    settings: EngineSettings,
) -> TransitionRecord:
    return record_rollback(
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
        public_url=settings.public_url,
        by_hand=True,
    )
