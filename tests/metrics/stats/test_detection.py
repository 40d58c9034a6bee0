"""Published: the project's table of exact operating characteristics, made with R's rpact."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.stats import spending
from metrics.stats.detection import (
    detection,
    drift_of,
    fixed_units,
    floor_units,
    found_with,
    hours_until,
    smallest_effect,
    spending_monitor,
)
from metrics.stats.power import monitor
from metrics.stats.power_fixed import mean_power

REFERENCE = json.loads(
    (Path(__file__).parents[2] / "golden" / "welch_holm_bh_reference.json").read_text()
)
VARIANCES = {0.76: 0.1824, 0.784: 0.169344, 0.792: 0.164736}


def found(test, treatment):
    """Return what a test finds of a rate of .8 that falls, in units per arm."""
    sd = math.sqrt((0.16 + VARIANCES[treatment]) / 2)
    return detection(test, 0.8 - treatment, sd)


def two_hundred(curve, alpha=0.05, horizon=20_000, **parameters):
    """Return 200 looks of 100 units per arm each, that is 50 effective units."""
    looks = [50.0 * (k + 1) for k in range(200)]
    return spending_monitor(looks, curve, alpha=alpha, planned=horizon / 2, **parameters)


@pytest.mark.parametrize(
    ("curve", "parameters", "mean", "power_2", "power_1"),
    [
        pytest.param(spending.log_time, {"tau": 0.02}, 1540, 0.947, 0.429, id="log-time"),
        pytest.param(spending.obrien_fleming, {}, 4095, 0.986, 0.606, id="O'Brien-Fleming"),
        pytest.param(spending.pocock, {}, 1838, 0.971, 0.520, id="Pocock"),
        pytest.param(spending.reserve, {"tau": 0.02}, 1585, 0.941, 0.409, id="reserve"),
    ],
)
def test_the_operating_characteristics_are_the_published_ones(
    curve, parameters, mean, power_2, power_1
):
    test = two_hundred(curve, **parameters)
    assert 2 * found(test, 0.76).mean == pytest.approx(mean, abs=2.0)
    assert found(test, 0.784).power == pytest.approx(power_2, abs=1.5e-3)
    assert found(test, 0.792).power == pytest.approx(power_1, abs=1.5e-3)


@pytest.mark.parametrize(
    ("curve", "horizon", "mean"),
    [
        (lambda t, a: spending.log_time(t, a, tau=0.002), 200_000, 1737),
        (spending.pocock, 200_000, 2660),
        (spending.obrien_fleming, 200_000, 12_831),
    ],
)
def test_a_horizon_ten_times_too_long_costs_what_was_published(curve, horizon, mean):
    test = two_hundred(curve, horizon=horizon)
    assert 2 * found(test, 0.76).mean == pytest.approx(mean, abs=2.0)


def test_the_classical_number_of_units_is_that_of_statsmodels():
    rows = {row["kind"]: row for row in REFERENCE["power"]}
    proportions = rows["two proportions one-sided unpooled variance"]["n_per_arm"]
    for key, expected in proportions.items():
        alpha, power = (float(part.split("=")[1]) for part in key.split(","))
        level = 0.05 / 12 if alpha < 0.01 else alpha
        ours = fixed_units(0.04, 0.16, 0.1824, alpha=level, power=power)
        assert ours == pytest.approx(expected, rel=1e-9)
    row = rows["z one-sided larger"]
    ours = fixed_units(row["effect_d"], 1.0, 1.0, alpha=row["alpha"], power=row["power"])
    assert ours == pytest.approx(row["n1"], rel=1e-9)
    # a t test needs about two units more than a normal one: no difference at 100 units and above
    row = rows["t two-sided"]
    normal = fixed_units(row["effect_d"], 1.0, 1.0, alpha=row["alpha"] / 2, power=row["power"])
    assert normal == pytest.approx(row["n1"], abs=1.5)
    row = rows["t two-sided power"]
    ours = mean_power(row["effect_d"], 1.0, row["n1"], row["n1"] * row["ratio"], alpha=row["alpha"])
    assert ours == pytest.approx(row["power"], abs=1e-3)


def test_the_floor_is_the_published_one_and_nothing_is_below_it():
    # 2 x .3424 ln(20) / .0016
    assert floor_units(0.04, 0.16, 0.1824, alpha=0.05) == pytest.approx(1282.2, abs=0.1)
    assert floor_units(0.04, 0.16, 0.1824, alpha=0.05 / 12) == pytest.approx(2345, abs=1.0)
    best = 2 * found(two_hundred(spending.log_time, tau=0.02), 0.76).mean
    assert best > 1282


def test_one_look_is_the_fixed_test():
    test = spending_monitor([800.0], spending.pocock, alpha=0.05, planned=800.0)
    change = smallest_effect(test, 2.0, power=0.9)
    assert fixed_units(change, 4.0, 4.0, alpha=0.05, power=0.9) == pytest.approx(1600.0, rel=1e-6)
    assert detection(test, change, 2.0).power == pytest.approx(0.9, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(power=st.floats(0.1, 0.99), sd=st.floats(0.1, 10.0))
def test_the_smallest_effect_is_found_with_the_power_asked_for(power, sd):
    test = spending_monitor(
        [100.0, 150.0, 300.0, 700.0], spending.log_time, alpha=0.05, planned=700.0, tau=0.1
    )
    change = smallest_effect(test, sd, power=power)
    assert detection(test, change, sd).power == pytest.approx(power, abs=1e-6)
    assert detection(test, 0.0, sd).power == pytest.approx(0.05, abs=1e-8)


def test_a_larger_change_is_found_sooner_and_quantiles_are_in_order():
    test = two_hundred(spending.log_time, tau=0.02)
    small, large = found(test, 0.784), found(test, 0.76)
    assert large.mean < small.mean
    assert large.median < large.p90 < math.inf
    assert found(test, 0.792).p90 == math.inf
    assert found(test, 0.792).power < 0.5
    assert found_with(test, np.full(200, 0.4), 0.5) == math.inf


def test_no_looks_find_nothing():
    nothing = detection(monitor([], []), 1.0, 1.0)
    assert nothing.power == 0.0
    assert math.isnan(nothing.mean)
    assert nothing.median == math.inf
    assert smallest_effect(monitor([], []), 1.0) == math.inf


def test_no_change_is_never_found_and_without_variance_nothing_can_be_planned():
    for units in (
        lambda change, var: fixed_units(change, var, var, alpha=0.05, power=0.8),
        lambda change, var: floor_units(change, var, var, alpha=0.05),
    ):
        assert units(0.0, 1.0) == math.inf
        assert math.isnan(units(1.0, 0.0))
        assert math.isnan(units(math.nan, 1.0))


def test_hours_follow_the_slower_arm():
    assert hours_until(500.0, control_per_hour=100.0, treatment_per_hour=100.0) == 10.0
    canary = hours_until(500.0, control_per_hour=190.0, treatment_per_hour=10.0)
    assert canary == pytest.approx(500 / 9.5)
    late = hours_until(
        500.0, control_per_hour=100.0, treatment_per_hour=100.0, window_hours=24.0, check_hours=1.0
    )
    assert late == 34.5
    assert hours_until(math.inf, control_per_hour=1.0, treatment_per_hour=1.0) == math.inf


def test_parameters_that_are_none_are_refused():
    with pytest.raises(ValueError, match="sd must be"):
        drift_of(1.0, 0.0)
    with pytest.raises(ValueError, match="treatment_per_hour must be"):
        hours_until(1.0, control_per_hour=1.0, treatment_per_hour=0.0)
    with pytest.raises(ValueError, match="planned must be"):
        spending_monitor([1.0], spending.pocock, alpha=0.05, planned=0.0)
    with pytest.raises(ValueError, match="power must lie"):
        smallest_effect(monitor([], []), 1.0, power=1.0)
