"""The engine is suspended and woken by hand or by the setting; every change of that is kept."""

import pytest

from experiments.errors import ConflictError, InvalidRequestError
from tests.engine_world import HOUR, T, World

WHY = {"reason": "the store moves", "actor": "ann"}


def told(w):
    return [(s.suspended, s.actor, s.reason) for s in w.engine.suspension().history]


def test_a_suspended_engine_acts_on_nothing_until_a_person_ends_it(tmp_path):
    w = World(url=f"sqlite:///{tmp_path / 'c.db'}", treatment=0.3)
    view = w.engine.suspend(**WHY)
    assert view.suspended
    w.hours(12)
    assert w.rollbacks() == []
    assert any(
        words.startswith("the engine is suspended since 2026-03-01 00:00 UTC by ann (the store")
        and "`turnback suspend --off --reason" in words
        for words in w.view().attention
    )
    w.engine = w.new_engine()  # a restart changes nothing
    assert w.engine.suspension().suspended
    w.engine.suspend(on=False, reason="moved", actor="bob")
    assert told(w) == [(True, "ann", "the store moves"), (False, "bob", "moved")]
    w.store.rates["treatment"] = 0.5
    w.hours(24)
    assert len(w.rollbacks()) == 1
    assert not any("suspended" in words for words in w.view().attention)


def test_what_is_so_already_is_refused():
    w = World()
    with pytest.raises(ConflictError, match="is not suspended"):
        w.engine.suspend(on=False, **WHY)
    w.engine.suspend(**WHY)
    with pytest.raises(ConflictError, match="since 2026-03-01 00:00 UTC by ann already"):
        w.engine.suspend(**WHY)
    with pytest.raises(InvalidRequestError, match="a reason is needed"):
        w.engine.suspend(on=False, reason=" ", actor="ann")
    assert len(told(w)) == 1


def test_the_setting_suspends_and_a_start_without_it_ends_that():
    w = World()
    w.engine = w.new_engine(suspended=True)
    w.engine.begin()
    w.engine.begin()
    assert w.engine.suspension().by_setting
    with pytest.raises(ConflictError, match="TURNBACK_SUSPEND=1") as refused:
        w.engine.suspend(on=False, **WHY)
    assert refused.value.hint == "start it without TURNBACK_SUSPEND"
    w.engine = w.new_engine()
    w.engine.begin()
    assert [(on, who) for on, who, _ in told(w)] == [
        (True, "TURNBACK_SUSPEND"),
        (False, "TURNBACK_SUSPEND"),
    ]
    assert not w.engine.suspension().suspended


def test_a_start_does_not_end_what_a_person_suspended():
    w = World()
    w.engine.suspend(**WHY)
    w.engine = w.new_engine()
    w.engine.begin()
    assert w.engine.suspension().suspended


def test_a_draft_is_not_started_by_the_clock_meanwhile():
    w = World()
    w.engine.suspend(**WHY)
    text = "experiment: later\nstarts: 2026-03-01T02:00Z\n"
    from tests.engine_world import SPEC

    w.apply(SPEC.replace("experiment: cancel-page\n", text))
    w.hours(3)
    assert w.engine.experiment("later").state == "draft"
    w.engine.suspend(on=False, **WHY)
    w.hours(1)
    assert w.engine.experiment("later").state == "running"


def test_a_note_is_on_the_timeline_and_changes_nothing():
    w = World()
    w.engine.pause("cancel-page", reason="a sale", actor="ann")
    w.clock.move_to(T + HOUR)
    noted = w.engine.note("cancel-page", "the sale lasts", actor="bob")
    assert (noted.before, noted.after, noted.actor) == ("paused", "note", "bob")
    view = w.view()
    assert view.state == "paused"
    assert view.transitions[-1].reason == "the sale lasts"
    words = w.engine.explain("cancel-page").paragraphs
    assert "Note of 2026-03-01 01:00 UTC by bob: the sale lasts" in words
    assert "since 2026-03-01 00:00 UTC, by ann" in w.engine.explain("cancel-page").headline
    w.engine.stop("cancel-page", reason="over", actor="ann")
    w.engine.note("cancel-page", "what we learned", actor="bob")
    with pytest.raises(InvalidRequestError, match="the note is empty"):
        w.engine.note("cancel-page", " ", actor="bob")
