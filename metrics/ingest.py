"""Group commit: many small batches become one durable write."""

import gc
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from datetime import datetime

from metrics.events import Event
from metrics.store import Appended, MetricStore, StoreError
from metrics.wording import gettext as _

_FIRST_RATE = 20_000.0
"""Events a second assumed before anything was measured."""

_LONGEST_RETRY = 60
_MEMORY = 0.8


class QueueFullError(Exception):
    """More is queued than the store can take soon; nothing was accepted.

    Attributes:
        retry_after: Whole seconds after which to try again, 1 to 60.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the ingest queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


def settle() -> None:
    """Keep answers quick: look less often for objects that only hold each other.

    Thousands of events a second are made and let go without any. Looking through all of them
    and of the program for some, as often as Python does, stops everything for tens of
    milliseconds. Threads also take turns five times as often, so that a check that counts does
    not keep answers waiting. For a process that serves, once everything is built.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    sys.setswitchinterval(0.001)


@dataclass(slots=True)
class _Job:
    events: Sequence[Event]
    future: "Future[Appended]" = field(default_factory=Future[Appended])


class Ingest:
    """One writer thread in front of a store; a future resolves only after the commit.

    Args:
        store: Where events become durable.
        clock: Gives ``received_at``.
        capacity_events: Most events waiting; beyond it `submit` raises.
        group_events: A group is closed once it holds this many events.
    """

    def __init__(
        self,
        store: MetricStore,
        *,
        clock: Callable[[], datetime],
        capacity_events: int = 200_000,
        group_events: int = 5_000,
    ) -> None:
        self._store = store
        self._clock = clock
        self._capacity = capacity_events
        self._group = group_events
        self._jobs: deque[_Job] = deque()
        self._pending: set[Future[Appended]] = set()
        self._changed = threading.Condition()
        self._queued = 0
        self._writing = 0
        self._closing = False
        self._rate = _FIRST_RATE
        self._refusing: str | None = None
        self._thread = threading.Thread(target=self._run, name="turnback-ingest", daemon=True)
        self._thread.start()

    @property
    def queued(self) -> int:
        """Events not durable yet."""
        with self._changed:
            return self._queued + self._writing

    def attention(self) -> tuple[str, ...]:
        """Return that events cannot be written, since when and why, in words."""
        return (self._refusing,) if self._refusing is not None else ()

    def submit(self, events: Sequence[Event]) -> "Future[Appended]":
        """Queue a batch; the future resolves when it is durable.

        The indices of its rejections are those of the batch.

        Raises:
            QueueFullError: The queue is full; nothing was queued.
            StoreError: The ingest is closed.
        """
        job = _Job(tuple(events))
        with self._changed:
            if self._closing:
                raise StoreError("the ingest is closed; events can no longer be accepted")
            waiting = self._queued + self._writing
            # a batch larger than the whole queue goes in alone, or it never would
            if waiting and waiting + len(job.events) > self._capacity:
                seconds = math.ceil(waiting / self._rate)
                raise QueueFullError(min(max(seconds, 1), _LONGEST_RETRY))
            self._jobs.append(job)
            self._pending.add(job.future)
            self._queued += len(job.events)
            self._changed.notify_all()
        return job.future

    def flush(self) -> None:
        """Return when everything submitted before is durable or has failed."""
        with self._changed:
            pending = list(self._pending)
        wait(pending)

    def close(self) -> None:
        """Write what is queued, then stop; idempotent. The store stays open."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while (group := self._next_group()) is not None:
            started = time.monotonic()
            events = [event for job in group for event in job.events]
            answer = self._write(events)
            seconds = time.monotonic() - started
            with self._changed:
                self._writing = 0
                if events and seconds > 0:
                    measured = len(events) / seconds
                    self._rate = _MEMORY * self._rate + (1 - _MEMORY) * measured
                self._pending.difference_update(job.future for job in group)
            _resolve(group, answer)

    def _next_group(self) -> list[_Job] | None:
        """Return the jobs to write next, ``None`` when closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closing)
            if not self._jobs:
                return None
            group: list[_Job] = []
            while self._jobs and self._writing < self._group:
                job = self._jobs.popleft()
                self._queued -= len(job.events)
                if job.future.set_running_or_notify_cancel():
                    group.append(job)
                    self._writing += len(job.events)
                else:
                    self._pending.discard(job.future)
            return group

    def _write(self, events: Sequence[Event]) -> Appended | StoreError:
        answer = self._try(events)
        if not isinstance(answer, StoreError):
            self._refusing = None
        elif self._refusing is None:
            since = f"{self._clock():%Y-%m-%d %H:%M} UTC"
            self._refusing = _("events are refused since {at}: {error}", at=since, error=answer)
        return answer

    def _try(self, events: Sequence[Event]) -> Appended | StoreError:
        try:
            return self._store.append(events, received_at=self._clock())
        except StoreError as error:
            return error
        except Exception as error:  # noqa: BLE001 - the writer must survive whatever an engine does
            failure = StoreError(f"nothing of the batch was kept: {error!r}; send it again")
            failure.__cause__ = error
            return failure


def _resolve(group: Sequence[_Job], answer: Appended | StoreError) -> None:
    start = 0
    for job in group:
        end = start + len(job.events)
        if isinstance(answer, StoreError):
            job.future.set_exception(answer)
        else:
            job.future.set_result(_share(answer, start, end))
        start = end


def _share(answer: Appended, start: int, end: int) -> Appended:
    """Return the part of a group's answer that belongs to its events from start to end."""
    rejected = tuple(
        replace(each, index=each.index - start)
        for each in answer.rejected
        if start <= each.index < end
    )
    repeated = tuple(index - start for index in answer.repeated if start <= index < end)
    return Appended(
        accepted=end - start - len(rejected) - len(repeated),
        duplicates=len(repeated),
        rejected=rejected,
        watermark=answer.watermark,
        repeated=repeated,
    )
