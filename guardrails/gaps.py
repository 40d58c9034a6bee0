"""Times in which checks were due and none ran: a stopped service, a paused process, a lock."""

from datetime import datetime, timedelta
from threading import Lock

from guardrails.clock import Clock
from guardrails.views import CheckReport
from guardrails.words import instant
from metrics.wording import gettext as _

WORTH_TELLING = 3
"""Missed checks in a row that a person is told of; fewer are a slow machine."""

TOLD_FOR = timedelta(days=1)


class Gaps:
    """Remembers for a day where checks were missed: an `EngineHook`.

    Late checks collapse to the newest one, which sees what they would have seen. What would have
    been done meanwhile was not done.

    Args:
        clock: Where now comes from.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._found: dict[str, tuple[datetime, int]] = {}

    def on_check(self, report: CheckReport) -> None:
        """Remember a check that came after others were missed."""
        if report.missed >= WORTH_TELLING:
            with self._lock:
                self._found[report.experiment] = report.at, report.missed

    def on_notification(self, channel: str, result: str) -> None:
        """Messages leave no gaps."""

    def attention(self) -> tuple[str, ...]:
        """Return every gap of the last day in words."""
        now = self._clock.now()
        with self._lock:
            found = sorted(self._found.items())
        return tuple(
            _(
                "{number} checks of {experiment} were due before {at} and none ran: nobody would "
                "have been turned back meanwhile",
                number=f"{missed:,}",
                experiment=key,
                at=instant(at),
            )
            for key, (at, missed) in found
            if timedelta(0) <= now - at < TOLD_FOR
        )
