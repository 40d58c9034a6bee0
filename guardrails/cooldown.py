"""No flapping: what was proven harmful is not served again at once, whoever asks."""

from datetime import datetime, timedelta

from sqlmodel import Session

from experiments.errors import ConflictError
from experiments.repository import ExperimentRecord, TreatmentRecord, load_transitions
from guardrails.words import duration, instant
from metrics.wording import gettext as _


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
            _(
                "{variant} of {experiment} was turned back at {at} by a guardrail, and a cooldown "
                "of {length} holds",
                variant=variant,
                experiment=record.key,
                at=instant(at),
                length=duration(cooldown),
            ),
            hint=_(
                "resume it after {at}, when its cause is known: {command}",
                at=instant(at + cooldown),
                command=f"turnback explain {record.key}",
            ),
        )
