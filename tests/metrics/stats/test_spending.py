import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.stats import spending

PARAMETERS = {
    "reserve": {"tau": 0.0005},
    "log_time": {"tau": 0.0005},
    "kim_demets": {"power": 0.5},
    "hwang_shih_decani": {"gamma": -2.0},
}
FRACTIONS = st.floats(0.0, 50.0)
ALPHAS = st.floats(1e-6, 0.5)


@pytest.mark.parametrize("name", spending.CURVES)
@given(first=FRACTIONS, second=FRACTIONS, alpha=ALPHAS)
def test_every_curve_starts_at_nothing_never_falls_and_never_exceeds_alpha(
    name, first, second, alpha
):
    curve, parameters = spending.CURVES[name], PARAMETERS.get(name, {})
    low, high = sorted((first, second))
    assert curve(0.0, alpha, **parameters) == 0.0
    assert curve(low, alpha, **parameters) >= 0.0
    assert curve(low, alpha, **parameters) <= curve(high, alpha, **parameters) * (1 + 1e-12)
    assert curve(high, alpha, **parameters) <= alpha * (1 + 1e-12)


@pytest.mark.parametrize("name", sorted(set(spending.CURVES) - {"reserve", "horizon_free"}))
def test_a_curve_with_a_horizon_has_spent_everything_there(name):
    spent = spending.CURVES[name](1.0, 0.05, **PARAMETERS.get(name, {}))
    assert spent == pytest.approx(0.05, abs=1e-15)


def test_the_reserve_keeps_a_tenth_for_information_past_the_plan():
    assert spending.reserve(1.0, 0.05, tau=0.001) == pytest.approx(0.045, abs=1e-15)
    doubled = spending.reserve(2.0, 0.05, tau=0.001)
    expected = 0.045 + 0.005 * math.log(2) / (1 + math.log(2))
    assert doubled == pytest.approx(expected, abs=1e-15)
    assert spending.reserve(1e9, 0.05, tau=0.001) < 0.05


def test_log_time_spends_equal_alpha_per_e_fold_of_information():
    tau = 1e-6
    steps = [spending.log_time(math.exp(-k), 1.0, tau=tau) for k in range(8)]
    gaps = [a - b for a, b in itertools.pairwise(steps)]
    assert gaps == pytest.approx([gaps[0]] * 7, rel=1e-2)


@given(t=st.floats(0.0, 1.0), alpha=ALPHAS)
def test_log_time_with_tau_one_over_e_minus_one_is_pococks_curve(t, alpha):
    ours = spending.log_time(t, alpha, tau=1 / (math.e - 1))
    assert ours == pytest.approx(spending.pocock(t, alpha), rel=1e-12)


def test_hwang_shih_decani_without_gamma_is_linear():
    assert spending.hwang_shih_decani(0.3, 0.05, gamma=0.0) == pytest.approx(0.015)
    near = spending.hwang_shih_decani(0.3, 0.05, gamma=1e-9)
    assert near == pytest.approx(0.015, rel=1e-8)


def test_a_two_sided_test_spends_half_on_each_side():
    one_side = spending.obrien_fleming(0.5, 0.025)
    assert spending.two_sided(spending.obrien_fleming, 0.5, 0.05) == 2 * one_side
