"""What is too old leaves once a day, and never without knowing which experiments run."""

from datetime import UTC, datetime, timedelta

import pytest

from guardrails.clock import SteppedClock
from guardrails.upkeep import Upkeep
from metrics.store import StoreError
from metrics.stores import MemoryMetricStore
from tests.running import SPEC, running
from tests.support import START, at, event, exposed, frame_of, put

FRAME = frame_of("flow_failure_rate")


@pytest.fixture
def clock():
    return SteppedClock(START + timedelta(days=10, hours=7))


@pytest.fixture
def store():
    kept = MemoryMetricStore()
    put(kept, exposed(1), event("f", "flow_failed", 1.5), exposed(26, "o2"))
    return kept


def test_what_is_older_than_the_retention_leaves_once_a_day(store, clock):
    upkeep = Upkeep(store, lambda: [FRAME], clock, timedelta(days=9, hours=6))
    assert upkeep.run_due().events == 2
    clock.move_to(START + timedelta(days=10, hours=23))
    assert upkeep.run_due() is None
    clock.move_to(START + timedelta(days=11))
    assert upkeep.run_due().events == 1
    reach = store.snapshot(FRAME, now=clock.now()).reach["control"]
    assert (reach.exposed, reach.events) == (2, 1)


def test_what_failed_is_tried_again_at_the_next_ring(store, clock):
    answers = [StoreError("the disk is gone"), [FRAME]]

    def frames():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    upkeep = Upkeep(store, frames, clock, timedelta(days=9))
    with pytest.raises(StoreError):
        upkeep.run_due()
    assert store.erasures() == ()  # nothing leaves while it is not known what runs
    assert upkeep.run_due().events == 3


def test_the_engine_knows_the_frames_of_the_experiments_that_run():
    with running() as it:
        assert it.services.engine.frames() == ()
        it.apply(SPEC)
        (frame,) = it.services.engine.frames()
        assert (frame.experiment, frame.seed, frame.unit) == ("cancel-page", 1, "order_id")
        it.act("stop")
        assert it.services.engine.frames() == ()


@pytest.mark.parametrize("given", ["12h", "90", "soon", "0d"])
def test_a_retention_that_makes_no_sense_is_refused(given, monkeypatch):
    import service

    monkeypatch.setenv("TURNBACK_RETAIN", given)
    with pytest.raises(ValueError, match="a day or more, written like 90d"):
        service.Settings()


def test_one_setting_says_what_is_refused_and_what_is_removed(monkeypatch, tmp_path):
    import service

    monkeypatch.setenv("TURNBACK_RETAIN", "90d")
    settings = service.Settings(data=tmp_path)
    assert settings.retain == timedelta(days=90)
    old = (datetime.now(UTC) - timedelta(days=91)).isoformat()
    with running(retain=settings.retain, demo=False) as it:
        body = [{"id": "a", "name": "flow_failed", "happened_at": old, "unit": "o1"}]
        (refused,) = it.http.post("/api/v1/events", json=body).json()["rejected"]
        assert refused["code"] == "too_late"
        jobs = it.services.guarding._bell._scheduler.get_jobs()
        assert {job.id for job in jobs} >= {"retention", "totals"}
    assert at(0) == START
