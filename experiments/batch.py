"""Assignment of many units at once, equal to assigning each: for analyses and simulations. Pure.

Ids are hashed column by column: the first characters of all ids of a chunk, then the second
ones, as FNV-1a goes through each id. What does not fit (characters beyond Latin-1, long ids,
fractions, missing ids) is answered one by one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from experiments.assignment import Assignment, CompiledExperiment
from experiments.hashing import BUCKETS, FNV_OFFSET, FNV_PRIME, HOLDOUT_SEED, fnv1a32

Codes = npt.NDArray[np.int16]
Words = npt.NDArray[np.uint32]
Mask = npt.NDArray[np.bool_]

pc: Any = pyarrow.compute
"""Its functions are made at run time, unknown to type checkers."""

_CHUNK: Final = 16_384
"""Ids hashed together: their columns stay in the processor's cache."""
_LONGEST: Final = 256
"""Longer ids are hashed one by one: their columns would be nearly empty."""
_EXACT: Final = 2**53
"""Up to here whole numbers are written alike as integers and as JavaScript's numbers."""
_TEN: Final = np.uint32(10)
_ZERO: Final = np.uint32(ord("0"))
_PRIME: Final = np.uint32(FNV_PRIME)


@dataclass(frozen=True, slots=True)
class Batch:
    """What many units get.

    Attributes:
        codes: Index of each unit's answer, in the order of the ids.
        answers: Every answer there can be.
    """

    codes: Codes
    answers: tuple[Assignment, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: int) -> Assignment:
        """Return the answer of one unit."""
        return self.answers[self.codes[index]]

    def variants(self) -> list[str]:
        """Return the name of each unit's variant."""
        names = [answer.variant for answer in self.answers]
        return [names[code] for code in self.codes.tolist()]

    def exposed(self) -> npt.NDArray[np.bool_]:
        """Return which of these evaluations are exposures."""
        return np.array([answer.exposed for answer in self.answers])[self.codes]

    def counts(self) -> dict[str, int]:
        """Return how many units are in each arm, by the hash; units in none are left out."""
        found: dict[str, int] = {}
        totals = np.bincount(self.codes, minlength=len(self.answers)).tolist()
        for answer, total in zip(self.answers, totals, strict=True):
            if answer.assigned is not None:
                found[answer.assigned] = found.get(answer.assigned, 0) + total
        return found


def assign_many(
    compiled: CompiledExperiment,
    ids: Any,
    *,
    attributes: Mapping[str, Any] | None = None,
    columns: Mapping[str, Sequence[Any]] | None = None,
) -> Batch:
    """Assign many units.

    Equal to ``compiled.assign`` for the context of each: the shared attributes, the values of
    its row, and its id under the name of the experiment's unit. Values of Arrow and numpy are
    taken as the Python values they convert to.

    Args:
        compiled: The experiment.
        ids: Text or numbers, ``None`` for a missing id: a list or tuple, a numpy array, or an
            Arrow array of text or numbers (chunked or dictionary-encoded ones too).
        attributes: Attributes that all units share.
        columns: Attributes of each unit, as many values as there are ids.

    Raises:
        ValueError: A column has another length than the ids.
    """
    shared, by_row = dict(attributes or {}), dict(columns or {})
    for name, column in by_row.items():
        if len(column) != len(ids):
            raise ValueError(f"{len(ids)} ids, but column '{name}' has {len(column)} values")
    dealer = _Dealer(compiled, shared)
    codes = np.empty(len(ids), dtype=np.int16)
    for start in range(0, len(ids), _CHUNK):
        stop = start + _CHUNK
        part = {name: column[start:stop] for name, column in by_row.items()}
        codes[start:stop] = dealer.deal(ids[start:stop], part)
    return Batch(codes, compiled.plan.answers)


class _Dealer:
    """Deals chunks of units of one experiment."""

    def __init__(self, compiled: CompiledExperiment, shared: dict[str, Any]) -> None:
        plan = self._plan = compiled.plan
        self._assign, self._unit, self._shared = compiled.assign, compiled.spec.unit, shared
        self._code_of = {id(answer): code for code, answer in enumerate(plan.answers)}
        self._codes = np.array(plan.codes, dtype=np.int16)
        self._owned = np.frombuffer(plan.owned, dtype=np.bool_)
        self._forced = pa.array([unit for unit in plan.forced if unit.isascii()], pa.string())

    def deal(self, ids: Any, columns: Mapping[str, Sequence[Any]]) -> Codes:
        """Return the code of every unit of a chunk."""
        text, odd = _as_text(ids)
        if len(self._forced):
            odd |= pc.is_in(text, value_set=self._forced).to_numpy(zero_copy_only=False)
        hashes = _Hashes(text, odd)
        codes = self._dealt(hashes)
        if self._plan.everybody is None:
            codes[~self._in_audience(ids, columns)] = self._plan.untargeted
            codes[hashes.lengths == 0] = self._plan.nobody
        if odd.any():
            contexts = zip(odd.tolist(), self._contexts(ids, columns), strict=True)
            codes[odd] = [self._code_of[id(self._assign(c))] for alone, c in contexts if alone]
        return codes

    def _dealt(self, hashes: "_Hashes") -> Codes:
        """Return the codes by the hashes alone."""
        plan = self._plan
        if plan.everybody is not None:
            return np.full(len(hashes.lengths), plan.everybody, dtype=np.int16)
        codes = self._codes[hashes.buckets(plan.seed)]
        if plan.layer_seed:
            codes[~self._owned[hashes.buckets(plan.layer_seed)]] = plan.outside
        if plan.held_out:
            codes[hashes.buckets(HOLDOUT_SEED) < plan.held_out] = plan.outside
        return codes

    def _in_audience(self, ids: Any, columns: Mapping[str, Sequence[Any]]) -> Mask:
        matches = self._plan.matches
        if matches is None:
            return np.ones(len(ids), dtype=np.bool_)
        if not columns:
            context = _Watched(self._shared, self._unit)
            answer = matches(context)
            if not context.asked:
                return np.full(len(ids), answer, dtype=np.bool_)
        contexts = self._contexts(ids, columns)
        return np.fromiter(map(matches, contexts), dtype=np.bool_, count=len(ids))

    def _contexts(self, ids: Any, columns: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
        names = (*columns, self._unit)
        values = [*map(_values, columns.values()), _values(ids)]
        for row in zip(*values, strict=True):
            yield {**self._shared, **dict(zip(names, row, strict=True))}


class _Watched(Mapping[str, Any]):
    """A context that notes whether anything was asked but single shared attributes.

    An audience that answers without asking for the id answers alike for every id.
    """

    def __init__(self, shared: dict[str, Any], unit: str) -> None:
        self._shared, self._unit = shared, unit
        self.asked = False

    def __getitem__(self, name: str) -> Any:
        if name == self._unit:
            self.asked = True
        return self._shared[name]

    def __iter__(self) -> Iterator[str]:
        self.asked = True
        return iter(self._shared)

    def __len__(self) -> int:
        self.asked = True
        return len(self._shared)


def _values(column: Any) -> list[Any]:
    """Return a chunk as Python values."""
    if isinstance(column, (pa.Array, pa.ChunkedArray)):
        return column.to_pylist()
    return column.tolist() if isinstance(column, np.ndarray) else list(column)


def _as_text(ids: Any) -> tuple[Any, Mask]:
    """Return a chunk of ids as Arrow text, and which of them are to be answered one by one."""
    if isinstance(ids, np.ndarray):
        numeric = ids.dtype.kind in "iuf" and ids.dtype.itemsize <= 8  # noqa: PLR2004 - beyond are no Python numbers
        return _whole_numbers(ids) if numeric else _list_as_text(ids.tolist())
    if not isinstance(ids, (pa.Array, pa.ChunkedArray)):
        return _list_as_text(list(ids))
    chunk: Any = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    if pa.types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_decode()
    kind = chunk.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _whole_numbers(chunk.fill_null(0).to_numpy(zero_copy_only=False))
    if any(is_text(kind) for is_text in _TEXT_TYPES):
        text = chunk if pa.types.is_string(kind) else chunk.cast(pa.string())
        return text, text.is_null().to_numpy(zero_copy_only=False)
    return _list_as_text(chunk.to_pylist())


_TEXT_TYPES = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


def _list_as_text(values: list[Any]) -> tuple[Any, Mask]:
    if set(map(type, values)) <= {str}:
        odd = np.zeros(len(values), dtype=np.bool_)
    else:
        odd = np.array([type(value) is not str for value in values], dtype=np.bool_)
        values = [value if type(value) is str else "" for value in values]
    try:
        return pa.array(values, pa.string()), odd
    except UnicodeEncodeError:  # half of a surrogate pair
        odd |= np.array([not value.isascii() for value in values], dtype=np.bool_)
        return pa.array([value if value.isascii() else "" for value in values], pa.string()), odd


def _whole_numbers(values: npt.NDArray[Any]) -> tuple[Any, Mask]:
    """Return whole numbers as JavaScript writes them; all others are odd."""
    if values.dtype.kind == "f":
        values = values.astype(np.float64)
    usual = (values != 0) & (values <= _EXACT) & (values >= -_EXACT) & (np.trunc(values) == values)
    whole = np.where(usual, values, 0).astype(np.int64)
    return pa.array(whole).cast(pa.string()), ~usual


class _Hashes:
    """FNV-1a of all ids of a chunk, column by column.

    Args:
        text: The ids.
        odd: Which of them are left out; those that are not plain ASCII and long ones are added.

    Attributes:
        lengths: Characters of each id, 0 for those left out.
    """

    def __init__(self, text: Any, odd: Mask) -> None:
        _, offsets, data = text.buffers()
        ends = np.frombuffer(offsets, dtype=np.int32)[text.offset : text.offset + len(text) + 1]
        self._data = np.frombuffer(data or b"", dtype=np.uint8)
        self._starts, self.lengths = ends[:-1], np.diff(ends)
        if self._data[ends[0] : ends[-1]].max(initial=0) > 127:  # noqa: PLR2004 - ASCII
            odd |= ~pc.string_is_ascii(text).fill_null(False).to_numpy(zero_copy_only=False)
        odd |= self.lengths > _LONGEST
        self.lengths[odd] = 0
        self._order: npt.NDArray[np.int64] | None = None
        self._columns = self._by_column()

    def _by_column(self) -> list[npt.NDArray[np.uint8]]:
        """Return the first characters of all ids, the second ones, and so on."""
        lengths, count = self.lengths, len(self.lengths)
        longest = int(lengths.max(initial=0))
        if count and int(lengths.min()) == longest:
            first = int(self._starts[0])
            block = self._data[first : first + count * longest].reshape(count, longest)
            return list(np.ascontiguousarray(block.T))
        # the longest first: those that have a character left are always the first ones
        self._order = np.argsort(-lengths, kind="stable")
        starts = self._starts[self._order]
        reaching = np.cumsum(np.bincount(lengths, minlength=longest + 1)[::-1])[::-1]
        return [self._data[starts[: reaching[column + 1]] + column] for column in range(longest)]

    def buckets(self, seed: str) -> Words:
        """Return every id's bucket; of those left out any number."""
        words = np.full(len(self.lengths), fnv1a32(seed), dtype=np.uint32)
        for column in self._columns:
            part = words[: len(column)]
            np.bitwise_xor(part, column, out=part)
            np.multiply(part, _PRIME, out=part)
        sorted_buckets = _hash_of_decimals(words) % np.uint32(BUCKETS)
        if self._order is None:
            return sorted_buckets
        buckets = np.empty_like(sorted_buckets)
        buckets[self._order] = sorted_buckets
        return buckets


def _hash_of_decimals(words: Words) -> Words:
    """Return FNV-1a of each number's decimal digits."""
    digits: list[Words] = []
    rest = words
    for _ in range(10):
        tenth = rest // _TEN
        digits.append(rest - tenth * _TEN + _ZERO)
        rest = tenth
    state = np.full(len(words), FNV_OFFSET, dtype=np.uint32)
    for power in range(9, -1, -1):
        longer = (state ^ digits[power]) * _PRIME
        # a leading zero is no digit
        state = np.where(words >= np.uint32(10**power), longer, state) if power else longer
    return state
