"""What people do to experiments by hand. Each runs inside the caller's transaction."""

from datetime import datetime

from sqlmodel import Session

from experiments.errors import (
    ConflictError,
    UnknownVariantError,
)
from experiments.lifecycle import Move, State, move, require
from experiments.repository import (
    NOT_APPROVED,
    ExperimentRecord,
    TransitionRecord,
    TreatmentRecord,
    forget_treatments,
    insert_phase,
    insert_treatment,
    load_phases,
    load_transitions,
    load_treatments,
    update_experiment,
)
from experiments.spec import Mode
from guardrails.asked import Asked, noted, told
from guardrails.beginning import begin_treatments
from guardrails.cooldown import require_cool
from guardrails.going_on import step_anew
from guardrails.loaded import Loaded, observe_for
from guardrails.schedule import span_from, too_late
from guardrails.settings import EngineSettings
from guardrails.standing import paused_since, pointless
from guardrails.tidings import after_approval, after_change, become_title, explain_command
from metrics.wording import gettext as _

NOTE = "note"
"""Where a note on the timeline says it leads: nowhere."""


def resume(
    session: Session,
    record: ExperimentRecord,
    loaded: Loaded,
    variant: str,
    asked: Asked,
    *,
    settings: EngineSettings,
) -> TransitionRecord:
    """Begin a new attempt: a new phase, in which alone units count for it.

    Raises:
        UnknownVariantError: No such treatment.
        IllegalTransitionError: The experiment is no longer running, or not yet.
        ConflictError: It is live, or the engine turned it back less than the cooldown ago.
        ChangedMeanwhileError: Somebody else changed the experiment.
    """
    treatment = treatment_of(session, record, loaded, variant)
    require_action(session, record, loaded, "resume")
    if treatment.state == "live":
        raise ConflictError(
            _("{variant} of {experiment} is live", variant=variant, experiment=record.key),
            hint=_("nothing to resume"),
        )
    require_cool(session, record, treatment, asked.at, settings.cooldown)
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
    done = noted(session, record, asked, before="rolled_back", after="live", variant=variant)
    told(
        session,
        record,
        loaded,
        asked,
        key=f"resumed:{record.key}/{variant}/{record.seed}/{treatment.attempt + 1}",
        kind="resumed",
        title=_(
            "{experiment}: {variant} is live again (attempt {number})",
            experiment=record.key,
            variant=variant,
            number=treatment.attempt + 1,
        ),
        variant=variant,
        facts={
            "now": f"whoever had {variant} before gets it again; what it does is judged anew",
            "next": explain_command(record.key),
        },
    )
    # hold, units and approval so far were those of the attempt that failed
    anew = step_anew(session, record.key, now=asked.at)
    update_experiment(session, record, approved=NOT_APPROVED, **anew)
    return done


def change_state(
    session: Session,
    record: ExperimentRecord,
    loaded: Loaded,
    step: Move,
    asked: Asked,
    *,
    holdout: float,
) -> TransitionRecord:
    """Start, pause, continue or stop an experiment.

    Raises:
        IllegalTransitionError: Not from its present state.
        ConflictError: It would end before it starts.
        ChangedMeanwhileError: Somebody else changed the experiment.
    """
    if step is Move.START:
        return start(session, record, loaded, asked, holdout=holdout)
    after = move(State(record.state), step, pointless=_pointless(session, record, loaded))
    done = noted(session, record, asked, before=record.state, after=after.value)
    told(
        session,
        record,
        loaded,
        asked,
        key=f"{after.value}:{record.key}/{record.seed}/t{done.id}",
        kind="continued" if step is Move.CONTINUE else after.value,
        title=become_title(record.key, after.value),
        facts=after_change(record.key, after.value),
    )
    changes: dict[str, datetime] = {}
    if step is Move.CONTINUE:
        # nobody met the step while it was paused: that time is no part of its hold
        since = paused_since(record, load_transitions(session, record.key))
        changes["step_since"] = record.step_since + (asked.at - since)
    update_experiment(session, record, state=after.value, **changes)
    return done


def start(
    session: Session, record: ExperimentRecord, loaded: Loaded, asked: Asked, *, holdout: float
) -> TransitionRecord:
    """Start a draft: its run begins at this instant, whatever its file had planned.

    Args:
        session: The transaction.
        record: The draft.
        loaded: Its newest revision.
        asked: Who starts it, and why.
        holdout: Share of all units the service keeps out of runs that begin now.

    Raises:
        IllegalTransitionError: It is no draft.
        ConflictError: The end that its file names has passed.
        ChangedMeanwhileError: Somebody else changed the experiment.
    """
    none = _pointless(session, record, loaded)
    after = move(State(record.state), Move.START, pointless=none)
    spec = loaded.spec.experiment
    if too_late(spec, asked.at):
        raise ConflictError(
            _("{experiment} would end before it starts: its end has passed", experiment=record.key),
            hint=_("apply the file with a later `ends`"),
            path="ends.at",
        )
    span = span_from(spec, asked.at, observed=observe_for(loaded.spec))
    forget_treatments(session, record.key, record.seed)
    begin_treatments(session, loaded, seed=record.seed, now=asked.at)
    done = noted(session, record, asked, before=record.state, after=after.value)
    told(
        session,
        record,
        loaded,
        asked,
        key=f"started:{record.key}/{record.seed}",
        kind="started",
        title=_("{experiment} has started", experiment=record.key),
        text=asked.reason,
    )
    update_experiment(
        session,
        record,
        state=after.value,
        starts_at=None,
        started_at=span.started_at,
        ends_at=span.ends_at,
        observe_until=span.observe_until,
        step_since=span.started_at,
        holdout=holdout if spec.holdout else 0.0,
    )
    return done


def approve(
    session: Session, record: ExperimentRecord, loaded: Loaded, asked: Asked
) -> TransitionRecord:
    """Allow the current step of the ramp to be left, also ahead of time.

    Raises:
        IllegalTransitionError: The experiment does not run.
        ConflictError: The step needs no approval, or has it, or is never left in shadow mode.
        ChangedMeanwhileError: Somebody else changed the experiment.
    """
    require_action(session, record, loaded, "approve")
    step, number = loaded.steps[record.step], record.step + 1
    named = {"number": number, "experiment": record.key}
    if record.step + 1 >= len(loaded.steps):
        raise ConflictError(
            _("{experiment} is at the last step of its ramp", experiment=record.key),
            hint=_("there is nothing to approve"),
        )
    if loaded.spec.experiment.mode is Mode.SHADOW:
        raise ConflictError(
            _("{experiment} runs in shadow mode: its ramp stands still", experiment=record.key),
            hint=_("apply the file without `mode: shadow`, then approve the step"),
        )
    if not step.approval:
        raise ConflictError(
            _("step {number} of {experiment} needs no approval", **named),
            hint=_("the ramp goes on by itself; `approval: true` in the file asks a person"),
        )
    if record.approved == record.step:
        raise ConflictError(
            _("step {number} of {experiment} is approved already", **named),
            hint=_(
                "{command} says what else it waits for", command=f"turnback status {record.key}"
            ),
        )
    done = noted(session, record, asked, before=f"step {number}", after=f"step {number} approved")
    told(
        session,
        record,
        loaded,
        asked,
        key=f"approved:{record.key}/{record.seed}/t{done.id}",
        kind="approved",
        title=_("{experiment}: step {number} of its ramp is approved", **named),
        facts=after_approval(record.key, number),
    )
    update_experiment(session, record, approved=record.step)
    return done


def write_note(session: Session, record: ExperimentRecord, asked: Asked) -> TransitionRecord:
    """Write on the timeline; nothing changes."""
    return noted(session, record, asked, before=record.state, after=NOTE)


def require_action(session: Session, record: ExperimentRecord, loaded: Loaded, action: str) -> None:
    """Refuse an action that the experiment's state does not allow, or that would do nothing.

    Raises:
        IllegalTransitionError: It is one.
    """
    none = _pointless(session, record, loaded)
    require(State(record.state), action, pointless=none)


def _pointless(session: Session, record: ExperimentRecord, loaded: Loaded) -> frozenset[str]:
    return pointless(record, loaded, load_treatments(session, record.key, record.seed))


def treatment_of(
    session: Session, record: ExperimentRecord, loaded: Loaded, variant: str
) -> TreatmentRecord:
    """Return the newest attempt of a treatment.

    Raises:
        UnknownVariantError: No such treatment.
    """
    treatments = load_treatments(session, record.key, record.seed)
    if variant not in treatments:
        names = ", ".join(loaded.spec.experiment.treatments)
        raise UnknownVariantError(
            _(
                "{experiment} has no treatment named {variant}",
                experiment=record.key,
                variant=repr(variant),
            ),
            hint=_("its treatments: {names}", names=names),
        )
    return treatments[variant]
