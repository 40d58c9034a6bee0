"""Where an experiment stood at an instant of the past is told from what was kept."""

from datetime import timedelta

import pytest

from experiments.errors import InvalidRequestError, UnknownExperimentError
from tests.engine_world import HOUR, SPEC, T, World
from tests.evidence_world import KEY, EventWorld


def past(w, hours):
    return w.engine.explain("cancel-page", at=T + timedelta(hours=hours))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A rollback, a resumption, a pause, a changed file, a suspension and a note."""
    w = World(url=f"sqlite:///{tmp_path_factory.mktemp('past') / 'c.db'}", treatment=0.3)
    w.hours(12)
    (back,) = w.rollbacks()
    w.turned = int((back.at - T) / HOUR)
    w.engine.resume("cancel-page", "treatment", reason="mended", actor="ann")
    w.store.rates["treatment"] = 0.1
    w.hours(2)  # 14
    w.engine.pause("cancel-page", reason="a sale", actor="bob")
    w.engine.note("cancel-page", "the sale of the year", actor="bob")
    w.hours(2)  # 16
    w.engine.move("cancel-page", "continue", reason="over", actor="bob")
    w.apply(SPEC.replace("title: A test", "title: Another"))
    w.engine.suspend(reason="the store moves", actor="eve")
    w.hours(4)  # 20
    w.engine = w.new_engine()
    return w


def test_before_the_first_check_it_ran_and_nothing_was_turned_back(world):
    told = past(world, 0.5)
    assert told.headline == (
        "On 2026-03-01 00:30 UTC cancel-page was running since 2026-03-01 00:00 UTC, by tester; "
        "no treatment was turned back."
    )
    assert "No check had run by then." in told.paragraphs
    assert told.evidence is None


def test_after_a_rollback_its_reason_and_its_id_are_told(world):
    told = past(world, world.turned)
    assert "treatment had been turned back to control" in told.headline
    assert "by turnback." in told.headline
    (back,) = world.rollbacks()
    assert told.paragraphs[0] == back.reason
    assert f"`turnback replay t{back.id}`" in told.paragraphs[1]
    assert told.evidence == back.evidence
    assert any("breach" in words and "decision f" in words for words in told.paragraphs)
    assert "turned back to control" not in past(world, world.turned - 0.5).headline


def test_after_it_was_resumed_it_ran_again_and_only_its_new_evidence_counts(world):
    told = past(world, 13)
    assert "no treatment was turned back" in told.headline
    assert not any("breach" in words for words in told.paragraphs)


def test_a_pause_is_told_with_who_and_when_and_the_notes_until_then(world):
    told = past(world, 15)
    assert told.headline == (
        "On 2026-03-01 15:00 UTC cancel-page was paused since 2026-03-01 14:00 UTC, by bob: "
        "everybody got control."
    )
    assert "Note of 2026-03-01 14:00 UTC by bob: the sale of the year" in told.paragraphs
    assert not any("Note of" in words for words in past(world, 13).paragraphs)


def test_the_file_then_and_the_suspension_then_are_told(world):
    assert any(w.startswith("Revision 1 of the file") for w in past(world, 15).paragraphs)
    late = past(world, 18).paragraphs
    assert any(words.startswith("Revision 2 of the file") for words in late)
    assert any("suspended since 2026-03-01 16:00 UTC, by eve" in words for words in late)
    assert not any("suspended" in words for words in past(world, 15).paragraphs)


def test_an_instant_before_it_was_there_or_still_to_come_is_refused(world):
    with pytest.raises(InvalidRequestError, match="was not there yet") as early:
        past(world, -1)
    assert "first file was applied on 2026-03-01 00:00 UTC" in early.value.hint
    with pytest.raises(InvalidRequestError, match="still to come"):
        past(world, 21)
    with pytest.raises(UnknownExperimentError):
        world.engine.explain("nobody", at=T)


def test_what_left_since_is_said_and_the_rest_is_told_alike(tmp_path):
    w = EventWorld(tmp_path)
    try:
        w.hours(3)
        at = T + 2 * HOUR
        before = w.engine.explain(KEY, at=at)
        w.store.forget("o1", now=w.clock.now())
        w.store.retain(T + HOUR, running=w.engine.frames(), now=w.clock.now())
        w.restart()
        after = w.engine.explain(KEY, at=at)
        assert after.headline == before.headline
        assert after.paragraphs[:-1] == before.paragraphs
        assert "of a unit that was forgotten" in after.paragraphs[-1]
        assert "by the retention of" in after.paragraphs[-1]
    finally:
        w.close()


def test_a_file_that_this_version_cannot_read_is_said_and_the_rest_is_told(tmp_path):
    w = EventWorld(tmp_path)
    try:
        w.hours(2)
        w.change("UPDATE revision SET text = 'nothing'")
        words = w.engine.explain(KEY, at=T + HOUR)
    finally:
        w.close()
    assert any("cannot read it any more" in each for each in words.paragraphs)
    assert any(each.startswith("satisfaction of treatment: ") for each in words.paragraphs)
