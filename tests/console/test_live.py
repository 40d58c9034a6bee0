"""Open pages are told at once when something changed, and let the service stop."""

import time

import pytest

from tests.running import running


@pytest.fixture(scope="module")
def it():
    with running() as service:
        service.apply()
        yield service


def events(answer):
    for line in answer.iter_lines():
        if line.startswith("id: "):
            yield line.removeprefix("id: ")


def test_a_stream_tells_of_a_rollback_and_of_a_check(it):
    with it.http.stream("GET", "/live") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = events(answer)
        first = next(told)
        began = time.perf_counter()
        it.act("roll_back", variant="treatment")
        second = next(told)
        assert second != first
        assert time.perf_counter() - began < 10
        it.http.post("/api/v1/demo/clock", json={"to": "2026-01-05T02:00:00Z"})
        assert next(told) not in {first, second}


def test_a_page_that_knows_the_newest_is_not_told_again(it):
    newest = it.services.engine.activity()
    with it.http.stream("GET", "/live", headers={"Last-Event-ID": newest}) as answer:
        it.services.engine.note("cancel-page", "a note", actor="ann")
        assert next(events(answer)) != newest


def test_the_service_stops_although_pages_are_open():
    with running() as it:
        stream = it.http.stream("GET", "/live")
        answer = stream.__enter__()
        assert answer.status_code == 200
        began = time.perf_counter()
    # the service is stopped by the end of the block, whoever still reads
    assert time.perf_counter() - began < 10
