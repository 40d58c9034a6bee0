"""The GrowthBook payload and our own answers agree, as the official client reads the payload."""

import json
import random
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
from growthbook import GrowthBook

from experiments import assignment
from experiments.assignment import Serving, compile_experiment
from experiments.batch import assign_many
from experiments.growthbook import growthbook_feature, growthbook_payload
from experiments.hashing import bucket_of
from experiments.spec import Layer, VariantSpec
from guardrails.served import ServedConfig
from tests.parity import (
    Answer,
    agree,
    code_points,
    compare,
    official,
    ours,
    random_context,
    random_experiment,
    same,
)
from tests.running import running
from tests.specs_of import spec_of

PAIRS = 3_000


def test_random_experiments_agree_with_the_official_client():
    compared = compare(PAIRS, seed=20260401)
    assert compared.wrong == []
    # the agreement means something: each of these was met often enough
    for what in ("treated", "overridden", "turned back", "dealt in a layer", "UNKNOWN"):
        assert compared.met[what] > 20, what
    rarer = ("dealt null", "a treatment's null by hand", "STATIC")
    for what in ("dealt beside a holdout", "dealt in an audience", *rarer):
        assert compared.met[what] > 10, what


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        pytest.param("fnv1a32", code_points, id="code points instead of UTF-16"),
        pytest.param("layer_seed", lambda name: name, id="another layer seed"),
        pytest.param("HOLDOUT_SEED", "holdouts", id="another holdout seed"),
        pytest.param("buckets_below", lambda share: round(share * 1000), id="holdout of a tenth"),
        pytest.param("CONTROL", "arm1", id="doubt serves a treatment"),
        pytest.param("unit_id", str, id="ids as Python writes them"),
    ],
)
def test_an_engine_broken_on_purpose_is_found(monkeypatch, name, broken):
    def broken_compile(spec, serving):
        with monkeypatch.context() as patch:
            patch.setattr(assignment, name, broken)
            compiled = compile_experiment(spec, serving)
            # late look-ups of the module's names happen in the answers too
            context_free = compiled.assign

        def assign(context):
            with monkeypatch.context() as patch:
                patch.setattr(assignment, name, broken)
                return context_free(context)

        return assign

    compared = compare(PAIRS // 2, seed=20260402, broken=broken_compile)
    assert len(compared.wrong) > 3


def test_the_payload_holds_what_its_rules_refer_to():
    first = compile_experiment(spec_of([0.5, 0.5], key="first"), Serving("running", holdout=0.05))
    same_holdout = compile_experiment(
        spec_of([0.5, 0.5], key="second"), Serving("running", holdout=0.05)
    )
    other_share = compile_experiment(
        spec_of([0.5, 0.5], key="third"), Serving("running", holdout=0.1)
    )
    other_unit = compile_experiment(
        spec_of([0.5, 0.5], key="fourth", unit="user_id"), Serving("running", holdout=0.05)
    )
    none = compile_experiment(spec_of([0.5, 0.5], key="fifth"), Serving("running"))
    features = growthbook_payload([first, same_holdout, other_share, other_unit, none])["features"]
    assert sorted(name for name in features if name.startswith("$")) == [
        "$holdout:order_id:0.05",
        "$holdout:order_id:0.1",
        "$holdout:user_id:0.05",
    ]
    referred = {
        parent["id"]
        for feature in features.values()
        for rule in feature["rules"]
        for parent in rule.get("parentConditions", ())
    }
    assert referred == {name for name in features if name.startswith("$")}


def test_without_the_feature_of_its_holdout_an_experiment_serves_control():
    compiled = compile_experiment(spec_of([0.1, 0.9]), Serving("running", holdout=0.05))
    feature = growthbook_feature(compiled.spec, compiled.serving)
    for index in range(50):
        answer = official({"checkout": feature}, compiled, {"order_id": f"o-{index}"})
        assert answer == Answer("control", {"arm": "control"}, dealt=False)


def test_an_override_to_another_arm_with_a_flow_of_null_is_found():
    variants = tuple(VariantSpec(name, 0.25, None) for name in ("control", "a", "b", "c"))
    spec = replace(spec_of([1.0], force={"x": "a", "y": "b"}), variants=variants)
    compiled = compile_experiment(spec, Serving("running", rolled_back=frozenset({"b"})))
    features = growthbook_payload([compiled])["features"]
    told = {unit: official(features, compiled, {"order_id": unit}) for unit in ("x", "y")}
    assert told == {"x": Answer("a", None, dealt=False), "y": Answer("control", None, dealt=False)}
    moved = compile_experiment(replace(spec, force={"x": "c", "y": "b"}), compiled.serving)
    assert not agree(ours(moved, {"order_id": "x"}), told["x"])


def test_an_override_is_met_by_text_and_by_the_number_it_writes_but_by_no_list():
    spec = spec_of([0.5, 0.5], force={"17": "arm1", "1.5": "arm1", "x": "control"})
    compiled = compile_experiment(spec, Serving("draft"))
    features = growthbook_payload([compiled])["features"]
    for unit in ("17", 17, 17.0, "1.5", 1.5):
        answer = ours(compiled, {"order_id": unit})
        assert (answer.variant, answer.dealt) == ("arm1", False)
        assert agree(answer, official(features, compiled, {"order_id": unit})), unit
    for unit in ("17.0", "017", 18, ["17"], [17], True, None, {"17": 17}):
        answer = ours(compiled, {"order_id": unit})
        assert answer.variant == "control"
        assert agree(answer, official(features, compiled, {"order_id": unit})), unit


def test_a_flow_of_null_is_the_default_in_the_code_of_a_growthbook_client():
    variants = (VariantSpec("control", 0.5, None), VariantSpec("arm1", 0.5, "new"))
    spec = replace(spec_of([0.5, 0.5]), variants=variants)
    for back in (frozenset(), frozenset({"arm1"})):
        compiled = compile_experiment(spec, Serving("running", rolled_back=back))
        client_of = partial(GrowthBook, features=growthbook_payload([compiled])["features"])
        served = Counter()
        for index in range(60):
            context = {"order_id": f"o-{index}"}
            client = client_of(attributes=dict(context))  # it empties its own
            value = client.get_feature_value(spec.key, "the code's own")
            client.destroy()
            assert value == (ours(compiled, context).value or "the code's own")
            served[value] += 1
        assert set(served) == ({"the code's own"} if back else {"the code's own", "new"})


def test_a_layer_whose_buckets_are_not_known_serves_control():
    spec = spec_of([0.1, 0.9], layer=Layer("cancel-page", 0.5))
    compiled = compile_experiment(spec, Serving("running"))
    features = growthbook_payload([compiled])["features"]
    for index in range(50):
        context = {"order_id": f"o-{index}"}
        assert ours(compiled, context).variant == "control"
        assert agree(ours(compiled, context), official(features, compiled, context))


def unit_in(seed, bucket):
    """An id that a hash puts into exactly this bucket."""
    return next(u for u in map("o-{}".format, range(10**6)) if bucket_of(seed, u) == bucket)


@pytest.mark.parametrize(
    ("seed", "last_in", "first_out"),
    [
        pytest.param("holdout", 500, 499, id="the holdout keeps 0 to 499 out"),
        pytest.param("layer:page", 1000, 999, id="the layer begins at 1,000"),
        pytest.param("layer:page", 3999, 4000, id="the layer ends at 4,000"),
        pytest.param("checkout:1", 2999, 3000, id="control's traffic ends at 3,000"),
    ],
)
def test_every_edge_belongs_to_the_same_side_for_both(seed, last_in, first_out):
    layer = Layer("page", 0.3) if seed.startswith("layer") else None
    holdout = 0.05 if seed == "holdout" else 0.0
    traffic = 0.6 if seed.startswith("checkout") else 1.0
    serving = Serving("running", traffic, layer=((1000, 4000),), holdout=holdout)
    compiled = compile_experiment(spec_of([0.5, 0.5], layer=layer), serving)
    features = growthbook_payload([compiled])["features"]
    for bucket, inside in ((last_in, True), (first_out, False)):
        context = {"order_id": unit_in(seed, bucket)}
        answer = ours(compiled, context)
        assert answer.dealt is inside
        assert agree(answer, official(features, compiled, context))
        assert assign_many(compiled, [context["order_id"]])[0].counts is inside


def test_random_experiments_agree_through_ofrep():
    rng, pairs, wrong, dealt = random.Random(20260403), 0, [], 0
    with running() as it:
        while pairs < 300:
            compiled = random_experiment(rng)
            it.services.evaluations.serving = lambda c=compiled: ServedConfig("1", {c.key: c})
            features = growthbook_payload([compiled])["features"]
            for _ in range(5):
                context = random_context(rng, compiled.spec)
                if not writable(context):
                    continue
                pairs += 1
                theirs = official(features, compiled, context)
                answered = it.http.post(
                    f"/ofrep/v1/evaluate/flags/{compiled.key}", json={"context": context}
                ).json()
                dealt += theirs.dealt
                if not as_served(answered, theirs, compiled):
                    wrong.append((answered, theirs, context, compiled.spec, compiled.serving))
    assert wrong == []
    assert dealt > 30


def writable(context):
    """Whether JSON can hold the context: no halves of surrogate pairs."""
    try:
        json.dumps(context, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def as_served(answered, theirs, compiled):
    if answered.get("errorCode") == "TARGETING_KEY_MISSING":
        control = compiled.spec.variant("control").flow
        return not theirs.dealt and same(theirs.value, control)
    exposed = answered["metadata"]["turnback.exposed"]
    answer = Answer(answered["variant"], answered.get("value"), exposed)
    return agree(answer, theirs)


IN_A_LAYER = """\
experiment: KEY
unit: order_id
audience:
  platform: [ios, android]
  any_of: [{country: DE}, {segments: [vip]}, {version: {version_at_least: "3.10.2"}}]
layer: {name: cancel-page, share: 40%}
variants:
  control: {weight: 50%, flow: {steps: [confirm]}}
  treatment: {weight: 50%, flow: {steps: [why, confirm]}}
force: {qa-1: treatment, 17: control}
guardrails:
  - {kpi: satisfaction, max_drop: 3%}
ends: {after: 10d, observe_for: 1d}
expect_units: 50000
"""


def test_applied_files_are_served_as_the_official_client_reads_their_payload():
    rng = random.Random(20260404)
    keys = ("first", "second")
    with running() as it:
        for key in keys:
            it.apply(IN_A_LAYER.replace("KEY", key)).raise_for_status()
        served = it.services.engine.serving().experiments
        features = growthbook_payload(served.values())["features"]
        met = {key: set() for key in keys}
        for number in range(250):
            context = {
                "order_id": rng.choice(["qa-1", 17, f"o-{number}", f"o-{number}", f"o-{number}"]),
                "platform": rng.choice(["ios", "android", "android", "web"]),
                "country": rng.choice(["DE", "DE", "FR"]),
                "segments": rng.choice([["vip"], [], ["new"]]),
                "version": rng.choice(["3.9", "3.11.0"]),
            }
            for key in keys:
                theirs = official(features, served[key], context)
                answered = it.http.post(
                    f"/ofrep/v1/evaluate/flags/{key}", json={"context": context}
                ).json()
                assert as_served(answered, theirs, served[key]), (context, answered, theirs)
                if theirs.dealt:
                    met[key].add(context["order_id"])
    assert min(map(len, met.values())) > 30
    assert not met["first"] & met["second"]
