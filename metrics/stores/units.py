"""What a frame knows of its units: first exposure, variant, place and reach."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any

import numpy as np

from metrics.cells import Reach
from metrics.events import from_micros
from metrics.stores.columns import Column, Ints
from metrics.stores.exposures import FrameTimes
from metrics.stores.forgetting import nobody
from metrics.stores.ledger import Groups

UNEXPOSED = -1
CONFLICTED = -2
NEVER = -(2**62)
EVER = 2**62
PRUNE_ABOVE = 512
"""Events of one unit above which those that can no longer count are let go."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What some exposures will change, as positions of units, each once.

    Attributes:
        first: Units whose first exposure moves to ``at``: not exposed before, or later.
        at: Their new first exposures.
        variant: Their variants.
        conflicted: Units that turn out to be in two variants.
    """

    first: Ints
    at: Ints
    variant: Ints
    conflicted: Ints

    @property
    def units(self) -> Ints:
        """Every unit that changes."""
        return np.concatenate([self.first, self.conflicted])


@dataclass(slots=True)
class Pruned:
    """Events that were let go of one unit.

    Attributes:
        gone: How many.
        newest: When the newest of them happened.
        limit: Events left above which its chains are shortened again.
    """

    gone: int = 0
    newest: int = NEVER
    limit: int = PRUNE_ABOVE


class Units:
    """Units as positions 0, 1, 2, ...; one column per fact."""

    def __init__(self, times: FrameTimes, variants: tuple[str, ...]) -> None:
        self.times = times
        self.variants = variants
        self.position: dict[str, int] = {}
        self.first = Column()
        self.variant = Column(UNEXPOSED, np.int16)
        self.count = Column(0, np.int32)  # events from the first exposure on, for the reach
        self.last = Column(NEVER)  # the newest of them
        self.chained = Column(0, np.int32)  # events in the unit's chains
        self.pruned: dict[int, Pruned] = {}
        self.conflicted = 0
        self._reach: dict[str, Reach] | None = None

    @property
    def size(self) -> int:
        """Number of units met, exposed or not."""
        return len(self.position)

    def find(self, ids: Sequence[str]) -> Ints:
        """Return the positions of units, new ones for those never met."""
        known = self.position
        found = list(map(known.get, ids))
        if None in found:
            found = [
                known.setdefault(unit, len(known)) if place is None else place
                for unit, place in zip(ids, found, strict=True)
            ]
            for column in (self.first, self.variant, self.count, self.last, self.chained):
                column.grow(len(known))
        return np.array(found, np.int64)

    def changes(self, positions: Ints, at: Ints, variants: Ints) -> Changes:
        """Return what exposures will change; nothing is changed yet."""
        order = np.argsort(positions, kind="stable")
        units, starts = np.unique(positions[order], return_index=True)
        if not units.shape[0]:
            return Changes(units, units, units, units)
        first = np.minimum.reduceat(at[order], starts)
        variant = np.minimum.reduceat(variants[order], starts)
        highest = np.maximum.reduceat(variants[order], starts)
        known = self.variant.data[units].astype(np.int64)
        exposed = known >= 0
        conflict = (variant != highest) | (exposed & (known != variant))
        moves = ~exposed | (first < self.first.data[units])
        open_ = known != CONFLICTED
        moves &= open_ & ~conflict
        return Changes(units[moves], first[moves], variant[moves], units[open_ & conflict])

    def apply(self, changes: Changes) -> Ints:
        """Make the changes; returns the units whose earlier events must be counted again."""
        self._reach = None
        self.first.data[changes.first] = changes.at
        self.variant.put(changes.first, changes.variant)
        self.variant.data[changes.conflicted] = CONFLICTED
        self.conflicted += changes.conflicted.shape[0]
        return changes.first[self.chained.data[changes.first] > 0]

    def see(self, positions: Ints, at: Ints) -> None:
        """Note events of units."""
        self._reach = None
        np.add.at(self.chained.data, positions, 1)
        mine = at >= self.first.data[positions] - self.times.tolerance
        mine &= self.variant.data[positions] >= 0
        np.add.at(self.count.data, positions[mine], 1)
        np.maximum.at(self.last.data, positions[mine], at[mine])

    def recount(self, positions: Ints, owner: Ints, at: Ints) -> None:
        """Count the events of exposed units again.

        Args:
            positions: The units, each once.
            owner: Whose each event in their chains is, as a place in ``positions``.
            at: When it happened.
        """
        mine = at >= self.first.data[positions][owner] - self.times.tolerance
        count = np.bincount(owner[mine], minlength=positions.shape[0])
        last = np.full(positions.shape[0], NEVER, np.int64)
        np.maximum.at(last, owner[mine], at[mine])
        for place, position in enumerate(positions.tolist() if self.pruned else ()):
            if (pruned := self.pruned.get(position)) is not None:
                count[place] += pruned.gone
                last[place] = max(int(last[place]), pruned.newest)
        self.count.data[positions] = count
        self.last.data[positions] = last

    def longer(self, positions: Ints) -> list[int]:
        """Return the exposed units among these whose chains are longer than they should be."""
        long = self.chained.data[positions] > PRUNE_ABOVE
        long &= self.variant.data[positions] >= 0
        return [
            position
            for position in np.unique(positions[long]).tolist()
            if self.chained.data[position] > self.pruned.get(position, Pruned()).limit
        ]

    def shorten(self, position: int, gone: Ints, left: int) -> None:
        """Note that events (their times) left a unit's chains for good, and how many are left."""
        self.chained.data[position] = left
        pruned = self.pruned.setdefault(position, Pruned())
        pruned.limit = left + PRUNE_ABOVE
        pruned.gone += gone.shape[0]
        pruned.newest = max(pruned.newest, int(gone.max(initial=NEVER)))

    def between(self, after: int | None, until: int) -> Ints:
        """Return counted units with after < first exposure <= until, as positions.

        One pass over all units: a sorted index would cost more, at every exposure.
        """
        first = self.first.data[: self.size]
        chosen = self.variant.data[: self.size] >= 0
        chosen &= first <= until
        if after is not None:
            chosen &= first > after
        return np.flatnonzero(chosen)

    def replace(self, phases: tuple[int, ...]) -> bool:
        """Take new phases; returns whether any unit changed place."""
        old, self.times = self.times.phases, self.times.with_phases(phases)
        changed = min(set(old) ^ set(phases), default=EVER)
        return self.between(changed - 1, EVER).shape[0] > 0

    def forget(self, unit: str) -> None:
        """Let go of everything about a unit; its position stays empty for good."""
        self._reach = None
        position = self.position.pop(unit)
        self.position[nobody(position)] = position
        self.conflicted -= int(self.variant.data[position] == CONFLICTED)
        for column in self.saved().values():
            column.data[position] = 0
        self.variant.data[position] = UNEXPOSED
        self.last.data[position] = NEVER
        self.pruned.pop(position, None)

    def saved(self) -> dict[str, Column]:
        """Return every column by name, for saving and restoring."""
        return {
            "first": self.first,
            "variant": self.variant,
            "count": self.count,
            "last": self.last,
            "chained": self.chained,
        }

    def dump(self) -> dict[str, Any]:
        """Return what is not in the columns, as JSON has it; `restore` takes it back."""
        pruned = [[unit, *astuple(each)] for unit, each in self.pruned.items()]
        return {"conflicted": self.conflicted, "pruned": pruned}

    def restore(self, facts: Mapping[str, Any], names: Sequence[str]) -> None:
        """Become what was dumped, the columns being restored already.

        Args:
            facts: From `dump`.
            names: The units by position.
        """
        self.position = {name: position for position, name in enumerate(names)}
        self.conflicted = facts["conflicted"]
        self.pruned = {unit: Pruned(*numbers) for unit, *numbers in facts["pruned"]}
        self._reach = None

    def groups(self, positions: Ints, instead: Ints | None = None) -> Groups:
        """Return which of these exposed units belong to each place.

        Args:
            positions: The units.
            instead: A number of each, 0 or more, that stands in place of its cohort.
        """
        first, times = self.first.data[positions], self.times
        phase = np.searchsorted(np.array(times.phases, np.int64), first, side="right")
        cohort = np.maximum(0, (first - times.origin) // times.cohort)
        if instead is not None:
            cohort = instead
        arms, phases = len(self.variants), len(times.phases) + 1
        code = (cohort * phases + phase) * arms + self.variant.data[positions]
        order = np.argsort(code, kind="stable")
        codes, starts = np.unique(code[order], return_index=True)
        return Groups(
            order=order,
            starts=starts,
            places=tuple(
                (c % arms, c // arms % phases, c // arms // phases) for c in codes.tolist()
            ),
        )

    def reach(self) -> dict[str, Reach]:
        """Return how far each variant's data reach."""
        if self._reach is None:
            self._reach = self._measure()
        return self._reach

    def _measure(self) -> dict[str, Reach]:
        size = self.size
        variant, first = self.variant.data[:size], self.first.data[:size]
        count, last = self.count.data[:size], self.last.data[:size]
        arms = [np.flatnonzero(variant == index) for index in range(len(self.variants))]
        newest = [int(last[mine].max(initial=NEVER)) for mine in arms]
        reach: dict[str, Reach] = {}
        for name, mine, newest_event in zip(self.variants, arms, newest, strict=True):
            exposures = first[mine]
            reach[name] = Reach(
                exposed=mine.shape[0],
                events=int(count[mine].sum(dtype=np.int64)),
                last_exposure_at=_instant(int(exposures.max(initial=NEVER))),
                last_event_at=_instant(newest_event),
                exposed_since_last_event=int(np.count_nonzero(exposures > max(newest))),
            )
        return reach


def _instant(micros: int) -> datetime | None:
    return None if micros == NEVER else from_micros(micros)
