"""Failpoints: off unless asked for, refused where others can reach the service."""

import os

import pytest
from pydantic import ValidationError

import service
from guardrails import failpoints
from guardrails.failpoints import Point, arm, fuse, reached, watched


@pytest.fixture
def killed(monkeypatch):
    kills = []
    monkeypatch.setattr(failpoints.os, "kill", lambda pid, how: kills.append((pid, how)))
    yield kills
    arm(None)


def test_a_step_that_nobody_waits_for_does_nothing(killed):
    for point in Point:
        reached(point)
    assert killed == []


def test_the_process_is_killed_the_first_time_or_the_nth_and_only_there(killed):
    arm("committed")
    reached(Point.DUE)
    assert killed == []
    reached(Point.COMMITTED)
    assert killed == [(os.getpid(), 9)]
    killed.clear()
    arm("committed:3")
    for expected in (0, 0, 1, 1):
        reached(Point.COMMITTED)
        assert len(killed) == expected


def test_whoever_watches_meets_every_step_and_no_longer_than_the_block():
    met = []
    with watched(met.append):
        reached(Point.DUE)
    reached(Point.COMMITTED)
    assert met == [Point.DUE]


@pytest.mark.parametrize("text", ["", "nowhere", "committed:", "committed:0", "committed:x"])
def test_an_unknown_step_is_refused_with_those_there_are(text):
    with pytest.raises(ValueError, match="committed"):
        fuse(text)
    with pytest.raises(ValidationError, match="committed"):
        service.Settings(failpoint=text)


def test_a_service_that_others_reach_refuses_a_failpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("TURNBACK_FAILPOINT", "committed")
    settings = service.Settings(data=tmp_path / "x", host="0.0.0.0", admin_key="a")  # noqa: S104 - refused
    with pytest.raises(service.SettingsError, match="meant to be killed") as refused:
        service.build(settings)
    assert "TURNBACK_FAILPOINT" in refused.value.hint
    assert not (tmp_path / "x").exists()
