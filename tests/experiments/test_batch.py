"""``assign_many`` answers every id as ``assign`` does."""

import math
import random
import uuid

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.assignment import Serving, compile_experiment
from experiments.audience import Condition, Operator
from experiments.batch import assign_many
from experiments.spec import Layer
from tests.parity import random_context, random_experiment, random_unit
from tests.specs_of import spec_of

RUNNING = Serving("running")
AUDIENCE = (
    Condition("platform", Operator.ANY_OF, ("ios", "android")),
    Condition("order_value", Operator.AT_LEAST, (20,)),
)
ODD = [
    *(None, "", 0, 0.0, -0.0, True, False, 1, 1.0, 17, -17, 2**53, 2**53 + 1, 2**70, -(10**22)),
    *(1.5, 1e21, 1e-7, math.nan, math.inf, "17", "x" * 256, "x" * 257, "x" * 10_000, "é", "订单"),
    *("😀", "\ud800", "\udfff\ud800", "a\x00b", "\x7f", "\x80", "ÿ", ["o-1"], {"id": 1}, b"o-1"),
]


def odd_ids(count, seed):
    rng = random.Random(seed)
    return [rng.choice(ODD) if rng.random() < 0.3 else random_unit(rng) for _ in range(count)] + ODD


def one_by_one(compiled, ids, **attributes):
    return [compiled.assign({**attributes, compiled.spec.unit: unit}) for unit in ids]


def every_kind_of_experiment():
    layer = Layer("cancel-page", 0.5)
    everything = {"layer": layer, "force": {"17": "arm1", "x": "arm2", "订单": "arm2"}}
    serving = Serving("running", 0.8, frozenset({"arm1"}), ((0, 2000), (4000, 9000)), 0.1)
    weights = [0.4, 0.3, 0.3]
    return {
        "plain": compile_experiment(spec_of(weights), RUNNING),
        "part of the traffic": compile_experiment(spec_of(weights), Serving("running", 0.3)),
        "everything": compile_experiment(spec_of(weights, **everything), serving),
        "a draft": compile_experiment(spec_of(weights, **everything), Serving("draft")),
        "paused": compile_experiment(spec_of(weights, **everything), Serving("paused")),
        "stopped": compile_experiment(spec_of(weights), Serving("stopped")),
        "an audience of ids": compile_experiment(
            spec_of(weights, audience=[Condition("order_id", Operator.NOT, ("17",))]), RUNNING
        ),
    }


KINDS = every_kind_of_experiment()


@pytest.mark.parametrize("kind", KINDS)
def test_thousands_of_odd_ids_are_answered_as_one_by_one(kind):
    compiled, ids = KINDS[kind], odd_ids(5_000, seed=1)
    batch = assign_many(compiled, ids)
    assert len(batch) == len(ids)
    for index, expected in enumerate(one_by_one(compiled, ids)):
        assert batch[index] is expected, ids[index]


@pytest.mark.parametrize("kind", KINDS)
def test_a_chunk_boundary_changes_nothing(kind):
    compiled = KINDS[kind]
    rng = random.Random(2)
    ids = [str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(40_000)]
    batch = assign_many(compiled, ids)
    picked = [*range(0, 40_000, 97), *range(16_370, 16_400), *range(32_760, 32_780), 39_999]
    for index in picked:
        assert batch[index] is compiled.assign({"order_id": ids[index]})


def text_arrays():
    texts = [f"order-{i}" for i in range(300)] + ["", "é", "订单", "17", "x" * 300, "x"]
    nulls = [*texts, None, "after"]
    plain = pa.array(nulls)
    chunks = pa.chunked_array([plain.slice(0, 100), plain.slice(100)])
    return {
        "string": (plain, nulls),
        "a slice": (plain.slice(17, 250), nulls[17:267]),
        "large string": (pa.array(nulls, pa.large_string()), nulls),
        "string view": (pa.array(nulls, pa.string_view()), nulls),
        "dictionary": (plain.dictionary_encode(), nulls),
        "chunked": (chunks, nulls),
        "chunks of dictionaries": (chunks.dictionary_encode(), nulls),
        "nothing": (pa.array([], pa.string()), []),
        "only nulls": (pa.array([None, None]), [None, None]),
        "numpy text": (np.array(texts), texts),
        "numpy objects": (np.array(nulls, dtype=object), nulls),
        "numpy variable text": (np.array(texts, dtype=np.dtypes.StringDType()), texts),
        "tuple": (tuple(nulls), nulls),
    }


def number_arrays():
    whole = [0, 1, -1, 17, 10**9, 2**53, 2**53 + 1, -(2**53) - 1, 2**62, -(2**63)]
    parts = [0.0, -0.0, 1.0, 17.0, 1.5, -2.0, 1e21, 1e22, 2.0**53, 1e-7, math.nan, math.inf]
    return {
        "integers": (np.array(whole), whole),
        "unsigned": (np.array([0, 17, 2**64 - 1], dtype=np.uint64), [0, 17, 2**64 - 1]),
        "bytes": (np.array([0, 17, -128], dtype=np.int8), [0, 17, -128]),
        "floats": (np.array(parts), parts),
        "small floats": (np.array([0.5, 17, 0], dtype=np.float16), [0.5, 17.0, 0.0]),
        "booleans": (np.array([True, False]), [True, False]),
        "Arrow integers": (pa.array([17, None, 0, 2**60]), [17, None, 0, 2**60]),
        "Arrow floats": (pa.array([17.0, None, 1.5, math.nan]), [17.0, None, 1.5, math.nan]),
        "Arrow half floats": (
            pa.array([np.float16(17), None], pa.float16()),
            [17.0, None],
        ),
        "Arrow booleans": (pa.array([True, None]), [True, None]),
    }


@pytest.mark.parametrize("kind", ["plain", "everything", "a draft"])
@pytest.mark.parametrize("arrays", [text_arrays(), number_arrays()], ids=["text", "numbers"])
def test_arrays_are_answered_as_their_python_values(arrays, kind):
    compiled = KINDS[kind]
    for name, (array, values) in arrays.items():
        for shared in ({}, {"targetingKey": "who"}):
            batch = assign_many(compiled, array, attributes=shared)
            expected = one_by_one(compiled, values, **shared)
            assert [batch[i] for i in range(len(batch))] == expected, name


def test_a_missing_id_is_taken_from_the_targeting_key_of_its_row():
    compiled = KINDS["plain"]
    batch = assign_many(compiled, [None, "b", None], columns={"targetingKey": ["a", "x", None]})
    assert batch[0] is compiled.assign({"order_id": "a"})
    assert batch[1] is compiled.assign({"order_id": "b"})
    assert batch[2].reason == "UNKNOWN"


@pytest.mark.parametrize(
    "attributes",
    [{}, {"platform": "ios"}, {"platform": "ios", "order_value": 20}, {"platform": ["web"]}],
    ids=str,
)
def test_shared_attributes_are_judged_as_in_every_context(attributes):
    ids = odd_ids(200, seed=3)
    compiled = compile_experiment(spec_of([0.5, 0.5], audience=AUDIENCE), RUNNING)
    batch = assign_many(compiled, ids, attributes=attributes)
    assert batch.variants() == [a.variant for a in one_by_one(compiled, ids, **attributes)]


def test_columns_are_judged_row_by_row_and_come_before_what_is_shared():
    rng, count = random.Random(4), 3_000
    compiled = compile_experiment(spec_of([0.5, 0.5], audience=AUDIENCE), RUNNING)
    ids = odd_ids(count, seed=5)[:count]
    values = [rng.choice([10, 20, 30.5, None, "20", True]) for _ in ids]
    platforms = [rng.choice(["ios", "web"]) for _ in ids]
    batch = assign_many(
        compiled,
        ids,
        attributes={"platform": "web", "country": "DE"},
        columns={"order_value": values, "platform": pa.array(platforms)},
    )
    for index, (unit, value, platform) in enumerate(zip(ids, values, platforms, strict=True)):
        context = {"platform": platform, "order_value": value, "order_id": unit}
        assert batch[index] is compiled.assign(context), context


def test_a_column_of_another_length_is_refused_by_name():
    with pytest.raises(ValueError, match="2 ids, but column 'platform' has 1 values"):
        assign_many(KINDS["plain"], ["a", "b"], columns={"platform": ["ios"]})


def test_no_ids_give_no_answers():
    batch = assign_many(KINDS["plain"], [])
    assert (len(batch), batch.variants(), batch.counts()["control"]) == (0, [], 0)


def test_a_batch_counts_arms_by_the_hash_and_knows_its_exposures():
    compiled = KINDS["part of the traffic"]
    ids = [f"order-{i}" for i in range(5_000)]
    batch = assign_many(compiled, ids)
    answers = one_by_one(compiled, ids)
    for arm in ("control", "arm1", "arm2"):
        assert batch.counts()[arm] == sum(a.assigned == arm for a in answers)
    assert batch.exposed().tolist() == [a.exposed for a in answers]
    assert batch.exposed().sum() == sum(batch.counts().values())


@given(ids=st.lists(st.none() | st.text() | st.integers() | st.floats() | st.booleans()))
@settings(max_examples=150, deadline=None)
def test_any_ids_are_answered_as_one_by_one(ids):
    for compiled in (KINDS["plain"], KINDS["everything"]):
        batch = assign_many(compiled, ids)
        assert [batch[i] for i in range(len(ids))] == one_by_one(compiled, ids)


def test_random_experiments_are_answered_as_one_by_one():
    rng = random.Random(6)
    for _ in range(150):
        compiled = random_experiment(rng)
        unit = compiled.spec.unit
        contexts = [random_context(rng, compiled.spec) for _ in range(12)]
        shared = {k: v for k, v in contexts[0].items() if k != unit}
        ids = [context.get(unit) for context in contexts]
        batch = assign_many(compiled, ids, attributes=shared)
        for index, unit_value in enumerate(ids):
            assert batch[index] is compiled.assign({**shared, unit: unit_value})
