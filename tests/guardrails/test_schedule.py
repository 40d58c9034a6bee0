from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from experiments.spec import MANUAL, Ends, Freeze
from guardrails.schedule import frozen, span_from, span_of_draft, too_late, waits
from guardrails.spec_file import load_spec
from tests.engine_world import SPEC

T = datetime(2026, 3, 2, 9, tzinfo=UTC)  # a Monday
DAY = timedelta(days=1)
PLAIN = load_spec(SPEC).experiment


def spec(**changes):
    return replace(PLAIN, **changes)


@pytest.mark.parametrize(
    ("starts", "draft"),
    [
        pytest.param(None, False, id="nothing said starts now"),
        pytest.param(MANUAL, True, id="by hand waits"),
        pytest.param(T + DAY, True, id="tomorrow waits"),
        pytest.param(T, False, id="this instant starts"),
        pytest.param(T - DAY, False, id="the past starts now"),
    ],
)
def test_a_file_that_starts_later_or_by_hand_waits(starts, draft):
    assert waits(spec(starts=starts), T) is draft


def test_a_run_ends_a_length_after_its_real_start_or_at_the_instant_named():
    after = span_from(spec(ends=Ends(10 * DAY)), T + DAY, observed=2 * DAY)
    assert (after.started_at, after.ends_at) == (T + DAY, T + 11 * DAY)
    assert after.observe_until == T + 13 * DAY
    at = span_from(spec(ends=Ends(10 * DAY, at=T + 10 * DAY)), T + DAY, observed=2 * DAY)
    assert (at.ends_at, at.observe_until) == (T + 10 * DAY, T + 12 * DAY)


def test_a_draft_shows_what_is_planned_and_one_by_hand_has_no_start():
    planned = spec(starts=T + 3 * DAY, ends=Ends(10 * DAY))
    draft = span_of_draft(planned, T, observed=DAY, by_hand=False)
    assert (draft.starts_at, draft.ends_at) == (T + 3 * DAY, T + 13 * DAY)
    assert span_of_draft(planned, T, observed=DAY, by_hand=True).starts_at is None
    assert span_of_draft(spec(starts=MANUAL), T, observed=DAY, by_hand=False).starts_at is None


def test_an_end_that_has_passed_is_too_late_to_start():
    named = spec(ends=Ends(DAY, at=T + DAY))
    assert not too_late(named, T)
    assert too_late(named, T + DAY)
    assert not too_late(spec(ends=Ends(DAY)), T + 9 * DAY)


SPAN = Freeze(start=T, stop=T + DAY, why="holidays")
WEEKEND = Freeze(days=frozenset({4, 5, 6}), zone="Europe/Berlin", why="no releases")


@pytest.mark.parametrize(
    ("freezes", "hours", "until", "why"),
    [
        pytest.param([SPAN], 0, T + DAY, "holidays", id="from its first instant"),
        pytest.param([SPAN], 24, None, None, id="not at its end"),
        pytest.param([SPAN], -1, None, None, id="not before"),
        pytest.param(
            [SPAN, Freeze(start=T + DAY, stop=T + 2 * DAY)],
            1,
            T + 2 * DAY,
            "holidays",
            id="spans that touch are one",
        ),
        pytest.param(
            [WEEKEND],
            24 * 4,
            datetime(2026, 3, 8, 23, tzinfo=UTC),
            "no releases",
            id="days end at midnight of their zone",
        ),
        pytest.param(
            [WEEKEND],
            24 * 3 + 14,
            datetime(2026, 3, 8, 23, tzinfo=UTC),
            "no releases",
            id="and begin there: Thursday 23:00 UTC is Friday in Berlin",
        ),
        pytest.param([WEEKEND], 24 * 3 + 13, None, None, id="an hour earlier it is Thursday"),
        pytest.param(
            [Freeze(days=frozenset(range(7)), why="for ever")], 1, "never", "for ever", id="always"
        ),
    ],
)
def test_a_freeze_says_until_when_and_why(freezes, hours, until, why):
    found = frozen(freezes, T + timedelta(hours=hours))
    if why is None:
        assert found is None
    else:
        assert found is not None
        assert (found.until, found.why) == (None if until == "never" else until, why)


def test_a_freeze_over_the_change_of_clocks_ends_at_midnight_all_the_same():
    # clocks go forward in Berlin on Sunday, 29 March 2026
    found = frozen([WEEKEND], datetime(2026, 3, 28, 12, tzinfo=UTC))
    assert found is not None
    assert found.until == datetime(2026, 3, 29, 22, tzinfo=UTC)
