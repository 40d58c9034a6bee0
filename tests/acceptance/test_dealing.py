"""A million ids: nobody is moved, layers share nobody, shares are as planned, errors are found."""

import pytest

from tests.dealing import (
    ids_of,
    moved_by_traffic,
    shared_in_a_layer,
    units_until_the_alarm,
    worst_share,
)

pytestmark = pytest.mark.acceptance

COUNT = 1_000_000
KEYS = [f"flag-{number}" for number in range(20)]


@pytest.fixture(scope="module", params=["counted", "random"])
def ids(request):
    return ids_of(request.param, COUNT)


def test_raising_traffic_moves_nobody_of_a_million(ids, record_property):
    for weights in ([0.5, 0.5], [0.6, 0.3, 0.1]):
        moved = moved_by_traffic(ids, weights)
        record_property(f"weights {weights}: units moved", moved)
        assert moved == 0


def test_experiments_of_a_layer_share_nobody_of_a_million(ids, record_property):
    shared, moved, reached = shared_in_a_layer(ids)
    record_property("units in two experiments", shared)
    record_property("exposed units moved by growth", moved)
    assert (shared, moved) == (0, 0)
    assert reached == 1.0


def test_shares_of_a_million_are_within_binomial_limits(ids, record_property):
    # the largest of up to 160 deviations: beyond 4.9 once in 6,500 runs
    for weights in ([0.5, 0.5], [0.6, 0.3, 0.1], [0.3333, 0.3333, 0.3334]):
        for traffic in (1.0, 0.37):
            worst = worst_share(ids, weights, traffic=traffic, keys=KEYS)
            record_property(
                f"{weights} at {traffic:.0%}: largest, in standard errors", f"{worst:.2f}"
            )
            assert worst < 4.9


@pytest.mark.parametrize(
    ("real", "planned", "found"),
    [
        pytest.param([0.51, 0.49], [0.5, 0.5], True, id="a point too many"),
        pytest.param([0.505, 0.495], [0.5, 0.5], True, id="1% too many"),
        pytest.param([0.11, 0.89], [0.1, 0.9], True, id="a point of 10% too many"),
        pytest.param([0.5, 0.5], [0.5, 0.5], False, id="as planned"),
        pytest.param([0.1, 0.9], [0.1, 0.9], False, id="10% as planned"),
    ],
)
def test_an_error_of_a_share_is_found_within_a_million(real, planned, found, record_property):
    ids = ids_of("random", COUNT)
    after = [units_until_the_alarm(ids, real=real, planned=planned, key=key) for key in KEYS]
    alarms = sorted(units for units in after if units is not None)
    what = f"dealt {real[0]:.1%}, planned {planned[0]:.0%}"
    record_property(f"{what}: alarms of {len(KEYS)} experiments", len(alarms))
    if found:
        record_property(f"{what}: units until half had alarmed", alarms[len(alarms) // 2])
        record_property(f"{what}: units until all had alarmed", alarms[-1])
    assert len(alarms) == (len(KEYS) if found else 0)
