"""A running experiment is extended: later ends, the same guarantee, and what is refused."""

from datetime import timedelta

import pytest

from experiments.errors import ConflictError, InvalidRequestError
from experiments.lifecycle import Move, State
from guardrails.extending import ends_at
from tests.engine_world import HOUR, SPEC, T, World
from tests.evidence_world import KEY, EventWorld

DAY = timedelta(days=1)


@pytest.fixture
def world():
    w = World()
    yield w
    w.engine.close()


def extend(world, **given):
    return world.engine.extend(
        "cancel-page", **{"reason": "a holiday fell into it", "actor": "ann", **given}
    )


def test_units_come_in_for_longer_and_are_watched_as_long_as_planned(world):
    done = extend(world, by=7 * DAY)
    view = world.engine.experiment("cancel-page")
    assert (view.ends_at, view.observe_until) == (T + 17 * DAY, T + 18 * DAY)
    assert (ends_at(done.before), ends_at(done.after)) == (T + 10 * DAY, T + 17 * DAY)
    assert (done.actor, done.reason, done.variant) == ("ann", "a holiday fell into it", None)
    told = world.engine.explain("cancel-page").paragraphs
    assert any("moved from" in said and "a holiday fell into it" in said for said in told)
    assert extend(world, until=T + 20 * DAY).after.endswith("2026-03-21T00:00:00+00:00")
    world.clock.move_to(T + 19 * DAY)
    world.engine.run_due()
    assert world.engine.experiment("cancel-page").state == "running"
    world.clock.move_to(T + 20 * DAY + HOUR)
    world.engine.run_due()
    assert world.engine.experiment("cancel-page").state == "observing"


def test_levels_windows_and_horizon_stay_those_of_the_file(world):
    before = world.engine.experiment("cancel-page").guardrails
    extend(world, by=30 * DAY)
    after = world.engine.experiment("cancel-page")
    assert [g.level for g in after.guardrails] == [g.level for g in before]
    assert (after.revision, after.seed) == (1, 1)


def test_another_revision_that_says_nothing_of_the_end_keeps_the_later_one(world):
    extend(world, by=7 * DAY)
    applied = world.engine.apply(
        SPEC.replace("title: A test", "title: Another"), source="spec.yaml", actor="ann"
    )
    view = world.engine.experiment("cancel-page")
    assert (view.ends_at, view.observe_until) == (T + 17 * DAY, T + 18 * DAY)
    assert not any("ends" in words for words in applied.words)


def test_a_paused_experiment_can_be_extended(world):
    world.engine.pause("cancel-page", reason="a sale", actor="ann")
    assert "extend" in world.engine.experiment("cancel-page").actions
    extend(world, by=DAY)
    assert world.engine.experiment("cancel-page").ends_at == T + 11 * DAY


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "say until when, or by how much"),
        ({"by": DAY, "until": T + 30 * DAY}, "say until when, or by how much"),
        ({"by": timedelta(0)}, "an end can only come later"),
        ({"until": T + 9 * DAY}, "ends at 2026-03-11 00:00 UTC: an end can only come later"),
        ({"by": 400 * DAY}, "at most 366 days at a time"),
        ({"until": T + 999 * DAY}, "at most 366 days at a time"),
        ({"by": timedelta(days=999_999_999)}, "at most 366 days at a time"),
        ({"by": DAY, "reason": " "}, "a reason is needed"),
    ],
)
def test_what_is_no_later_end_is_refused_and_changes_nothing(world, given, words):
    with pytest.raises(InvalidRequestError, match=words):
        extend(world, **given)
    assert world.engine.experiment("cancel-page").ends_at == T + 10 * DAY


def test_a_run_that_takes_nobody_in_any_more_is_not_extended_but_begun_anew(world):
    world.clock.move_to(T + 10 * DAY + HOUR)
    with pytest.raises(ConflictError, match="has come") as late:
        extend(world, by=DAY)
    assert "seed: 2" in late.value.hint
    world.engine.run_due()
    with pytest.raises(ConflictError, match="is observing: nobody new was let in") as over:
        extend(world, by=DAY)
    assert "seed: 2" in over.value.hint
    assert "extend" not in world.engine.experiment("cancel-page").actions


def test_a_draft_is_told_to_change_its_file():
    w = World(SPEC + "starts: manual\n")
    with pytest.raises(ConflictError, match="has not started") as refused:
        extend(w, by=DAY)
    assert "`ends`" in refused.value.hint
    w.engine.move("cancel-page", Move.START, reason="go", actor="ann")
    assert extend(w, by=DAY).experiment == "cancel-page"
    w.engine.close()


def test_decisions_after_an_extension_are_replayed_equal_beyond_the_planned_end(tmp_path):
    w = EventWorld(tmp_path)
    planned = w.engine.experiment(KEY).ends_at
    w.hours(2)
    w.engine.extend(KEY, by=10 * DAY, reason="a holiday", actor="ann")
    w.clock.move_to(planned)
    w.failing["treatment"] = 2
    w.hours(8)
    assert w.engine.experiment(KEY).state == State.RUNNING
    (back,) = w.transitions("rolled_back")
    assert back.at > planned
    replayed = w.engine.replay(f"t{back.id}", from_start=True)
    assert (replayed.verdict, replayed.differences) == ("equal", ())
    (extended,) = [t for t in w.engine.transitions(KEY) if t.after.startswith("ends ")]
    assert extended.actor == "ann"
    w.close()
