"""The past is counted again from the log, whatever was counted since."""

from contextlib import closing
from dataclasses import replace

import pytest

from metrics.store import AsOf, EventsGoneError
from tests.support import ENGINES, LATE, at, event, exposed, frame_of, put

FRAME = frame_of("flow_failure_rate", "satisfaction")


@pytest.fixture(params=sorted(ENGINES))
def store(request, tmp_path):
    opened = ENGINES[request.param](str(tmp_path / "store.duckdb"))
    yield opened
    opened.close()


def filled(store):
    put(store, exposed(1), event("f1", "flow_failed", 1.5))
    put(store, exposed(2, "o2", "treatment"), event("s1", "satisfaction_rated", 3, "o2", score=4))
    put(store, exposed(26, "o3"), event("f2", "flow_failed", 26.5, "o3"))


def replayed(store, *asked):
    with closing(store.replay(asked)) as answers:
        return list(answers)


def test_each_answer_is_the_one_that_was_given_then(store):
    asked, given = [], []
    for part in (
        [exposed(1), event("f1", "flow_failed", 1.5)],
        [exposed(2, "o2", "treatment"), event("s1", "satisfaction_rated", 3, "o2", score=4)],
        [exposed(26, "o3"), event("f2", "flow_failed", 26.5, "o3")],
    ):
        put(store, *part)
        now = at(4 + 24 * len(asked))
        asked.append(AsOf(FRAME, now, store.watermark()))
        given.append(store.snapshot(FRAME, now=now))
    assert replayed(store, *asked) == given
    assert replayed(store, *asked[::-1]) == given[::-1]
    assert store.snapshot(FRAME, now=LATE).watermark == store.watermark()


def test_another_frame_in_between_changes_nothing(store):
    filled(store)
    later = replace(FRAME, phases=(at(25),))
    asked = [AsOf(FRAME, LATE, 4), AsOf(later, LATE, 6), AsOf(FRAME, LATE, 6)]
    given = [store.snapshot(a.frame, now=a.now, as_of=a.seq) for a in asked]
    assert replayed(store, *asked) == given


def test_it_says_what_a_retention_has_removed_and_goes_on_from_what_was_carried_over(store):
    filled(store)
    before = store.snapshot(FRAME, now=LATE)
    store.retain(at(24), running=[FRAME], now=LATE)
    assert replayed(store, AsOf(FRAME, LATE, 6)) == [before]
    with pytest.raises(EventsGoneError, match="as of event 4"):
        replayed(store, AsOf(FRAME, LATE, 4))


def test_events_come_in_while_the_past_is_counted(store):
    filled(store)
    with closing(store.replay([AsOf(FRAME, LATE, 2), AsOf(FRAME, LATE, 6)])) as answers:
        next(answers)
        put(store, exposed(30, "o4"))
        assert next(answers) == store.snapshot(FRAME, now=LATE, as_of=6)
