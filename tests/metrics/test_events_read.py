"""The quick way to read a body says what the careful one says, or nothing."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.events import EventLimits, decode_events, parse_event, read_events

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
GOOD = {
    "id": "a",
    "name": "cancel_finished",
    "happened_at": "2026-03-02T11:00:00.123456Z",
    "units": {"order_id": "o1"},
    "fields": {"outcome": "kept", "seconds": 12.5, "tries": 3, "vip": True, "note": None},
}


def carefully(body, limits, *, ndjson=False):
    return [
        parse_event(raw, index=index, now=NOW, limits=limits, trusted=True)
        for index, raw in enumerate(decode_events(body, ndjson=ndjson))
    ]


def quickly(body, limits, *, ndjson=False):
    return read_events(body, ndjson=ndjson, now=NOW, limits=limits, trusted=True)


@pytest.mark.parametrize("ndjson", [False, True])
def test_good_events_are_read_in_one_pass(ndjson):
    events = [GOOD | {"id": f"e{number}", "unit": "o2"} for number in range(3)]
    lines = [json.dumps(event) for event in events]
    body = ("\n".join(lines) if ndjson else f"[{','.join(lines)}]").encode()
    read = quickly(body, EventLimits(), ndjson=ndjson)
    assert read is not None
    assert len(read) == 3
    assert read == carefully(body, EventLimits(), ndjson=ndjson)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"id": ""}, id="no id"),
        pytest.param({"id": "x" * 257}, id="a long id"),
        pytest.param({"name": 7}, id="a number for a name"),
        pytest.param({"happened_at": "2026-03-02T11:00:00"}, id="no time zone"),
        pytest.param({"happened_at": "2026-03-02T13:00:00Z"}, id="ahead of the clock"),
        pytest.param({"happened_at": "2020-03-02T13:00:00Z"}, id="beyond the retention"),
        pytest.param({"units": {"order_id": None}}, id="a unit without an id"),
        pytest.param({"units": {"": "o"}}, id="a unit type without a name"),
        pytest.param({"fields": {"seconds": "12"}}, id="text for a number"),
        pytest.param({"fields": {"seconds": True}}, id="a boolean for a number"),
        pytest.param({"fields": {"n": 1e300}}, id="a number out of range"),
        pytest.param({"fields": {"list": [1]}}, id="a list"),
        pytest.param({"fields": {"t": "x" * 5000}}, id="a long text"),
    ],
)
def test_whatever_is_unusual_is_left_to_the_closer_look(change):
    assert quickly(json.dumps([GOOD, GOOD | change]).encode(), EventLimits()) is None


TEXT = st.text(max_size=6) | st.sampled_from(["order_id", "é", "\U0001f600", "\x00", "x" * 9])
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**25), 10**25),
    st.floats(allow_nan=False),
    TEXT,
    st.lists(st.integers(), max_size=2),
)
TIMES = st.one_of(
    TEXT,
    st.integers(),
    st.builds(
        lambda hours, zone: (NOW + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S") + zone,
        st.integers(-20000, 2),
        st.sampled_from(["Z", "+02:00", "-23:59", "", ".5Z", ".1234567Z", f".{'1' * 300}Z"]),
    ),
)
KEYS = st.sampled_from(["seconds", "outcome", "reason", "other", "", "long-field-name"])
SENT = st.fixed_dictionaries(
    {"id": TEXT, "name": st.sampled_from(["cancel_finished", "exposure", "é", ""])},
    optional={
        "happened_at": TIMES | st.just("2026-03-02T11:00:00Z"),
        "units": VALUES | st.dictionaries(TEXT, TEXT | st.none(), max_size=3),
        "unit": VALUES,
        "fields": VALUES | st.dictionaries(KEYS, VALUES, max_size=4),
        "more": VALUES,
    },
)


@settings(max_examples=600, deadline=None)
@given(events=st.lists(SENT, max_size=2), ndjson=st.booleans(), ascii=st.booleans())
def test_both_ways_give_the_same_events(events, ndjson, ascii):  # noqa: A002 - json's own word
    limits = EventLimits(max_id=8, max_text=5, max_fields=3, clock_skew=timedelta(hours=1))
    lines = [json.dumps(event, ensure_ascii=ascii) for event in events]
    body = ("\n".join(lines) if ndjson else f"[{','.join(lines)}]").encode()
    read = quickly(body, limits, ndjson=ndjson)
    assert read is None or read == carefully(body, limits, ndjson=ndjson)
