"""No flapping: what was proven harmful is not served again at once, whoever asks."""

from datetime import datetime, timedelta

from sqlmodel import Session

from experiments.errors import ConflictError
from experiments.repository import ExperimentRecord, TreatmentRecord, load_transitions
from guardrails.words import duration, instant


def require_cool(
    session: Session,
    record: ExperimentRecord,
    treatment: TreatmentRecord,
    now: datetime,
    cooldown: timedelta,
) -> None:
    """Refuse to serve again at once what was proven harmful; a person's own rollback is undone.

    Raises:
        ConflictError: The engine turned it back less than the cooldown ago.
    """
    at, variant = treatment.rolled_back_at, treatment.variant
    if at is None or now >= at + cooldown:
        return
    backs = [
        t
        for t in load_transitions(session, record.key)
        if t.variant == variant and t.after == "rolled_back"
    ]
    if backs and backs[-1].evaluation is not None:
        raise ConflictError(
            f"{variant} of {record.key} was turned back at {instant(at)} by a guardrail, and a "
            f"cooldown of {duration(cooldown)} holds",
            hint=f"resume it after {instant(at + cooldown)}, when its cause is known: turnback "
            f"explain {record.key}",
        )
