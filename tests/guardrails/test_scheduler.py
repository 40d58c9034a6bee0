"""The bell rings in threads; what is slow is waited for, not written about."""

import threading
from datetime import timedelta

from apscheduler.events import EVENT_JOB_MAX_INSTANCES

from guardrails.scheduler import Bell


def test_a_ring_that_takes_long_is_not_overlapped_and_fills_no_log(caplog):
    begun, go_on, left_out = threading.Event(), threading.Event(), threading.Event()
    rung = []

    def slow():
        rung.append(1)
        begun.set()
        go_on.wait(30)

    bell = Bell({"check": (timedelta(milliseconds=5), slow)})
    bell._scheduler.add_listener(lambda _: left_out.set(), EVENT_JOB_MAX_INSTANCES)
    bell.start()
    try:
        assert begun.wait(30)
        assert left_out.wait(30)  # a second ring was due, and was left out
        assert rung == [1]
    finally:
        go_on.set()
        bell.close()
    assert caplog.text == ""


def test_a_job_that_fails_is_in_the_log_and_rings_again(caplog):
    again = threading.Event()
    rung = []

    def broken():
        rung.append(1)
        if len(rung) > 1:
            again.set()
        raise ValueError("the disk is full")

    bell = Bell({"check": (timedelta(milliseconds=5), broken)})
    bell.start()
    try:
        assert again.wait(30)
    finally:
        bell.close()
    assert "check failed; it is tried again at the next ring" in caplog.text
