import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.stats.confidence import always_valid_p, confidence_sequence, log_e_value, radius
from metrics.stats.mixtures import tuned_rho
from metrics.stats.values import Side

ESTIMATES = st.floats(-100.0, 100.0)
ERRORS = st.floats(0.01, 10.0)
UNITS = st.floats(1.0, 1e6)
ALPHAS = st.floats(1e-6, 0.3)


@given(estimate=ESTIMATES, error=ERRORS, units=UNITS, alpha=ALPHAS, side=st.sampled_from(Side))
def test_zero_is_outside_exactly_where_the_evidence_reaches_one_over_alpha(
    estimate, error, units, alpha, side
):
    found = confidence_sequence(estimate, error, units, alpha=alpha, rho=50.0, side=side)
    evidence = float(log_e_value(estimate / error, units, rho=50.0, side=side))
    gap = evidence - math.log(1 / alpha)
    if abs(gap) > 1e-6:
        assert (gap > 0) == (not found.low <= 0.0 <= found.high)


@given(estimate=ESTIMATES, error=ERRORS, units=UNITS, alpha=ALPHAS)
def test_a_smaller_alpha_gives_a_wider_interval_and_one_side_a_tighter_bound(
    estimate, error, units, alpha
):
    wide = confidence_sequence(estimate, error, units, alpha=alpha / 2, rho=50.0)
    plain = confidence_sequence(estimate, error, units, alpha=alpha, rho=50.0)
    below = confidence_sequence(estimate, error, units, alpha=alpha, rho=50.0, side=Side.GREATER)
    assert wide.low < plain.low < below.low < estimate < plain.high < wide.high
    assert below.high == math.inf


@given(z=st.floats(-20, 20), units=UNITS)
def test_evidence_of_one_side_is_the_mirror_image_of_the_other(z, units):
    less = float(log_e_value(z, units, rho=9.0, side=Side.LESS))
    assert less == float(log_e_value(-z, units, rho=9.0, side=Side.GREATER))
    both = float(log_e_value(z, units, rho=9.0))
    assert both == float(log_e_value(-z, units, rho=9.0))


@given(scale=st.floats(1e-3, 1e3), units=UNITS)
def test_only_the_ratio_of_information_to_its_tuning_matters(scale, units):
    plain = radius(units, alpha=0.05, rho=9.0)
    assert radius(units * scale, alpha=0.05, rho=9.0 * scale) == pytest.approx(plain, rel=1e-9)


@pytest.mark.parametrize("error", [0.0, math.nan, math.inf])
def test_without_variance_nothing_is_known(error):
    found = confidence_sequence(0.3, error, 1000.0, alpha=0.05, rho=50.0)
    assert found.estimate == 0.3
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_without_information_everything_is_possible():
    found = confidence_sequence(0.3, 1.0, 0.0, alpha=0.05, rho=50.0)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert float(log_e_value(3.0, 0.0, rho=50.0)) == 0.0
    assert math.isnan(float(log_e_value(math.nan, 10.0, rho=50.0)))


@pytest.mark.parametrize(
    ("alpha", "rho", "message"),
    [
        (0.0, 1.0, "alpha must lie"),
        (1.0, 1.0, "alpha must lie"),
        (0.05, 0.0, "rho must be"),
        (0.05, math.nan, "rho must be"),
    ],
)
def test_levels_and_priors_that_are_none_are_refused(alpha, rho, message):
    with pytest.raises(ValueError, match=message):
        radius(10.0, alpha=alpha, rho=rho)


def test_an_always_valid_p_value_never_rises_and_forgets_no_evidence():
    found = always_valid_p([math.nan, -2.0, 3.0, math.nan, 1.0, 4.0])
    assert math.isnan(found[0])
    assert found[1:] == pytest.approx([1.0, *[math.exp(-3)] * 3, math.exp(-4)])


@pytest.mark.statistical
def test_a_two_sided_sequence_that_is_looked_at_after_every_unit_rarely_misses():
    rng = np.random.default_rng(13)
    runs, steps, alpha = 4000, 1000, 0.1
    walk = np.cumsum(rng.normal(size=(runs, steps)), axis=1)
    v = np.arange(1, steps + 1, dtype=float)
    rho = tuned_rho(100.0, alpha, one_sided=False)
    reach = np.array([radius(float(i), alpha=alpha, rho=rho) for i in v])
    missed = float((np.abs(walk / np.sqrt(v)) >= reach).any(axis=1).mean())
    assert missed <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)
    assert missed > alpha / 4  # it is no empty promise either
    naive = float((np.abs(walk / np.sqrt(v)) >= 1.645).any(axis=1).mean())
    assert naive > 0.5
