"""Instants of a spec file: always with their zone, or the file says what to write."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.language.instants import format_instant, parse_instant
from guardrails.spec_file import SpecError, load_spec

BASE = """\
experiment: coupon-reminder
unit: order_id
variants: {control: {weight: 50%}, reminder: {weight: 50%}}
guardrails: [{kpi: satisfaction, max_drop: 3%}]
ends: {after: 7d}
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-12-01T09:00Z", datetime(2026, 12, 1, 9, tzinfo=UTC)),
        ("2026-12-01T09:00:30Z", datetime(2026, 12, 1, 9, 0, 30, tzinfo=UTC)),
        ("2026-12-01T09:00+01:00", datetime(2026, 12, 1, 8, tzinfo=UTC)),
        ("2026-12-01T00:30+14:00", datetime(2026, 11, 30, 10, 30, tzinfo=UTC)),
        ("2024-02-29T00:00-03:30", datetime(2024, 2, 29, 3, 30, tzinfo=UTC)),
    ],
)
def test_an_instant_with_its_zone_is_read_as_utc(text, expected):
    assert parse_instant(text) == expected
    assert parse_instant(text).utcoffset() == timedelta(0)
    assert load_spec(f"{BASE}starts: {text}\n").experiment.starts == expected


@pytest.mark.parametrize(
    "text",
    [
        *("2026-12-01", "2026-12-01T09:00", "2026-12-01 09:00Z", "2026-12-01T9:00Z", "", "now"),
        *("2026-12-01T24:00Z", "2026-12-01T23:60Z", "2026-12-01T23:59:60Z", "2025-02-29T00:00Z"),
        *("1999-12-31T23:59Z", "2100-01-01T00:00Z", "2026-12-01T09:00+14:01", "2026-12-01T09:00z"),
        *(
            "2026-12-01T09:00:00.5Z",
            "2026-12-01T09:00+1:00",
            "20261201T090000Z",
            "2026-W49-2T09:00Z",
        ),
        *("\u0662026-12-01T09:00Z", "2026-12-01T09:00Z ", "2026-12-01T09:00 Europe/Berlin"),
    ],
)
def test_everything_else_is_none_and_refused_with_a_proposal(text):
    assert parse_instant(text) is None
    if text.strip() == text:
        with pytest.raises(SpecError) as caught:
            load_spec(f"{BASE}starts: '{text}'\n")
        (problem,) = caught.value.problems
        assert problem.path == "starts"
        assert problem.hint


@pytest.mark.parametrize(
    ("text", "proposal"),
    [
        ("2026-12-01", "2026-12-01T09:00Z"),
        ("2026-12-01T09:30", "2026-12-01T09:30Z if it is in UTC"),
        ("2026-12-01 9:30", "2026-12-01T09:30Z if it is in UTC"),
        ("2026-12-01 09:30:15 +0530", "2026-12-01T09:30:15+05:30"),
        ("2026-12-01 09:30 UTC", "2026-12-01T09:30Z"),
        ("2026-12-01T09:30:00.000Z", "2026-12-01T09:30:00Z"),
    ],
)
def test_what_is_proposed_can_be_read(text, proposal):
    with pytest.raises(SpecError) as caught:
        load_spec(f"{BASE}starts: '{text}'\n")
    assert proposal in caught.value.problems[0].hint
    assert parse_instant(proposal.partition(" ")[0]) is not None


@given(
    st.integers(946_900_000, 4_102_200_000),
    st.integers(-14 * 60, 14 * 60),
)
def test_what_is_written_reads_back(seconds, minutes):
    instant = datetime.fromtimestamp(seconds, timezone(timedelta(minutes=minutes)))
    assert parse_instant(format_instant(instant)) == instant
    assert parse_instant(instant.isoformat().replace("+00:00", "Z")) == instant
