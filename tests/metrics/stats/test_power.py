"""Power of sequential monitors and of the fixed test, against published numbers and theory."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from metrics.stats import designs, spending
from metrics.stats.group_sequential import exit_probabilities
from metrics.stats.power import monitor, monitor_of
from metrics.stats.power_fixed import mean_power, rate_power, smallest_change, units_needed

GOLDEN = json.loads(
    (Path(__file__).parents[2] / "golden" / "gst_bounds.json").read_text(encoding="utf-8")
)
ONE_SIDED = [record for record in GOLDEN["power"] if not record["two_sided"]]


@pytest.mark.parametrize("record", ONE_SIDED, ids=lambda r: r["name"])
def test_power_and_stopping_law_are_those_of_the_reference(record):
    found = monitor_of(record["info"], record["z"])
    by_look = found.found_by(record["drift_at_full_info"] / math.sqrt(record["info"][-1]))
    assert by_look[-1] == pytest.approx(record["power"], abs=1e-5)
    assert np.diff(by_look, prepend=0.0) == pytest.approx(record["exit_prob"], abs=1e-5)


def test_the_reference_has_one_sided_designs():
    assert len(ONE_SIDED) >= 1


def test_one_recursion_under_no_drift_knows_every_drift():
    information = [50 * 1.1**k for k in range(40)]
    horizon = information[-1]
    tau = 50 / horizon
    found = monitor(
        information, [spending.reserve(i / horizon, 0.05, tau=tau) for i in information]
    )
    for drift in (-0.05, 0.0, 0.05, 0.1):
        exits = exit_probabilities(information, found.boundary.tolist(), drift=drift)
        assert found.found_by(drift) == pytest.approx(np.cumsum(exits.upper), abs=3e-4)
    assert found.power(0.0) == pytest.approx(spending.reserve(1.0, 0.05, tau=tau), abs=1e-5)


@pytest.mark.parametrize("power", [0.5, 0.8, 0.9])
def test_the_drift_found_with_some_power_is_found_with_that_power(power):
    information = [(k + 1) / 5 for k in range(5)]
    found = monitor(information, [spending.obrien_fleming(i, 0.025) for i in information])
    drift = found.drift_for(power)
    assert found.power(drift) == pytest.approx(power, abs=1e-9)
    assert drift == pytest.approx(
        designs.drift_for_power(information, found.boundary.tolist(), None, power), abs=1e-4
    )


def test_the_inflation_of_four_pocock_looks_is_the_printed_one():
    # Jennison & Turnbull (2000), table 2.2: R_P(4, .05, .9) = 1.183
    information = [0.25, 0.5, 0.75, 1.0]
    constant = designs.pocock_constant(4, 0.05)
    drift = monitor_of(information, [constant] * 4).drift_for(0.9)
    assert drift**2 / (1.959964 + 1.281552) ** 2 == pytest.approx(1.183, abs=1e-3)


def test_a_monitor_without_looks_finds_nothing():
    nothing = monitor([], [])
    assert nothing.power(1.0) == 0.0
    assert nothing.drift_for(0.8) == math.inf
    assert nothing.found_by(1.0).size == 0


def test_what_is_found_anyway_needs_no_drift():
    assert math.isnan(monitor([1.0], [0.9]).drift_for(0.5))


def test_fixed_power_is_that_of_the_textbook():
    # 2 x 17 units find one standard deviation with 83% at a two-sided 5% (normal approximation)
    assert mean_power(1.0, 1.0, 17, 17, alpha=0.05) == pytest.approx(0.8302, abs=1e-3)
    # Fleiss: .80 against .76, 1,447 an arm for 80% power without continuity correction
    needed = units_needed(
        lambda d, c, t: rate_power(d, 0.8, c, t, alpha=0.05),
        -0.04,
        control=0.5,
        treatment=0.5,
        wanted=0.8,
    )
    assert needed / 2 == pytest.approx(1680, rel=0.01)


def test_the_smallest_change_is_found_with_the_power_wanted():
    def power(change, control, treatment):
        return rate_power(change, 0.2, control, treatment, alpha=0.05)

    change = smallest_change(power, 2000, 1000, wanted=0.8, most=0.8)
    assert power(change, 2000, 1000) == pytest.approx(0.8, abs=1e-6)
    assert smallest_change(power, 10, 10, wanted=0.8, most=0.001) is None
    assert smallest_change(power, 1, 1000, wanted=0.8, most=0.5) is None


def test_power_is_unknown_where_it_means_nothing():
    assert math.isnan(rate_power(0.9, 0.2, 100, 100, alpha=0.05))
    assert math.isnan(mean_power(1.0, 0.0, 100, 100, alpha=0.05))
    assert units_needed(lambda *_: 0.0, 1.0, control=0.5, treatment=0.5, wanted=0.8) is None
