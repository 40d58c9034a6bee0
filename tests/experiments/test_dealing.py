"""Units stay in their arms, layers share nobody, shares are as planned: 100,000 ids of each kind."""

import pytest

from experiments import layers
from experiments.layers import allocate
from tests import dealing
from tests.dealing import (
    ids_of,
    moved_by_traffic,
    shared_in_a_layer,
    units_until_the_alarm,
    worst_share,
)

pytestmark = pytest.mark.statistical

COUNT = 100_000
KINDS = ("counted", "random")
WEIGHTS = ([0.5, 0.5], [0.6, 0.3, 0.1], [0.3333, 0.3333, 0.3334])


@pytest.fixture(scope="module", params=KINDS)
def ids(request):
    return ids_of(request.param, COUNT)


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_raising_traffic_moves_nobody(ids, weights):
    assert moved_by_traffic(ids, weights) == 0


def test_experiments_of_a_layer_share_nobody_whatever_comes_grows_and_ends(ids):
    shared, moved, reached = shared_in_a_layer(ids)
    assert (shared, moved) == (0, 0)
    assert 0.99 < reached <= 1.0  # 40% + 25% + 35%: the layer is full


def test_an_allocation_that_forgets_the_others_is_seen_to_share(ids, monkeypatch):
    def forgetful(share, *, taken, own=()):
        return allocate(share, taken=(), own=own)

    monkeypatch.setattr(dealing, "allocate", forgetful)
    assert shared_in_a_layer(ids)[0] > 0
    assert layers.allocate is allocate


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_shares_are_within_binomial_limits(ids, weights):
    # the largest of up to 120 deviations: beyond 4.9 once in 8,600 runs
    keys = [f"flag-{n}" for n in range(15)]
    assert worst_share(ids, weights, traffic=1.0, keys=keys) < 4.9
    assert worst_share(ids, weights, traffic=0.37, keys=keys) < 4.9


def test_a_share_off_by_a_point_is_found_and_the_true_shares_are_not():
    ids = ids_of("random", COUNT)
    for number in range(5):
        key = f"flag-{number}"
        wrong = units_until_the_alarm(ids, real=[0.51, 0.49], planned=[0.5, 0.5], key=key)
        right = units_until_the_alarm(ids, real=[0.5, 0.5], planned=[0.5, 0.5], key=key)
        assert wrong is not None, key
        assert right is None, key
