"""What a frame knows of its units: first exposure, variant, place and reach."""

from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from metrics.cells import Reach
from metrics.events import from_micros
from metrics.stores.columns import NONE, Column, Ints
from metrics.stores.exposures import FrameTimes
from metrics.stores.forgetting import nobody
from metrics.stores.ledger import Place

UNEXPOSED = -1
CONFLICTED = -2
NEVER = -(2**62)
EVER = 2**62
PRUNE_ABOVE = 512
"""Events of one unit above which those that can no longer count are let go."""

_SHIFT = 32
_MASK = (1 << _SHIFT) - 1


class Units:
    """Units as positions 0, 1, 2, ...; one column per fact."""

    def __init__(self, times: FrameTimes, variants: tuple[str, ...]) -> None:
        self.times = times
        self.variants = variants
        self.position: dict[str, int] = {}
        self.first = Column()
        self.variant = Column(UNEXPOSED)
        self.place = Column()
        self.head = Column(NONE)
        self.places: list[Place] = []
        self.conflicted = 0
        self._newest_event = [NEVER] * len(variants)
        self._newest_exposure = [NEVER] * len(variants)
        self._place_of: dict[Place, int] = {}
        self._order: list[int] = []  # first exposure << 32 | position, ascending
        self._exposed = [0] * len(variants)
        self._events = [0] * len(variants)
        self._count = Column()
        self._last = Column(NEVER)
        self._chain = Column()  # events in the unit's chain, and how many before it is pruned
        self._limit = Column(PRUNE_ABOVE)
        self._pruned = Column()  # events no longer in the chain, and the newest of them
        self._pruned_last = Column(NEVER)
        self._stale = False
        self._waiting: list[int] | None = None  # units exposed after _waiting_since, by variant
        self._waiting_since = NEVER

    def find(self, unit: str) -> int:
        """Return a unit's position, a new one when it was never seen."""
        position = self.position.get(unit)
        if position is None:
            position = self.position[unit] = len(self.position)
            for column in (
                self.first,
                self.variant,
                self.place,
                self.head,
                self._count,
                self._last,
                self._chain,
                self._limit,
                self._pruned,
                self._pruned_last,
            ):
                column.grow(position + 1)
        return position

    def counted(self, position: int) -> bool:
        """Return whether a unit is exposed to exactly one variant."""
        return self.variant.data[position] >= 0

    def expose(self, position: int, at: int, variant: int) -> bool:
        """Record an exposure; returns whether the unit's events must be counted again."""
        known = int(self.variant.data[position])
        if known == CONFLICTED:
            return False
        if known == UNEXPOSED:
            self.variant.data[position] = variant
            self._exposed[variant] += 1
            self._settle(position, at)
            return True
        if known != variant:
            self._conflict(position, known)
            return False
        first = int(self.first.data[position])
        if at >= first:
            return False
        self._leave(position, variant)
        self._settle(position, at)
        return True

    def see(self, positions: Ints, at: Ints) -> None:
        """Count events of units for the reach."""
        np.add.at(self._chain.data, positions, 1)
        variant = self.variant.data[positions]
        mine = (variant >= 0) & (at >= self.first.data[positions] - self.times.tolerance)
        seen, variant, at = positions[mine], variant[mine], at[mine]
        if not seen.shape[0]:
            return
        np.add.at(self._count.data, seen, 1)
        np.maximum.at(self._last.data, seen, at)
        for index in range(len(self.variants)):
            times = at[variant == index]
            self._events[index] += times.shape[0]
            self._newest_event[index] = max(
                self._newest_event[index], int(times.max(initial=NEVER))
            )

    def recount(self, position: int, times: Ints) -> None:
        """Count all events of a unit again, given their times."""
        variant = int(self.variant.data[position])
        if variant < 0:
            return
        mine = times[times >= self.first.data[position] - self.times.tolerance]
        count = mine.shape[0] + int(self._pruned.data[position])
        self._events[variant] += count - int(self._count.data[position])
        self._count.data[position] = count
        if count:
            last = max(int(mine.max(initial=NEVER)), int(self._pruned_last.data[position]))
            self._last.data[position] = last
            self._newest_event[variant] = max(self._newest_event[variant], last)

    def longer(self, positions: Ints) -> Ints:
        """Return the counted units among these whose chains are longer than they should be."""
        long = self._chain.data[positions] > self._limit.data[positions]
        return positions[long & (self.variant.data[positions] >= 0)]

    def shorten(self, position: int, gone: Ints, left: int) -> None:
        """Note that events (their times) left a unit's chain for good, and how many are left."""
        self._chain.data[position] = left
        self._limit.data[position] = left + PRUNE_ABOVE
        self._pruned.data[position] += gone.shape[0]
        last = int(gone.max(initial=NEVER))
        self._pruned_last.data[position] = max(last, int(self._pruned_last.data[position]))

    def between(self, after: int | None, until: int) -> Ints:
        """Return counted units with after < first exposure <= until, as positions."""
        start = 0 if after is None else bisect_right(self._order, (after + 1 << _SHIFT) - 1)
        end = bisect_right(self._order, (until + 1 << _SHIFT) - 1)
        return np.array([each & _MASK for each in self._order[start:end]], np.int64)

    def replace(self, phases: tuple[int, ...]) -> bool:
        """Take new phases; returns whether any unit changed place."""
        old, self.times = self.times.phases, self.times.with_phases(phases)
        changed = set(old) ^ set(phases)
        if not self._order or min(changed, default=EVER) > self._order[-1] >> _SHIFT:
            return False
        for position in self.between(None, EVER).tolist():
            self._put(position, int(self.first.data[position]))
        return True

    def reach(self) -> dict[str, Reach]:
        """Return how far each variant's data reach."""
        if self._stale:
            self._refresh()
        waiting = self._count_waiting(max(self._newest_event))
        return {
            name: Reach(
                exposed=self._exposed[index],
                events=self._events[index],
                last_exposure_at=_instant(self._newest_exposure[index]),
                last_event_at=_instant(self._newest_event[index]),
                exposed_since_last_event=waiting[index],
            )
            for index, name in enumerate(self.variants)
        }

    def by_place(self, positions: Ints) -> dict[Place, Ints]:
        """Return where in ``positions`` the units of each place are."""
        places = self.place.data[positions]
        distinct = np.unique(places)
        if distinct.shape[0] == 1:
            return {self.places[int(distinct[0])]: np.arange(positions.shape[0])}
        return {self.places[each]: np.flatnonzero(places == each) for each in distinct.tolist()}

    def forget(self, unit: str) -> None:
        """Let go of everything about a unit; its position stays empty for good."""
        position = self.position.pop(unit)
        self.position[nobody(position)] = position
        variant = int(self.variant.data[position])
        if variant >= 0:
            self._leave(position, variant)
            self._exposed[variant] -= 1
            self._events[variant] -= int(self._count.data[position])
            last = int(self._last.data[position])
            self._stale = self._stale or last >= self._newest_event[variant] > NEVER
        elif variant == CONFLICTED:
            self.conflicted -= 1
        for column in self.saved().values():
            column.data[position] = 0
        self.variant.data[position] = UNEXPOSED
        self.head.data[position] = NONE
        self._limit.data[position] = PRUNE_ABOVE
        self._last.data[position] = self._pruned_last.data[position] = NEVER

    def saved(self) -> dict[str, Column]:
        """Return every column by name, for saving and restoring."""
        return {
            "first": self.first,
            "variant": self.variant,
            "place": self.place,
            "head": self.head,
            "count": self._count,
            "last": self._last,
            "chain": self._chain,
            "limit": self._limit,
            "pruned": self._pruned,
            "pruned last": self._pruned_last,
        }

    def dump(self) -> dict[str, Any]:
        """Return what is not in the columns, as JSON has it; `restore` takes it back."""
        return {
            "places": self.places,
            "conflicted": self.conflicted,
            "newest event": self._newest_event,
            "newest exposure": self._newest_exposure,
            "exposed": self._exposed,
            "events": self._events,
            "stale": self._stale,
        }

    def restore(self, facts: Mapping[str, Any], names: Sequence[str]) -> None:
        """Become what was dumped, the columns being restored already.

        Args:
            facts: From `dump`.
            names: The units by position.
        """
        self.position = {name: position for position, name in enumerate(names)}
        self.places = [(each[0], each[1], each[2]) for each in facts["places"]]
        self._place_of = {place: number for number, place in enumerate(self.places)}
        self.conflicted = facts["conflicted"]
        self._newest_event = list(facts["newest event"])
        self._newest_exposure = list(facts["newest exposure"])
        self._exposed = list(facts["exposed"])
        self._events = list(facts["events"])
        self._stale = facts["stale"]
        self._waiting = None
        counted = np.flatnonzero(self.variant.dump() >= 0)
        firsts = self.first.data[counted]
        order = np.lexsort((counted, firsts))
        pairs = zip(firsts[order].tolist(), counted[order].tolist(), strict=True)
        self._order = [first << _SHIFT | position for first, position in pairs]

    def _settle(self, position: int, first: int) -> None:
        self.first.data[position] = first
        self._put(position, first)
        entry = first << _SHIFT | position
        if not self._order or entry > self._order[-1]:
            self._order.append(entry)
        else:
            insort(self._order, entry)
        variant = int(self.variant.data[position])
        self._newest_exposure[variant] = max(self._newest_exposure[variant], first)
        if self._waiting is not None and first > self._waiting_since:
            self._waiting[variant] += 1

    def _leave(self, position: int, variant: int) -> None:
        """Take a unit out of the order of first exposures."""
        first = int(self.first.data[position])
        self._order.pop(bisect_right(self._order, first << _SHIFT | position) - 1)
        self._stale = self._stale or first >= self._newest_exposure[variant]
        self._waiting = None

    def _put(self, position: int, first: int) -> None:
        place = (
            int(self.variant.data[position]),
            self.times.phase_of(first),
            self.times.cohort_of(first),
        )
        number = self._place_of.get(place)
        if number is None:
            number = self._place_of[place] = len(self.places)
            self.places.append(place)
        self.place.data[position] = number

    def _conflict(self, position: int, variant: int) -> None:
        self._leave(position, variant)
        self.variant.data[position] = CONFLICTED
        self.conflicted += 1
        self._exposed[variant] -= 1
        self._events[variant] -= int(self._count.data[position])
        last = int(self._last.data[position])
        self._stale = self._stale or last >= self._newest_event[variant] > NEVER

    def _refresh(self) -> None:
        """Find the newest exposures and events again after a unit that had one changed."""
        size = self.variant.size
        variants, last = self.variant.data[:size], self._last.data[:size]
        first = self.first.data[:size]
        for index in range(len(self.variants)):
            mine = variants == index
            self._newest_event[index] = int(last[mine].max(initial=NEVER))
            self._newest_exposure[index] = int(first[mine].max(initial=NEVER))
        self._stale = False

    def _count_waiting(self, newest: int) -> list[int]:
        """Return the units first exposed after ``newest``, by variant."""
        waiting = self._waiting
        if waiting is None or self._waiting_since != newest:
            since = self.between(newest, EVER)
            counts = np.bincount(self.variant.data[since], minlength=len(self.variants))
            waiting = self._waiting = [int(count) for count in counts]
            self._waiting_since = newest
        return list(waiting)


def _instant(micros: int) -> datetime | None:
    return None if micros == NEVER else from_micros(micros)
