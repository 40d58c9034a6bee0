"""Delivering messages at least once. A rollback never waits for this."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import msgspec

from experiments.database import ControlPlane
from guardrails.channels import Channel, DeliveryError, Message
from guardrails.failpoints import Point, reached
from guardrails.repository import due_messages, mark_message

FIRST_RETRY = timedelta(seconds=5)
LONGEST_RETRY = timedelta(minutes=30)
LAST_TRY = 50


def backoff(attempts: int) -> timedelta:
    """Return how long to wait after ``attempts`` failed tries: 5 s doubling up to 30 min."""
    return min(LONGEST_RETRY, FIRST_RETRY * 2 ** min(attempts - 1, 12))


def deliver_due(
    control: ControlPlane,
    channels: Mapping[str, Channel],
    *,
    now: datetime,
    report: Callable[[str, str], None],
) -> int:
    """Try every message that is due once; return how many were delivered.

    A message is marked as told only after its channel said so: a crash between the two tells
    it twice with one key, never not at all. A message for a channel that the settings do not
    name is given up at once, recorded with the reason.
    """
    with control.reading() as session:
        due = due_messages(session, now)
    delivered = 0
    for row in due:
        if row.id is None:
            continue
        attempts = row.attempts + 1
        reached(Point.BEFORE_DELIVERY)
        error, retryable = _try(channels.get(row.channel), row.channel, row.body)
        reached(Point.DELIVERED)
        give_up = error is not None and (not retryable or attempts >= LAST_TRY)
        result = "delivered" if error is None else "given_up" if give_up else "retry"
        with control.transaction() as session:
            mark_message(
                session,
                row.id,
                attempts=attempts,
                delivered_at=now if error is None else None,
                given_up_at=now if give_up else None,
                retry_in=backoff(attempts) if result == "retry" else None,
                now=now,
                error=error,
            )
        reached(Point.MARKED)
        delivered += error is None
        report(row.channel, result)
    return delivered


def _try(channel: Channel | None, name: str, body: Mapping[str, object]) -> tuple[str | None, bool]:
    """Return (error or ``None``, whether another try makes sense)."""
    if channel is None:
        return f"no channel named {name!r} in the server's settings", False
    try:
        channel.send(msgspec.convert(body, Message))
    except DeliveryError as error:
        return str(error), error.retryable
    except Exception as error:  # noqa: BLE001 - a channel's defect must not stop the others
        return f"{type(error).__name__}: {error}", True
    return None, False
