"""Keeping the metric store in order: what is too old leaves, once a day."""

import logging
from collections.abc import Callable, Sequence
from datetime import date, timedelta

from experiments.language.amounts import format_duration
from guardrails.clock import Clock
from guardrails.words import instant
from metrics.store import Frame, MetricStore
from metrics.upkeep import Erasure
from metrics.wording import gettext as _

logger = logging.getLogger("turnback.upkeep")

LOOK_EVERY = timedelta(minutes=10)
"""Time between looks at whether a day has begun, by the engine's clock."""

SAVE_EVERY = timedelta(minutes=5)
"""Time between looks at whether running totals should be saved."""

DOUBT = timedelta(days=2)
"""A clock that is this far ahead of what was received is not believed."""


class Upkeep:
    """Removes events older than the retention, once for each day in UTC.

    Age is told from the clock and from when events were received, whichever is earlier: a clock
    that jumps ahead removes nothing, and where no events come, none leave.

    Args:
        store: The metric store.
        frames: Returns the frames of the experiments that run now; if it fails, nothing leaves.
        clock: Where now comes from.
        retain: How long events are kept.
    """

    def __init__(
        self,
        store: MetricStore,
        frames: Callable[[], Sequence[Frame]],
        clock: Clock,
        retain: timedelta,
    ) -> None:
        self._store = store
        self._frames = frames
        self._clock = clock
        self._retain = retain
        self._done: date | None = None
        self._odd_clock: str | None = None
        self._failed: str | None = None

    def attention(self) -> tuple[str, ...]:
        """Return what a person should look at, one sentence each; of the newest look."""
        return tuple(words for words in (self._odd_clock, self._failed) if words)

    def run_due(self) -> Erasure | None:
        """Remove what is too old if that was not done today; what failed is tried again.

        Returns:
            What left; ``None`` where it was done today, or there are no events.

        Raises:
            StoreError: Nothing left.
        """
        try:
            erased = self._run_due()
        except Exception as error:
            age = format_duration(self._retain)
            self._failed = _(
                "events older than {age} could not be removed: {error}", age=age, error=error
            )
            raise
        self._failed = None
        return erased

    def _run_due(self) -> Erasure | None:
        now = self._clock.now()
        if self._done == now.date():
            return None
        self._odd_clock = None
        vouched = self._store.received_until(DOUBT)
        if vouched is None:
            return None
        if now - vouched > DOUBT:
            self._odd_clock = _(
                "the clock says {now}, and events were received up to {at} only: nothing after "
                "{before} is removed. If the clock is right, this ends once events have come for "
                "two days; if not, set the clock of this machine",
                now=instant(now),
                at=instant(vouched),
                before=instant(vouched - self._retain),
            )
            logger.warning("%s", self._odd_clock)
        before = min(now, vouched) - self._retain
        erased = self._store.retain(before, running=self._frames(), now=now)
        self._done = now.date()
        if erased.events:
            logger.info("%s events from before %s were removed", erased.events, before.isoformat())
        return erased
