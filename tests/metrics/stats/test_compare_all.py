"""Comparing many pairs of arms at once changes no bit of any of them."""

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from metrics.catalogue import Kind
from metrics.cells import MICRO, Cell, Sums
from metrics.stats.comparison import Pair, compare, compare_all
from metrics.stats.contrasts import Null


def some_sums(rng, kind):
    sums, base = Sums(), rng.choice([0, 5 * MICRO, 10**8 * MICRO])
    for _ in range(rng.choice([0, 1, 60, 130])):
        y = base + rng.randint(-3 * MICRO, 9 * MICRO)
        if kind is Kind.PROPORTION:
            y = rng.choice([0, MICRO])
        sums += Sums.of(y, rng.randint(1, 5 * MICRO) if kind is Kind.RATIO else MICRO)
    return sums


def some_cells(rng, kind, variant):
    phases, cohorts = rng.choice([1, 1, 2, 3, 9]), rng.choice([1, 3])
    places = [(p, c) for p in range(phases) for c in range(cohorts) if rng.random() < 0.8 or p == c]
    sums = [some_sums(rng, kind) for _ in places]
    return tuple(Cell(variant, *at, s.n, s) for at, s in zip(places, sums, strict=True))


def some_pair(rng):
    kind, sign, margin = rng.choice(list(Kind)), rng.choice([1.0, -1.0]), rng.choice([0.03, 1.0])
    harms = np.array([0.5, 1.0]).reshape(2, 1, 1) * sign * margin
    null = rng.choice(
        [
            Null(1.0 + harms, np.zeros_like(harms), sign),
            Null(np.ones_like(harms), harms, sign),
            Null(1.0, 0.0, sign),
        ]
    )
    arms = some_cells(rng, kind, "control"), some_cells(rng, kind, "treatment")
    return Pair(*arms, kind, null, rng.choice([1, 2, 5]))


def bits(found):
    arrays = (*(getattr(found.statistic, name) for name in ("z", "kappa", "information")),)
    return [(a.shape, a.tobytes()) for a in (*arrays, found.gate)], repr(found.estimate)


@given(seed=st.integers(0, 2**32), count=st.integers(1, 12))
def test_many_pairs_at_once_have_the_numbers_of_each_alone_bit_for_bit(seed, count):
    rng = random.Random(seed)
    pairs = [some_pair(rng) for _ in range(count)]
    alone = [compare(p.control, p.treatment, kind=p.kind, null=p.null, rows=p.rows) for p in pairs]
    assert [bits(found) for found in compare_all(pairs)] == [bits(found) for found in alone]


def test_no_pairs_are_no_findings():
    assert compare_all([]) == []
