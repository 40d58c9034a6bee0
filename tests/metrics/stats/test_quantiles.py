import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.stats.quantiles import EventSums, distribution, later_z, quantile

EVENTS = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from([1.0, 2.0, 3.0, 5.0, 8.0])),
    min_size=1,
    max_size=40,
)


def sums(events, edges=None):
    return EventSums.of([v for _, v in events], [u for u, _ in events], edges=edges)


@given(events=EVENTS)
def test_sums_are_those_of_counting_each_unit(events):
    found = sums(events)
    units = sorted({u for u, _ in events})
    for j, edge in enumerate(found.edges):
        n = np.array([sum(v <= edge for u, v in events if u == unit) for unit in units])
        d = np.array([sum(u == unit for u, _ in events) for unit in units])
        assert found.below[j] == n.sum()
        assert found.below_squared[j] == (n**2).sum()
        assert found.cross[j] == (n * d).sum()
    assert found.units == len(units)
    assert found.events == len(events)


@given(events=EVENTS, cut=st.integers(0, 6))
def test_sums_of_two_groups_of_units_add_up_to_those_of_all(events, cut):
    edges = [1.0, 2.0, 3.0, 5.0, 8.0]
    parts = [[e for e in events if (e[0] < cut) == side] for side in (True, False)]
    added, whole = sums(parts[0], edges) + sums(parts[1], edges), sums(events, edges)
    for name in ("units", "events", "events_squared", "below", "below_squared", "cross"):
        assert np.array_equal(getattr(added, name), getattr(whole, name)), name


@given(events=EVENTS, tau=st.sampled_from([0.1, 0.25, 0.5, 0.75, 0.9, 0.99]))
def test_a_quantile_is_that_of_the_empirical_distribution_and_lies_in_its_interval(events, tau):
    found = quantile(sums(events), tau, z=1.96)
    assert found.value == np.quantile([v for _, v in events], tau, method="inverted_cdf")
    assert found.low <= found.value <= found.high


def test_a_quantile_of_buckets_is_the_upper_end_of_its_bucket():
    rng = np.random.default_rng(1)
    values, units = rng.lognormal(size=500), np.repeat(np.arange(100), 5)
    edges = 1.02 ** np.arange(-300, 400)
    exact = quantile(EventSums.of(values, units), 0.9, z=1.96)
    coarse = quantile(EventSums.of(values, units, edges), 0.9, z=1.96)
    for fine, bucket in ((exact.value, coarse.value), (exact.low, coarse.low)):
        assert fine <= bucket <= fine * 1.0201


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([(0, 1.0), (0, 2.0), (0, 3.0)], id="one unit"),
        pytest.param([(0, 1.0), (1, 1.0), (2, 1.0)], id="all values alike"),
        pytest.param([(0, 1.0), (0, 2.0), (1, 1.0), (1, 2.0)], id="all units alike"),
    ],
)
def test_where_units_tell_no_spread_a_quantile_is_unbounded(events):
    found = quantile(sums(events), 0.5, z=1.96)
    assert math.isfinite(found.value)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert math.isnan(found.error)


def test_a_quantile_of_nothing_is_undefined():
    nothing = sums([], edges=[1.0, 2.0])
    assert np.isnan(distribution(nothing)[0]).all()
    found = quantile(nothing, 0.5, z=1.96)
    assert all(math.isnan(x) for x in (found.value, found.low, found.high, found.error))
    edge, z = later_z(nothing, nothing, 0.5)
    assert math.isnan(edge)
    assert math.isnan(z)


def test_a_high_quantile_of_few_units_is_open_above():
    events = [(u, float(u)) for u in range(20)]
    found = quantile(sums(events), 0.9, z=1.96)
    assert found.high == math.inf
    assert math.isfinite(found.low)
    assert math.isnan(found.error)


@pytest.mark.parametrize(
    ("values", "units", "edges", "message"),
    [
        ([math.nan], [1], None, "finite numbers"),
        ([math.inf], [1], None, "finite numbers"),
        ([1.0, 2.0], [1], None, "each with its unit"),
        ([1.0], [1], [2.0, 1.0], "edges must increase"),
    ],
)
def test_events_that_are_none_are_refused(values, units, edges, message):
    with pytest.raises(ValueError, match=message):
        EventSums.of(values, units, edges)


def test_sums_at_other_edges_are_not_mixed():
    one, other = sums([(0, 1.0)], [1.0]), sums([(0, 1.0)], [2.0])
    with pytest.raises(ValueError, match="freeze the edges first"):
        _ = one + other
    with pytest.raises(ValueError, match="freeze the edges first"):
        later_z(one, other, 0.5)


def clustered(rng, units, shift=0.0):
    level = rng.normal(0.0, 0.5, size=units)
    values = np.exp(shift + np.repeat(level, 5) + rng.normal(0.0, 0.7, size=units * 5))
    return values, np.repeat(np.arange(units), 5)


def test_slower_is_positive_and_swapping_arms_turns_it_around():
    rng = np.random.default_rng(2)
    edges = np.linspace(0.2, 8.0, 60)
    control = EventSums.of(*clustered(rng, 400), edges)
    slower = EventSums.of(*clustered(rng, 400, shift=0.4), edges)
    edge, z = later_z(control, slower, 0.9)
    assert 1.5 < edge < 4.5
    assert z > 3.0


@pytest.mark.statistical
def test_the_interval_of_clustered_events_covers_and_one_of_independent_events_does_not():
    rng = np.random.default_rng(3)
    truth = math.exp(1.2815515655446004 * math.hypot(0.5, 0.7))
    runs, aware, blind = 1500, 0, 0
    for _ in range(runs):
        values, units = clustered(rng, 200)
        found = quantile(EventSums.of(values, units), 0.9, z=1.96)
        aware += found.low <= truth <= found.high
        found = quantile(EventSums.of(values, np.arange(values.size)), 0.9, z=1.96)
        blind += found.low <= truth <= found.high
    assert 0.93 < aware / runs < 0.97
    assert blind / runs < 0.93


@pytest.mark.statistical
def test_comparing_shares_at_a_frozen_edge_keeps_its_level():
    rng = np.random.default_rng(4)
    edges, runs = np.array([2.0, 3.0, 4.0]), 2000
    z = [
        later_z(
            EventSums.of(*clustered(rng, 150), edges),
            EventSums.of(*clustered(rng, 150), edges),
            0.9,
        )[1]
        for _ in range(runs)
    ]
    rejected = float((np.array(z) > 1.645).mean())
    assert rejected == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / runs))
