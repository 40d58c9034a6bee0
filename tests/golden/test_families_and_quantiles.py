"""Families of hypotheses against statsmodels and R, quantiles of clusters against a bootstrap."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm

from metrics.stats.mixtures import average_log_e
from metrics.stats.multiplicity import benjamini_hochberg, closed_average, e_bh, holm
from metrics.stats.quantiles import EventSums, distribution, quantile

HERE = Path(__file__).parent
REFERENCE = json.loads((HERE / "welch_holm_bh_reference.json").read_text())
MULTIPLICITY = json.loads((HERE / "tea_tasting_methods.json").read_text())["multiplicity"]
Z_95 = 1.959963984540054


@pytest.mark.parametrize("row", REFERENCE["multiple_testing"], ids=lambda r: f"{len(r['p'])} p")
@pytest.mark.parametrize("name", ["holm", "fdr_bh"])
def test_families_of_p_values_are_those_of_statsmodels(row, name):
    if name == "holm":
        found = holm(row["p"], alpha=row["alpha"])
    else:
        found = benjamini_hochberg(row["p"], rate=row["alpha"])
    assert found.adjusted == pytest.approx(row[name]["adjusted"], abs=1e-12)
    assert found.rejected.tolist() == row[name]["reject"]


@pytest.mark.parametrize(("name", "method"), [("bh", benjamini_hochberg), ("holm_bonf", holm)])
def test_families_of_p_values_are_those_of_tea_tasting(name, method):
    rows = MULTIPLICITY[name]
    found = method([row["pvalue"] for row in rows])
    assert found.adjusted == pytest.approx([float(row["pvalue_adj"]) for row in rows], abs=1e-12)
    assert not found.rejected.any()


@pytest.mark.parametrize("row", REFERENCE["e_values"], ids=lambda r: f"{r['e'][:3]}")
def test_families_of_e_values_are_those_of_the_reference(row):
    with np.errstate(divide="ignore"):
        log_e = np.log(row["e"])
    assert e_bh(log_e, rate=row["alpha"]).tolist() == row["e_bh_reject"]
    closed = closed_average(log_e, alpha=row["alpha"]).tolist()
    assert closed == row["closed_arithmetic_mean_reject"]
    average = average_log_e(log_e, len(log_e))
    assert math.exp(average) == pytest.approx(row["global_mean_e"], rel=1e-12)
    assert row["global_reject"] == (average >= math.log(1 / row["alpha"]))
    # never weaker than comparing each with m / alpha
    alone = row["bonferroni_reject"]
    assert all(ours or not theirs for ours, theirs in zip(closed, alone, strict=True))


@pytest.fixture(scope="module")
def latencies():
    with (HERE / "quantile_clustered.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {
        arm: (
            np.array([float(r["value"]) for r in rows if r["arm"] == arm]),
            np.array([r["unit"] for r in rows if r["arm"] == arm]),
        )
        for arm in "01"
    }


def test_the_error_of_a_quantile_of_clusters_is_that_of_the_reference(latencies):
    values, units = latencies["0"]
    found = quantile(EventSums.of(values, units), 0.9, z=Z_95)
    assert found.value == np.quantile(values, 0.9, method="inverted_cdf")
    # the reference's own Woodruff inversion: 8.46; 4,000 bootstraps of whole units: 8.41
    assert found.error == pytest.approx(8.46, abs=5e-3)
    independent = quantile(EventSums.of(values, np.arange(values.size)), 0.9, z=Z_95)
    assert independent.error < 7.5


@pytest.mark.parametrize("arm", ["0", "1"])
@pytest.mark.parametrize("edge", [60.0, 120.0, 180.0])
def test_the_error_of_a_share_is_the_cluster_robust_one_of_statsmodels(latencies, arm, edge):
    values, units = latencies[arm]
    sums = EventSums.of(values, units, edges=[edge])
    assert math.isinf(sums.edges[-1])
    share, error = distribution(sums)
    below = (values <= edge).astype(float)
    codes = np.unique(units, return_inverse=True)[1]
    fit = sm.OLS(below, np.ones(below.size)).fit(
        cov_type="cluster", cov_kwds={"groups": codes, "use_correction": True}
    )
    assert share[0] == pytest.approx(fit.params[0], abs=1e-12)
    assert error[0] == pytest.approx(fit.bse[0], rel=1e-9)
