"""Which checks are due. Pure: a tick is a scheduled instant, its identity in the database."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Tick:
    """A scheduled instant: ``floor(time / interval) * interval``.

    Attributes:
        at: The instant.
        missed: Ticks between the last one and this one that nobody ran (blind time).
    """

    at: datetime
    missed: int


def floor_to(instant: datetime, interval: timedelta) -> datetime:
    """Return the newest multiple of ``interval`` (from 1970, UTC) at or before ``instant``."""
    return EPOCH + (instant - EPOCH) // interval * interval


def due_tick(
    last: datetime | None,
    now: datetime,
    interval: timedelta,
    *,
    started: datetime,
    told: datetime | None = None,
) -> Tick | None:
    """Return the tick that is due at ``now``, or ``None``.

    Late ticks collapse to the newest: what they would have seen it sees too. The gap is
    counted, not skipped quietly. A clock that went back makes nothing due until it has
    caught up.

    Args:
        last: The newest tick recorded, ``None`` before the first.
        now: The current instant.
        interval: Time between ticks, positive.
        started: No tick is due at or before the start of the experiment.
        told: When news came that does not wait for the next scheduled instant, ``None`` for never.
            What no check has seen is due at that instant, whatever the clock says now.
    """
    at = floor_to(now, interval)
    if told is not None and (last is None or told > last):
        at = max(at, told)
    if at <= started or (last is not None and at <= last):
        return None
    previous = floor_to(last if last is not None else started, interval)
    return Tick(at, missed=max(0, (floor_to(at, interval) - previous) // interval - 1))


def first_seen_by(
    arrived: datetime | None, last: datetime | None, interval: timedelta
) -> datetime | None:
    """Return the check that will be the first to see what arrived, ``None`` once one has.

    Args:
        arrived: When the newest came, ``None`` where nothing did.
        last: The newest check, ``None`` before the first.
        interval: Time between checks, positive.
    """
    if arrived is None or (last is not None and last >= arrived):
        return None
    return floor_to(arrived, interval) + interval
