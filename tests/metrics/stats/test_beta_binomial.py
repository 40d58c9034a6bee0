import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import comb

from metrics.stats.beta_binomial import (
    catastrophe_log_e,
    catastrophe_log_e_of_phases,
    log_e,
    rate_sequence,
    score_bound,
    tuned_concentration,
)


@pytest.mark.parametrize("one_sided", [True, False])
@given(
    trials=st.integers(1, 60),
    limit=st.floats(0.01, 0.99),
    concentration=st.floats(0.1, 100.0),
)
def test_the_evidence_has_mean_one_at_the_limit(one_sided, trials, limit, concentration):
    mean = sum(
        comb(trials, x)
        * limit**x
        * (1 - limit) ** (trials - x)
        * math.exp(log_e(x, trials, limit, concentration, one_sided=one_sided))
        for x in range(trials + 1)
    )
    assert mean == pytest.approx(1.0, rel=1e-6)


@given(
    trials=st.integers(1, 60),
    limit=st.floats(0.05, 0.95),
    share=st.floats(0.0, 1.0),
    concentration=st.floats(0.1, 100.0),
)
def test_within_the_limit_the_evidence_has_mean_one_at_most(trials, limit, share, concentration):
    rate = share * limit
    mean = sum(
        comb(trials, x)
        * rate**x
        * (1 - rate) ** (trials - x)
        * math.exp(log_e(x, trials, limit, concentration))
        for x in range(trials + 1)
    )
    assert mean <= 1.0 + 1e-6


@given(
    events=st.integers(0, 40),
    more=st.integers(0, 40),
    limit=st.floats(0.05, 0.95),
    concentration=st.floats(0.1, 100.0),
)
def test_two_sided_evidence_is_the_same_for_events_and_non_events(
    events, more, limit, concentration
):
    trials = events + more
    one = log_e(events, trials, limit, concentration, one_sided=False)
    other = log_e(more, trials, 1 - limit, concentration, one_sided=False)
    assert one == pytest.approx(other, abs=1e-8)


def test_nothing_seen_is_no_evidence_and_impossible_counts_are_undefined():
    assert log_e(0, 0, 0.1, 5.0) == 0.0
    assert math.isnan(log_e(3, 2, 0.1, 5.0))
    assert math.isnan(log_e(-1, 2, 0.1, 5.0))
    assert math.isnan(log_e(math.nan, 2, 0.1, 5.0))
    assert math.isnan(log_e(1, math.inf, 0.1, 5.0))


@pytest.mark.parametrize("limit", [0.0, 1.0, math.nan])
def test_a_limit_that_is_no_rate_is_refused(limit):
    with pytest.raises(ValueError, match="limit must lie between 0 and 1"):
        log_e(1, 2, limit, 5.0)


def test_a_prior_without_weight_is_refused():
    with pytest.raises(ValueError, match="concentration must be a finite number above 0"):
        log_e(1, 2, 0.5, 0.0)


def test_too_few_trials_have_no_boundary():
    assert math.isnan(score_bound(3, 0.5, 0.01, 5.0, one_sided=True))
    assert math.isnan(score_bound(0, 0.5, 0.01, 5.0, one_sided=True))


def test_on_its_boundary_the_evidence_is_one_over_alpha():
    bound = score_bound(50, 0.3, 0.01, 8.0, one_sided=True)
    assert log_e(15 + bound, 50, 0.3, 8.0) == pytest.approx(math.log(100), abs=1e-6)


def test_an_interval_of_nothing_is_everything():
    nothing = rate_sequence(0, 0, alpha=0.05, trials_opt=100)
    assert math.isnan(nothing.estimate)
    assert (nothing.low, nothing.high) == (0.0, 1.0)
    assert math.isnan(rate_sequence(5, 3, alpha=0.05, trials_opt=100).low)


@given(events=st.integers(0, 30), more=st.integers(0, 30))
def test_an_interval_of_events_mirrors_that_of_non_events(events, more):
    trials = events + more
    one = rate_sequence(events, trials, alpha=0.05, trials_opt=50)
    other = rate_sequence(more, trials, alpha=0.05, trials_opt=50)
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-9)


def events_needed(share, alpha):
    return next(
        n
        for n in range(1, 100)
        if catastrophe_log_e(n, 0, share, alpha=alpha) >= math.log(1 / alpha)
    )


def test_a_total_failure_is_proven_by_its_first_events():
    assert events_needed(0.5, 0.05) <= 7
    assert events_needed(0.05, 0.05) <= 3  # in a canary each event of its own says more
    assert events_needed(0.5, 0.001) <= 14


def test_events_of_control_alone_are_no_evidence_against_the_treatment():
    assert catastrophe_log_e(0, 50, 0.5, alpha=0.05) < 0
    assert catastrophe_log_e(0, 0, 0.5, alpha=0.05) == 0.0
    assert math.isnan(catastrophe_log_e(-1, 5, 0.5, alpha=0.05))


def test_a_tolerated_ratio_of_rates_needs_more_events():
    strict = catastrophe_log_e(30, 10, 0.5, alpha=0.05)
    mild = catastrophe_log_e(30, 10, 0.5, alpha=0.05, worse=2.0)
    assert strict > mild
    # 2 to 1 at equal shares is the same hypothesis as a share of two thirds
    assert mild == pytest.approx(catastrophe_log_e(30, 10, 2 / 3, alpha=0.05))


def test_one_to_999_is_no_obstacle():
    assert catastrophe_log_e(3, 0, 0.001, alpha=0.05) > math.log(20)
    assert math.isfinite(catastrophe_log_e(0, 999, 0.001, alpha=0.05))
    assert catastrophe_log_e(999, 0, 0.999, alpha=0.05) < math.log(20)


def test_phases_multiply_their_evidence():
    one, other = (5.0, 2.0, 0.1), (8.0, 6.0, 0.5)
    both = catastrophe_log_e_of_phases([one, other], alpha=0.05)
    assert both == pytest.approx(
        catastrophe_log_e(*one, alpha=0.05) + catastrophe_log_e(*other, alpha=0.05)
    )
    assert catastrophe_log_e_of_phases([], alpha=0.05) == 0.0


def test_the_tuning_never_leaves_the_prior_without_weight():
    assert tuned_concentration(1.0, 0.05, one_sided=True) == pytest.approx(1e-3)


@pytest.mark.statistical
def test_watching_every_event_of_a_jumping_rate_rarely_raises_a_false_catastrophe():
    # the rate jumps with the hour, in both arms alike, and the treatment's share is 10%
    rng = np.random.default_rng(5)
    runs, alpha, share = 2000, 0.05, 0.1
    table = np.array(
        [
            [catastrophe_log_e(t, n - t, share, alpha=alpha) if t <= n else 0.0 for t in range(81)]
            for n in range(81)
        ]
    )
    broken = np.array(  # the engine that takes the arms for equal
        [
            [catastrophe_log_e(t, n - t, 0.02, alpha=alpha) if t <= n else 0.0 for t in range(81)]
            for n in range(81)
        ]
    )
    treated = np.cumsum(rng.random((runs, 80)) < share, axis=1)
    n = np.arange(1, 81)
    allowed = alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)
    assert (table[n, treated].max(axis=1) >= math.log(1 / alpha)).mean() <= allowed
    assert (broken[n, treated].max(axis=1) >= math.log(1 / alpha)).mean() > allowed
