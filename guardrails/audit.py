"""Who called what that changes something, and how it ended."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from guardrails.models import AuditRow


@dataclass(frozen=True, slots=True)
class Call:
    """One call that was let in.

    Attributes:
        at: When it was answered.
        key: What its key is called, empty for a call from this machine without a key.
        actor: Who it says it is.
        method: Of HTTP.
        path: Without parameters.
        status: Of the answer.
        request: Its id, which the log and the answer have too.
    """

    at: datetime
    key: str
    actor: str
    method: str
    path: str
    status: int
    request: str


def record(session: Session, call: Call) -> None:
    """Keep a call."""
    session.add(
        AuditRow(
            at=call.at,
            key=call.key,
            actor=call.actor,
            method=call.method,
            path=call.path,
            status=call.status,
            request=call.request,
        )
    )


def calls(session: Session, *, most: int) -> tuple[Call, ...]:
    """Return the newest calls, newest first."""
    rows = session.exec(select(AuditRow).order_by(col(AuditRow.id).desc()).limit(most))
    return tuple(Call(r.at, r.key, r.actor, r.method, r.path, r.status, r.request) for r in rows)
