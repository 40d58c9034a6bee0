"""Ids of recent events in memory, so that most batches need no look-up in the log."""

from collections.abc import Iterable

HOUR = 3_600_000_000
EVERYTHING = -(2**62)


class RecentIds:
    """All stored (id, happened_at) from ``horizon`` on; the oldest hours leave first."""

    def __init__(self, capacity: int, horizon: int) -> None:
        self.horizon = horizon
        self._capacity = capacity
        self._times: dict[str, tuple[int, ...]] = {}
        self._hours: dict[int, list[str]] = {}

    def get(self, event_id: str) -> tuple[int, ...]:
        """Return the times stored under an id; complete only from the horizon on."""
        return self._times.get(event_id, ())

    def add(self, events: Iterable[tuple[str, int]]) -> None:
        """Remember events that have become durable."""
        for event_id, at in events:
            if at < self.horizon:
                continue
            self._times[event_id] = (*self._times.get(event_id, ()), at)
            self._hours.setdefault(at // HOUR, []).append(event_id)
        while len(self._times) > self._capacity and len(self._hours) > 1:
            self._forget(min(self._hours))

    def _forget(self, hour: int) -> None:
        for event_id in self._hours.pop(hour):
            kept = tuple(at for at in self._times.get(event_id, ()) if at // HOUR != hour)
            if kept:
                self._times[event_id] = kept
            else:
                self._times.pop(event_id, None)
        self.horizon = max(self.horizon, (hour + 1) * HOUR)
