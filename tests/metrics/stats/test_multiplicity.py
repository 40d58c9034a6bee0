import gc
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.stats.multiplicity import benjamini_hochberg, closed_average, e_bh, holm

P_VALUES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12)
LOG_E = st.lists(st.floats(-20.0, 20.0), min_size=1, max_size=10)


@pytest.fixture(scope="module", autouse=True)
def little_garbage():
    """Statsmodels collects garbage at every call: what other tests left is no part of it."""
    gc.freeze()
    yield
    gc.unfreeze()


@settings(deadline=None, max_examples=12)
@given(p=P_VALUES, seed=st.integers(0, 99))
def test_the_order_of_hypotheses_does_not_matter(p, seed):
    order = np.random.default_rng(seed).permutation(len(p))
    shuffled = np.array(p)[order]
    for method in (holm, benjamini_hochberg):
        plain, other = method(p), method(shuffled)
        assert other.adjusted == pytest.approx(plain.adjusted[order])


@settings(deadline=None, max_examples=12)
@given(p=P_VALUES)
def test_what_is_rejected_is_what_is_adjusted_below_the_level(p):
    loose = benjamini_hochberg(p, rate=0.05)
    strict = holm(p, alpha=0.05)
    assert (loose.rejected >= strict.rejected).all()
    assert (strict.adjusted >= np.array(p) - 1e-12).all()


@given(log_e=LOG_E)
def test_evidence_that_stands_alone_stands_in_the_family(log_e):
    alone = np.array(log_e) >= math.log(len(log_e) / 0.05) + 1e-9
    closed = closed_average(log_e, alpha=0.05)
    assert (closed >= alone).all()
    assert (e_bh(log_e, rate=0.05) >= alone).all()


def test_a_hypothesis_without_an_answer_counts_and_is_not_rejected():
    found = holm([0.03, math.nan])
    assert found.rejected.tolist() == [False, False]
    assert found.adjusted[0] == pytest.approx(0.06)
    assert math.isnan(found.adjusted[1])
    assert holm([0.03]).rejected.tolist() == [True]
    assert e_bh([math.log(30), math.nan], rate=0.05).tolist() == [False, False]
    assert e_bh([math.log(30)], rate=0.05).tolist() == [True]
    assert closed_average([math.nan, 50.0]).tolist() == [False, True]


def test_a_family_of_nobody_rejects_nothing():
    assert holm([]).rejected.tolist() == []
    assert e_bh([]).tolist() == []
    assert closed_average([]).tolist() == []


def test_endless_evidence_does_not_overflow():
    assert closed_average([1e6, math.inf, -math.inf]).tolist() == [True, True, False]
    assert e_bh([1e6, math.inf, -math.inf]).tolist() == [True, True, False]


@pytest.mark.parametrize("p", [[-0.1], [1.1], [[0.5]], [math.inf]])
def test_p_values_that_are_none_are_refused(p):
    with pytest.raises(ValueError, match="numbers from 0 to 1"):
        holm(p)


def test_levels_and_shapes_that_are_none_are_refused():
    with pytest.raises(ValueError, match="alpha must lie"):
        holm([0.5], alpha=1.5)
    with pytest.raises(ValueError, match="rate must lie"):
        benjamini_hochberg([0.5], rate=0.0)
    with pytest.raises(ValueError, match="rate must lie"):
        e_bh([0.5], rate=2.0)
    with pytest.raises(ValueError, match="must be a list"):
        e_bh([[0.5]])


@pytest.mark.statistical
def test_e_bh_keeps_its_rate_where_all_evidence_hangs_together():
    # ten nulls share one z; likelihood ratios of a shift of 2 are e-values
    rng = np.random.default_rng(17)
    z = rng.normal(size=20_000)
    log_e = np.repeat((2 * z - 2)[:, None], 10, axis=1)
    rejected = np.array([e_bh(row, rate=0.1).any() for row in log_e])
    assert rejected.mean() <= 0.1
    broken = np.array([(row >= math.log(1 / 0.1)).any() or row[0] > -1.0 for row in log_e])
    assert broken.mean() > 0.1
