import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from metrics.stats.bayes import log_bayes_factor, normal_posterior
from metrics.stats.confidence import log_e_value

ESTIMATES = st.floats(-0.2, 0.2)
VARIANCES = st.floats(1e-5, 1e-2)


@pytest.mark.parametrize(
    ("estimate", "variance", "prior_mean"),
    [(0.03, 0.0004, 0.0), (-0.05, 0.001, 0.01), (0.0, 0.0001, -0.02)],
)
def test_the_posterior_is_prior_times_likelihood_integrated(estimate, variance, prior_mean):
    prior_sd = 0.04

    def joint(x):
        return stats.norm.pdf(x, prior_mean, prior_sd) * stats.norm.pdf(
            estimate, x, math.sqrt(variance)
        )

    def mean(function, low=-0.6, high=0.6):
        return integrate.quad(lambda x: function(x) * joint(x), low, high, points=[0.0])[0]

    total = mean(lambda _: 1.0)
    found = normal_posterior(estimate, variance, prior_sd=prior_sd, prior_mean=prior_mean)
    assert found.effect.estimate == pytest.approx(mean(lambda x: x) / total, abs=1e-8)
    assert found.positive == pytest.approx(mean(lambda x: x > 0) / total, abs=1e-7)
    assert found.loss_of_shipping == pytest.approx(mean(lambda x: max(-x, 0)) / total, abs=1e-8)
    assert found.loss_of_staying == pytest.approx(mean(lambda x: max(x, 0)) / total, abs=1e-8)
    low, high = found.effect.low, found.effect.high
    assert stats.norm.cdf([low, high], found.effect.estimate, found.sd) == pytest.approx(
        [0.025, 0.975]
    )


@pytest.mark.parametrize(("estimate", "variance"), [(0.03, 0.0004), (-0.05, 0.001)])
def test_the_bayes_factor_is_the_ratio_of_integrated_likelihoods(estimate, variance):
    sd = math.sqrt(variance)
    above = integrate.quad(
        lambda x: stats.norm.pdf(x, 0, 0.04) * stats.norm.pdf(estimate, x, sd), -0.6, 0.6
    )[0]
    below = stats.norm.pdf(estimate, 0, sd)
    found = log_bayes_factor(estimate, variance, prior_sd=0.04)
    assert found == pytest.approx(math.log(above / below), abs=1e-8)


@given(estimate=ESTIMATES, variance=VARIANCES, prior_sd=st.floats(0.005, 0.5))
def test_one_prior_serves_the_bayes_factor_and_the_e_value(estimate, variance, prior_sd):
    z = estimate / math.sqrt(variance)
    evidence = float(log_e_value(z, 1 / variance, rho=prior_sd**-2))
    found = log_bayes_factor(estimate, variance, prior_sd=prior_sd)
    assert found == pytest.approx(evidence, abs=1e-8)


@given(estimate=ESTIMATES, variance=VARIANCES)
def test_a_turned_around_effect_turns_the_summaries_around(estimate, variance):
    one = normal_posterior(estimate, variance, prior_sd=0.04)
    other = normal_posterior(-estimate, variance, prior_sd=0.04)
    assert one.positive == pytest.approx(1 - other.positive, abs=1e-12)
    assert one.loss_of_shipping == pytest.approx(other.loss_of_staying, abs=1e-15)
    gap = one.loss_of_staying - one.loss_of_shipping
    assert gap == pytest.approx(one.effect.estimate, abs=1e-12)
    assert abs(one.effect.estimate) <= abs(estimate)


@pytest.mark.parametrize(
    ("estimate", "variance"),
    [(math.nan, 0.1), (0.1, math.nan), (0.1, 0.0), (0.1, -1.0), (math.inf, 0.1)],
)
def test_without_an_estimate_nothing_is_believed(estimate, variance):
    found = normal_posterior(estimate, variance, prior_sd=0.04)
    assert math.isnan(found.positive)
    assert math.isnan(found.effect.estimate)
    assert math.isnan(found.loss_of_shipping)
    assert math.isnan(log_bayes_factor(estimate, variance, prior_sd=0.04))


def test_an_estimate_that_says_nothing_leaves_the_prior():
    found = normal_posterior(math.nan, math.inf, prior_sd=0.04, prior_mean=0.01)
    assert found.effect.estimate == 0.01
    assert found.sd == pytest.approx(0.04)
    assert log_bayes_factor(0.1, math.inf, prior_sd=0.04) == 0.0


def test_priors_and_levels_that_are_none_are_refused():
    with pytest.raises(ValueError, match="prior_sd must be"):
        normal_posterior(0.1, 0.1, prior_sd=0.0)
    with pytest.raises(ValueError, match="level must lie"):
        normal_posterior(0.1, 0.1, prior_sd=0.1, level=1.0)
    with pytest.raises(ValueError, match="prior_sd must be"):
        log_bayes_factor(0.1, 0.1, prior_sd=math.nan)
