"""Delivering messages at least once, a channel at a time. A rollback never waits for this."""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from threading import Event
from typing import Final

import msgspec

from experiments.database import ControlPlane
from guardrails.channels import Channel, DeliveryError, Message
from guardrails.failpoints import Point, reached
from guardrails.links import leading
from guardrails.outbox_rows import (
    STEP_ASIDE,
    Waiting,
    due_channels,
    hasten,
    mark_message,
    waiting_messages,
)

logger = logging.getLogger("turnback.notify")

FIRST_RETRY: Final = timedelta(seconds=5)
LONGEST_RETRY: Final = timedelta(minutes=30)
LAST_TRY: Final = 50
JITTER: Final = 0.2
"""Largest part of a wait that is left out, so that services do not come back all at once."""

_LONGEST_ERROR: Final = 500


class _DefectError(DeliveryError):
    """A channel failed in a way it should not: later tries of this message fare no better."""


Report = Callable[[str, str], None]
"""Hears of every try: the channel, and ``delivered``, ``retry`` or ``given_up``."""


def backoff(attempts: int) -> timedelta:
    """Return the longest wait after ``attempts`` failed tries: 5 s doubling up to 30 min."""
    return min(LONGEST_RETRY, FIRST_RETRY * 2 ** min(attempts - 1, 12))


def wait_after(attempts: int, key: str, asked: timedelta | None = None) -> timedelta:
    """Return how long to wait after ``attempts`` failed tries of one message.

    Args:
        attempts: At least 1.
        key: Of the message: the same wait every time, another one for another message.
        asked: What the receiver asked for; it is never asked sooner.
    """
    drawn = int.from_bytes(sha256(f"{key}#{attempts}".encode()).digest()[:4]) / 2**32
    wait = backoff(attempts) * (1 - JITTER * drawn)
    return wait if asked is None else max(wait, asked)


def deliver_due(
    control: ControlPlane,
    channels: Mapping[str, Channel],
    *,
    now: Callable[[], datetime],
    report: Report,
    public_url: str = "",
) -> int:
    """Try every message that is due, one channel after the other; return how many were delivered.

    A message is marked as told only after its channel said so: a crash between the two tells
    it twice with one key, never not at all. A message for a channel that the settings do not
    name is given up at once, recorded with the reason.
    """
    with control.reading() as session:
        names = due_channels(session, now())
    return sum(
        deliver_to(control, name, channels.get(name), now=now, report=report, public_url=public_url)
        for name in names
    )


def deliver_to(
    control: ControlPlane,
    name: str,
    channel: Channel | None,
    *,
    now: Callable[[], datetime],
    report: Report,
    stopping: Event | None = None,
    public_url: str = "",
) -> int:
    """Try what is due for one channel, in the order in which it happened.

    A message that has to be tried again holds up those behind it, so that nobody hears the end
    before the beginning; after a few failed tries it steps aside. Once a receiver answers again,
    all that waits for it is due.

    Args:
        control: The control plane.
        name: Of the channel.
        channel: Where to send, ``None`` where the settings name no such channel.
        now: The clock.
        report: Hears of every try.
        stopping: Set when the service stops: what is left is told after its next start.
        public_url: Where people reach the pages; empty for no links.

    Returns:
        How many messages were delivered.
    """
    with control.reading() as session:
        waiting = waiting_messages(session, name, now())
    send = partial(_try, channel, name, public_url=public_url)
    delivered, failing = 0, any(each.attempts > 0 for each in waiting)
    for each in waiting:
        if stopping is not None and stopping.is_set():
            break
        if each.due_at > now():
            break  # it holds up those behind it
        result, holds_up = _deliver(control, name, send, each, now=now, hurry=failing)
        reached(Point.MARKED)
        report(name, result)
        delivered += result == "delivered"
        failing = failing and result != "delivered"
        if holds_up:
            break
    return delivered


def _deliver(
    control: ControlPlane,
    name: str,
    send: Callable[[Waiting], DeliveryError | None],
    waiting: Waiting,
    *,
    now: Callable[[], datetime],
    hurry: bool,
) -> tuple[str, bool]:
    """Try one message and record what became of it; ``hurry`` says that others failed before.

    Returns:
        The result, and whether the message holds up those behind it.
    """
    attempts = waiting.attempts + 1
    reached(Point.BEFORE_DELIVERY)
    error = send(waiting)
    reached(Point.DELIVERED)
    at = now()
    with control.transaction() as session:
        if error is None:
            mark_message(session, waiting.id, attempts=attempts, delivered_at=at)
            if hurry:
                hasten(session, name, at)
            return "delivered", False
        words = str(error)[:_LONGEST_ERROR]
        if not error.retryable or attempts >= LAST_TRY:
            mark_message(session, waiting.id, attempts=attempts, given_up_at=at, error=words)
            logger.error("%s: %s was given up: %s", name, waiting.key, words)
            return "given_up", False
        if isinstance(error, _DefectError):
            attempts = max(attempts, STEP_ASIDE)
        due = at + wait_after(attempts, waiting.key, error.retry_after)
        mark_message(session, waiting.id, attempts=attempts, due_at=due, error=words)
        return "retry", attempts < STEP_ASIDE


def _try(
    channel: Channel | None, name: str, waiting: Waiting, *, public_url: str
) -> DeliveryError | None:
    """Send one message; return why it was not delivered, ``None`` if it was."""
    if channel is None:
        return DeliveryError(f"no channel named {name!r} in the server's settings", retryable=False)
    try:
        channel.send(leading(msgspec.convert(waiting.body, Message), public_url))
    except DeliveryError as error:
        return error
    except Exception as error:  # a channel's defect must not stop the others
        logger.exception("%s: %s could not be told", name, waiting.key)
        # its text may hold anything, an address too
        return _DefectError(f"a defect: {type(error).__name__}", retryable=True)
    return None
