"""Tests at one fixed time against scipy, statsmodels and tea-tasting."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import ndtr, stdtrit

from metrics.stats.adjustment import Joint, cuped, lin, slope
from metrics.stats.contrasts import Null, proportion_statistic, skew_corrected
from metrics.stats.detection import fixed_units
from metrics.stats.difference import welch
from metrics.stats.power_fixed import mean_power
from metrics.stats.relative import log_delta
from metrics.stats.values import Sample, Side

HERE = Path(__file__).parent
REFERENCE = json.loads((HERE / "welch_holm_bh_reference.json").read_text())
TEA_TASTING = json.loads((HERE / "tea_tasting_methods.json").read_text())
Z_95 = 1.959963984540054
COLUMNS = [
    "sessions",
    "orders",
    "revenue",
    "sessions_covariate",
    "orders_covariate",
    "revenue_covariate",
    "has_order",
]


def close(expected):
    return pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.fixture(scope="module")
def users():
    with (HERE / "tea_tasting_users.csv").open() as file:
        rows = list(csv.DictReader(file))
    variant = np.array([int(row["variant"]) for row in rows])
    table = np.array([[float(row[name]) for name in COLUMNS] for row in rows])
    return table[variant == 0], table[variant == 1]


@pytest.mark.parametrize(
    "row", REFERENCE["welch_m2_minus_m1"], ids=lambda r: f"{r['m1']} to {r['m2']}"
)
def test_welch_is_that_of_scipy(row):
    arms = [Sample(row[f"n{i}"], row[f"m{i}"], row[f"s{i}"] ** 2) for i in (1, 2)]
    for side in Side:
        found = welch(*arms, side=side)
        assert found.p_value == close(row[f"p_{side}"])
        assert found.statistic == close(row["t"])
        assert found.df == close(row["df"])
    found = welch(*arms)
    assert found.effect.estimate == close(row["diff"])
    assert [found.effect.low, found.effect.high] == close(row["ci95"])
    assert math.sqrt(sum(arm.error_squared for arm in arms)) == close(row["se"])
    relative = log_delta(row["m1"], row["m2"], arms[0].error_squared, arms[1].error_squared, Z_95)
    if row["m1"] < 0:
        assert math.isnan(relative.effect)  # a percentage of a negative mean is not shown
        return
    assert [relative.low, relative.high] == close(row["log_delta_rel_ci95_z"])


RATES = pytest.mark.parametrize(
    "row",
    REFERENCE["two_proportions_treatment_vs_control"],
    ids=lambda r: f"{r['control']} to {r['treatment']}",
)


@RATES
def test_the_statistic_of_two_rates_is_the_pooled_z_of_statsmodels_corrected_for_skewness(row):
    (y_c, n_c), (y_t, n_t) = row["control"], row["treatment"]
    arms = [tuple(np.array([float(x)]) for x in pair) for pair in ((n_t, y_t), (n_c, y_c))]
    found = proportion_statistic(*arms, Null(1.0, 0.0, 1.0))
    pooled = np.asarray(row["pooled_z"])
    assert float(found.z) == close(float(skew_corrected(pooled, found.kappa)))
    if n_t == n_c:
        assert float(found.z) == close(row["pooled_z"])
    assert float(ndtr(pooled)) == close(row["pooled_p_less"])
    assert 2 * float(ndtr(-abs(pooled))) == close(row["pooled_p_two_sided"])


@RATES
@pytest.mark.parametrize("margin", ["-0.02", "-0.05"])
def test_a_margin_inside_the_statistic_is_the_score_test_of_statsmodels(row, margin):
    # theirs fits the null by maximum likelihood, ours by the pooled rate: the same to first order
    (y_c, n_c), (y_t, n_t) = row["control"], row["treatment"]
    arms = [tuple(np.array([float(x)]) for x in pair) for pair in ((n_t, y_t), (n_c, y_c))]
    found = proportion_statistic(*arms, Null(1.0, float(margin), -1.0))
    theirs = row[f"noninferiority_score_margin_{margin}"]
    if min(y_c, y_t) < 10:  # the product decides nothing from so few events: only the side is told
        assert float(found.z) * theirs["z"] <= 0
        return
    assert float(found.z) == pytest.approx(-theirs["z"], rel=0.025)


@RATES
def test_intervals_of_two_rates_are_those_of_statsmodels(row):
    (y_c, n_c), (y_t, n_t) = row["control"], row["treatment"]
    control, treatment = y_c / n_c, y_t / n_t
    variances = [p * (1 - p) / n for p, n in ((control, n_c), (treatment, n_t))]
    relative = log_delta(control, treatment, *variances, Z_95)
    if y_c == 0:  # statsmodels divides by 0 there
        assert math.isnan(relative.effect)
    else:
        assert [1 + relative.low, 1 + relative.high] == close(row["ratio_ci95_log"])
    arms = [Sample(n, p, v * n) for n, p, v in zip((n_c, n_t), (control, treatment), variances,
                                                    strict=True)]  # fmt: skip
    # theirs has a normal quantile, ours that of t: the width of one standard error is the same
    found = welch(*arms)
    half = found.effect.high - found.effect.estimate
    error = half / float(-stdtrit(found.df, 0.025))
    wald = row["diff_ci95_wald"]
    assert found.effect.estimate == close(sum(wald) / 2)
    assert error == close((wald[1] - wald[0]) / 2 / Z_95)


METHODS = {
    "sessions_mean": ("sessions", None, None),
    "revenue_mean": ("revenue", None, None),
    "revenue_mean_cuped": ("revenue", None, ("revenue_covariate", None)),
    "orders_per_session_ratio": ("orders", "sessions", None),
    "orders_per_session_ratio_cuped": (
        "orders",
        "sessions",
        ("orders_covariate", "sessions_covariate"),
    ),
    "revenue_per_order_ratio": ("revenue", "orders", None),
}


def prepared(joint, numerator, denominator, covariate):
    pairs = [(numerator, denominator)]
    if covariate:
        pairs.append(covariate)
    if denominator is None:
        return joint.columns([COLUMNS.index(a) for a, _ in pairs])
    return joint.ratios([(COLUMNS.index(a), COLUMNS.index(b)) for a, b in pairs])


def samples(users, method):
    raw = [Joint.of(arm) for arm in users]
    c, t, total = (prepared(arm, *METHODS[method]) for arm in (*raw, raw[0] + raw[1]))
    if METHODS[method][2]:
        adjusted = cuped(c, t, total=total)
        return adjusted.control, adjusted.treatment, adjusted.slopes[0]
    arms = [Sample(a.n, float(a.mean[0]), float(a.covariance[0, 0])) for a in (c, t)]
    return *arms, None


@pytest.mark.parametrize("name", [f"{method}|{side}" for method in METHODS for side in Side])
def test_means_ratios_and_cuped_are_those_of_tea_tasting(users, name):
    method, side = name.split("|")
    expected = TEA_TASTING["results"][name]
    control, treatment, _ = samples(users, method)
    found = welch(control, treatment, side=Side(side))

    def end(key, sign):
        return sign * math.inf if expected[key] is None else expected[key]

    assert [control.mean, treatment.mean] == close([expected["control"], expected["treatment"]])
    assert found.effect.estimate == close(expected["effect_size"])
    assert found.effect.low == close(end("effect_size_ci_lower", -1))
    assert found.effect.high == close(end("effect_size_ci_upper", 1))
    assert found.relative.effect == close(expected["rel_effect_size"])
    assert found.relative.low == close(end("rel_effect_size_ci_lower", -1))
    assert found.relative.high == close(end("rel_effect_size_ci_upper", 1))
    assert found.p_value == close(expected["pvalue"])
    assert found.statistic == close(expected["statistic"])


def test_another_level_changes_the_interval_and_nothing_else(users):
    expected = TEA_TASTING["results"]["revenue_mean_90"]
    found = welch(*samples(users, "revenue_mean")[:2], alpha=0.1)
    assert found.effect.low == close(expected["effect_size_ci_lower"])
    assert found.effect.high == close(expected["effect_size_ci_upper"])
    assert found.p_value == close(expected["pvalue"])


def test_the_slope_of_a_ratio_is_that_of_tea_tasting(users):
    found = samples(users, "orders_per_session_ratio_cuped")[2]
    assert found == close([TEA_TASTING["theta_of_the_ratio"]])


def test_the_moments_are_those_of_tea_tasting(users):
    for variant, rows in enumerate(users):
        expected = TEA_TASTING["sufficient_statistics_ddof1"][str(variant)]
        joint = Joint.of(rows)
        assert joint.n == expected["n"]
        assert joint.mean == close([expected["mean"][name] for name in COLUMNS])
        assert np.diag(joint.covariance) == close([expected["var"][name] for name in COLUMNS])
        for pair, value in expected["cov"].items():
            i, j = (COLUMNS.index(name) for name in pair.split("|"))
            assert joint.covariance[i, j] == close(value), pair


def test_a_proportion_is_the_mean_of_zeros_and_ones(users):
    expected = TEA_TASTING["results"]["proportion_has_order|two-sided"]
    column = COLUMNS.index("has_order")
    arms = [tuple(np.array([x]) for x in (len(u), u[:, column].sum())) for u in users]
    found = proportion_statistic(arms[1], arms[0], Null(1.0, 0.0, 1.0))
    difference = expected["treatment"] - expected["control"]
    # theirs is corrected for continuity (Yates), ours for skewness, which is next to none here
    error = difference / float(found.z)
    step = sum(0.5 / len(u) for u in users)
    p_value = math.erfc((abs(difference) - step) / abs(error) / math.sqrt(2))
    assert p_value == pytest.approx(expected["pvalue"], abs=1e-3)
    assert difference == close(expected["effect_size"])


def test_adjustment_within_arms_is_the_regression_with_one_slope(users):
    chosen = [COLUMNS.index(n) for n in ("revenue", "revenue_covariate", "sessions_covariate")]
    c, t = (arm[:, chosen] for arm in users)
    rows, treated = np.concatenate([c, t]), np.repeat([0.0, 1.0], [len(c), len(t)])
    fit = sm.OLS(rows[:, 0], sm.add_constant(np.column_stack([treated, rows[:, 1:]]))).fit()
    found = cuped(Joint.of(c), Joint.of(t))
    assert found.effect == close(fit.params[1])
    assert found.slopes[0] == close(fit.params[2:])


def test_lins_adjustment_is_the_regression_with_all_products(users):
    chosen = [COLUMNS.index(n) for n in ("revenue", "revenue_covariate", "sessions_covariate")]
    c, t = (arm[:, chosen] for arm in users)
    rows, treated = np.concatenate([c, t]), np.repeat([0.0, 1.0], [len(c), len(t)])
    centred = rows[:, 1:] - rows[:, 1:].mean(axis=0)
    design = np.column_stack([treated, centred, centred * treated[:, None]])
    fit = sm.OLS(rows[:, 0], sm.add_constant(design)).fit()
    found = lin(Joint.of(c), Joint.of(t))
    assert found.effect == close(fit.params[1])
    assert found.slopes[1] - found.slopes[0] == close(fit.params[4:])
    for arm, sample in ((c, found.control), (t, found.treatment)):
        own = sm.OLS(arm[:, 0], sm.add_constant(arm[:, 1:])).fit()
        assert sample.variance == close(own.scale)
    # heteroscedasticity-robust, for covariates that are given: the common mean's part is ours
    robust = fit.get_robustcov_results("HC2").bse[1] ** 2
    assert found.variance - found.shared_variance == pytest.approx(robust, rel=0.02)


@pytest.fixture(scope="module")
def spreads(users):
    """Return the variance of one unit over both arms: plain, adjusted, of the ratio, both."""
    whole = Joint.of(np.concatenate(users))
    found = {}
    for name in ("revenue_mean_cuped", "orders_per_session_ratio_cuped"):
        joint = prepared(whole, *METHODS[name])
        weights = np.concatenate([[1.0], -slope(joint.covariance)])
        found[name.removesuffix("_cuped")] = joint.covariance[0, 0]
        found[name] = weights @ joint.covariance @ weights
    return found


def test_power_and_smallest_effects_are_those_of_tea_tasting_but_for_its_t_quantile(spreads):
    power = TEA_TASTING["power"]
    plain = math.sqrt(spreads["revenue_mean"])
    (row,) = power["mean_power"]
    half = row["n_obs"] / 2
    ours = mean_power(row["effect_size"], plain, half, half, alpha=0.05)
    assert ours == pytest.approx(row["power"], abs=3e-4)
    for key, sd in (
        ("mean_revenue_mde", plain),
        ("mean_revenue_cuped_mde", math.sqrt(spreads["revenue_mean_cuped"])),
    ):
        for row in power[key]:
            half = row["n_obs"] / 2
            ours = mean_power(row["effect_size"], sd, half, half, alpha=0.05)
            assert ours == pytest.approx(row["power"], abs=1e-4)


@pytest.mark.parametrize(
    ("key", "spread", "alpha"),
    [
        ("ratio_n", "orders_per_session_ratio", 0.025),
        ("ratio_cuped_n", "orders_per_session_ratio_cuped", 0.025),
        ("mean_n_less_90", "revenue_mean", 0.05),
    ],
)
def test_units_needed_are_those_of_tea_tasting_but_for_its_t_quantile(spreads, key, spread, alpha):
    (row,) = TEA_TASTING["power"][key]
    v = spreads[spread]
    ours = 2 * fixed_units(row["effect_size"], v, v, alpha=alpha, power=row["power"])
    assert 0 < row["n_obs"] - ours < 3
