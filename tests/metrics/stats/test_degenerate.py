"""What every public function says where data cannot answer: nan or an outcome, never 0 or 1.

Parameters that make no sense are the caller's mistake and are refused in words.
"""

import ast
import math
from pathlib import Path

import numpy as np
import pytest

from metrics.catalogue import Kind
from metrics.cells import MICRO, Cell, Sums
from metrics.stats import (
    adjustment,
    bayes,
    beta_binomial,
    comparison,
    confidence,
    contrasts,
    designs,
    detection,
    difference,
    group_sequential,
    mixtures,
    moments,
    multiplicity,
    one_sample,
    power,
    power_fixed,
    quantiles,
    relative,
    sample_ratio,
    segments,
    ship,
    spending,
    values,
)

NAN, INF = math.nan, math.inf
ONE = values.Sample(1.0, 4.0, NAN)
CONSTANT = values.Sample(50.0, 4.0, 0.0)
USUAL = values.Sample(50.0, 4.0, 1.0)
EMPTY = adjustment.Joint.of(np.zeros((0, 2)))
ALONE = adjustment.Joint.of([[1.0, 2.0]])
MANY = adjustment.Joint.of(np.arange(18.0).reshape(9, 2) ** 2)
NO_EVENTS = quantiles.EventSums.of([], [], edges=[1.0, 2.0])
EVENTS = quantiles.EventSums.of([1.0, 2.0] * 20, range(40), edges=[1.0, 2.0])
MONITOR = power.monitor([1.0, 2.0], [0.01, 0.02])
NOBODY = [Cell("a", 0, 0, 0, Sums())]
NULL = contrasts.Null(1.0, 0.0, 1.0)
NO_ARM = moments.arm([], Sums(), cohorts=1, phases=1, ratio=True)
ZERO = (np.array([0.0]), np.array([0.0]))


def flat(found):
    """Return every number of an answer, whatever it is made of."""
    if isinstance(found, (float, int, np.ndarray)):
        return [float(x) for x in np.ravel(found)]
    if isinstance(found, (tuple, list)):
        return [x for part in found for x in flat(part)]
    names = getattr(found, "__slots__", ())
    return [x for name in names for x in flat(getattr(found, name))]


def mixture(s, v):
    return mixtures.normal_log_mixture(s, v, 10.0, one_sided=True)


UNDEFINED = {
    "adjustment.cuped": [lambda: adjustment.cuped(MANY, ALONE).variance,
                         lambda: adjustment.cuped(EMPTY, MANY).effect],
    "adjustment.lin": [lambda: adjustment.lin(MANY, ALONE).effect,
                       lambda: adjustment.lin(EMPTY, EMPTY).variance],
    "adjustment.slope": [lambda: adjustment.slope(ALONE.covariance)],
    "bayes.normal_posterior": [lambda: bayes.normal_posterior(NAN, 1.0, prior_sd=1.0),
                               lambda: bayes.normal_posterior(1.0, 0.0, prior_sd=1.0),
                               lambda: bayes.normal_posterior(INF, 1.0, prior_sd=1.0),
                               lambda: bayes.normal_posterior(1.0, -1.0, prior_sd=1.0)],
    "bayes.log_bayes_factor": [lambda: bayes.log_bayes_factor(1.0, 0.0, prior_sd=1.0),
                               lambda: bayes.log_bayes_factor(NAN, 1.0, prior_sd=1.0)],
    "beta_binomial.log_e": [lambda: beta_binomial.log_e(3, 2, 0.1, 5.0),
                            lambda: beta_binomial.log_e(-1, 2, 0.1, 5.0),
                            lambda: beta_binomial.log_e(NAN, 2, 0.1, 5.0),
                            lambda: beta_binomial.log_e(1, INF, 0.1, 5.0)],
    "beta_binomial.score_bound": [
        lambda: beta_binomial.score_bound(0, 0.1, 0.05, 5.0, one_sided=True)],
    "beta_binomial.rate_sequence": [
        lambda: beta_binomial.rate_sequence(3, 2, alpha=0.05, trials_opt=9)],
    "beta_binomial.catastrophe_log_e": [
        lambda: beta_binomial.catastrophe_log_e(-1, 2, 0.5, alpha=0.05),
        lambda: beta_binomial.catastrophe_log_e(NAN, 2, 0.5, alpha=0.05)],
    "beta_binomial.catastrophe_log_e_of_phases": [
        lambda: beta_binomial.catastrophe_log_e_of_phases([(1, 1, 0.5), (-1, 1, 0.5)], alpha=0.05)],
    "comparison.compare": [
        lambda k=kind: comparison.compare(NOBODY, NOBODY, kind=k, null=NULL, rows=1).statistic.z
        for kind in Kind],
    "comparison.compare_all": [
        lambda: [
            found.statistic.z
            for found in comparison.compare_all(
                [comparison.Pair(NOBODY, NOBODY, kind, NULL, 1) for kind in Kind])]],
    "confidence.confidence_sequence": [
        lambda e=e: flat(confidence.confidence_sequence(1.0, e, 9.0, alpha=0.05, rho=5.0))[1:]
        for e in (0.0, NAN, INF, -1.0)],
    "confidence.log_e_value": [lambda: confidence.log_e_value(NAN, 9.0, rho=5.0),
                               lambda: confidence.log_e_value(INF, 0.0, rho=5.0),
                               lambda: confidence.log_e_value(1.0, INF, rho=5.0)],
    "confidence.always_valid_p": [lambda: confidence.always_valid_p([NAN, NAN])],
    "contrasts.skew_corrected": [lambda: contrasts.skew_corrected(np.array(NAN), np.array(0.1))],
    "contrasts.proportion_statistic": [
        lambda: contrasts.proportion_statistic(ZERO, ZERO, NULL).z,
        lambda: contrasts.proportion_statistic(ZERO, ZERO, NULL).kappa],
    "contrasts.linear_statistic": [lambda: contrasts.linear_statistic(NO_ARM, NO_ARM, NULL).z],
    "contrasts.linearised_spread": [lambda: contrasts.linearised_spread(NO_ARM)],
    "detection.detection": [lambda c=c: detection.detection(MONITOR, c, 1.0)
                            for c in (NAN, INF, -INF)],
    "detection.smallest_effect": [lambda: detection.smallest_effect(MONITOR, 1.0, power=0.001)],
    "detection.fixed_units": [
        lambda a=a: detection.fixed_units(*a, alpha=0.05, power=0.8)
        for a in ((1, 0, 0), (NAN, 1, 1), (INF, 1, 1), (1, -1, 3), (1, INF, 1))],
    "detection.floor_units": [
        lambda a=a: detection.floor_units(*a, alpha=0.05)
        for a in ((1, 0, 0), (NAN, 1, 1), (INF, 1, 1), (1, -1, 3), (1, INF, 1))],
    "difference.welch": [
        lambda p=p: difference.welch(*p).p_value
        for p in ((ONE, USUAL), (CONSTANT, CONSTANT), (values.Sample(50.0, INF, 1.0), USUAL),
                  (values.Sample(0.0, NAN, NAN), USUAL), (values.Sample(9.0, 4.0, -1.0), USUAL))],
    "group_sequential.exit_probabilities": [
        lambda: group_sequential.exit_probabilities([], []).expected_information([])],
    "mixtures.normal_log_mixture": [lambda: mixture(NAN, 5.0), lambda: mixture(1.0, -1.0),
                                    lambda: mixture(1.0, INF), lambda: mixture(1.0, NAN)],
    "mixtures.normal_mixture_bound": [
        lambda v=v: mixtures.normal_mixture_bound(v, 0.05, 10.0, one_sided=True)
        for v in (-1.0, NAN, INF)],
    "mixtures.z_bound": [lambda: mixtures.z_bound(NAN, 0.05, 10.0)],
    "mixtures.average_log_e": [lambda: mixtures.average_log_e([NAN, 1.0], 3)],
    "multiplicity.holm": [lambda: multiplicity.holm([NAN]).adjusted],
    "multiplicity.benjamini_hochberg": [lambda: multiplicity.benjamini_hochberg([NAN]).adjusted],
    "one_sample.rate_log_e": [lambda a=a: one_sample.rate_log_e(*a, 0.1, 0.05)
                              for a in ((3, 2), (-1, 2), (NAN, 2), (0, -1))],
    "one_sample.rate_bound": [lambda a=a: one_sample.rate_bound(*a, 0.05)
                              for a in ((3, 2), (-1, 2), (NAN, 2), (0, -1))],
    "one_sample.rate_evidence": [
        lambda: one_sample.rate_evidence(Sums(), 0.1, 1.0, 0.05).bound,
        lambda: one_sample.rate_evidence(Sums(1, 2 * MICRO, MICRO), 0.1, 1.0, 0.05).bound],
    "one_sample.mean_evidence": [
        lambda: one_sample.mean_evidence(
            Sums(), 1.0, 1.0, 0.05, ratio=False, min_units=100, max_skewness=0.3, max_cv=0.05
        ).bound],
    "power_fixed.mean_power": [
        lambda a=a: power_fixed.mean_power(*a, alpha=0.05)
        for a in ((1, 0, 9, 9), (1, 1, 1, 9), (NAN, 1, 9, 9), (1, 1, INF, 9), (1, 1, NAN, 9))],
    "power_fixed.rate_power": [
        lambda a=a: power_fixed.rate_power(*a, alpha=0.05)
        for a in ((0, 0, 9, 9), (0, 1, 9, 9), (0.5, 0.9, 9, 9), (0.1, -0.1, 9, 9), (0.1, 0.1, 1, 9),
                  (NAN, 0.1, 9, 9), (0.1, 0.1, INF, 9))],
    "quantiles.quantile": [lambda: quantiles.quantile(NO_EVENTS, 0.5, z=2.0)],
    "quantiles.distribution": [lambda: quantiles.distribution(NO_EVENTS)],
    "quantiles.later_z": [lambda: quantiles.later_z(NO_EVENTS, EVENTS, 0.5),
                          lambda: quantiles.later_z(EVENTS, NO_EVENTS, 0.5)[1]],
    "relative.fieller": [
        lambda a=a: relative.fieller(*a, 1.0, 1.0, 2.0)
        for a in ((0.0, 1.0), (-1.0, 1.0), (NAN, 1.0), (INF, 1.0), (1.0, NAN), (1.0, INF))
    ] + [lambda: flat(relative.fieller(4.0, 4.0, NAN, 1.0, 2.0))[1:],
         lambda: flat(relative.fieller(4.0, 4.0, 1.0, -1.0, 2.0))[1:]],
    "relative.log_delta": [
        lambda a=a: relative.log_delta(*a, 1.0, 1.0, 2.0)
        for a in ((0.0, 1.0), (-1.0, 1.0), (NAN, 1.0), (INF, 1.0), (1.0, NAN), (1.0, INF))
    ] + [lambda: flat(relative.log_delta(4.0, 0.0, 1.0, 1.0, 2.0))[1:],
         lambda: flat(relative.log_delta(4.0, 4.0, 1.0, -1.0, 2.0))[1:]],
    "sample_ratio.log_e_value": [lambda n=n: sample_ratio.log_e_value(n, (0.5, 0.5))
                                 for n in ((-1, 3), (NAN, 3), (INF, 3))],
    "sample_ratio.log_e_value_of_phases": [
        lambda: sample_ratio.log_e_value_of_phases([((-1, 3), (0.5, 0.5))])],
    "sample_ratio.share_interval": [
        lambda: sample_ratio.share_interval(-1, 5, 0.5, alpha=0.05)],
    "segments.scan": [
        lambda: flat(segments.scan([segments.Segment("k", "d", "a", ONE, USUAL)])[0].z)],
    "segments.variance_between": [lambda: segments.variance_between([1.0], [1.0]),
                                  lambda: segments.variance_between([1.0, NAN], [1.0, 1.0])],
    "segments.shrink": [lambda: segments.shrink([NAN, INF], [1.0, 1.0]),
                        lambda: segments.shrink([1.0], [0.0])],
    **{
        f"spending.{name}": [
            lambda c=c, p=p: c(NAN, 0.05, **p)
        ]
        for name, c in spending.CURVES.items()
        for p in [{"reserve": {"tau": 0.1}, "log_time": {"tau": 0.1}, "kim_demets": {"power": 1.0},
                   "hwang_shih_decani": {"gamma": 1.0}}.get(name, {})]
    },
    "spending.two_sided": [lambda: spending.two_sided(spending.pocock, NAN, 0.05)],
}  # fmt: skip

OUTCOMES = {
    "beta_binomial.tuned_concentration": "refuses what is no level",
    "confidence.radius": "infinite without information",
    "contrasts.about": "sums are 0 of nobody",
    "contrasts.denominator_cv": "infinite without units",
    "contrasts.unpooled_variance": "0 of constants, for display",
    "designs.drift_for_power": "refuses",
    "designs.futility_design": "refuses",
    "designs.haybittle_peto_last": "refuses",
    "designs.inflation": "refuses",
    "designs.obrien_fleming_constant": "refuses",
    "designs.pocock_constant": "refuses",
    "designs.wang_tsiatis_constant": "refuses",
    "detection.drift_of": "refuses",
    "detection.found_with": "infinite where never",
    "detection.hours_until": "refuses",
    "detection.spending_monitor": "refuses",
    "group_sequential.advance": "refuses",
    "group_sequential.boundaries": "none of no looks",
    "group_sequential.look": "infinite where nothing is left",
    "group_sequential.solve_boundary": "infinite where nothing is left",
    "group_sequential.spacing_for": "a grid, no answer",
    "mixtures.tuned_rho": "refuses",
    "moments.arm": "sums are 0 of nobody",
    "moments.arms": "sums are 0 of nobody",
    "moments.counts": "sums are 0 of nobody",
    "moments.total": "sums are 0 of nobody",
    "multiplicity.closed_average": "rejects nothing",
    "multiplicity.e_bh": "rejects nothing",
    "one_sample.units_until_seen": "about a plan",
    "power.monitor": "refuses",
    "power.monitor_of": "refuses",
    "power.root": "refuses",
    "power_fixed.smallest_change": "None",
    "power_fixed.units_needed": "None",
    "ship.planned_beta": "refuses",
    "ship.ship": "an outcome",
    "values.check_level": "refuses",
    "values.check_positive": "refuses",
}
"""Functions without a nan to give, and what they say instead."""


def test_every_public_function_is_tried():
    folder = Path(mixtures.__file__).parent
    public = {
        f"{path.stem}.{node.name}"
        for path in folder.glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name[0] != "_"
    }
    assert public == set(UNDEFINED) | set(OUTCOMES)
    assert not set(UNDEFINED) & set(OUTCOMES)


@pytest.mark.parametrize(
    ("name", "index"),
    [(name, index) for name, calls in UNDEFINED.items() for index in range(len(calls))],
)
def test_what_is_undefined_is_nan_and_never_0_or_1(name, index):
    numbers = flat(UNDEFINED[name][index]())
    assert numbers
    assert all(math.isnan(x) for x in numbers), numbers


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mixtures.tuned_rho(0.0, 0.05, one_sided=True), "v_opt must be"),
        (lambda: mixtures.tuned_rho(9.0, 1.0, one_sided=False), "alpha must lie"),
        (lambda: mixtures.normal_mixture_bound(9.0, 2.0, 1.0, one_sided=True), "alpha must lie"),
        (lambda: mixtures.normal_mixture_bound(9.0, 0.05, 0.0, one_sided=True), "rho must be"),
        (lambda: mixtures.normal_log_mixture(1.0, 1.0, -1.0, one_sided=True), "rho must be"),
        (lambda: mixtures.z_bound(9.0, 0.0, 1.0), "alpha must lie"),
        (lambda: mixtures.average_log_e([1.0, 2.0], 1), "plan them all"),
        (lambda: mixtures.average_log_e([], 0), "plan them all"),
        (lambda: beta_binomial.tuned_concentration(9.0, 0.0, one_sided=True), "alpha must lie"),
        (lambda: beta_binomial.catastrophe_log_e(1, 1, 1.0, alpha=0.05), "share must lie"),
        (lambda: one_sample.rate_log_e(1, 2, 0.0, 0.05), "limit must lie"),
        (lambda: one_sample.rate_bound(1, 2, 0.0), "alpha must lie"),
        (lambda: sample_ratio.log_e_value((1, 1), (NAN, 0.5)), "sum to 1"),
        (lambda: sample_ratio.log_e_value((1, 1), (0.5, 0.5), concentration=0.0), "concentration"),
        (lambda: sample_ratio.share_interval(1, 1, 0.5, alpha=0.0), "alpha must lie"),
        (lambda: sample_ratio.share_interval(1, 1, 1.0, alpha=0.05), "share must lie"),
        (lambda: spending.log_time(0.5, 0.05, tau=0.0), "tau must be"),
        (lambda: spending.reserve(0.5, 0.05, tau=0.1, kept=2.0), "kept must lie"),
        (lambda: spending.horizon_free(0.5, 0.05, h=0.0), "h must be"),
        (lambda: spending.kim_demets(0.5, 0.05, power=-1.0), "power must be"),
        (lambda: spending.hwang_shih_decani(0.5, 0.05, gamma=NAN), "gamma must be"),
        (lambda: group_sequential.boundaries([1.0, INF], [0.01, 0.02]), "keep it finite"),
        (lambda: group_sequential.boundaries([1.0, NAN], [0.01, 0.02]), "must grow"),
        (lambda: group_sequential.boundaries([1.0], [NAN]), "alpha spent must lie"),
        (lambda: group_sequential.boundaries([1.0], [2.0]), "alpha spent must lie"),
        (lambda: group_sequential.exit_probabilities([1.0], [NAN]), "boundaries must be"),
        (lambda: group_sequential.exit_probabilities([1.0], [2.0], drift=INF), "drift finite"),
        (lambda: designs.pocock_constant(0, 0.05), "1 look or more"),
        (lambda: designs.pocock_constant(2, 0.0), "alpha must lie"),
        (lambda: designs.haybittle_peto_last(0, 0.05, 3.0), "1 look or more"),
        (lambda: designs.drift_for_power([1.0], [2.0], None, 1.0), "power must lie"),
        (lambda: detection.drift_of(1.0, 0.0), "sd must be"),
        (lambda: detection.hours_until(9.0, control_per_hour=0.0, treatment_per_hour=1.0),
         "control_per_hour"),
        (lambda: segments.shrink([1.0, 2.0], [1.0]), "each effect its variance"),
        (lambda: segments.variance_between([1.0, 2.0], [1.0]), "each effect its variance"),
        (lambda: power_fixed.mean_power(1.0, 1.0, 9, 9, alpha=0.0), "alpha must lie"),
        (lambda: power_fixed.rate_power(0.1, 0.1, 9, 9, alpha=1.0), "alpha must lie"),
    ],
)  # fmt: skip
def test_parameters_that_make_no_sense_are_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_where_there_is_no_nan_to_give_there_is_an_outcome():
    assert confidence.radius(0.0, alpha=0.05, rho=5.0) == INF
    assert mixtures.z_bound(0.0, 0.05, 5.0) == INF
    assert group_sequential.boundaries([], []) == ()
    assert group_sequential.look(group_sequential.Progress(), 1.0, 0.0)[0] == INF
    assert not multiplicity.e_bh([NAN, -INF]).any()
    assert not multiplicity.closed_average([NAN, -INF]).any()
    assert power_fixed.smallest_change(lambda *_: 0.1, 9, 9, wanted=0.8, most=1.0) is None
    nobody = power_fixed.units_needed(lambda *_: 0.9, 1.0, control=0.0, treatment=1.0, wanted=0.8)
    assert nobody is None
    metric = ship.MetricEvidence("m", ship.Role.SUCCESS, worse=NAN, better=NAN)
    assert ship.ship([metric], trusted=True).outcome is ship.ShipOutcome.UNDEFINED
    unknown = segments.scan([segments.Segment("k", "d", "a", ONE, USUAL)])[0]
    assert unknown.outcome is segments.SegmentOutcome.NOT_ENOUGH_DATA
    assert detection.detection(power.monitor([], []), 1.0, 1.0).median == INF


def test_at_infinite_information_a_curve_has_spent_what_it_may():
    assert spending.reserve(INF, 0.05, tau=0.1) == 0.05
    assert spending.horizon_free(INF, 0.05) == 0.05
    assert spending.log_time(INF, 0.05, tau=0.1) == pytest.approx(0.05)


def test_a_level_too_high_to_tune_for_is_tuned_as_the_highest_that_can_be():
    highest = mixtures.tuned_rho(100.0, 0.4, one_sided=True)
    assert mixtures.tuned_rho(100.0, 0.9, one_sided=True) == highest
    assert highest > 0
    assert mixtures.tuned_rho(100.0, 0.9, one_sided=True, exact=True) > 0


def test_a_probability_is_never_above_one():
    certain = detection.detection(MONITOR, 100.0, 1.0)
    assert certain.power <= 1.0
