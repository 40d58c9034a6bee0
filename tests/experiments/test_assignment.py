"""Assignment agrees with the official GrowthBook client and keeps its promises."""

import itertools
import math
import random

import growthbook.core as official
import pytest
from growthbook import GrowthBook
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.assignment import Reason, Serving, compile_experiment
from experiments.audience import Condition, Operator
from experiments.growthbook import growthbook_feature
from experiments.hashing import bucket_of, bucket_ranges, fnv1a32, unit_id
from tests.parity import random_unit, random_weights
from tests.specs_of import spec_of

RUNNING = Serving("running")
CASES = 2_000


def official_variant(feature, attributes, key="checkout"):
    client = GrowthBook(attributes=attributes, features={key: feature})
    try:
        result = client.eval_feature(key)
        inside = result.experimentResult is not None and result.experimentResult.inExperiment
        return result.value, inside
    finally:
        client.destroy()


@pytest.mark.parametrize(
    ("seed", "value", "bucket"),
    [("seed", "a", 505), ("foo", "def", 2019), ("89123klj", "8952klfjas09ujkasdf", 1240)],
)
def test_the_hash_matches_the_published_vectors(seed, value, bucket):
    assert bucket_of(seed, value) == bucket


@pytest.mark.parametrize(
    ("text", "hashed"),
    # published vectors of FNV-1a 32 (draft-eastlake-fnv-21, appendix C)
    [("", 0x811C9DC5), ("a", 0xE40C292C), ("foobar", 0xBF9CF968)],
)
def test_fnv_matches_the_published_vectors(text, hashed):
    assert fnv1a32(text) == hashed


def test_the_hash_agrees_with_the_official_client_on_any_text():
    rng = random.Random(20260301)
    for _ in range(CASES):
        seed, unit = f"k{rng.randint(0, 99)}:{rng.randint(1, 9)}", unit_id(random_unit(rng))
        assert bucket_of(seed, unit) / 10_000 == official.gbhash(seed, unit, 2)


def test_numbers_become_ids_as_in_javascript():
    rng = random.Random(7)
    for _ in range(5_000):
        value = random_unit(rng)
        if not isinstance(value, str):
            assert unit_id(value) == official._js_number_to_string(value)
    examples = {1.0: "1", 1e21: "1e+21", 123456789012345680000.0: "123456789012345680000"}
    examples |= {1e-7: "1e-7", 0.000001: "0.000001", -1.5: "-1.5", 1.25e-9: "1.25e-9"}
    assert {value: unit_id(value) for value in examples} == examples


def test_the_variant_agrees_with_the_official_client():
    rng = random.Random(20260302)
    outcomes = set()
    for case in range(CASES):
        weights, traffic = random_weights(rng), rng.choice([1.0, round(rng.random(), 3)])
        spec = spec_of(weights, key=f"flag-{case % 97}", seed=rng.randint(1, 5))
        serving = Serving("running", traffic)
        attributes = {"order_id": random_unit(rng)}
        feature = growthbook_feature(spec, serving)
        mine = compile_experiment(spec, serving).assign(attributes)
        value, inside = official_variant(feature, attributes, spec.key)
        assert (mine.value, mine.exposed) == (value, inside), (case, attributes, weights, traffic)
        outcomes.add((mine.variant, mine.exposed))
    assert len(outcomes) == 7  # every arm was met, and control without exposure


def test_a_rolled_back_arm_agrees_with_the_official_client():
    rng = random.Random(5)
    spec = spec_of([0.4, 0.3, 0.3], key="checkout")
    serving = Serving("running", 0.8, frozenset({"arm2"}))
    compiled, feature = compile_experiment(spec, serving), growthbook_feature(spec, serving)
    turned_back = 0
    for _ in range(2_000):
        attributes = {"order_id": random_unit(rng)}
        mine = compiled.assign(attributes)
        assert (mine.value, mine.exposed) == official_variant(feature, attributes)
        turned_back += mine.reason is Reason.DISABLED
    assert 350 < turned_back < 610  # 24% of 2,000


AUDIENCE = (
    Condition("platform", Operator.ANY_OF, ("ios", "android")),
    Condition("order.value", Operator.AT_LEAST, (20,)),
    Condition("order.value", Operator.BELOW, (100,)),
    Condition("country", Operator.NOT, ("DE", "AT")),
    Condition("vip", Operator.IS, (True,)),
    Condition("partner", Operator.EXISTS, (False,)),
)


@pytest.mark.parametrize("condition", AUDIENCE, ids=lambda c: f"{c.attribute}-{c.operator}")
def test_every_comparison_agrees_with_the_official_client(condition):
    pool = ["ios", "DE", "FR", "", "20", 0, 1, 19.9, 20, 20.0, 99, 100, -5, True, False, None]
    pool += [["ios"], ["DE", "FR"], [], [1], [True], {"a": 1}, math.nan, math.inf]
    spec = spec_of([0.5, 0.5], audience=[condition])
    compiled, feature = compile_experiment(spec, RUNNING), growthbook_feature(spec, RUNNING)
    name, _, rest = condition.attribute.partition(".")
    for value in pool:
        attributes = {"order_id": "o-1", name: {rest: value} if rest else value}
        mine = compiled.assign(attributes)
        assert mine.exposed == official_variant(feature, attributes)[1], value
        assert mine.exposed or mine.reason is Reason.TARGETING_MATCH
    missing = compiled.assign({"order_id": "o-1"})
    assert missing.exposed == (condition.operator is Operator.EXISTS)


def test_whole_audiences_agree_with_the_official_client():
    rng = random.Random(11)
    spec = spec_of([0.5, 0.5], audience=AUDIENCE)
    compiled, feature = compile_experiment(spec, RUNNING), growthbook_feature(spec, RUNNING)
    inside = 0
    for index in range(3_000):
        attributes = {
            "order_id": f"o-{index}",
            "platform": rng.choice(["ios", "ios", "android", "web"]),
            "order": {"value": rng.randint(10, 110)},
            "country": rng.choice(["DE", "FR", "SE"]),
            "vip": rng.choice([True, True, False]),
        }
        mine = compiled.assign(attributes)
        assert (mine.value, mine.exposed) == official_variant(feature, attributes)
        inside += mine.exposed
    assert 500 < inside < 1_500


shares = st.lists(st.integers(1, 100), min_size=2, max_size=6).map(
    lambda parts: [part / sum(parts) for part in parts]
)


@given(weights=shares, low=st.floats(0, 1), high=st.floats(0, 1), unit=st.text(min_size=1))
@settings(max_examples=300, deadline=None)
def test_raising_traffic_never_moves_a_unit_to_another_arm(weights, low, high, unit):
    low, high = sorted((low, high))
    spec = spec_of(weights)
    before = compile_experiment(spec, Serving("running", low)).assign({"order_id": unit})
    after = compile_experiment(spec, Serving("running", high)).assign({"order_id": unit})
    assert before.assigned in (None, after.assigned)


@given(weights=shares, low=st.floats(0, 1), high=st.floats(0, 1))
def test_ranges_only_grow_and_stay_inside_their_own_arm(weights, low, high):
    low, high = sorted((low, high))
    narrow, wide = bucket_ranges(weights, low), bucket_ranges(weights, high)
    full = bucket_ranges(weights, 1.0)
    for n, w, f in zip(narrow, wide, full, strict=True):
        assert n[0] == w[0] == f[0]
        assert n[0] <= n[1] <= w[1] <= f[1]
    for left, right in itertools.pairwise(full):
        assert left[1] <= right[0]


def test_ranges_take_unusable_weights_as_equal_and_clamp_traffic_as_growthbook_does():
    assert bucket_ranges([0.2, 0.2], 2.0) == tuple(official.getBucketRanges(2, 2.0, [0.2, 0.2]))
    assert bucket_ranges([0.5, 0.5], -1) == ((0.0, 0.0), (0.5, 0.5))


@pytest.mark.statistical
def test_shares_are_within_binomial_limits():
    units, weights, traffic = 200_000, [0.5, 0.3, 0.2], 0.6
    compiled = compile_experiment(spec_of(weights), Serving("running", traffic))
    counts = {"control": 0, "arm1": 0, "arm2": 0, None: 0}
    for unit in range(units):
        counts[compiled.assign({"order_id": f"order-{unit}"}).assigned] += 1
    expected = dict(zip(counts, [*(w * traffic for w in weights), 1 - traffic], strict=True))
    for arm, share in expected.items():
        # 4 standard errors: fails by chance once in 16,000 for each of four counts
        limit = 4 * math.sqrt(units * share * (1 - share))
        assert abs(counts[arm] - units * share) < limit, arm


def test_two_experiments_deal_the_same_units_independently():
    first = compile_experiment(spec_of([0.5, 0.5], key="first"), RUNNING)
    second = compile_experiment(spec_of([0.5, 0.5], key="second"), RUNNING)
    units = 20_000
    both = sum(
        first.assign({"order_id": f"u{i}"}).variant == second.assign({"order_id": f"u{i}"}).variant
        for i in range(units)
    )
    assert abs(both - units / 2) < 4 * math.sqrt(units / 4)


def test_another_seed_deals_anew():
    one = compile_experiment(spec_of([0.5, 0.5], seed=1), RUNNING)
    two = compile_experiment(spec_of([0.5, 0.5], seed=2), RUNNING)
    moved = sum(
        one.assign({"order_id": f"u{i}"}).variant != two.assign({"order_id": f"u{i}"}).variant
        for i in range(2_000)
    )
    assert 850 < moved < 1_150


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"order_id": None},
        {"order_id": ""},
        {"order_id": 0},
        {"order_id": 0.0},
        {"order_id": math.nan},
        {"order_id": math.inf},
        {"order_id": 10**400},
        {"order_id": True},
        {"order_id": ["o-1"]},
        {"order_id": {"id": "o-1"}},
        {"order_id": "", "targetingKey": "user-1"},
        {"user_id": "u-1"},
    ],
    ids=str,
)
def test_without_an_id_everybody_gets_control_and_nobody_is_exposed(context):
    answer = compile_experiment(spec_of([0.01, 0.99]), RUNNING).assign(context)
    assert (answer.variant, answer.reason) == ("control", Reason.UNKNOWN)
    assert (answer.value, answer.exposed, answer.assigned) == ({"arm": "control"}, False, None)


def test_the_targeting_key_names_the_unit_where_the_context_does_not():
    compiled = compile_experiment(spec_of([0.5, 0.5]), RUNNING)
    for unit in ("a", "b", "c", "d", "e", 17):
        by_key = compiled.assign({"targetingKey": unit})
        assert by_key == compiled.assign({"order_id": unit, "targetingKey": "someone else"})
        assert by_key.exposed


def test_ids_of_any_length_and_script_are_dealt():
    compiled = compile_experiment(spec_of([0.5, 0.5]), RUNNING)
    for unit in ("x" * 10_000, "订" * 10_000, "😀" * 5_000, "\ud800", "\x00"):
        answer = compiled.assign({"order_id": unit})
        bucket = official.gbhash("checkout:1", unit, 2)
        assert answer.variant == ("control" if bucket < 0.5 else "arm1")


def test_a_rolled_back_treatment_is_served_control_and_told_apart_from_it():
    spec = spec_of([0.5, 0.5])
    before = compile_experiment(spec, RUNNING)
    after = compile_experiment(spec, Serving("running", 1.0, frozenset({"arm1"})))
    seen = set()
    for i in range(200):
        context = {"order_id": f"o-{i}"}
        was, now = before.assign(context), after.assign(context)
        assert now.assigned == was.assigned
        if was.variant == "arm1":
            assert (now.variant, now.value) == ("control", {"arm": "control"})
            assert (now.reason, now.exposed) == (Reason.DISABLED, False)
        else:
            assert now == was
        seen.add(was.variant)
    assert seen == {"control", "arm1"}


def test_control_cannot_be_rolled_back():
    compiled = compile_experiment(
        spec_of([1.0, 0.0]), Serving("running", 1.0, frozenset({"control"}))
    )
    assert compiled.assign({"order_id": "o-1"}).exposed


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("draft", Reason.STATIC),
        ("observing", Reason.STATIC),
        ("finished", Reason.STATIC),
        ("stopped", Reason.STATIC),
        ("paused", Reason.DISABLED),
        ("something new", Reason.STATIC),
    ],
)
def test_an_experiment_that_does_not_run_serves_control_to_everybody(state, reason):
    spec = spec_of([0.01, 0.99])
    compiled = compile_experiment(spec, Serving(state))
    feature = growthbook_feature(spec, Serving(state))
    for i in range(50):
        answer = compiled.assign({"order_id": f"o-{i}"})
        assert (answer.variant, answer.reason, answer.exposed) == ("control", reason, False)
        assert official_variant(feature, {"order_id": f"o-{i}"}) == (answer.value, False)


def test_no_traffic_means_nobody_takes_part():
    compiled = compile_experiment(spec_of([0.5, 0.5]), Serving("running", 0.0))
    answers = [compiled.assign({"order_id": f"o-{i}"}) for i in range(200)]
    assert {(a.variant, a.reason, a.assigned) for a in answers} == {("control", "SPLIT", None)}


@given(
    context=st.dictionaries(
        st.sampled_from(["order_id", "targetingKey", "platform", "order", "country", "vip"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
            ),
            max_leaves=5,
        ),
    )
)
@settings(max_examples=500, deadline=None)
def test_no_context_raises(context):
    compiled = compile_experiment(spec_of([0.5, 0.5], audience=AUDIENCE), RUNNING)
    answer = compiled.assign(context)
    assert answer.variant in {"control", "arm1"}
    assert not answer.exposed or answer.assigned == answer.variant
