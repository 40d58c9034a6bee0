"""What waits to be told, what was given up, and what still stands: rows of the outbox."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, or_, update
from sqlmodel import Session, col, select

from guardrails.models import OutboxRow

STEP_ASIDE: Final = 5
"""Failed tries after which a message no longer holds up those behind it."""

DAY: Final = timedelta(days=1)
"""How long a message that was given up is shown."""

_MOST: Final = 100


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message of one channel that was neither delivered nor given up."""

    id: int
    key: str
    attempts: int
    due_at: datetime
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """A message that was delivered, and may still stand; ``over_at`` says since when not."""

    id: int
    key: str
    created_at: datetime
    over_at: datetime | None
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tally:
    """How the messages of one channel fare.

    Attributes:
        waiting: Messages neither delivered nor given up.
        failing: Of these, those that failed at least once.
        oldest_at: When the oldest of them was made, ``None`` without any.
        given_up: Messages given up since the instant that was asked about.
        delivered_at: When the newest delivery was, ``None`` before the first.
        error: The newest error of those that fail or were given up, ``None`` without any.
    """

    waiting: int = 0
    failing: int = 0
    oldest_at: datetime | None = None
    given_up: int = 0
    delivered_at: datetime | None = None
    error: str | None = None


def _waits() -> Sequence[Any]:
    return (col(OutboxRow.delivered_at).is_(None), col(OutboxRow.given_up_at).is_(None))


def due_channels(session: Session, now: datetime) -> list[str]:
    """Return the channels with a message that is due, by the age of the oldest."""
    rows = session.exec(
        select(OutboxRow.channel)
        .where(*_waits(), col(OutboxRow.due_at) <= now)
        .group_by(OutboxRow.channel)
        .order_by(func.min(OutboxRow.id))
    )
    return list(rows)


def waiting_messages(session: Session, channel: str, now: datetime) -> list[Waiting]:
    """Return messages of a channel that are due or hold up others, oldest first."""
    rows = session.exec(
        select(OutboxRow)
        .where(
            *_waits(),
            col(OutboxRow.channel) == channel,
            or_(col(OutboxRow.due_at) <= now, col(OutboxRow.attempts) < STEP_ASIDE),
        )
        .order_by(col(OutboxRow.id))
        .limit(_MOST)
    )
    return [
        Waiting(row.id, row.key, row.attempts, row.due_at, row.body)
        for row in rows
        if row.id is not None
    ]


def mark_message(
    session: Session,
    message_id: int,
    *,
    attempts: int,
    delivered_at: datetime | None = None,
    given_up_at: datetime | None = None,
    due_at: datetime | None = None,
    error: str | None = None,
) -> None:
    """Record what became of one try.

    Args:
        session: The transaction.
        message_id: The row.
        attempts: Tries so far.
        delivered_at: When it was delivered.
        given_up_at: When it was given up.
        due_at: When the next try is due.
        error: Why it was not delivered.
    """
    row = session.get(OutboxRow, message_id)
    if row is None:
        return
    row.attempts = attempts
    row.delivered_at = delivered_at
    row.given_up_at = given_up_at
    row.last_error = error
    if due_at is not None:
        row.due_at = due_at
    session.add(row)


def hasten(session: Session, channel: str, now: datetime) -> None:
    """Make every message of a channel due that waits for another try: its receiver answers."""
    session.exec(
        update(OutboxRow)
        .where(*_waits(), col(OutboxRow.channel) == channel, col(OutboxRow.due_at) > now)
        .values(due_at=now)
        .execution_options(synchronize_session=False)
    )


def told_messages(session: Session, channel: str, *, over_since: datetime) -> list[Told]:
    """Return delivered messages of a channel that may stand, or are over since then or later."""
    rows = session.exec(
        select(OutboxRow)
        .where(
            col(OutboxRow.channel) == channel,
            col(OutboxRow.delivered_at).is_not(None),
            or_(col(OutboxRow.over_at).is_(None), col(OutboxRow.over_at) >= over_since),
        )
        .order_by(col(OutboxRow.id))
    )
    return [
        Told(row.id, row.key, row.created_at, row.over_at, row.body)
        for row in rows
        if row.id is not None
    ]


def end_messages(session: Session, ended: Mapping[int, datetime]) -> None:
    """Record since when what messages told is over; what is recorded already stays."""
    for message_id, at in ended.items():
        row = session.get(OutboxRow, message_id)
        if row is not None and row.over_at is None:
            row.over_at = at
            session.add(row)


def tallies(session: Session, *, given_up_since: datetime) -> dict[str, Tally]:
    """Return how the messages of every channel fare that ever had one."""
    newest = session.exec(
        select(OutboxRow.channel, func.max(OutboxRow.delivered_at)).group_by(OutboxRow.channel)
    )
    found = {channel: Tally(delivered_at=at) for channel, at in newest}
    rows = session.exec(
        select(OutboxRow)
        .where(
            col(OutboxRow.delivered_at).is_(None),
            or_(
                col(OutboxRow.given_up_at).is_(None),
                col(OutboxRow.given_up_at) >= given_up_since,
            ),
        )
        .order_by(col(OutboxRow.id))
    )
    for row in rows:
        found[row.channel] = _with(found[row.channel], row)
    return found


@dataclass(frozen=True, slots=True)
class Lost:
    """Messages of one experiment that one channel was to have and never will."""

    channel: str
    experiment: str
    count: int
    newest_at: datetime


def lost_messages(session: Session, *, since: datetime, known: Collection[str]) -> list[Lost]:
    """Return what was given up since then for channels that are not ``known``."""
    rows = session.exec(
        select(
            OutboxRow.channel,
            OutboxRow.experiment,
            func.count(),
            func.max(OutboxRow.given_up_at),
        )
        .where(
            col(OutboxRow.given_up_at) >= since,
            col(OutboxRow.channel).not_in(list(known)),
        )
        .group_by(OutboxRow.channel, OutboxRow.experiment)
        .order_by(OutboxRow.channel, OutboxRow.experiment)
    )
    return [
        Lost(channel, experiment, count, newest)
        for channel, experiment, count, newest in rows
        if newest is not None
    ]


def _with(tally: Tally, row: OutboxRow) -> Tally:
    waits = row.given_up_at is None
    return Tally(
        waiting=tally.waiting + waits,
        failing=tally.failing + (waits and row.attempts > 0),
        oldest_at=(tally.oldest_at or row.created_at) if waits else tally.oldest_at,
        given_up=tally.given_up + (not waits),
        delivered_at=tally.delivered_at,
        error=row.last_error or tally.error,
    )
