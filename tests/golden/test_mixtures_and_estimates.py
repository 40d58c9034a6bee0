"""Mixtures against confseq, intervals against other people's Fieller, variances against tea-tasting."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from metrics.cells import MICRO, Cell, Sums
from metrics.stats import moments
from metrics.stats.contrasts import unpooled_variance
from metrics.stats.mixtures import normal_log_mixture, normal_mixture_bound, tuned_rho
from metrics.stats.relative import fieller

HERE = Path(__file__).parent
CONFSEQ = json.loads((HERE / "confseq_reference.json").read_text())
FIELLER = json.loads((HERE / "welch_holm_bh_reference.json").read_text())
TEA_TASTING = json.loads((HERE / "tea_tasting_reference.json").read_text())


def test_mixture_boundaries_are_those_of_confseq():
    rows = CONFSEQ["normal_mixture_bound"]
    assert len(rows) == 360
    for row in rows:
        one_sided = row["one_sided"]
        rho = tuned_rho(row["v_opt"], row["alpha_opt"], one_sided=one_sided)
        ours = normal_mixture_bound(row["v"], row["alpha"], rho, one_sided=one_sided)
        assert ours == pytest.approx(row["bound"], abs=1e-6), row


def test_log_mixtures_are_those_of_confseq():
    rows = CONFSEQ["normal_log_mixture"]
    assert len(rows) == 168
    for row in rows:
        one_sided = row["one_sided"]
        rho = tuned_rho(row["v_opt"], row["alpha_opt"], one_sided=one_sided)
        ours = float(normal_log_mixture(row["s"], row["v"], rho, one_sided=one_sided))
        assert ours == pytest.approx(row["log_mixture"], abs=1e-6), row


@pytest.mark.parametrize(
    "row", FIELLER["welch_m2_minus_m1"], ids=lambda r: f"{r['m1']} to {r['m2']}"
)
def test_fieller_intervals_are_those_of_the_reference(row):
    ours = fieller(
        row["m1"],
        row["m2"],
        row["s1"] ** 2 / row["n1"],
        row["s2"] ** 2 / row["n2"],
        1.959963984540054,
    )
    if row["m1"] < 0:
        assert math.isnan(ours.effect)  # a percentage of a negative mean is not shown
        return
    expected = [end - 1 for end in row["fieller_ratio_ci95_z"]]
    assert [ours.low, ours.high] == pytest.approx(expected, abs=1e-9)
    assert ours.effect == pytest.approx(row["delta_rel_lift"]["lift"], abs=1e-12)


def exact(number):
    """Return a decimal text as 1e-6, exactly as the store would keep it."""
    return round(float(number) * MICRO)


@pytest.mark.parametrize(
    "expected", TEA_TASTING["results"], ids=lambda r: f"{r['numerator']}/{r['denominator']}"
)
def test_means_and_ratios_have_the_values_and_standard_errors_of_tea_tasting(expected):
    with (HERE / "tea_tasting_users.csv").open() as file:
        users = list(csv.DictReader(file))
    denominator = expected["denominator"]
    values, variances = [], []
    for variant in ("0", "1"):
        whole = Sums()
        for user in users:
            if user["variant"] == variant:
                x = exact(user[denominator]) if denominator else MICRO
                whole += Sums.of(exact(user[expected["numerator"]]), x)
        arm = moments.arm(
            [Cell(variant, 0, 0, whole.n, whole)],
            whole,
            cohorts=1,
            phases=1,
            ratio=denominator is not None,
        ).row(0)
        values.append(float(np.sum(arm.y) / np.sum(arm.x)))
        variances.append(float(unpooled_variance(arm)[0]))
    assert values == pytest.approx([expected["control"], expected["treatment"]], abs=1e-9)
    assert values[1] - values[0] == pytest.approx(expected["effect_size"], abs=1e-9)
    relative = fieller(*values, *variances, 1.0).effect
    assert relative == pytest.approx(expected["rel_effect_size"], abs=1e-9)
    z = (values[1] - values[0]) / math.sqrt(sum(variances))
    assert z == pytest.approx(expected["statistic"], abs=1e-6)
