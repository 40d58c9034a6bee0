"""Sums by group are exact, however large the numbers are."""

from math import prod

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from metrics.cells import Cell, Sums
from metrics.stores.ledger import _moments, add_up

LARGE = 2**62 - 1
NUMBERS = st.one_of(
    st.integers(-3, 3), st.integers(-(2**32), 2**32), st.integers(-LARGE, LARGE), st.just(-LARGE)
)


@given(
    groups=st.lists(
        st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=5),
        min_size=1,
        max_size=4,
    ),
    factors=st.integers(1, 3),
    objects=st.booleans(),
)
def test_products_add_up_to_what_python_gives(groups, factors, objects):
    rows = [row for group in groups for row in group]
    starts = np.cumsum([0, *(len(group) for group in groups[:-1])])
    kind = np.object_ if objects else np.int64
    columns = [np.array([row[n] for row in rows], kind) for n in range(factors)]
    expected = [sum(prod(row[:factors]) for row in group) for group in groups]
    assert add_up(starts, *columns) == expected


@given(
    pairs=st.lists(
        st.tuples(NUMBERS, st.integers(1, LARGE) | st.just(1_000_000)), min_size=1, max_size=6
    ),
    every=st.booleans(),
)
def test_moments_are_the_sums_of_the_units_one_by_one(pairs, every):
    pairs = [(y, 1_000_000 if every else x) for y, x in pairs]
    y, x = (np.array(values, np.int64) for values in zip(*pairs, strict=True))
    zero = np.zeros(1, np.int64)
    (found,) = zip(*_moments(y, x, np.array([len(pairs)]), zero), strict=True)
    whole = sum((Sums.of(*pair) for pair in pairs), Sums())
    assert Cell("a", 0, 0, 1, Sums(len(pairs), *found)).sums == whole
