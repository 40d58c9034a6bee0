"""What is accepted as an event, exactly; everything else says what is wrong with it."""

import json
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.events import (
    Event,
    EventLimits,
    MalformedBodyError,
    Rejection,
    decode_events,
    exposure,
    from_micros,
    parse_event,
    read_events,
    scaled,
    to_micros,
)

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
GOOD = {
    "id": "e1",
    "name": "satisfaction_rated",
    "happened_at": "2026-03-02T11:59:59.123456Z",
    "units": {"order_id": "o1", "user_id": "u1"},
    "fields": {"score": 4.5},
}


def parse(raw, *, trusted=True, **limits):
    return parse_event(raw, index=7, now=NOW, limits=EventLimits(**limits), trusted=trusted)


def changed(**changes):
    return {**GOOD, **changes}


def test_a_good_event_is_exact():
    assert parse(GOOD) == Event(
        id="e1",
        name="satisfaction_rated",
        happened_at=datetime(2026, 3, 2, 11, 59, 59, 123456, tzinfo=UTC),
        units={"order_id": "o1", "user_id": "u1"},
        fields={"score": 4_500_000},
        trusted=True,
    )


def test_an_event_of_a_browser_is_not_trusted():
    event = parse(GOOD, trusted=False)
    assert isinstance(event, Event)
    assert event.trusted is False


def test_unit_is_short_for_the_default_unit_type():
    event = parse({**{k: v for k, v in GOOD.items() if k != "units"}, "unit": "o9"})
    assert event.units == {"order_id": "o9"}
    assert parse(changed(unit="u9"), default_unit="cart").units["cart"] == "u9"


def test_other_time_zones_become_utc():
    event = parse(changed(happened_at="2026-03-02T19:30:00+08:00"))
    assert event.happened_at == datetime(2026, 3, 2, 11, 30, tzinfo=UTC)
    assert event.happened_at.utcoffset() == timedelta(0)


def test_unknown_names_and_fields_are_kept():
    fields = {"a": "x", "b": True, "c": 1.5, "d": None, "e": [1, {"f": 2}], "g": {}}
    event = parse(changed(name="page_viewed", fields=fields))
    assert event.fields == {"a": "x", "b": True, "c": 1_500_000, "e": '[1,{"f":2}]', "g": "{}"}


def test_a_seed_is_a_whole_number_as_it_is():
    fields = {"experiment": "x", "variant": "control", "seed": 3}
    assert parse(changed(name="exposure", fields=fields)).fields["seed"] == 3


@pytest.mark.parametrize(("sent", "kept"), [(1.0, 1), (-0.0, 0), (2.0**53, 2**53)])
def test_a_whole_number_may_be_sent_with_a_point(sent, kept):
    event = changed(name="exposure", fields={"seed": sent})
    seed = parse(event).fields["seed"]
    assert (seed, type(seed)) == (kept, int)
    body = json.dumps([event]).encode()
    (quick,) = read_events(body, ndjson=False, now=NOW, limits=EventLimits(), trusted=True)
    assert type(quick.fields["seed"]) is int


@pytest.mark.parametrize(
    ("seed", "words"),
    [
        (1.5, "expected a whole number, got 1.5"),
        (math.inf, "expected a whole number, got inf"),
        (2.0**54, "too large to be exact; send it without point or exponent"),
        ("1", "expected integer, got text"),
    ],
)
def test_a_number_that_is_not_whole_is_no_seed(seed, words):
    assert words in parse(changed(name="exposure", fields={"seed": seed})).reason


@pytest.mark.parametrize("path", ["id", "units.order_id"])
def test_a_number_for_a_text_is_to_be_sent_in_quotes(path):
    raw = changed(id=5) if path == "id" else changed(units={"order_id": 5})
    assert parse(raw).reason == f"{path}: expected text, got a number; send it in quotes"


@pytest.mark.parametrize(
    ("raw", "field", "code"),
    [
        ([], "", "wrong_type"),
        ("text", "", "wrong_type"),
        (None, "", "wrong_type"),
        ({}, "name", "missing"),
        (changed(id=None), "id", "missing"),
        (changed(id=5), "id", "wrong_type"),
        (changed(id=""), "id", "bad_length"),
        (changed(id="x" * 257), "id", "bad_length"),
        (changed(id="\ud800"), "id", "bad_text"),
        (changed(name=""), "name", "bad_length"),
        (changed(happened_at="yesterday"), "happened_at", "bad_time"),
        (changed(happened_at=1772452799), "happened_at", "wrong_type"),
        (changed(happened_at="2026-03-02T11:59:59"), "happened_at", "no_time_zone"),
        (changed(happened_at="2026-02-30T11:59:59Z"), "happened_at", "bad_time"),
        (changed(happened_at="0001-01-01T00:00:00+23:59"), "happened_at", "bad_time"),
        (changed(happened_at="2026-03-02T12:05:00.000001Z"), "happened_at", "in_future"),
        (changed(happened_at="2020-03-02T12:00:00Z"), "happened_at", "too_late"),
        (changed(units=["o1"]), "units", "wrong_type"),
        (changed(units={"order_id": 5}), "units.order_id", "wrong_type"),
        (changed(units={"order_id": ""}), "units.order_id", "bad_length"),
        (changed(units={"": "o1"}), "units", "bad_text"),
        (changed(fields=[1]), "fields", "wrong_type"),
        (changed(fields={"score": "4"}), "fields.score", "wrong_type"),
        (changed(fields={"score": True}), "fields.score", "wrong_type"),
        (changed(fields={"score": float("nan")}), "fields.score", "out_of_range"),
        (changed(fields={"score": float("-inf")}), "fields.score", "out_of_range"),
        (changed(fields={"score": 1e13}), "fields.score", "out_of_range"),
        (changed(fields={"score": 10**30}), "fields.score", "out_of_range"),
        (changed(fields={"other": 1e300}), "fields.other", "out_of_range"),
        (changed(fields={"other": "x" * 5000}), "fields.other", "bad_length"),
        (changed(fields={str(n): n for n in range(65)}), "fields", "too_many"),
        (
            changed(name="complaint_filed", fields={"repeat": "yes"}),
            "fields.repeat",
            "wrong_type",
        ),
        (changed(name="complaint_filed", fields={"case_id": 5}), "fields.case_id", "wrong_type"),
        (changed(name="exposure", fields={"seed": 1.5}), "fields.seed", "wrong_type"),
        (changed(name="exposure", fields={"seed": 2**70}), "fields.seed", "out_of_range"),
    ],
)
def test_a_bad_event_says_which_field_and_why(raw, field, code):
    rejection = parse(raw)
    assert isinstance(rejection, Rejection)
    assert (rejection.index, rejection.field, rejection.code) == (7, field, code)
    assert field in rejection.reason
    assert rejection.event
    rejection.event.encode()


def test_a_rejection_keeps_the_id_and_at_most_16_kb_of_the_event():
    rejection = parse(changed(fields={"score": "x" * 20_000}))
    assert rejection.id == "e1"
    assert len(rejection.event.encode()) == 16_384
    assert parse(changed(id="\ud800", name=5)).id is None


def test_an_event_at_the_limits_of_the_clock_is_accepted():
    assert isinstance(parse(changed(happened_at="2026-03-02T12:05:00Z")), Event)
    oldest = (NOW - timedelta(days=400)).isoformat()
    assert isinstance(parse(changed(happened_at=oldest)), Event)


@pytest.mark.parametrize(
    ("value", "exact"),
    [
        (0.1, 100_000),
        (4, 4_000_000),
        (-0.0000005, 0),
        (0.0000015, 2),
        (0.0000025, 2),
        (1.0000005, 1_000_000),
        (8_123_456_789_012.123, 8_123_456_789_012_123_000),
        (9_223_372_036_854, 9_223_372_036_854_000_000),
        (9_223_372_036_855, None),
        (1e308, None),
        (float("nan"), None),
    ],
)
def test_numbers_become_the_decimals_their_senders_wrote(value, exact):
    assert scaled(value) == exact


@given(st.integers(-(10**12), 10**12))
def test_six_digits_survive_the_way_through_json(micros):
    text = f"{'-' if micros < 0 else ''}{abs(micros) // 10**6}.{abs(micros) % 10**6:06}"
    assert scaled(json.loads(text)) == micros


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - bounds are naive
def test_instants_are_kept_to_the_microsecond(instant):
    assert from_micros(to_micros(instant)) == instant


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_whatever_is_sent_is_an_event_or_a_rejection(raw):
    merged = {**GOOD, **raw} if isinstance(raw, dict) else raw
    for each in (raw, merged, changed(fields=raw), changed(units=raw), changed(id=raw)):
        assert isinstance(parse(each), Event | Rejection)


def test_a_json_array_is_decoded_even_with_numbers_that_are_no_json():
    body = b'[{"id": "a"}, {"id": "b", "fields": {"score": NaN}}, 7]'
    first, second, third = decode_events(body, ndjson=False)
    assert (first["id"], third) == ("a", 7)
    assert second["fields"]["score"] != second["fields"]["score"]


def test_a_single_object_is_a_batch_of_one():
    assert decode_events(b'{"id": "a"}', ndjson=False) == [{"id": "a"}]


def test_a_bad_line_spoils_only_itself():
    raw = decode_events(b'{"id": "a"}\n\n{"id": \n{"id": "c"}\r\n\xff\n', ndjson=True)
    assert len(raw) == 4
    results = [parse(each) for each in raw]
    assert [result.code for result in results] == ["missing", "malformed", "missing", "malformed"]
    assert results[1].reason == (
        "no JSON (Expecting value at character 8); send one object per line"
    )
    assert "byte 1 is 0xff, which is no UTF-8: save or send the text as" in results[3].reason
    assert results[1].event == '{"id": '


@pytest.mark.parametrize("body", [b"", b"[", b'"text"', b"5", b"[" * 100_000, b"\xff\xfe"])
def test_a_body_that_is_no_batch_says_what_to_send(body):
    with pytest.raises(MalformedBodyError, match=r"^body: .*send "):
        decode_events(body, ndjson=False)


def test_an_exposure_has_one_id_per_experiment_seed_unit_and_variant():
    def derived(**changes):
        parts = {"experiment": "x", "seed": 1, "unit_id": "u", "variant": "control", **changes}
        return exposure(unit_type="order_id", at=NOW, **parts).id

    ids = {
        derived(),
        derived(experiment="y"),
        derived(seed=2),
        derived(unit_id="v"),
        derived(variant="t"),
    }
    assert len(ids) == 5
    again = exposure(
        "x", 1, "order_id", "u", "control", NOW + timedelta(hours=1), source="backtest"
    )
    assert again.id == derived()
    assert again.fields == {
        "experiment": "x", "seed": 1, "variant": "control", "source": "backtest",
    }  # fmt: skip


def test_a_number_of_any_length_spoils_only_its_own_event():
    bad = {**GOOD, "id": "bad", "fields": {"score": 0}}
    for digits in ("9" * 5000, "-" + "9" * 5000, "1e400", "9" * 400):
        text = json.dumps([bad, GOOD]).replace('{"score": 0}', f'{{"score": {digits}}}')
        first, second = decode_events(text.encode(), ndjson=False)
        refused = parse(first)
        assert isinstance(refused, Rejection)
        assert (refused.id, refused.field, refused.code) == ("bad", "fields.score", "out_of_range")
        assert isinstance(parse(second), Event)
        (line,) = decode_events(
            text.splitlines()[0][1:-1].split("}}, ")[0].encode() + b"}}", ndjson=True
        )
        assert parse(line).code == "out_of_range"


def test_a_long_number_elsewhere_in_an_event_is_named_or_ignored():
    text = json.dumps([GOOD]).replace('"e1"', "9" * 5000)
    (raw,) = decode_events(text.encode(), ndjson=False)
    assert (parse(raw).field, parse(raw).code) == ("id", "wrong_type")
    (raw,) = decode_events(
        f'[{{"other": {"9" * 5000}, {json.dumps(GOOD)[1:]}]'.encode(), ndjson=False
    )
    assert isinstance(parse(raw), Event)


def test_a_line_nested_too_deeply_spoils_only_itself():
    deep = b'{"id": "d", "x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    raw = decode_events(b"\n".join([json.dumps(GOOD).encode(), deep]), ndjson=True)
    assert isinstance(parse(raw[0]), Event)
    refused = parse(raw[1])
    assert (refused.index, refused.code) == (7, "malformed")
    assert "nested too deeply" in refused.reason
    assert "recursion" not in refused.reason


def test_an_array_nested_too_deeply_is_refused_with_what_to_do():
    with pytest.raises(MalformedBodyError, match=r"nested too deeply.*NDJSON.*only the line"):
        decode_events(b"[" * 100_000, ndjson=False)


@pytest.mark.parametrize(
    ("body", "words"),
    [(b"7", "a number"), (b'"a"', "text"), (b"null", "null"), (b"true", "a bool")],
)
def test_a_body_that_is_no_array_is_told_in_words_of_json(body, words):
    with pytest.raises(MalformedBodyError, match=f"expected a JSON array of events, got {words}"):
        decode_events(body, ndjson=False)
