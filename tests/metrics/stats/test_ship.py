import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.stats.ship import MetricEvidence, Role, ShipOutcome, planned_beta, ship

REVENUE = MetricEvidence("revenue", Role.SUCCESS, worse=0.9, better=0.001)
CLICKS = MetricEvidence("clicks", Role.SUCCESS, worse=0.5, better=0.5)
ERRORS = MetricEvidence("errors", Role.GUARDRAIL, worse=0.6, within_margin=0.01)
SPEED = MetricEvidence("speed", Role.GUARDRAIL, worse=0.6, within_margin=0.04)
VISITS = MetricEvidence("visits", Role.WATCHED, worse=0.3)
ALL = [REVENUE, CLICKS, ERRORS, SPEED, VISITS]


def changed(**changes):
    return [replace(m, **changes.get(m.name, {})) for m in ALL]


def outcome(metrics, *, trusted=True):
    return ship(metrics, trusted=trusted).outcome


def test_one_better_metric_and_all_guardrails_within_their_margins_are_shipped():
    found = ship(ALL, trusted=True)
    assert found.outcome is ShipOutcome.SHIP
    assert found.better == ("revenue",)
    assert (found.unproven, found.harmed, found.undefined) == ((), (), ())


def test_success_metrics_share_their_alpha_and_guardrails_do_not():
    assert outcome(changed(revenue={"better": 0.026})) is ShipOutcome.NOT_PROVEN
    assert outcome(changed(revenue={"better": 0.025})) is ShipOutcome.SHIP
    assert outcome(changed(speed={"within_margin": 0.05})) is ShipOutcome.SHIP
    assert outcome(changed(speed={"within_margin": 0.051})) is ShipOutcome.NOT_PROVEN


def test_harm_anywhere_stops_it_at_a_shared_alpha():
    for metric in ALL:
        assert outcome(changed(**{metric.name: {"worse": 0.009}})) is ShipOutcome.HARMED
        assert outcome(changed(**{metric.name: {"worse": 0.011}})) is ShipOutcome.SHIP


def test_distrust_stops_it_but_hides_no_harm():
    assert outcome(ALL, trusted=False) is ShipOutcome.UNTRUSTED
    assert outcome(changed(visits={"worse": 0.0}), trusted=False) is ShipOutcome.HARMED


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"speed": {"within_margin": math.nan}}, ShipOutcome.UNDEFINED, id="guardrail"),
        pytest.param({"visits": {"worse": math.nan}}, ShipOutcome.UNDEFINED, id="watched"),
        pytest.param({"revenue": {"better": math.nan}}, ShipOutcome.UNDEFINED, id="only success"),
        pytest.param({"clicks": {"better": math.nan}}, ShipOutcome.SHIP, id="another is better"),
    ],
)
def test_an_answer_that_is_missing_is_neither_a_yes_nor_a_no(change, expected):
    found = ship(changed(**change), trusted=True)
    assert found.outcome is expected
    if expected is ShipOutcome.UNDEFINED:
        assert found.undefined == tuple(change)


def test_metrics_that_are_no_decision_are_refused():
    with pytest.raises(ValueError, match="at least one success metric"):
        ship([ERRORS], trusted=True)
    with pytest.raises(ValueError, match="revenue is given twice"):
        ship([REVENUE, REVENUE], trusted=True)
    with pytest.raises(ValueError, match="p-values of speed must lie from 0 to 1"):
        ship(changed(speed={"within_margin": 1.2}), trusted=True)
    with pytest.raises(ValueError, match="alpha_worse must lie"):
        ship(ALL, alpha_worse=0.0, trusted=True)


@given(p=st.lists(st.floats(0.0, 1.0), min_size=5, max_size=5), lower=st.floats(0.0, 1.0))
def test_better_evidence_never_undoes_a_ship(p, lower):
    metrics = changed(
        revenue={"better": p[0]},
        clicks={"better": p[1]},
        errors={"within_margin": p[2]},
        speed={"within_margin": p[3]},
        visits={"worse": p[4]},
    )
    if outcome(metrics) is ShipOutcome.SHIP:
        better = [
            replace(m, better=m.better * lower, within_margin=m.within_margin * lower)
            for m in metrics
        ]
        assert outcome(better) is ShipOutcome.SHIP


def test_beta_is_divided_by_the_tests_that_must_all_pass():
    assert planned_beta(0.2, 0) == pytest.approx(0.2)
    assert planned_beta(0.2, 3) == pytest.approx(0.05)
    assert planned_beta(0.2, 3, alpha_worse=0.05, alpha_quality=0.001) == pytest.approx(0.14900 / 4)
    with pytest.raises(ValueError, match="leaves nothing for 3 guardrails"):
        planned_beta(0.05, 3, alpha_worse=0.05)
    with pytest.raises(ValueError, match="beta must lie"):
        planned_beta(0.0, 3)


def decided(z, margins, alpha=0.05):
    """Return how often metrics with these z-scores are shipped: success first, then guardrails."""
    from scipy.special import ndtr

    shipped = 0
    for row in z:
        metrics = [MetricEvidence("s", Role.SUCCESS, ndtr(row[0]), better=ndtr(-row[0]))]
        metrics += [
            MetricEvidence(f"g{i}", Role.GUARDRAIL, ndtr(x), within_margin=ndtr(-x - margin))
            for i, (x, margin) in enumerate(zip(row[1:], margins, strict=True))
        ]
        shipped += ship(metrics, alpha=alpha, trusted=True).outcome is ShipOutcome.SHIP
    return shipped / len(z)


@pytest.mark.statistical
def test_a_guardrail_beyond_its_margin_is_shipped_no_more_often_than_alpha():
    rng = np.random.default_rng(37)
    z = rng.normal(size=(4000, 4)) + np.array([9.0, 0.0, 0.0, -3.0])
    assert decided(z, [9.0, 9.0, 3.0]) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)
    useless = rng.normal(size=(4000, 4))
    assert decided(useless, [9.0] * 3) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)


@pytest.mark.statistical
def test_a_treatment_as_good_as_planned_is_shipped_with_the_power_planned():
    from scipy.special import ndtri

    rng = np.random.default_rng(41)
    each = planned_beta(0.2, 3, alpha_worse=0.05)
    reach = float(ndtri(0.95) + ndtri(1 - each))
    careless = float(ndtri(0.95) + ndtri(0.8))  # each test planned with the whole beta
    for size, enough in ((reach, True), (careless, False)):
        z = rng.normal(size=(3000, 4)) + np.array([size, 0.0, 0.0, 0.0])
        assert (decided(z, [size] * 3) >= 0.8) == enough
