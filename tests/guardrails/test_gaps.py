from datetime import UTC, datetime, timedelta

from guardrails.clock import SteppedClock
from guardrails.gaps import Gaps
from guardrails.views import CheckReport

T = datetime(2026, 3, 1, tzinfo=UTC)


def report(missed, at=T):
    return CheckReport("exp", at, "ok", "", (), 0.1, missed)


def test_a_gap_of_three_checks_is_told_for_a_day_and_a_shorter_one_is_not():
    clock = SteppedClock(T)
    gaps = Gaps(clock)
    gaps.on_check(report(2))
    assert gaps.attention() == ()
    gaps.on_check(report(10))
    gaps.on_check(report(0, T + timedelta(minutes=1)))
    (told,) = gaps.attention()
    assert told.startswith("10 checks of exp were due before 2026-03-01 00:00 UTC and none ran")
    clock.move_to(T + timedelta(days=1))
    assert gaps.attention() == ()
