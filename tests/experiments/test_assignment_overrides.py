"""Overrides, exposures by event, layers and the holdout: what a unit gets, and what counts."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.assignment import Reason, Serving, compile_experiment
from experiments.audience import Condition, Operator
from experiments.exposures import assigned_variant, screen_exposure
from experiments.hashing import bucket_of
from experiments.ofrep import Evaluator, success
from experiments.spec import Exposure, Layer
from guardrails.served import ServedConfig
from metrics.events import Event, Rejection, exposure
from tests.running import KEY, SPEC, START, running
from tests.specs_of import spec_of

FORCE = {"order-17": "arm1", "17": "arm1", "订单": "control"}
RUNNING = Serving("running")


def compiled_with(serving=RUNNING, **more):
    return compile_experiment(spec_of([0.5, 0.5], **more), serving)


def told(compiled, unit, **attributes):
    answer = compiled.assign({"order_id": unit, **attributes})
    return answer.variant, answer.reason, answer.exposed, answer.assigned


OVERRIDDEN = ("arm1", Reason.TARGETING_MATCH, False, None)


@pytest.mark.parametrize("state", ["running", "draft"])
def test_an_override_works_whatever_audience_layer_holdout_and_traffic_are(state):
    nowhere = Serving(state, 0.0, layer=(), holdout=1.0)
    compiled = compiled_with(
        nowhere,
        force=FORCE,
        layer=Layer("x", 0.5),
        audience=(Condition("platform", Operator.IS, ("ios",)),),
    )
    for unit in ("order-17", "17", 17, 17.0):
        assert told(compiled, unit) == OVERRIDDEN
    assert told(compiled, "订单") == ("control", Reason.TARGETING_MATCH, False, None)
    assert compiled.assign({"targetingKey": "order-17"}).variant == "arm1"
    assert not compiled.assign({"order_id": "order-17"}).counts


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("paused", Reason.DISABLED),
        ("observing", Reason.STATIC),
        ("finished", Reason.STATIC),
        ("stopped", Reason.STATIC),
    ],
)
def test_where_the_experiment_does_not_run_overrides_get_control_too(state, reason):
    compiled = compiled_with(Serving(state), force=FORCE)
    assert told(compiled, "order-17") == ("control", reason, False, None)


@pytest.mark.parametrize("state", ["running", "draft"])
def test_an_override_to_a_treatment_rolled_back_gets_control(state):
    compiled = compiled_with(Serving(state, rolled_back=frozenset({"arm1"})), force=FORCE)
    assert told(compiled, "order-17") == ("control", Reason.DISABLED, False, None)
    told_by_ofrep = success(compiled, compiled.assign({"order_id": "order-17"}), exposed=False)
    assert b'"turnback.state":"rolled_back"' in told_by_ofrep


def test_a_draft_serves_control_to_everybody_else_even_without_an_id():
    compiled = compiled_with(Serving("draft"), force=FORCE)
    for context in ({}, {"order_id": "order-18"}, {"order_id": None}, {"order_id": ["order-17"]}):
        answer = compiled.assign(context)
        assert (answer.variant, answer.reason, answer.exposed) == ("control", "STATIC", False)


def test_overrides_change_nothing_for_the_others():
    plain, forced = compiled_with(), compiled_with(force=FORCE)
    for index in range(2_000):
        context = {"order_id": f"o-{index}"}
        assert forced.assign(context) == plain.assign(context)


def test_with_exposures_by_event_an_evaluation_is_none_but_says_who_counts():
    by_evaluation = compiled_with(Serving("running", 0.5))
    by_event = compiled_with(Serving("running", 0.5), exposure=Exposure.EVENT)
    inside = 0
    for index in range(500):
        context = {"order_id": f"o-{index}"}
        was, now = by_evaluation.assign(context), by_event.assign(context)
        assert now == replace(was, exposed=False)
        assert now.counts == was.counts == was.exposed
        inside += now.counts
    assert 180 < inside < 320


def test_through_ofrep_the_application_is_told_which_units_to_send_an_exposure_for():
    compiled = compiled_with(Serving("running", 0.5), exposure=Exposure.EVENT)
    evaluator = Evaluator(ServedConfig("1", {"checkout": compiled}))
    for index in range(50):
        context = {"order_id": f"o-{index}"}
        evaluated = evaluator.evaluate(compiled, context)
        told_so = b'"turnback.exposed":true' in evaluated.body
        assert told_so == compiled.assign(context).counts
        assert evaluated.unit is None  # nothing is recorded


def test_a_layered_and_held_out_experiment_agrees_with_each_hash_by_itself():
    serving = Serving("running", 0.9, layer=((1000, 4000), (7000, 9000)), holdout=0.15)
    compiled = compiled_with(serving, layer=Layer("cancel-page", 0.5))
    plain = compiled_with(Serving("running", 0.9))
    dealt = 0
    for index in range(3_000):
        unit = f"o-{index}"
        answer = compiled.assign({"order_id": unit})
        place = bucket_of("layer:cancel-page", unit)
        held_out = bucket_of("holdout", unit) < 1_500
        inside = not held_out and (1000 <= place < 4000 or 7000 <= place < 9000)
        expected = plain.assign({"order_id": unit})
        if inside:
            assert answer == expected
        else:
            assert told(compiled, unit) == ("control", Reason.SPLIT, False, None)
        assert assigned_variant(compiled, unit) == (expected.assigned if inside else None)
        dealt += inside and expected.exposed
    assert abs(dealt / 3_000 - 0.85 * 0.5 * 0.9) < 0.04


@given(
    context=st.dictionaries(
        st.sampled_from(["order_id", "targetingKey", "platform"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner),
            max_leaves=4,
        ),
    ),
    state=st.sampled_from(["draft", "running", "paused"]),
)
@settings(max_examples=300, deadline=None)
def test_no_context_raises_with_everything_there_is(context, state):
    serving = Serving(state, 0.5, layer=((0, 5000),), holdout=0.1)
    compiled = compiled_with(
        serving,
        force=FORCE,
        layer=Layer("x", 0.5),
        audience=(Condition("platform", Operator.ANY_OF, ("ios", "web")),),
    )
    answer = compiled.assign(context)
    assert answer.variant in {"control", "arm1"}
    assert not answer.exposed or answer.counts


@pytest.mark.parametrize("unit", ["x" * 10_000, "订" * 10_000, "😀" * 5_000, "\ud800", 1e300, -5])
def test_ids_of_any_length_script_and_kind_are_dealt_in_a_layer(unit):
    serving = Serving("running", layer=((0, 10_000),), holdout=0.0001)
    compiled = compiled_with(serving, layer=Layer("x", 1.0), force=FORCE)
    plain = compiled_with()
    answer = compiled.assign({"order_id": unit})
    assert answer in (
        plain.assign({"order_id": unit}),
        compiled.plan.answers[compiled.plan.outside],
    )


def sent(compiled, unit, variant, **more):
    spec = compiled.spec
    return exposure(spec.key, spec.seed, "order_id", unit, variant, START, **more)


def screened(compiled, unit, variant):
    return screen_exposure(sent(compiled, unit, variant), {"checkout": compiled})


def test_an_exposure_of_an_override_does_not_count():
    compiled = compiled_with(force=FORCE)
    for variant in ("control", "arm1"):
        refused = screened(compiled, "order-17", variant)
        assert isinstance(refused, Rejection)
        assert (refused.code, refused.field) == ("override", "units.order_id")
    assert assigned_variant(compiled, "order-17") is None


def test_an_exposure_of_a_unit_held_out_or_outside_of_the_layer_does_not_count():
    serving = Serving("running", layer=((0, 5000),), holdout=0.2)
    compiled = compiled_with(serving, layer=Layer("x", 0.5))
    accepted = refused = 0
    for index in range(400):
        unit = f"o-{index}"
        arm = compiled_with().assign({"order_id": unit}).variant
        result = screened(compiled, unit, arm)
        if compiled.assign({"order_id": unit}).exposed:
            assert isinstance(result, Event)
            accepted += 1
        else:
            assert result.code == "variant_mismatch"
            refused += 1
    assert min(accepted, refused) > 100


def test_an_exposure_by_event_counts_where_the_unit_was_dealt():
    compiled = compiled_with(exposure=Exposure.EVENT)
    arm = compiled.assign({"order_id": "o-1"}).variant
    assert isinstance(screened(compiled, "o-1", arm), Event)


def test_nobody_is_exposed_before_the_start():
    refused = screened(compiled_with(Serving("draft"), force=FORCE), "o-1", "control")
    assert (refused.code, refused.field) == ("not_started", "fields.experiment")


@pytest.mark.parametrize("state", ["finished", "stopped"])
def test_exposures_that_arrive_after_the_end_count_though_the_buckets_are_given_back(state):
    running_still = compiled_with(Serving("running", layer=((0, 5000),)), layer=Layer("x", 0.5))
    over = compiled_with(Serving(state), layer=Layer("x", 0.5))
    unit = next(u for u in map("o-{}".format, range(99)) if assigned_variant(running_still, u))
    arm = assigned_variant(running_still, unit)
    assert isinstance(screened(over, unit, arm), Event)


def test_a_file_with_overrides_serves_them_and_records_nothing_of_them():
    text = SPEC + "force: {qa-1: treatment, 17: treatment}\nexposure: evaluate\n"
    with running() as it:
        it.apply(text).raise_for_status()
        for unit in ("qa-1", "17"):
            answered = it.evaluate(unit).json()
            assert (answered["variant"], answered["reason"]) == ("treatment", "TARGETING_MATCH")
            assert answered["metadata"]["turnback.exposed"] is False
        assert it.evaluate("somebody").json()["metadata"]["turnback.exposed"] is True
        it.services.exposures.flush()
        assert it.services.exposures.recorded == 1
        units = it.services.store.exposed_units(KEY, 1)
        assert list(units) == ["somebody"]
