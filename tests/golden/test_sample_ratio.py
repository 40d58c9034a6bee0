"""The sequential sample-ratio test against ssrm-test and against root finding by other code."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from metrics.stats.sample_ratio import log_e_value, log_e_value_of_phases, share_interval

REFERENCE = json.loads((Path(__file__).parent / "ssrm_reference.json").read_text())


CASES = [case for case in REFERENCE["cases"] if "library" not in case["name"]]
UNIFORM = [case for case in REFERENCE["cases"] if "library" in case["name"]]
"""The library's own unit tests: their prior is a Dirichlet of ones, whatever the planned shares."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_log_evidence_and_p_values_are_those_of_ssrm(case):
    counts = np.cumsum(case["data"], axis=0)
    ours = log_e_value(counts, case["null"], concentration=case["concentration"])
    assert ours == pytest.approx(case["log_bayes_factor"], rel=1e-9, abs=1e-9)
    smallest = np.minimum.accumulate(np.minimum(1, np.exp(-ours)))
    assert smallest == pytest.approx(case["p_value"], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("case", UNIFORM, ids=lambda case: case["name"])
def test_log_evidence_is_that_of_ssrm_for_a_prior_of_ones(case):
    counts, arms = np.cumsum(case["data"], axis=0), len(case["null"])
    against_equal = log_e_value(counts, [1 / arms] * arms, concentration=arms)
    against_plan = against_equal + counts @ (np.log(1 / arms) - np.log(case["null"]))
    assert against_plan == pytest.approx(case["log_bayes_factor"], rel=1e-9, abs=1e-9)
    smallest = np.minimum.accumulate(np.minimum(1, np.exp(-against_plan)))
    assert smallest == pytest.approx(case["p_value"], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("case", REFERENCE["share_intervals"], ids=lambda case: str(case["counts"]))
def test_share_intervals_are_those_of_the_reference(case):
    ours = share_interval(
        *case["counts"], case["theta0"], alpha=case["alpha"], concentration=case["k"]
    )
    assert ours == pytest.approx(case["ci"], abs=1e-9)
    shares = (case["theta0"], 1 - case["theta0"])
    evidence = float(log_e_value(case["counts"], shares, concentration=case["k"]))
    assert evidence == pytest.approx(case["log_bf_at_null"], rel=1e-9, abs=1e-9)
    # two ways to say the same
    excluded = not ours[0] <= case["theta0"] <= ours[1]
    assert excluded == (evidence >= math.log(1 / case["alpha"]))


def test_no_units_are_no_evidence():
    assert float(log_e_value((0, 0), (0.5, 0.5))) == 0.0
    assert share_interval(0, 0, 0.5, alpha=0.05) == (0.0, 1.0)


def test_an_arm_without_units_bounds_its_share_from_above_only():
    lower, upper = share_interval(0, 500, 0.5, alpha=0.001, concentration=100)
    assert lower == 0.0
    assert 0 < upper < 0.25
    assert share_interval(500, 0, 0.5, alpha=0.001, concentration=100) == pytest.approx(
        (1 - upper, 1.0)
    )


def test_the_order_of_arms_does_not_matter():
    one = float(log_e_value((300, 200, 100), (0.5, 0.3, 0.2)))
    assert float(log_e_value((100, 300, 200), (0.2, 0.5, 0.3))) == pytest.approx(one, abs=1e-12)


def test_phases_multiply_their_evidence():
    first, second = ((480, 520), (0.5, 0.5)), ((900, 100), (0.9, 0.1))
    assert log_e_value_of_phases([first, second]) == pytest.approx(
        float(log_e_value(*first)) + float(log_e_value(*second)), abs=1e-12
    )
    assert log_e_value_of_phases([]) == 0.0


@pytest.mark.parametrize(
    ("counts", "shares", "message"),
    [
        ((1, 1), (0.5, 0.6), "sum to 1"),
        ((1, 1), (1.0, 0.0), "above 0"),
        ((1, 1, 1), (0.5, 0.5), "2 shares, but counts of shape"),
    ],
)
def test_shares_that_are_none_are_refused(counts, shares, message):
    with pytest.raises(ValueError, match=message):
        log_e_value(counts, shares)
