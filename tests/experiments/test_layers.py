"""Layers: disjoint, stable and full allocations, and experiments that never share a unit."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from experiments.assignment import Reason, Serving, compile_experiment
from experiments.batch import assign_many
from experiments.hashing import BUCKETS, bucket_of
from experiments.layers import LayerFullError, allocate, buckets_of, layer_seed, width
from experiments.spec import Layer
from tests.specs_of import spec_of

UNITS = [f"order-{i}" for i in range(4_000)]


def buckets(intervals):
    return {bucket for start, stop in intervals for bucket in range(start, stop)}


def test_the_first_allocation_takes_the_lowest_buckets():
    assert allocate(0.25, taken=()) == ((0, 2500),)
    assert allocate(0.25, taken=((0, 2500),)) == ((2500, 5000),)


def test_gaps_are_filled_from_below_and_touching_buckets_are_joined():
    taken = ((0, 1000), (2000, 3000))
    assert allocate(0.2, taken=taken) == ((1000, 2000), (3000, 4000))
    assert allocate(0.2, taken=taken, own=((1000, 1500),)) == ((1000, 2000), (3000, 4000))


def test_the_whole_layer_can_be_owned_but_not_a_bucket_more():
    assert allocate(1.0, taken=()) == ((0, BUCKETS),)
    with pytest.raises(LayerFullError, match="1 buckets wanted, 0 are free") as caught:
        allocate(0.0001, taken=((0, BUCKETS),))
    assert (caught.value.free, caught.value.wanted) == (0, 1)


def test_a_layer_is_full_only_when_the_asked_for_growth_does_not_fit():
    own, taken = ((0, 3000),), ((3000, 9000),)
    assert width(allocate(0.4, taken=taken, own=own)) == 4000
    with pytest.raises(LayerFullError) as caught:
        allocate(0.5, taken=taken, own=own)
    assert (caught.value.free, caught.value.wanted) == (1000, 2000)


def test_a_share_too_small_for_a_bucket_still_owns_one():
    assert (buckets_of(1e-9), buckets_of(0.00005), buckets_of(0.29)) == (1, 1, 2900)


class Allocations(RuleBasedStateMachine):
    """Experiments that come, grow and go in one layer, in any order."""

    def __init__(self):
        super().__init__()
        self.owned = {}
        self.names = itertools.count()

    def free(self):
        return BUCKETS - sum(width(own) for own in self.owned.values())

    def allocate(self, name, share):
        own = self.owned.get(name, ())
        taken = [i for other, theirs in self.owned.items() if other != name for i in theirs]
        wanted = buckets_of(share) - width(own)
        if wanted > self.free():
            with pytest.raises(LayerFullError) as caught:
                allocate(share, taken=taken, own=own)
            assert (caught.value.free, caught.value.wanted) == (self.free(), wanted)
            return
        granted = allocate(share, taken=taken, own=own)
        assert width(granted) == buckets_of(share)
        assert buckets(own) <= buckets(granted)  # whoever was in it stays
        assert list(granted) == sorted(granted)
        assert all(a[1] < b[0] for a, b in itertools.pairwise(granted))
        self.owned[name] = granted

    @rule(share=st.floats(0.0001, 1.0))
    def come(self, share):
        self.allocate(next(self.names), share)

    @precondition(lambda self: self.owned)
    @rule(data=st.data(), more=st.floats(0.0, 0.5))
    def grow(self, data, more):
        name = data.draw(st.sampled_from(sorted(self.owned)))
        self.allocate(name, min(1.0, width(self.owned[name]) / BUCKETS + more))

    @precondition(lambda self: self.owned)
    @rule(data=st.data())
    def go(self, data):
        del self.owned[data.draw(st.sampled_from(sorted(self.owned)))]

    @invariant()
    def nobody_shares_a_bucket(self):
        intervals = sorted(i for own in self.owned.values() for i in own)
        assert all(0 <= start < stop <= BUCKETS for start, stop in intervals)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(intervals))

    @invariant()
    def nobody_shares_a_unit(self):
        placed = [bucket_of(layer_seed("x"), unit) for unit in UNITS[:50]]
        for place in placed:
            owners = [
                name
                for name, own in self.owned.items()
                if any(start <= place < stop for start, stop in own)
            ]
            assert len(owners) <= 1


Allocations.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestAllocations = Allocations.TestCase


def compiled_in_layer(key, own, *, name="cancel-page", traffic=1.0):
    spec = spec_of([0.5, 0.5], key=key, layer=Layer(name, 0.1))
    return compile_experiment(spec, Serving("running", traffic, layer=own))


def met(compiled):
    batch = assign_many(compiled, UNITS)
    return {
        unit: answer.variant
        for unit, answer in zip(UNITS, (batch[i] for i in range(len(batch))), strict=True)
        if answer.exposed
    }


@given(
    shares=st.lists(st.floats(0.01, 0.3), min_size=2, max_size=3),
    growth=st.floats(0.0, 0.1),
)
@settings(max_examples=15, deadline=None)
def test_experiments_of_a_layer_never_share_a_unit(shares, growth):
    owned, before = {}, {}

    def others(name):
        return [i for other, own in owned.items() if other != name for i in own]

    for number, share in enumerate(shares):
        owned[f"e{number}"] = allocate(share, taken=others(None))
    for name, own in owned.items():
        before[name] = met(compiled_in_layer(name, own))
    assert not set(before["e0"]) & set(before["e1"])
    # one is over, its buckets are dealt again; another one grows, and moves nobody
    del owned["e0"]
    owned["late"] = allocate(shares[0] / 2, taken=others(None))
    owned["e1"] = allocate(shares[1] + growth, taken=others("e1"), own=owned["e1"])
    after = {name: met(compiled_in_layer(name, own)) for name, own in owned.items()}
    for one, other in itertools.combinations(after.values(), 2):
        assert not set(one) & set(other)
    assert before["e1"].items() <= after["e1"].items()


def test_layers_of_other_names_deal_independently():
    first = met(compiled_in_layer("a", ((0, 5000),), name="one"))
    second = met(compiled_in_layer("b", ((0, 5000),), name="two"))
    assert abs(len(set(first) & set(second)) - len(UNITS) / 4) < 130  # 4.7 standard errors


def test_a_layer_does_not_change_which_arm_its_units_get():
    alone = met(compile_experiment(spec_of([0.5, 0.5], key="a"), Serving("running")))
    layered = met(compiled_in_layer("a", ((0, 5000),)))
    assert layered.items() <= alone.items()
    assert abs(len(layered) - len(UNITS) / 2) < 140  # 4.4 standard errors


def test_outside_of_its_buckets_a_unit_takes_no_part():
    compiled = compiled_in_layer("a", ((0, 5000),))
    for unit in UNITS[:200]:
        answer = compiled.assign({"order_id": unit})
        inside = bucket_of("layer:cancel-page", unit) < 5000
        assert answer.exposed == inside
        if not inside:
            assert (answer.variant, answer.reason, answer.assigned) == ("control", "SPLIT", None)


def test_the_holdout_keeps_the_same_units_out_of_every_experiment():
    share = 0.2
    for key in ("a", "b"):
        spec = spec_of([0.5, 0.5], key=key)
        everybody = met(compile_experiment(spec, Serving("running")))
        held = compile_experiment(spec, Serving("running", holdout=share))
        inside = met(held)
        assert set(everybody) - set(inside) == {
            unit for unit in UNITS if bucket_of("holdout", unit) < share * BUCKETS
        }
        assert inside.items() <= everybody.items()
        out = next(unit for unit in UNITS if unit not in inside)
        answer = held.assign({"order_id": out})
        assert (answer.variant, answer.reason, answer.exposed) == ("control", Reason.SPLIT, False)


def test_a_larger_holdout_keeps_out_whom_a_smaller_one_did():
    spec = spec_of([0.5, 0.5])
    fewer = met(compile_experiment(spec, Serving("running", holdout=0.3)))
    more = met(compile_experiment(replace(spec, seed=1), Serving("running", holdout=0.1)))
    assert set(fewer) < set(more)
