"""What is too old leaves once a day, and never without knowing which experiments run."""

from datetime import UTC, datetime, timedelta

import pytest

from console.client import ServiceClient
from console.commands.watch import status
from guardrails.clock import SteppedClock
from guardrails.upkeep import Upkeep
from metrics.store import StoreError
from metrics.stores import STORES, MemoryMetricStore
from tests.running import SPEC, running
from tests.support import LATE, START, at, event, exposed, frame_of, put

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


def received(store, day, name):
    store.append([exposed(24 * day, name)], received_at=START + timedelta(days=day))


@pytest.mark.parametrize("engine", sorted(STORES))
@pytest.mark.parametrize("received_meanwhile", [False, True])
def test_a_clock_that_jumps_ahead_removes_nothing(
    engine, received_meanwhile, tmp_path, clock, caplog
):
    kept = STORES[engine](str(tmp_path / "store.duckdb"))
    for day in range(10):
        received(kept, day, f"o{day}")
    upkeep = Upkeep(kept, lambda: [FRAME], clock, timedelta(days=20))
    assert upkeep.run_due().events == 0
    before = clock.now()
    clock.move_to(before + timedelta(days=3000))
    if received_meanwhile:
        received(kept, 3010, "odd")
    assert upkeep.run_due().events == 0
    assert "the clock says 2034" in caplog.text
    upkeep._clock = SteppedClock(before)
    received(kept, 10, "late")  # the horizon did not move either
    assert kept.watermark() == 11 + received_meanwhile
    assert upkeep.run_due().events == 0  # a day of a clock gone wrong counts for nothing
    kept.close()


@pytest.mark.parametrize("engine", sorted(STORES))
def test_after_a_long_silence_the_clock_is_believed_once_events_came_for_two_days(
    engine, tmp_path, clock
):
    kept = STORES[engine](str(tmp_path / "store.duckdb"))
    received(kept, 0, "old")
    upkeep = Upkeep(kept, list, clock, timedelta(days=9))
    assert upkeep.run_due().events == 0
    for day in range(50, 54):
        received(kept, day, f"o{day}")
    clock.move_to(START + timedelta(days=54))
    assert upkeep.run_due().events == 1
    kept.close()


def test_a_store_without_events_is_left_alone(clock):
    assert Upkeep(MemoryMetricStore(), list, clock, timedelta(days=9)).run_due() is None


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


def test_what_is_odd_about_the_clock_needs_attention_in_status_and_page(capsys):
    """The log alone would be read by nobody: it is told where people look."""
    with running(demo=False) as it:
        it.apply(SPEC)
        now = datetime.now(UTC)
        it.services.store.append([exposed(1)], received_at=now - timedelta(days=10))
        jobs = it.services.guarding._bell._scheduler.get_jobs()
        (look,) = [job.func for job in jobs if job.id == "retention"]
        look()
        view = it.http.get("/api/v1/experiments/cancel-page").json()
        (words,) = [each for each in view["attention"] if "the clock says" in each]
        assert "If the clock is right, this ends once events have come for two days" in words
        for page in ("/", "/experiments/cancel-page"):
            assert "the clock says" in it.http.get(page).text.lower()
        with ServiceClient(it.url) as client:
            status("cancel-page", client=client, as_json=False)
        assert "! the clock says" in capsys.readouterr().out
        explained = it.http.get("/api/v1/experiments/cancel-page/explain").json()
        assert "the clock says" in " ".join(explained["paragraphs"])
        it.act("stop")
        view = it.http.get("/api/v1/experiments/cancel-page").json()
        assert not [each for each in view["attention"] if "the clock says" in each]


def test_attention_ends_when_the_clock_is_believed_again(store, clock):
    upkeep = Upkeep(store, lambda: [FRAME], clock, timedelta(days=9))
    clock.move_to(LATE + timedelta(days=30))
    upkeep.run_due()
    assert [words[:14] for words in upkeep.attention()] == ["the clock says"]
    upkeep.run_due()  # done for today: it stays true
    assert upkeep.attention()
    upkeep._clock = SteppedClock(LATE)
    upkeep.run_due()
    assert upkeep.attention() == ()


def test_a_removal_that_fails_needs_attention_until_it_is_done(store, clock):
    answers = [StoreError("the disk is gone"), []]

    def frames():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    upkeep = Upkeep(store, frames, clock, timedelta(days=9))
    with pytest.raises(StoreError):
        upkeep.run_due()
    assert upkeep.attention() == ("events older than 9d could not be removed: the disk is gone",)
    upkeep.run_due()
    assert upkeep.attention() == ()
