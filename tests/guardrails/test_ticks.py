from datetime import UTC, datetime, timedelta

import pytest

from guardrails.ticks import Tick, due_tick, floor_to

MINUTE = timedelta(minutes=1)
T = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)


def test_an_instant_is_floored_to_the_interval_from_1970():
    assert floor_to(T + timedelta(seconds=59.9), MINUTE) == T
    assert floor_to(T, timedelta(hours=1)) == T
    assert floor_to(T + timedelta(hours=13), timedelta(days=1)) == datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("last", "now", "expected"),
    [
        pytest.param(None, 0.5, None, id="nothing is due within the first interval"),
        pytest.param(None, 1.2, Tick(T + MINUTE, missed=0), id="the first tick"),
        pytest.param(1, 1.9, None, id="a tick is recorded once"),
        pytest.param(1, 2.0, Tick(T + 2 * MINUTE, missed=0), id="the next tick, on time"),
        pytest.param(
            1, 7.5, Tick(T + 7 * MINUTE, missed=5), id="late ticks collapse to the newest"
        ),
        pytest.param(None, 4.0, Tick(T + 4 * MINUTE, missed=3), id="missed since the start"),
        pytest.param(9, 3.0, None, id="a clock that went back makes nothing due"),
    ],
)
def test_due_ticks_are_named_once_and_gaps_are_counted(last, now, expected):
    before = None if last is None else T + last * MINUTE
    assert due_tick(before, T + now * MINUTE, MINUTE, started=T) == expected
