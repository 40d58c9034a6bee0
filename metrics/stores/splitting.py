"""Units by what their first exposures say of them: values from the log, sums from the totals."""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from metrics.cells import Cell
from metrics.events import to_micros
from metrics.segments import (
    PREFIX,
    UNKNOWN,
    Asked,
    Dimension,
    Level,
    level_of,
    ranked,
)
from metrics.store import Frame, StoreError
from metrics.stores.columns import Ints
from metrics.stores.frames import FrameState
from metrics.stores.log import EventLog
from metrics.stores.log_rows import as_written
from metrics.stores.totals import Totals
from metrics.values import microseconds

_TEXT = "CASE WHEN json_type(fields, ?) = 'VARCHAR' THEN json_extract_string(fields, ?) END"


class Splitting:
    """Splits the running totals of a frame; their lock is held for one KPI at a time."""

    def __init__(
        self,
        log: EventLog,
        totals: Totals,
        reads: AbstractContextManager[object],
        newest: Callable[[], int],
    ) -> None:
        self._log = log
        self._totals = totals
        self._reads = reads
        self._newest = newest

    def split(
        self, frame: Frame, *, by: Sequence[str], asked: Asked, now: datetime
    ) -> tuple[Dimension, ...]:
        """Return the units of a frame by attributes; nobody may erase events meanwhile."""
        with self._held(frame, None) as state:
            values = [_Values(state.size) for _ in by]
        for units, at, told in self._told(frame, by):
            with self._held(frame, state):
                positions = state.at_first(units, at)
            for each, column in zip(values, told, strict=True):
                each.take(positions, column)
        with self._held(frame, state):
            levels = [each.levels(state) for each in values]
        cells: list[dict[tuple[str, timedelta, Level], tuple[Cell, ...]]] = [{} for _ in by]
        for key, window in asked:
            with self._held(frame, state):
                numbers = [each.reaching(state.size) for each in levels]
                found = state.split(key, microseconds(window), numbers, to_micros(now))
            for each, its, some in zip(cells, levels, found, strict=True):
                each |= {(key, window, level): part for level, part in its.named(some).items()}
        return tuple(
            Dimension(name, its.sizes, its.values, each)
            for name, its, each in zip(by, levels, cells, strict=True)
        )

    @contextmanager
    def _held(self, frame: Frame, state: FrameState | None) -> Generator[FrameState]:
        """Lend the running totals of a frame, up to date: those that were lent before."""
        with self._reads:
            found = self._totals.state(frame, self._newest())
            if state is not None and found is not state:
                raise StoreError(
                    f"experiment {frame.experiment}: its totals were begun anew while its "
                    "segments were counted; ask again"
                )
            yield found

    def _told(self, frame: Frame, by: Sequence[str]) -> Generator[tuple[list[str], Ints, Any]]:
        """Return what exposures say, in chunks: units, instants, and a column per attribute."""
        columns = ", ".join(f"{_TEXT} AS a{n}" for n in range(len(by)))
        marks = ", ".join("?" * len(frame.variants))
        query = (
            f"SELECT happened_at, json_extract_string(units, ?) AS unit, {columns} FROM events "  # noqa: S608 - only marks and numbers
            "WHERE name = 'exposure' AND contains(fields, ?) AND contains(fields, ?) "
            "AND json_extract_string(fields, '/experiment') = ? "
            "AND CAST(json_extract(fields, '/seed') AS VARCHAR) = ? "
            f"AND json_extract_string(fields, '/variant') IN ({marks})"
        )
        values = [
            _pointer(frame.unit),
            *(_pointer(PREFIX + name) for name in by for _ in range(2)),
            f'"{PREFIX}',
            as_written("experiment", frame.experiment),
            frame.experiment,
            str(frame.seed),
            *frame.variants,
        ]
        for chunk in self._log.columns(query, values):
            known = chunk.filter(chunk.column("unit").is_valid())
            told = [known.column(f"a{n}") for n in range(len(by))]
            yield known.column("unit").to_pylist(), known.column("happened_at").to_numpy(), told


def _pointer(name: str) -> str:
    """Return where a member of a JSON object is, whatever its name."""
    return "/" + name.replace("~", "~0").replace("/", "~1")


class _Values:
    """What units are by one attribute: the number of a value by position, 0 for none."""

    def __init__(self, size: int) -> None:
        self._names: list[str] = [""]
        self._numbers: dict[str, int] = {}
        self._codes: Ints = np.zeros(size, np.int64)

    def take(self, positions: Ints, told: Any) -> None:
        """Note what exposures of units say; of several of a unit the least is kept."""
        encoded = told.dictionary_encode()
        known = np.array([*map(self._number, encoded.dictionary.to_pylist()), 0], np.int64)
        codes = known[encoded.indices.fill_null(known.shape[0] - 1).to_numpy()]
        self._codes = _grown(self._codes, int(positions.max(initial=-1)) + 1)
        picked = np.flatnonzero((positions >= 0) & (codes > 0))
        units, codes = positions[picked], codes[picked]
        if np.unique(units).shape[0] == units.shape[0] and not self._codes[units].any():
            self._codes[units] = codes
            return
        for unit, code in zip(units.tolist(), codes.tolist(), strict=True):
            held = int(self._codes[unit])
            if not held or self._names[code] < self._names[held]:
                self._codes[unit] = code

    def levels(self, state: FrameState) -> "_Levels":
        """Return the levels of all units that count."""
        self._codes = _grown(self._codes, state.size)
        counts = np.bincount(self._codes[state.counted], minlength=len(self._names)).tolist()
        by_name = dict(zip(self._names[1:], counts[1:], strict=True))
        levels = ranked(by_name, counts[0])
        places = {level: place for place, level in enumerate((*levels, UNKNOWN))}
        values = (None, *self._names[1:])
        # a value whose units count no more is in no level, and so are its units
        number = np.array([places.get(level_of(v, levels), len(levels)) for v in values], np.int64)
        return _Levels(levels, sum(map(bool, by_name.values())), number[self._codes])

    def _number(self, value: str) -> int:
        if value not in self._numbers:
            self._numbers[value] = len(self._names)
            self._names.append(value)
        return self._numbers[value]


@dataclass(frozen=True, slots=True)
class _Levels:
    """The levels of one attribute, and the number of every unit's level by position."""

    sizes: Mapping[Level, int]
    values: int
    numbers: Ints

    def reaching(self, size: int) -> Ints:
        """Return the numbers of so many units: those met since are unknown."""
        return _grown(self.numbers, size, len(self.sizes))

    def named(self, cells: Iterable[Cell]) -> dict[Level, tuple[Cell, ...]]:
        """Return cells whose cohort is the number of a level, by level."""
        found: dict[Level, list[Cell]] = {level: [] for level in self.sizes}
        order = (*self.sizes, UNKNOWN)
        for cell in cells:
            found.setdefault(order[cell.cohort], []).append(replace(cell, cohort=0))
        return {level: tuple(its) for level, its in found.items()}


def _grown(numbers: Ints, size: int, fill: int = 0) -> Ints:
    more = size - numbers.shape[0]
    return numbers if more <= 0 else np.concatenate([numbers, np.full(more, fill, np.int64)])
