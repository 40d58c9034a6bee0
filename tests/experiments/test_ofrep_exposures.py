"""First exposures on their way to the store: once, in order, and never lost quietly."""

from concurrent.futures import Future
from datetime import UTC, datetime

import pytest

from experiments.assignment import Serving, compile_experiment
from experiments.exposures import ExposureBuffer, assigned_variant, screen_exposure
from guardrails.spec_file import load_spec
from metrics.events import Event, Rejection
from metrics.store import Appended, StoreError
from tests.running import KEY, SPEC

T = datetime(2026, 3, 1, tzinfo=UTC)


class Ingest:
    """Takes batches, or fails while broken."""

    def __init__(self):
        self.batches = []
        self.broken = False

    def submit(self, events):
        future = Future()
        if self.broken:
            future.set_exception(StoreError("the disk is gone"))
        else:
            self.batches.append(list(events))
            future.set_result(Appended(len(events), 0, (), 0))
        return future

    @property
    def units(self):
        return [e.units["order_id"] for batch in self.batches for e in batch]


def buffer_of(ingest, **settings):
    return ExposureBuffer(ingest.submit, now=lambda: T, **settings)


def record(buffer, unit, variant="control", seed=1):
    return buffer.record("x", seed, "order_id", unit, variant)


def test_repeats_end_early_and_a_seed_starts_over():
    ingest = Ingest()
    buffer = buffer_of(ingest)
    assert [record(buffer, "a"), record(buffer, "a"), record(buffer, "b")] == [True, False, True]
    assert record(buffer, "a", seed=2)
    assert buffer.flush()
    assert ingest.units == ["a", "b", "a"]
    assert (buffer.recorded, buffer.waiting) == (3, 0)


def test_what_the_store_knows_is_not_recorded_again():
    ingest = Ingest()
    buffer = buffer_of(ingest)
    buffer.fill("x", 1, ["a"])
    assert not record(buffer, "a")
    assert buffer.flush()
    assert ingest.batches == []


def test_what_cannot_be_written_is_kept_in_order_and_counted():
    ingest = Ingest()
    buffer = buffer_of(ingest)
    ingest.broken = True
    record(buffer, "a")
    assert not buffer.flush()
    record(buffer, "b")
    assert not buffer.flush()
    assert (buffer.failures, buffer.waiting) == (2, 2)
    ingest.broken = False
    assert buffer.flush()
    assert ingest.units == ["a", "b"]


def test_a_full_buffer_forgets_nobody():
    ingest = Ingest()
    buffer = buffer_of(ingest, capacity=2)
    assert [record(buffer, u) for u in "abc"] == [True, True, False]
    assert buffer.dropped == 1
    buffer.flush()
    assert record(buffer, "c"), "its next evaluation records it"


def test_a_unit_no_event_could_name_is_not_recorded():
    buffer = buffer_of(Ingest())
    assert not record(buffer, "x" * 257)
    assert record(buffer, "x" * 256)


def test_memory_is_bounded_and_the_newest_units_are_remembered():
    buffer = buffer_of(Ingest(), remembered=100)
    for n in range(1000):
        assert record(buffer, f"u{n}")
    assert not record(buffer, "u999")
    assert record(buffer, "u0"), "long forgotten: recorded again, under the same derived id"


def test_closing_writes_what_waits():
    ingest = Ingest()
    buffer = buffer_of(ingest, interval=3600)
    buffer.start()
    record(buffer, "a")
    buffer.close()
    buffer.close()
    assert ingest.units == ["a"]


@pytest.fixture(scope="module")
def served():
    spec = load_spec(SPEC).experiment
    return {KEY: compile_experiment(spec, Serving("running"))}


def sent(**fields):
    units = {"order_id": fields.pop("unit", "u1")}
    return Event("e1", "exposure", T, units, {"experiment": KEY, **fields})


def test_an_exposure_that_fits_the_hash_gets_the_current_seed(served):
    variant = assigned_variant(served[KEY], "u1")
    screened = screen_exposure(sent(variant=variant), served)
    assert isinstance(screened, Event)
    assert screened.fields["seed"] == 1


@pytest.fixture(scope="module")
def started_over():
    spec = load_spec(f"{SPEC}seed: 3\n").experiment
    return {KEY: compile_experiment(spec, Serving("running"))}


def test_an_exposure_under_an_earlier_seed_is_kept_as_it_is(started_over):
    for variant in ("control", "treatment"):
        event = sent(variant=variant, seed=2)
        assert screen_exposure(event, started_over) is event


@pytest.mark.parametrize(
    ("seed", "code"),
    [
        pytest.param(4, "unknown_seed", id="the next"),
        pytest.param(10**12, "unknown_seed", id="far ahead"),
        pytest.param("3", "unknown_seed", id="text"),
        pytest.param(True, "unknown_seed", id="a boolean"),
    ],
)
def test_nobody_is_exposed_under_a_seed_that_has_not_begun(started_over, seed, code):
    for variant in ("control", "treatment"):
        refused = screen_exposure(sent(variant=variant, seed=seed), started_over)
        assert isinstance(refused, Rejection)
        assert (refused.code, refused.field) == (code, "fields.seed")
        assert "3" in refused.reason


@pytest.mark.parametrize("variant", ["nobody's", 7, None])
def test_an_exposure_under_an_earlier_seed_needs_a_variant_that_exists(started_over, variant):
    fields = {} if variant is None else {"variant": variant}
    refused = screen_exposure(sent(seed=2, **fields), started_over)
    assert isinstance(refused, Rejection)
    assert (refused.code, refused.field) == ("unknown_variant", "fields.variant")
    assert "control, treatment" in refused.reason


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"variant": "nobody's"}, "'nobody's'"),
        ({"variant": 7}, "7"),
        ({"variant": True}, "a boolean"),
        ({}, "nothing"),
    ],
)
def test_what_an_exposure_says_is_told_in_words_of_json(served, started_over, fields, words):
    mismatch = screen_exposure(sent(**fields), served)
    assert f"the exposure says {words}, the hash gives this unit" in mismatch.reason
    unknown = screen_exposure(sent(seed=2, **fields), started_over)
    assert f"the exposure says {words}; it has control, treatment" in unknown.reason


@pytest.mark.parametrize(
    ("event", "code", "field"),
    [
        (sent(variant="nobody's"), "variant_mismatch", "fields.variant"),
        (sent(), "variant_mismatch", "fields.variant"),
        (sent(experiment="none", variant="control"), "unknown_experiment", "fields.experiment"),
        (
            Event("e", "exposure", T, {"user_id": "u"}, {"experiment": KEY, "variant": "control"}),
            "unit_missing",
            "units.order_id",
        ),
    ],
)
def test_an_exposure_that_cannot_be_true_is_refused(served, event, code, field):
    refused = screen_exposure(event, served)
    assert isinstance(refused, Rejection)
    assert (refused.code, refused.field) == (code, field)


def test_the_arm_of_an_exposure_is_the_evaluators_arm(served):
    for n in range(300):
        unit = f"u{n}"
        expected = served[KEY].assign({"targetingKey": unit}).assigned
        assert assigned_variant(served[KEY], unit) == expected


def test_a_unit_outside_of_the_traffic_has_no_arm():
    spec = load_spec(SPEC).experiment
    compiled = compile_experiment(spec, Serving("running", traffic=0.1))
    arms = {assigned_variant(compiled, f"u{n}") for n in range(300)}
    assert arms == {None, "control", "treatment"}


def test_other_events_pass_untouched(served):
    event = Event("e", "cancel_started", T, {}, {})
    assert screen_exposure(event, served) is event
