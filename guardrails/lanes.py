"""A lane for each channel: one that is slow delays no other, and none delays a check."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Event, Lock
from typing import Final

from experiments.database import ControlPlane
from guardrails.channels import Channel
from guardrails.outbox import Report, deliver_to
from guardrails.outbox_rows import due_channels

logger = logging.getLogger("turnback.notify")

MOST_AT_ONCE: Final = 8
"""Channels that are told at the same time."""


class Lanes:
    """Tells every channel what is due for it, each in a thread of its own.

    Args:
        control: The control plane.
        channels: Where messages go, by name.
        now: The clock.
        report: Hears of every try.
        stopping: Set when the service stops; nothing new is begun then.
        public_url: Where people reach the pages; empty for no links.
    """

    def __init__(
        self,
        control: ControlPlane,
        channels: Mapping[str, Channel],
        *,
        now: Callable[[], datetime],
        report: Report,
        stopping: Event,
        public_url: str = "",
    ) -> None:
        self._control = control
        self._channels = channels
        self._now = now
        self._report = report
        self._stopping = stopping
        self._public_url = public_url
        self._lock = Lock()
        self._busy: set[str] = set()
        at_once = max(1, min(MOST_AT_ONCE, len(channels)))
        self._workers = ThreadPoolExecutor(at_once, thread_name_prefix="turnback-tell")

    def ring(self) -> None:
        """Begin to tell every channel that has something due and is not being told already."""
        if self._stopping.is_set():
            return
        with self._control.reading() as session:
            names = due_channels(session, self._now())
        for name in names:
            with self._lock:
                if name in self._busy:
                    continue
                self._busy.add(name)
            self._workers.submit(self._run, name)

    def _run(self, name: str) -> None:
        try:
            deliver_to(
                self._control,
                name,
                self._channels.get(name),
                now=self._now,
                report=self._report,
                stopping=self._stopping,
                public_url=self._public_url,
            )
        except Exception:
            logger.exception("%s could not be told; it is tried again at the next ring", name)
        finally:
            with self._lock:
                self._busy.discard(name)

    def close(self) -> None:
        """Begin nothing new and wait for what is being sent; idempotent."""
        self._stopping.set()
        self._workers.shutdown(wait=True, cancel_futures=True)
