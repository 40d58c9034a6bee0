"""Who did what, from everything that is recorded: calls, changes by people, keys. Newest first."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlmodel import Session, col, select

from experiments.models import TransitionRow
from guardrails.consequences import ENGINE
from guardrails.models import AuditRow, KeyRow, SuspensionRow

_CLOCK = "/api/v1/demo/clock"
"""A demo's clock is moved every hour: nobody decides anything by it."""

UTMOST = 200
"""Entries of one page at most."""


class Sort(StrEnum):
    """What an entry is about."""

    CALL = "call"  # a call of the API, or a form of a page, that was let in
    CHANGE = "change"  # a person moved an experiment, approved, extended or wrote a note
    KEY = "key"  # a key was made or revoked
    SUSPENSION = "suspension"  # the engine was suspended, or acts again


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that somebody did.

    Attributes:
        at: When.
        sort: What it is about.
        actor: Who says they did it.
        key: Name of the key it was done with, empty for none or where it is not known.
        experiment: Key of the experiment, empty for none.
        variant: Treatment it was about, empty for none.
        before: State, or method of the call.
        after: State, or path of the call.
        reason: Given for it, empty for none.
        status: Of a call, 0 for what is none.
        id: Of a transition (``t3``) or a request; empty for none.
    """

    at: datetime
    sort: Sort
    actor: str
    key: str = ""
    experiment: str = ""
    variant: str = ""
    before: str = ""
    after: str = ""
    reason: str = ""
    status: int = 0
    id: str = ""


def entries(
    session: Session,
    *,
    most: int,
    before: datetime | None = None,
    sort: Sort | None = None,
    actor: str = "",
) -> tuple[Entry, ...]:
    """Return the newest entries.

    Args:
        session: The session.
        most: At most so many.
        before: Only what happened before this instant: the next page.
        sort: Only these.
        actor: Only by whoever calls themselves so.
    """
    found: list[Entry] = []
    for kind, read in _SOURCES.items():
        if sort is None or sort is kind:
            found += read(session, min(most, UTMOST), before, actor)
    found.sort(key=lambda entry: (entry.at, entry.id), reverse=True)
    return tuple(found[: min(most, UTMOST)])


def _calls(session: Session, most: int, before: datetime | None, actor: str) -> list[Entry]:
    query = select(AuditRow).where(AuditRow.path != _CLOCK)
    query = query.order_by(col(AuditRow.at).desc()).limit(most)
    query = query if before is None else query.where(col(AuditRow.at) < before)
    query = query if not actor else query.where(AuditRow.actor == actor)
    return [
        Entry(
            row.at,
            Sort.CALL,
            row.actor,
            key=row.key,
            before=row.method,
            after=row.path,
            status=row.status,
            id=row.request,
        )
        for row in session.exec(query)
    ]


def _changes(session: Session, most: int, before: datetime | None, actor: str) -> list[Entry]:
    query = (
        select(TransitionRow)
        .where(TransitionRow.actor != ENGINE)
        .order_by(col(TransitionRow.at).desc(), col(TransitionRow.id).desc())
        .limit(most)
    )
    query = query if before is None else query.where(col(TransitionRow.at) < before)
    query = query if not actor else query.where(TransitionRow.actor == actor)
    return [
        Entry(
            row.at,
            Sort.CHANGE,
            row.actor,
            experiment=row.experiment,
            variant=row.variant or "",
            before=row.before,
            after=row.after,
            reason=row.reason,
            id=f"t{row.id}",
        )
        for row in session.exec(query)
    ]


def _keys(session: Session, _most: int, before: datetime | None, actor: str) -> list[Entry]:
    found: list[Entry] = []
    for row in session.exec(select(KeyRow)):
        made = Entry(row.created_at, Sort.KEY, row.created_by, row.name, after="made")
        found.append(made)
        if row.revoked_at is not None:
            found.append(Entry(row.revoked_at, Sort.KEY, "", row.name, after="revoked"))
    return [e for e in found if (before is None or e.at < before) and actor in {"", e.actor}]


def _suspensions(session: Session, _most: int, before: datetime | None, actor: str) -> list[Entry]:
    found = [
        Entry(
            row.at,
            Sort.SUSPENSION,
            row.actor,
            after="suspended" if row.suspended else "acting",
            reason=row.reason,
        )
        for row in session.exec(select(SuspensionRow))
    ]
    return [e for e in found if (before is None or e.at < before) and actor in {"", e.actor}]


_SOURCES = {
    Sort.CALL: _calls,
    Sort.CHANGE: _changes,
    Sort.KEY: _keys,
    Sort.SUSPENSION: _suspensions,
}
