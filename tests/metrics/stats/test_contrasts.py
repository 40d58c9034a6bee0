import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.cells import MICRO, Cell, Sums
from metrics.stats import moments
from metrics.stats.contrasts import (
    Null,
    denominator_cv,
    linear_statistic,
    proportion_statistic,
    skew_corrected,
)

RISE = Null(1.0, 0.0, 1.0)
DROP = Null(1.0, 0.0, -1.0)


def counts(*cells):
    """Return units and events as arrays with one phase each."""
    return np.array([[float(n) for n, _ in cells]]), np.array([[float(x) for _, x in cells]])


def rate(treatment, control, null=RISE):
    return proportion_statistic(counts(*treatment), counts(*control), null)


def arm_of(values, denominators=None):
    whole = Sums()
    for index, y in enumerate(values):
        x = round(denominators[index] * MICRO) if denominators is not None else MICRO
        whole += Sums.of(round(y * MICRO), x)
    return moments.arm(
        [Cell("a", 0, 0, whole.n, whole)],
        whole,
        cohorts=1,
        phases=1,
        ratio=denominators is not None,
    )


def test_with_equal_arms_it_is_the_pooled_two_proportion_z():
    ours = rate([(1000, 130)], [(1000, 100)])
    p = 230 / 2000
    pooled = (0.13 - 0.10) / math.sqrt(p * (1 - p) * 2 / 1000)
    assert float(ours.z[0]) == pytest.approx(pooled, abs=1e-12)
    assert float(ours.kappa[0]) == pytest.approx(0.0, abs=1e-12)
    assert float(ours.information[0]) == 500.0


def test_a_rate_with_unit_ratio_agrees_with_the_general_formula_of_means():
    treatment, control = (60, 20), (1140, 150)
    as_rate = rate([treatment], [control])
    units = [[1.0] * x + [0.0] * (n - x) for n, x in (treatment, control)]
    as_mean = linear_statistic(arm_of(units[0]), arm_of(units[1]), RISE)
    assert float(as_rate.z[0]) == pytest.approx(float(as_mean.z[0]), abs=1e-9)
    assert float(as_rate.kappa[0]) == pytest.approx(float(as_mean.kappa[0]), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    t=st.integers(50, 5000),
    c=st.integers(50, 5000),
    share_t=st.floats(0.01, 0.99),
    share_c=st.floats(0.01, 0.99),
)
def test_a_drop_is_a_rise_seen_from_the_other_side(t, c, share_t, share_c):
    x_t, x_c = int(t * share_t), int(c * share_c)
    rise = rate([(t, x_t)], [(c, x_c)], RISE)
    drop = rate([(t, x_t)], [(c, x_c)], DROP)
    assert float(drop.z[0]) == pytest.approx(-float(rise.z[0]), abs=1e-9, nan_ok=True)
    assert float(drop.kappa[0]) == pytest.approx(-float(rise.kappa[0]), abs=1e-9, nan_ok=True)
    # failures are the complement of successes: more of one is less of the other
    complement = rate([(t, t - x_t)], [(c, c - x_c)], DROP)
    assert float(complement.z[0]) == pytest.approx(float(rise.z[0]), abs=1e-9, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(scale=st.sampled_from([2, 10, 1000]), q=st.floats(0.8, 1.2), seed=st.integers(0, 99))
def test_the_unit_of_measurement_does_not_matter(scale, q, seed):
    rng = np.random.default_rng(seed)
    t, c = np.round(rng.gamma(2.0, 1.0, 40), 3), np.round(rng.gamma(2.0, 1.0, 90), 3)
    null = Null(q, 0.0, 1.0)
    plain = linear_statistic(arm_of(t), arm_of(c), null)
    scaled = linear_statistic(arm_of(t * scale), arm_of(c * scale), null)
    assert float(scaled.z[0]) == pytest.approx(float(plain.z[0]), abs=1e-9)


def test_a_margin_of_zero_is_the_same_relative_or_absolute():
    t, c = arm_of([1.0, 2.0, 4.0, 5.0]), arm_of([2.0, 2.5, 3.0, 9.0, 1.0])
    relative = linear_statistic(t, c, Null(1.0, 0.0, -1.0))
    absolute = linear_statistic(t, c, Null(np.ones(1), np.zeros(1), -1.0))
    assert float(relative.z[0]) == pytest.approx(float(absolute.z[0]))


def test_an_effect_of_just_the_margin_gives_a_statistic_of_zero():
    # (up to kappa / 6: with skewness zero is not the median)
    drop = rate([(1000, 380)], [(1000, 400)], Null(0.95, 0.0, -1.0))
    assert float(drop.z[0]) == pytest.approx(float(drop.kappa[0]) / 6, abs=1e-12)
    absolute = rate([(1000, 450)], [(1000, 400)], Null(1.0, 0.05, 1.0))
    assert float(absolute.z[0]) == pytest.approx(float(absolute.kappa[0]) / 6, abs=1e-12)
    values = np.linspace(1.0, 9.0, 50)
    mean = linear_statistic(arm_of(values * 1.25), arm_of(values), Null(1.25, 0.0, 1.0))
    assert float(mean.z[0]) == pytest.approx(0.0, abs=1e-9)


def test_total_failure_of_either_kind_is_no_obstacle():
    for control, treatment, null in (
        ((1000, 120), (1000, 0), DROP),  # 12% to nothing: no variance in the treatment
        ((1000, 0), (1000, 120), RISE),  # nothing to 12%: none in control
        ((1000, 1000), (1000, 0), DROP),  # 100% to nothing: none in either
        ((1000, 0), (1000, 1000), RISE),
    ):
        found = rate([treatment], [control], null)
        assert float(found.z[0]) > 10
    same = linear_statistic(arm_of([3.0] * 200), arm_of([4.2] * 200), DROP)
    assert float(same.z[0]) > 10  # a mean without any variance within the arms


def test_two_arms_without_any_difference_or_variance_have_no_statistic():
    found = linear_statistic(arm_of([4.0] * 200), arm_of([4.0] * 200), RISE)
    assert math.isnan(float(found.z[0]))
    assert math.isnan(float(rate([(500, 0)], [(500, 0)]).z[0]))


def test_phases_with_other_shares_are_strata_and_cannot_pass_for_an_effect():
    # nobody is harmed: both arms have 10% in the first phase and 30% in the second
    treatment, control = [(100, 10), (900, 270)], [(900, 90), (100, 30)]
    stratified = rate(treatment, control)
    assert float(stratified.z[0]) == pytest.approx(0.0, abs=0.05)
    pooled = rate([(1000, 280)], [(1000, 120)])  # the engine that forgets phases
    assert float(pooled.z[0]) > 8


def test_a_phase_only_one_arm_is_in_adds_nothing():
    both = rate([(1000, 130)], [(1000, 100)])
    more = rate([(1000, 130), (0, 0)], [(1000, 100), (500, 400)])
    assert float(more.z[0]) == float(both.z[0])
    assert float(more.information[0]) == 500.0


def test_the_skew_correction_never_reads_a_larger_harm_as_a_smaller_one():
    z0 = np.linspace(-60.0, 60.0, 2001)
    for kappa in (-0.29, -0.05, 0.0, 0.05, 0.29):
        corrected = skew_corrected(z0, np.full_like(z0, kappa))
        assert np.all(np.diff(corrected) >= -1e-9)
    broken = 40.0 - 0.29 * (40.0**2 - 1) / 6  # the parabola itself
    assert broken < -30
    assert float(skew_corrected(np.array(40.0), np.array(0.29))) > 5


@pytest.mark.parametrize("q", [1.0, 0.8])
def test_a_ratio_compares_sums_over_sums_with_the_delta_methods_error(q):
    rng = np.random.default_rng(11)
    x_t, x_c = rng.integers(1, 5, 400) * 1.0, rng.integers(1, 5, 600) * 1.0
    y_t, y_c = x_t * 2.0 + rng.normal(0, 1, 400), x_c * 2.2 + rng.normal(0, 1, 600)
    y_t, y_c = np.round(y_t, 3), np.round(y_c, 3)
    found = linear_statistic(arm_of(y_t, x_t), arm_of(y_c, x_c), Null(q, 0.0, -1.0))
    r_t, r_c = y_t.sum() / x_t.sum(), y_c.sum() / x_c.sum()
    r0 = (y_t.sum() + y_c.sum()) / (q * x_t.sum() + x_c.sum())
    e_t, e_c = (y_t - q * r0 * x_t) / x_t.mean(), q * (y_c - r0 * x_c) / x_c.mean()
    s2 = (np.sum(e_t**2) + np.sum(e_c**2)) / 1000
    m3 = (np.sum(e_t**3) + np.sum(e_c**3)) / 1000
    se = math.sqrt(s2 * (1 / 400 + 1 / 600))
    z0 = (q * r_c - r_t) / se
    kappa = -m3 * (1 / 400**2 - 1 / 600**2) / se**3
    assert float(found.kappa[0]) == pytest.approx(kappa, rel=1e-6)
    assert float(found.z[0]) == pytest.approx(z0 - kappa * (z0**2 - 1) / 6, rel=1e-9)
    cv = float(denominator_cv(arm_of(y_t, x_t))[0])
    assert cv == pytest.approx(x_t.std() / x_t.mean() / math.sqrt(400), rel=1e-9)


def test_a_mean_has_a_denominator_that_is_known():
    assert float(denominator_cv(arm_of([1.0, 2.0]))[0]) == 0.0
    assert float(denominator_cv(arm_of([]))[0]) == math.inf


@pytest.mark.statistical
@pytest.mark.parametrize(("q", "sign"), [(0.95, -1.0), (1.05, 1.0)])
def test_a_canary_at_a_high_rate_with_a_margin_has_its_nominal_error(q, sign):
    # 19:1 and control at .9, the treatment exactly on the null; nominal one-sided 2.5%
    rng = np.random.default_rng(12)
    runs, n_t, n_c, p = 200_000, 400, 7600, 0.9 if q < 1 else 0.9 / 1.05
    x_t, x_c = rng.binomial(n_t, q * p, (runs, 1)), rng.binomial(n_c, p, (runs, 1))
    units = np.full((runs, 1), float(n_t)), np.full((runs, 1), float(n_c))
    found = proportion_statistic((units[0], x_t * 1.0), (units[1], x_c * 1.0), Null(q, 0.0, sign))
    rate_ = float((found.z >= 1.959964).mean())
    assert rate_ == pytest.approx(0.025, abs=0.003)
    # the engine that pools control's values times q over both arms
    fit = (x_t + x_c) / (q * n_t + n_c)
    own_t, own_c = q * fit * (1 - q * fit), q * q * fit * (1 - fit)
    pooled = (n_t * own_t + n_c * own_c) / (n_t + n_c)
    harm = sign * (x_t / n_t - q * x_c / n_c)
    z = harm / np.sqrt(pooled * (1 / n_t + 1 / n_c))
    assert abs(float((z >= 1.959964).mean()) - 0.025) > 0.006
