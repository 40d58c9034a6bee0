import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.stats.adjustment import Joint, cuped, lin
from metrics.stats.difference import welch
from metrics.stats.relative import log_delta
from metrics.stats.values import Sample, Side

VALUES = st.floats(-1e3, 1e3, allow_nan=False)
ROWS = st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=12)


@given(first=ROWS, second=ROWS)
def test_moments_of_a_union_are_those_of_all_its_units(first, second):
    merged, whole = Joint.of(first) + Joint.of(second), Joint.of([*first, *second])
    assert merged.n == whole.n
    assert merged.mean == pytest.approx(whole.mean, abs=1e-6)
    assert merged.covariance == pytest.approx(whole.covariance, abs=1e-4)


def test_nothing_added_changes_nothing():
    some, none = Joint.of([[1.0, 2.0], [3.0, 5.0]]), Joint.of(np.empty((0, 2)))
    assert some + none is some
    assert none + some is some
    assert np.isnan(none.mean).all()


@pytest.mark.parametrize("rows", [[[math.nan, 1.0]], [[math.inf, 1.0]], [1.0, 2.0]])
def test_rows_that_are_no_table_of_finite_numbers_are_refused(rows):
    with pytest.raises(ValueError, match="table of finite numbers"):
        Joint.of(rows)


@settings(deadline=None)
@given(shift=VALUES, scale=st.floats(0.01, 100.0), seed=st.integers(0, 99))
def test_moving_or_scaling_a_covariate_changes_no_effect(shift, scale, seed):
    rng = np.random.default_rng(seed)
    arms = [rng.normal(size=(40, 2)) + rng.normal(size=(40, 1)) for _ in range(2)]
    moved = [np.column_stack([a[:, 0], shift + scale * a[:, 1]]) for a in arms]
    for method in (cuped, lin):
        plain, other = method(*map(Joint.of, arms)), method(*map(Joint.of, moved))
        assert other.effect == pytest.approx(plain.effect, abs=1e-8)
        assert other.variance == pytest.approx(plain.variance, rel=1e-6)


def test_swapping_arms_turns_the_effect_around():
    rng = np.random.default_rng(3)
    arms = [Joint.of(rng.normal(size=(n, 3))) for n in (30, 50)]
    for method in (cuped, lin):
        assert method(*arms).effect == pytest.approx(-method(*arms[::-1]).effect, abs=1e-12)
        assert method(*arms).variance == pytest.approx(method(*arms[::-1]).variance, rel=1e-12)


def test_a_covariate_without_variance_adjusts_nothing():
    rng = np.random.default_rng(4)
    arms = [Joint.of(np.column_stack([rng.normal(size=50), np.full(50, 7.0)])) for _ in range(2)]
    for method in (cuped, lin):
        found = method(*arms)
        assert found.slopes[0].tolist() == [0.0]
        assert found.effect == pytest.approx(arms[1].mean[0] - arms[0].mean[0], abs=1e-12)


def test_the_same_covariate_twice_is_as_good_as_once():
    rng = np.random.default_rng(5)
    arms = []
    for _ in range(2):
        x = rng.normal(size=60)
        arms.append(np.column_stack([x + rng.normal(size=60), x, x]))
    twice = cuped(*(Joint.of(a) for a in arms))
    once = cuped(*(Joint.of(a[:, :2]) for a in arms))
    assert twice.effect == pytest.approx(once.effect, abs=1e-9)
    assert twice.slopes[0] == pytest.approx([once.slopes[0][0] / 2] * 2, abs=1e-9)


@pytest.mark.parametrize("units", [0, 1])
@pytest.mark.parametrize("method", [cuped, lin])
def test_an_arm_of_no_or_one_unit_has_no_adjusted_effect(method, units):
    rng = np.random.default_rng(6)
    many, few = Joint.of(rng.normal(size=(40, 2))), Joint.of(rng.normal(size=(units, 2)))
    for pair in ((many, few), (few, many)):
        found = method(*pair)
        assert math.isnan(found.variance)
        assert math.isnan(welch(found.control, found.treatment).p_value)


def test_lin_needs_more_units_than_slopes():
    rng = np.random.default_rng(7)
    found = lin(Joint.of(rng.normal(size=(40, 5))), Joint.of(rng.normal(size=(5, 5))))
    assert math.isnan(found.treatment.mean)
    assert math.isnan(found.variance)


def test_a_ratio_without_a_denominator_is_undefined():
    joint = Joint.of([[1.0, 0.0], [2.0, 0.0]]).ratios([(0, 1)])
    assert np.isnan(joint.mean).all()
    assert np.isnan(joint.covariance).all()


@pytest.mark.statistical
def test_adjusted_tests_keep_their_level_where_slopes_and_shares_differ():
    rng = np.random.default_rng(11)
    runs, rejected = 2000, {"cuped": 0, "lin": 0, "naive": 0}
    variances = {"plain": 0.0, "lin": 0.0}
    for _ in range(runs):
        x = rng.exponential(size=400)
        treated = rng.random(400) < 0.3
        y = x + rng.normal(size=400) + np.where(treated, 1.5 * (x - 1.0), 0.0)
        rows = np.column_stack([y, x])
        c, t = Joint.of(rows[~treated]), Joint.of(rows[treated])
        for name, method in (("cuped", cuped), ("lin", lin)):
            found = method(c, t)
            rejected[name] += abs(found.effect) > 1.96 * math.sqrt(found.variance)
        found = lin(c, t)  # the engine that forgets that the covariates' mean is drawn as well
        without = found.control.error_squared + found.treatment.error_squared
        rejected["naive"] += abs(found.effect) > 1.96 * math.sqrt(without)
        variances["lin"] += found.variance
        variances["plain"] += t.covariance[0, 0] / t.n + c.covariance[0, 0] / c.n
    allowed = 0.05 + 4 * math.sqrt(0.05 * 0.95 / runs)
    assert rejected["lin"] / runs < allowed
    assert rejected["cuped"] / runs < allowed
    assert rejected["naive"] / runs > allowed
    assert variances["lin"] < 0.5 * variances["plain"]


NOTHING = Sample(0, math.nan, math.nan)


@pytest.mark.parametrize(
    ("control", "treatment"),
    [
        pytest.param(NOTHING, Sample(10, 1.0, 1.0), id="an empty arm"),
        pytest.param(Sample(1, 1.0, math.nan), Sample(10, 1.0, 1.0), id="one unit"),
        pytest.param(Sample(9, 1.0, 0.0), Sample(9, 2.0, 0.0), id="no variance anywhere"),
        pytest.param(Sample(9, 1.0, math.inf), Sample(9, 2.0, 1.0), id="infinite variance"),
    ],
)
@pytest.mark.parametrize("side", Side)
def test_what_cannot_be_tested_has_no_p_value(control, treatment, side):
    found = welch(control, treatment, side=side)
    assert math.isnan(found.p_value)
    assert math.isnan(found.statistic)
    assert math.isnan(found.effect.low)
    assert math.isnan(found.effect.high)
    assert math.isnan(found.relative.low)


def test_one_arm_without_variance_is_no_obstacle():
    found = welch(Sample(10, 5.0, 0.0), Sample(20, 6.0, 4.0))
    assert found.df == pytest.approx(19.0)
    assert 0.0 < found.p_value < 1.0


@pytest.mark.parametrize("alpha", [0.0, 1.0, math.nan])
def test_a_level_that_is_none_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha must lie between 0 and 1"):
        welch(Sample(9, 1.0, 1.0), Sample(9, 1.0, 1.0), alpha=alpha)


def test_a_relative_interval_needs_positive_means():
    assert math.isnan(log_delta(-1.0, 2.0, 0.1, 0.1, 2.0).effect)
    gone = log_delta(2.0, 0.0, 0.1, 0.1, 2.0)
    assert gone.effect == -1.0
    assert math.isnan(gone.low)
    assert math.isnan(gone.high)
