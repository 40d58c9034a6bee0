"""Who keeps what was counted of segments: at most once an hour each, and nobody waits for it."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from guardrails.views import SegmentsView

logger = logging.getLogger("turnback.segments")

FRESH: Final = timedelta(hours=1)
"""What was counted less than this long ago is not counted again."""

AGAIN: Final = timedelta(minutes=1)
"""What could not be counted, or had nothing to count yet, is tried again after this long."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants to see.

    Attributes:
        key: The experiment.
        run: Another value for another file, run or state: what was counted before is no answer.
        declared: Attributes that the file declares.
    """

    key: str
    run: object
    declared: tuple[str, ...]


Count = Callable[[str], SegmentsView]
"""Counts an experiment, which may take seconds."""


class SegmentDesk:
    """The newest count of every experiment, in memory. Safe from any thread.

    Args:
        count: Counts one.
        now: The clock.
        later: Whether it is counted in a thread of its own, one experiment after another; where
            not, whoever asks waits for it.
    """

    def __init__(self, count: Count, now: Callable[[], datetime], *, later: bool) -> None:
        self._count = count
        self._now = now
        self._lock = Lock()
        self._kept: dict[str, tuple[object, SegmentsView]] = {}
        self._under_way: set[str] = set()
        self._worker: ThreadPoolExecutor | None = None
        self._later = later
        self._closed = False
        self.counted = 0

    def latest(self, wanted: Wanted) -> SegmentsView:
        """Return the newest count, or one without instant where there is none; counts nothing."""
        with self._lock:
            run, view = self._kept.get(wanted.key, (None, None))
        return view if view is not None and run == wanted.run else SegmentsView(wanted.declared)

    def ask(self, wanted: Wanted) -> SegmentsView:
        """Return the newest count, and see to it that there is one of the last hour."""
        view = self.latest(wanted)
        if not self._due(view):
            return view
        if not self._later:
            self._serve(wanted)
            return self.latest(wanted)
        with self._lock:
            if self._closed or wanted.key in self._under_way:
                return view
            self._under_way.add(wanted.key)
            if self._worker is None:
                self._worker = ThreadPoolExecutor(1, thread_name_prefix="turnback-segments")
            self._worker.submit(self._serve, wanted)
        return view

    def close(self) -> None:
        """Count nothing more, and wait for what is under way; idempotent."""
        with self._lock:
            self._closed = True
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.shutdown(cancel_futures=True)

    def _due(self, view: SegmentsView) -> bool:
        if view.at is None:
            return True
        age = self._now() - view.at
        return age >= (FRESH if view.found else AGAIN) or age < timedelta(0)

    def _serve(self, wanted: Wanted) -> None:
        try:
            view = self._count(wanted.key)
        except Exception as error:  # noqa: BLE001 - whatever it was, the page says it and goes on
            logger.warning("%s: its segments could not be counted: %s", wanted.key, error)
            failure = str(error) or type(error).__name__
            view = SegmentsView(wanted.declared, at=self._now(), failure=failure)
        with self._lock:
            self._kept[wanted.key] = wanted.run, view
            self._under_way.discard(wanted.key)
            self.counted += 1
