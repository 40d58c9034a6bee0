"""The bell: APScheduler rings, which ticks are due is decided by ``guardrails.ticks``."""

import logging
from collections.abc import Callable
from datetime import timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

logger = logging.getLogger("turnback.scheduler")

# a ring that falls into the one before is left out on purpose: on a busy machine a line for each
# buried the log, and `turnback_last_ring_timestamp_seconds` says when rings stand still
rings = logging.getLogger("turnback.scheduler.rings")
rings.setLevel(logging.ERROR)


class Bell:
    """Rings at an interval, each job in a thread of its own, until it is closed.

    A ring that is late is run, several late ones are one: the ticks themselves count what was
    missed. A ring never overlaps the one before.

    Args:
        jobs: What to do at each interval; an error is logged and the next ring comes anyway.
    """

    def __init__(self, jobs: dict[str, tuple[timedelta, Callable[[], object]]]) -> None:
        # a worker for each job: one that waits for others does not hold up the rest
        workers = {"default": ThreadPoolExecutor(max(1, len(jobs)))}
        self._scheduler = BackgroundScheduler(executors=workers, timezone="UTC", logger=rings)
        for name, (every, job) in jobs.items():
            self._scheduler.add_job(
                _guarded(name, job),
                "interval",
                seconds=every.total_seconds(),
                id=name,
                coalesce=True,
                max_instances=1,
                misfire_grace_time=None,  # the default of 1 s would drop a late check
            )

    def start(self) -> None:
        """Begin to ring."""
        self._scheduler.start()

    def close(self) -> None:
        """Stop ringing and wait for a ring that is under way; idempotent."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)


def _guarded(name: str, job: Callable[[], object]) -> Callable[[], None]:
    def ring() -> None:
        try:
            job()
        except Exception:
            logger.exception("%s failed; it is tried again at the next ring", name)

    return ring
