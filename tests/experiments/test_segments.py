"""Segments: what a file may name, and what is kept of a unit when it meets its variant."""

from datetime import UTC, datetime

import pytest

from experiments.assignment import Serving, compile_experiment
from experiments.errors import SpecError
from experiments.exposures import screen_exposure
from experiments.growthbook_events import wire_events
from experiments.segments import segment_fields, segment_text
from guardrails.spec_file import load_spec
from metrics.events import Event
from tests.experiments.test_ofrep_exposures import Ingest, buffer_of
from tests.running import KEY, SPEC

T = datetime(2026, 3, 1, tzinfo=UTC)
CONTEXT = {
    "targetingKey": "o1",
    "country": "DE",
    "platform": "ios",
    "email": "anna@example.com",
    "device": {"type": "phone", "owner": "anna"},
}


def served(line="segments: [country, device.type]\n"):
    spec = load_spec(SPEC + line, source="s.yaml").experiment
    return {KEY: compile_experiment(spec, Serving("running"))}


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("DE", "DE"),
        ("  two\n words ", "two words"),
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (2.0, "2"),
        (2.5, "2.5"),
        ("x" * 64, "x" * 64),
        ("x" * 65, None),
        ("x" * 10**6, None),
        ("", None),
        ("\ud800", None),
        (float("nan"), None),
        (10**400, None),
        (["DE"], None),
        ({"a": 1}, None),
        (None, None),
    ],
)
def test_a_value_is_kept_as_short_text_or_not_at_all(value, kept):
    assert segment_text(value) == kept


def test_only_what_the_file_declares_is_kept():
    assert segment_fields(("country", "device.type", "age"), CONTEXT) == {
        "segment.country": "DE",
        "segment.device.type": "phone",
    }


def test_the_first_evaluation_says_what_a_unit_is_and_the_id_stays_the_same():
    ingest = Ingest()
    buffer, plain = buffer_of(ingest), buffer_of(ingest)
    for country in ("DE", "FR"):
        buffer.record(
            "x", 1, "order_id", "o1", "control", segments=("country",), context={"country": country}
        )
    plain.record("x", 1, "order_id", "o1", "control", context={"country": "DE"})
    assert buffer.flush()
    assert plain.flush()
    (told,), (untold,) = ingest.batches
    assert told.id == untold.id
    assert told.fields == {**untold.fields, "segment.country": "DE"}
    assert set(untold.fields) == {"experiment", "seed", "variant", "source"}


def exposure_event(experiments, **fields):
    arm = experiments[KEY].assign({"targetingKey": "o1"}).assigned
    told = {"experiment": KEY, "variant": arm, **fields}
    return Event("e1", "exposure", T, {"order_id": "o1"}, told)


def test_of_an_exposure_that_is_sent_only_declared_attributes_are_kept():
    experiments = served()
    sent = exposure_event(
        experiments,
        **{
            "segment.country": " DE ",
            "segment.device.type": 3_500_000,
            "segment.email": "anna@example.com",
            "page": "cancel",
        },
    )
    taken = screen_exposure(sent, experiments)
    assert {
        k: v for k, v in taken.fields.items() if k not in {"experiment", "variant", "seed"}
    } == {
        "segment.country": "DE",
        "segment.device.type": "3.5",
        "page": "cancel",
    }


def test_a_value_that_is_too_long_costs_the_unit_nothing_but_its_segment():
    experiments = served()
    taken = screen_exposure(
        exposure_event(experiments, **{"segment.country": "x" * 65}), experiments
    )
    assert isinstance(taken, Event)
    assert "segment.country" not in taken.fields


def test_an_exposure_of_an_experiment_without_segments_keeps_none():
    experiments = served("")
    sent = exposure_event(experiments, **{"segment.country": "DE"})
    assert "segment.country" not in screen_exposure(sent, experiments).fields


def test_an_sdk_that_tracks_tells_the_declared_attributes():
    experiments = served()
    arm = experiments[KEY].assign({"order_id": "o1"}).assigned
    told = {"experimentId": KEY, "variationId": arm, "hashAttribute": "order_id", "hashValue": "o1"}
    element = {"event_name": "Experiment Viewed", "properties_json": told, "context_json": CONTEXT}
    ((_, event),) = wire_events([element], experiments=experiments, default_unit="order_id", at=T)
    assert event["fields"]["segment.country"] == "DE"
    assert event["fields"]["segment.device.type"] == "phone"
    assert "anna" not in str(event)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            "segments: country",
            "segments: must be a list of attributes, got `country`; write [country]",
        ),
        ("segments: [a, b, c, d, e, f]", "segments: lists 6 attributes, more than 5; list fewer"),
        ("segments: [country, country]", "segments[1]: `country` is listed twice; remove one"),
        (
            "segments: [order_id]",
            "segments[0]: `order_id` is the id of a unit; name what many units share",
        ),
    ],
)
def test_a_file_is_told_what_segments_may_be(line, problem):
    with pytest.raises(SpecError) as caught:
        load_spec(SPEC + line + "\n", source="s.yaml")
    assert any(problem in str(each) for each in caught.value.problems), caught.value.problems
