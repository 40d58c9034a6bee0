"""Where ``now`` comes from. Everything below takes the instant as an argument."""

from datetime import UTC, datetime
from threading import Lock
from typing import Protocol


class Clock(Protocol):
    """Something that knows the time."""

    def now(self) -> datetime:
        """Return the current instant, aware UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the current instant, aware UTC."""
        return datetime.now(UTC)


class SteppedClock:
    """A clock that stands still until it is moved: for the demo, backtests and tests."""

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)
        self._lock = Lock()

    def now(self) -> datetime:
        """Return the instant the clock was last moved to."""
        return self._now

    def move_to(self, instant: datetime) -> None:
        """Move forward.

        Raises:
            ValueError: ``instant`` is naive or earlier than now; a stepped clock never goes back.
        """
        if instant.tzinfo is None:
            raise ValueError(f"{instant.isoformat()} has no time zone; give one, for instance Z")
        with self._lock:
            if instant < self._now:
                raise ValueError(
                    f"{instant.isoformat()} is before {self._now.isoformat()}; "
                    "a stepped clock only moves forward"
                )
            self._now = instant.astimezone(UTC)
