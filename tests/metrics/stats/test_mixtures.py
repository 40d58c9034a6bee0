import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.stats.mixtures import (
    average_log_e,
    normal_log_mixture,
    normal_mixture_bound,
    tuned_rho,
    z_bound,
)


@given(
    v=st.floats(0.1, 1e6),
    alpha=st.floats(1e-8, 0.2),
    v_opt=st.floats(1.0, 1e5),
    one_sided=st.booleans(),
)
def test_a_mixture_on_its_boundary_is_exactly_one_over_alpha(v, alpha, v_opt, one_sided):
    rho = tuned_rho(v_opt, alpha, one_sided=one_sided)
    bound = normal_mixture_bound(v, alpha, rho, one_sided=one_sided)
    on_it = float(normal_log_mixture(bound, v, rho, one_sided=one_sided))
    assert on_it == pytest.approx(math.log(1 / alpha), abs=1e-9)


@pytest.mark.parametrize(
    ("alpha", "one_sided", "approximate", "exact"),
    [(0.05, False, 7.94, 8.21), (0.05, True, 6.33, 6.64)],
)
def test_the_divisors_of_the_tuning_are_the_published_ones(alpha, one_sided, approximate, exact):
    assert 1 / tuned_rho(1.0, alpha, one_sided=one_sided) == pytest.approx(approximate, abs=5e-3)
    sharp = tuned_rho(1.0, alpha, one_sided=one_sided, exact=True)
    assert 1 / sharp == pytest.approx(exact, abs=5e-3)


def test_the_exact_tuning_is_tightest_where_it_should_be():
    v, alpha = 500.0, 0.01
    best = tuned_rho(v, alpha, one_sided=False, exact=True)
    bounds = [
        normal_mixture_bound(v, alpha, best * factor, one_sided=False) for factor in (0.9, 1, 1.1)
    ]
    assert bounds[1] == min(bounds)


@given(
    v=st.floats(1.0, 1e6),
    alpha=st.floats(1e-6, 0.2),
    rho=st.floats(1.0, 1e4),
    scale=st.floats(1e-3, 1e3),
    one_sided=st.booleans(),
)
def test_a_smaller_alpha_needs_a_larger_score_and_only_ratios_of_time_matter(
    v, alpha, rho, scale, one_sided
):
    bound = normal_mixture_bound(v, alpha, rho, one_sided=one_sided)
    assert normal_mixture_bound(v, alpha / 2, rho, one_sided=one_sided) > bound
    scaled = normal_mixture_bound(v * scale, alpha, rho * scale, one_sided=one_sided)
    assert scaled == pytest.approx(bound * math.sqrt(scale), rel=1e-9)


def test_without_information_no_z_is_enough():
    assert z_bound(0.0, 0.05, 10.0) == math.inf


def test_an_average_counts_monitors_that_have_not_started_as_one():
    assert average_log_e([], 27) == 0.0
    assert average_log_e([math.log(28.0)], 27) == pytest.approx(math.log((28 + 26) / 27))
    assert average_log_e([2.0, 2.0], 2) == pytest.approx(2.0)


def test_an_average_of_huge_evidence_does_not_overflow():
    assert average_log_e([5000.0, -5000.0], 10) == pytest.approx(5000 - math.log(10))


@pytest.mark.statistical
def test_an_average_over_restarts_rarely_ever_exceeds_what_ville_allows():
    # 20 restarts of one random walk, looked at after every step; 1 / 0.1 = 10
    rng = np.random.default_rng(7)
    runs, steps, every, alpha = 4000, 400, 20, 0.1
    walk = np.cumsum(rng.normal(size=(runs, steps)), axis=1)
    padded = np.concatenate([np.zeros((runs, 1)), walk], axis=1)
    rho = tuned_rho(50.0, alpha, one_sided=True)
    total = np.zeros((runs, steps))
    for start in range(0, steps, every):
        score = padded[:, start + 1 :] - padded[:, start : start + 1]
        v = np.arange(1, steps - start + 1, dtype=float)
        log_m = normal_log_mixture(score, np.broadcast_to(v, score.shape), rho, one_sided=True)
        total[:, :start] += 1.0
        total[:, start:] += np.exp(log_m)
    ever = float((total.max(axis=1) / (steps // every) >= 1 / alpha).mean())
    assert ever <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)
    summed = float((total.max(axis=1) >= 1 / alpha).mean())  # the engine that forgets to divide
    assert summed > alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)
