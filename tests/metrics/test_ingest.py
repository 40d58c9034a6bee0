"""Group commit acknowledges only what is durable, and outlives a failing store."""

import threading
from datetime import UTC, datetime

import pytest

from metrics.events import Event
from metrics.ingest import Ingest, QueueFullError
from metrics.store import Appended, StoreError
from metrics.stores import DuckDBMetricStore, MemoryMetricStore

NOW = datetime(2026, 3, 2, tzinfo=UTC)
WAIT = 20


def events(*ids, hour=0):
    return [Event(i, "page_viewed", NOW.replace(hour=hour), {"order_id": i}, {}) for i in ids]


class Gated:
    """A store whose appends wait until they are let through, and fail on demand."""

    def __init__(self):
        self.inner = MemoryMetricStore()
        self.gate = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)
        self.batches = []
        self.error = None

    def append(self, batch, *, received_at):
        self.entered.release()
        assert self.gate.acquire(timeout=WAIT)
        self.batches.append([event.id for event in batch])
        if self.error is not None:
            raise self.error
        return self.inner.append(batch, received_at=received_at)


@pytest.fixture
def gated():
    return Gated()


@pytest.fixture
def ingest(gated):
    made = Ingest(gated, clock=lambda: NOW, capacity_events=10, group_events=6)
    yield made
    gated.gate.release(1000)
    made.close()


def busy(ingest, gated):
    """Submit one event and return its future once the writer is inside the store."""
    future = ingest.submit(events("first"))
    assert gated.entered.acquire(timeout=WAIT)
    return future


def test_nothing_is_acknowledged_before_the_commit(ingest, gated):
    future = busy(ingest, gated)
    assert not future.done()
    assert ingest.queued == 1
    gated.gate.release()
    assert future.result(WAIT).accepted == 1
    assert gated.inner.watermark() == 1


def test_batches_that_wait_become_one_write_with_an_answer_each(ingest, gated):
    busy(ingest, gated)
    one = ingest.submit(events("a", "b"))
    two = ingest.submit(events("b", "c"))
    three = ingest.submit(events("d") + events("a", hour=1))
    gated.gate.release(2)
    assert one.result(WAIT) == Appended(2, 0, (), 5)
    assert two.result(WAIT) == Appended(1, 1, (), 5, (0,))
    answer = three.result(WAIT)
    assert (answer.accepted, answer.duplicates) == (1, 0)
    assert [(rejection.index, rejection.code) for rejection in answer.rejected] == [
        (1, "id_reused")
    ]
    assert gated.batches == [["first"], ["a", "b", "b", "c", "d", "a"]]


def test_a_full_queue_says_when_to_try_again_and_keeps_nothing(ingest, gated):
    busy(ingest, gated)
    ingest.submit(events(*"abcdefgh"))
    with pytest.raises(QueueFullError) as caught:
        ingest.submit(events("x", "y"))
    assert isinstance(caught.value.retry_after, int)
    assert 1 <= caught.value.retry_after <= 60
    assert ingest.queued == 9
    ingest.submit(events("z"))
    gated.gate.release(10)
    ingest.flush()
    assert "x" not in {event_id for batch in gated.batches for event_id in batch}


def test_a_batch_larger_than_the_queue_goes_in_alone(ingest, gated):
    gated.gate.release(10)
    assert ingest.submit(events(*map(str, range(50)))).result(WAIT).accepted == 50


def test_a_failing_store_acknowledges_nothing_and_the_writer_goes_on(ingest, gated):
    gated.error = StoreError("disk full")
    first = busy(ingest, gated)
    second = ingest.submit(events("a"))
    gated.gate.release(2)
    for future in (first, second):
        with pytest.raises(StoreError, match="disk full"):
            future.result(WAIT)
    (said,) = ingest.attention()
    assert said == "events are refused since 2026-03-02 00:00 UTC: disk full"
    gated.error = None
    gated.gate.release()
    assert ingest.submit(events("a")).result(WAIT).accepted == 1
    assert ingest.attention() == ()
    assert gated.inner.watermark() == 1
    assert ingest.queued == 0


def test_an_unexpected_failure_is_a_store_error_too(ingest, gated):
    gated.error = RuntimeError("engine broke")
    future = busy(ingest, gated)
    gated.gate.release()
    with pytest.raises(StoreError, match="engine broke"):
        future.result(WAIT)


def test_a_cancelled_batch_is_not_written(ingest, gated):
    busy(ingest, gated)
    cancelled, kept = ingest.submit(events("a")), ingest.submit(events("b"))
    assert cancelled.cancel()
    gated.gate.release(2)
    assert kept.result(WAIT).accepted == 1
    assert gated.batches == [["first"], ["b"]]
    assert ingest.queued == 0


def test_close_writes_what_is_queued_and_then_refuses(ingest, gated):
    busy(ingest, gated)
    waiting = ingest.submit(events("a"))
    gated.gate.release(10)
    ingest.close()
    ingest.close()
    assert waiting.result(0).accepted == 1
    with pytest.raises(StoreError, match="closed"):
        ingest.submit(events("b"))


def test_an_empty_batch_is_acknowledged(ingest, gated):
    gated.gate.release()
    assert ingest.submit([]).result(WAIT).accepted == 0


def test_many_threads_and_repeats_are_counted_once(tmp_path):
    store = DuckDBMetricStore(tmp_path / "s.duckdb")
    ingest = Ingest(store, clock=lambda: NOW)

    def send(thread):
        answers = []
        for batch in range(20):
            ids = [f"{thread % 2}-{batch}-{n}" for n in range(10)]
            answers.append(ingest.submit(events(*ids)).result(WAIT))
        results[thread] = answers

    results = {}
    threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ingest.close()
    answers = [answer for thread in results.values() for answer in thread]
    assert sum(answer.accepted for answer in answers) == 400 == store.watermark()
    assert sum(answer.duplicates for answer in answers) == 400
    store.close()
