"""Ids of the newest events with their times, so that repeats sent soon need no look-up."""

from collections.abc import Iterable, Sequence

SPAN = 10_000_000
"""Microseconds whose ids leave together."""

EVERYTHING = -(2**62)
_FAR = 4  # so far above capacity even ids of one instant leave


class RecentIds:
    """All stored (id, happened_at) from ``horizon`` on; the oldest leave first."""

    def __init__(self, capacity: int, horizon: int) -> None:
        self.horizon = horizon
        self._capacity = capacity
        self._times: dict[str, int | tuple[int, ...]] = {}  # nearly every id has one time
        self._spans: dict[int, list[str]] = {}

    def get(self, event_id: str) -> tuple[int, ...]:
        """Return the times stored under an id; complete only from the horizon on."""
        times = self._times.get(event_id, ())
        return (times,) if isinstance(times, int) else times

    def known(self, ids: Iterable[str]) -> dict[str, tuple[int, ...]]:
        """Return the times of those ids that are stored."""
        return {event_id: self.get(event_id) for event_id in self._times.keys() & ids}

    def add(self, events: Iterable[tuple[str, int]]) -> None:
        """Remember events that have become durable."""
        kept = [each for each in events if each[1] >= self.horizon]
        before = len(self._times)
        again = self.known(event_id for event_id, _ in kept)
        self._times.update(kept)
        if len(self._times) != before + len(kept):
            self._add_again(kept, again)
        span, of_span = None, list[str]()
        for event_id, at in kept:
            if at // SPAN != span:
                span = at // SPAN
                of_span = self._spans.setdefault(span, [])
            of_span.append(event_id)
        while len(self._times) > self._capacity and (
            len(self._spans) > 1 or len(self._times) > _FAR * self._capacity
        ):
            self._forget(min(self._spans))

    def _add_again(
        self, events: Sequence[tuple[str, int]], again: dict[str, tuple[int, ...]]
    ) -> None:
        """Note all times of ids that were stored before, or are given twice."""
        times: dict[str, tuple[int, ...]] = dict(again)
        for event_id, at in events:
            times[event_id] = (*times.get(event_id, ()), at)
        for event_id, every in times.items():
            self._times[event_id] = every

    def _forget(self, span: int) -> None:
        for event_id in self._spans.pop(span):
            times = self._times.get(event_id, ())
            # a single time is this span's; several may be of others
            kept = () if isinstance(times, int) else [at for at in times if at // SPAN != span]
            if kept:
                self._times[event_id] = tuple(kept)
            else:
                self._times.pop(event_id, None)
        self.horizon = max(self.horizon, (span + 1) * SPAN)
