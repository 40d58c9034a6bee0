"""From log rows to columns: what each event says of a frame's KPIs, decided once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import cast

import numpy as np

from metrics.events import EXPOSURE, FieldValue
from metrics.store import Frame
from metrics.stores.columns import Batch, Ints, Sparse
from metrics.stores.exposures import EXPOSURE_FIELDS, variant_of
from metrics.stores.names import NamePlan, numeric
from metrics.stores.plan import FramePlan
from metrics.stores.rows import Rows
from metrics.stores.units import Units
from metrics.values import case_of

_EXPOSURE = -1
_UNKNOWN = 0


class Reader:
    """Reads rows for one frame; numbers the cases it meets."""

    def __init__(self, frame: Frame, plan: FramePlan) -> None:
        self.cases: dict[str, int] = {}
        self.newest_exposure: int | None = None
        self._frame = frame
        self._plan = plan
        self._codes = {name: each.code for name, each in plan.names.items()}
        self._codes[EXPOSURE] = _EXPOSURE
        self._by_code = {each.code: each for each in plan.names.values()}

    def read(self, rows: Rows, units: Units) -> Batch:
        """Return the columns of the rows that belong to the frame, grouped by name."""
        ids = rows.ids(self._frame.unit)
        codes = rows.codes(self._codes, _UNKNOWN)
        keep = rows.at >= units.times.earliest
        if None in ids:
            keep &= np.array([each is not None for each in ids])
        exposed, variants = self._exposures(
            rows, np.flatnonzero(keep & (codes == _EXPOSURE)), units
        )
        picked = np.flatnonzero(keep & (codes != _EXPOSURE))
        picked = picked[np.argsort(codes[picked], kind="stable")]
        chosen = cast("list[str]", [ids[position] for position in picked.tolist()])
        met = cast("list[str]", [ids[position] for position in exposed.tolist()])
        batch = Batch(
            unit=units.find(chosen),
            at=rows.at[picked],
            seq=rows.seq[picked],
            name=codes[picked],
            flags=np.zeros(picked.shape[0], np.int64),
            numbers=[Sparse() for _ in range(self._plan.number_columns)],
            cases=[Sparse() for _ in self._plan.case_fields],
            exposed=units.find(met),
            exposed_at=rows.at[exposed],
            variant=variants,
        )
        for code, plan in self._by_code.items():
            start, end = np.searchsorted(batch.name, [code, code + 1]).tolist()
            if start < end:
                self._read_name(plan, batch, rows, picked[start:end], chosen[start:end], start)
        return batch

    def _read_name(  # noqa: PLR0917 - one name's share of a batch
        self,
        plan: NamePlan,
        batch: Batch,
        rows: Rows,
        picked: Ints,
        units: Sequence[str],
        start: int,
    ) -> None:
        asked = plan, self._frame.unit, picked.tobytes()
        read = rows.once(asked, lambda: _read(plan, rows, picked, units))
        batch.flags[start : start + picked.shape[0]] = read.flags
        for column, (which, numbers) in read.numbers.items():
            batch.numbers[column].rows.append(which + start)
            batch.numbers[column].values.append(numbers)
        for column, (which, cases) in read.cases.items():
            numbers = [self._case(case) for case in cases]
            batch.cases[column].rows.append(which + start)
            batch.cases[column].values.append(np.array(numbers, np.int64))

    def _case(self, case: str) -> int:
        return self.cases.setdefault(case, len(self.cases) + 1)

    def _exposures(self, rows: Rows, picked: Ints, units: Units) -> tuple[Ints, Ints]:
        """Return the rows that are exposures of the frame, and their variants."""
        named = rows.once(("exposures", picked.tobytes()), lambda: _exposed(rows, picked))
        mine = named.get(self._frame.experiment, ())
        variants = [variant_of(self._frame, *each) for _, each in mine]
        variant = np.array([-1 if each is None else each for each in variants], np.int64)
        picked = np.array([position for position, _ in mine], np.int64)
        picked, variant = picked[variant >= 0], variant[variant >= 0]
        if picked.shape[0]:
            newest = int(rows.at[picked].max())
            if self.newest_exposure is None or newest > self.newest_exposure:
                self.newest_exposure = newest
        counts = units.times.admit(rows.at[picked])
        return picked[counts], variant[counts]


@dataclass(frozen=True, slots=True)
class _Read:
    """What the events of one name say: bits of selectors, and by column where there are values."""

    flags: Ints
    numbers: Mapping[int, tuple[Ints, Ints]]
    cases: Mapping[int, tuple[Ints, Sequence[str]]]


def _read(plan: NamePlan, rows: Rows, picked: Ints, units: Sequence[str]) -> _Read:
    columns = rows.fields(picked, plan.fields) if plan.fields else {}
    have = {key: numeric(columns[key]) for key in plan.numbers}
    numbers: dict[int, tuple[Ints, Ints]] = {}
    for key, column in plan.numbers.items():
        found = [int(each) for each in compress(columns[key], have[key].tolist())]  # pyright: ignore[reportArgumentType] - only numbers
        numbers[column] = np.flatnonzero(have[key]), np.array(found, np.int64)
    cases: dict[int, tuple[Ints, Sequence[str]]] = {}
    for key, column in plan.cases.items():
        every = [case_of(each) for each in columns[key]]
        named = np.flatnonzero([case is not None for case in every])
        cases[column] = named, [case for case in every if case is not None]
    return _Read(plan.flags(columns, have, units, rows.trusted[picked]), numbers, cases)


_Named = tuple[FieldValue | None, ...]


def _exposed(rows: Rows, picked: Ints) -> dict[FieldValue | None, list[tuple[int, _Named]]]:
    """Return exposures by the experiment they name: position, and what they say."""
    columns = rows.fields(picked, EXPOSURE_FIELDS)
    found: dict[FieldValue | None, list[tuple[int, _Named]]] = {}
    named = zip(*(columns[key] for key in EXPOSURE_FIELDS), strict=True)
    for position, each in zip(picked.tolist(), named, strict=True):
        found.setdefault(each[0], []).append((position, each))
    return found
