"""What the comparison of a guardrail says where data are strange: a statistic, or none at all."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from metrics.catalogue import Kind
from metrics.cells import MICRO, Cell, Sums
from metrics.events import EventLimits, Rejection, parse_event, scaled
from metrics.stats.adjustment import Joint
from metrics.stats.beta_binomial import catastrophe_log_e
from metrics.stats.comparison import compare
from metrics.stats.contrasts import Null
from metrics.stats.quantiles import EventSums
from metrics.stats.relative import fieller

RISE = Null(1.0, 0.0, 1.0)


def cell(values, denominators=None):
    whole = Sums()
    for index, y in enumerate(values):
        x = MICRO if denominators is None else round(denominators[index] * MICRO)
        whole += Sums.of(round(y * MICRO), x)
    return [Cell("a", 0, 0, whole.n, whole)]


def rate(units, events):
    s = Sums(units, events * MICRO, units * MICRO)
    return [Cell("a", 0, 0, units, s)]


def compared(control, treatment, kind, null=RISE):
    found = compare(control, treatment, kind=kind, null=null, rows=1)
    return float(found.statistic.z[0]), bool(found.gate[0]), found.estimate


def test_zero_variance_everywhere_is_no_statistic_and_no_decision():
    z, usable, estimate = compared(cell([4.0] * 500), cell([4.5] * 500), Kind.MEAN)
    # between two constants the pooled variance is their difference's: the harm is its own spread
    assert math.isfinite(z)
    assert estimate.treatment == 4.5
    z, usable, estimate = compared(cell([4.0] * 500), cell([4.0] * 500), Kind.MEAN)
    assert math.isnan(z)
    assert not usable
    assert estimate.control == 4.0


def test_zero_variance_in_one_arm_is_no_obstacle():
    z, usable, _ = compared(cell([0.0, 1.0] * 500), cell([1.0] * 1000), Kind.MEAN)
    assert usable
    assert z > 10


def test_no_events_anywhere_decide_nothing():
    z, usable, estimate = compared(rate(5000, 0), rate(5000, 0), Kind.PROPORTION)
    assert math.isnan(z)
    assert not usable
    assert (estimate.control, estimate.treatment) == (0.0, 0.0)
    assert estimate.var_control > 0  # no event is no certainty


@pytest.mark.parametrize("units", [(5000, 5000), (19_000, 1000)])
def test_a_total_outage_and_its_mirror_image_fire(units):
    control, treatment = units
    seen = compared(
        rate(control, control * 12 // 100),
        rate(treatment, 0),
        Kind.PROPORTION,
        Null(1.0, 0.0, -1.0),
    )
    assert seen[1]
    assert seen[0] > 5
    back = compared(rate(control, control * 88 // 100), rate(treatment, treatment), Kind.PROPORTION)
    assert back[1]
    assert back[0] > 5


def test_failures_where_there_were_none_fire_at_once_in_equal_arms_and_later_in_a_canary():
    broken = compared(rate(5000, 0), rate(5000, 600), Kind.PROPORTION)
    assert broken[1]
    assert broken[0] > 20
    # a canary's pooled rate is as rare as its arm is small: skewness holds the decision back,
    # where the exact evidence of the events alone needs only the first of them
    early = compared(rate(19_000, 0), rate(1000, 120), Kind.PROPORTION)
    assert not early[1]
    assert catastrophe_log_e(12, 0, 0.05, alpha=0.05) > math.log(1e9)
    later = compared(rate(38_000, 0), rate(2000, 240), Kind.PROPORTION)
    assert later[1]
    assert later[0] > 5


def test_one_unit_decides_nothing():
    z, usable, _ = compared(rate(1, 0), rate(1, 1), Kind.PROPORTION)
    assert math.isfinite(z)
    assert not usable
    z, usable, _ = compared(cell([3.0]), cell([9.0]), Kind.MEAN)
    assert not usable


@pytest.mark.parametrize("kind", Kind)
def test_an_empty_arm_has_no_statistic_and_no_estimate(kind):
    some = rate(1000, 100) if kind is Kind.PROPORTION else cell([1.0, 2.0] * 500, [1.0] * 1000)
    empty = [Cell("a", 0, 0, 0, Sums())]
    for pair in ((some, empty), (empty, some), (empty, empty)):
        z, usable, estimate = compared(*pair, kind)
        assert math.isnan(z)
        assert not usable
        assert estimate is None


def test_a_negative_control_mean_has_a_statistic_and_no_percentage():
    rng = np.random.default_rng(1)
    control, treatment = rng.normal(-5, 1, 2000).round(3), rng.normal(-4, 1, 2000).round(3)
    z, usable, e = compared(cell(control), cell(treatment), Kind.MEAN)
    assert usable
    assert z > 20
    relative = fieller(e.control, e.treatment, e.var_control, e.var_treatment, 1.96)
    assert math.isnan(relative.effect)


def test_a_ratio_without_denominators_is_undefined():
    zero = [Cell("a", 0, 0, 0, Sums())]  # units without a denominator never enter the sums
    some = cell([1.0, 2.0] * 500, [1.0, 3.0] * 500)
    z, usable, estimate = compared(zero, some, Kind.RATIO)
    assert math.isnan(z)
    assert not usable
    assert estimate is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_infinity_and_nan_are_refused_at_the_door_of_events_and_of_every_table(value):
    assert scaled(value) is None  # what the reader of events rejects an event by
    event = {
        "id": "e1",
        "name": "satisfaction_rated",
        "happened_at": "2026-03-02T11:00:00Z",
        "units": {"order_id": "o1"},
        "fields": {"score": value},
    }
    at = datetime(2026, 3, 2, 12, tzinfo=UTC)
    read = parse_event(event, index=0, now=at, limits=EventLimits(), trusted=True)
    assert isinstance(read, Rejection)
    assert read.code == "out_of_range"
    with pytest.raises(ValueError, match="finite numbers"):
        Joint.of([[1.0, value], [2.0, 3.0]])
    with pytest.raises(ValueError, match="finite numbers"):
        EventSums.of([1.0, value], ["u1", "u2"])


def test_a_canary_of_one_in_a_thousand_waits_for_its_units():
    z, usable, _ = compared(rate(99_900, 9_990), rate(99, 30), Kind.PROPORTION)
    assert z > 3
    assert not usable  # fewer than 100 units in the canary
    z, usable, _ = compared(rate(999_000, 99_900), rate(1000, 300), Kind.PROPORTION)
    assert usable
    assert z > 5
