"""Which ids may be stored already, in 16 bytes an id, so that new ones are not looked up.

A look-up in the log reads the ids of a whole day, whether for one id or for thousands; nearly
all ids are new, and this tells so. It may say yes of an id that was never stored (one in
10 billion), and never says no of one that was.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SMALLEST = 1 << 20
_LARGEST = 1 << 26
_FULL = 0.5


class _Table:
    """A set of numbers above 0 in open addressing; what it holds is never moved."""

    def __init__(self, size: int) -> None:
        self.slots = np.zeros(size, np.uint64)
        self.room = int(size * _FULL)
        self.newest: int | None = None

    def holds(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        found = np.zeros(hashes.shape[0], np.bool_)
        left = np.arange(hashes.shape[0])
        mask = np.uint64(self.slots.shape[0] - 1)
        place = hashes & mask
        while left.shape[0]:
            there = self.slots[place]
            found[left[there == hashes]] = True
            go_on = (there != 0) & (there != hashes)
            left, hashes = left[go_on], hashes[go_on]
            place = (place[go_on] + np.uint64(1)) & mask
        return found

    def add(self, hashes: NDArray[np.uint64]) -> None:
        self.room -= hashes.shape[0]
        mask = np.uint64(self.slots.shape[0] - 1)
        place = hashes & mask
        while hashes.shape[0]:
            empty = self.slots[place] == 0
            self.slots[place[empty]] = hashes[empty]  # of several for one place the last stays
            go_on = self.slots[place] != hashes
            hashes, place = hashes[go_on], (place[go_on] + np.uint64(1)) & mask


class SeenIds:
    """Every id stored with a time from ``horizon`` on, and perhaps others.

    Args:
        horizon: Ids with earlier times are not all here.
        capacity: Ids above which the oldest table is let go, and the horizon moves.
    """

    def __init__(self, horizon: int, capacity: int = 32_000_000) -> None:
        self.horizon = horizon
        self._capacity = capacity
        self._tables: list[_Table] = []
        self._count = 0

    def add(self, ids: Sequence[str], at_times: Sequence[int]) -> None:
        """Remember ids that have become durable."""
        hashes, newest = _hashes(ids), max(at_times, default=self.horizon)
        for start in range(0, hashes.shape[0], _SMALLEST // 4):
            part = hashes[start : start + _SMALLEST // 4]
            if not self._tables or self._tables[-1].room < part.shape[0]:
                self._tables.append(_Table(min(_SMALLEST << len(self._tables), _LARGEST)))
            table = self._tables[-1]
            table.add(part)
            table.newest = newest if table.newest is None else max(table.newest, newest)
        self._count += hashes.shape[0]
        while self._count > self._capacity and len(self._tables) > 1:
            table = self._tables.pop(0)
            self._count -= int(table.slots.shape[0] * _FULL) - table.room
            self.horizon = max(self.horizon, (table.newest or 0) + 1)

    def maybe(self, ids: Sequence[str]) -> list[str]:
        """Return those of the ids that may have been stored."""
        hashes = _hashes(ids)
        found = np.zeros(hashes.shape[0], np.bool_)
        for table in self._tables:
            found |= table.holds(hashes)
        return [ids[position] for position in np.flatnonzero(found).tolist()]


def _hashes(ids: Sequence[str]) -> NDArray[np.uint64]:
    # Python's own hash of a text: 64 bits, keyed, the same for the life of a process
    hashes = np.fromiter(map(hash, ids), np.int64, len(ids)).view(np.uint64)
    return np.maximum(hashes, 1)
