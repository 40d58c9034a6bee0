"""What is kept of a rollback stays readable: after a restart, a resumption, a new seed, retention."""

from datetime import timedelta

import pytest

from experiments.errors import InvalidRequestError, UnknownExperimentError
from guardrails.evidence_rows import UnknownDecisionError
from guardrails.outcome import Outcome
from guardrails.rollback_reading import NoRollbackError
from guardrails.rollback_views import ClientsSeen, Since
from tests.engine_world import HOUR
from tests.evidence_world import KEY, SPEC, EventWorld

HARMED = SPEC.replace("title: A test", "title: A test\nowner: ann@example.com")


@pytest.fixture
def world(tmp_path):
    w = EventWorld(tmp_path, HARMED, treatment=3)
    w.hours(6)
    yield w
    w.close()


def id_of(w):
    return f"t{w.transitions('rolled_back')[-1].id}"


def lasting(story):
    """Return what of a story must never change."""
    return (
        story.transition,
        story.title,
        story.owner,
        story.attempt,
        story.seed,
        story.variants,
        story.counted_at,
        repr(story.guardrail and (story.guardrail.windows, story.guardrail.limit)),  # nan is nan
        story.check,
    )


def test_a_rollback_says_what_was_found_how_many_met_it_and_who_still_shows_it(world):
    story = world.engine.rollback(KEY, id_of(world))
    assert (story.transition.variant, story.transition.actor) == ("treatment", "turnback")
    assert (story.owner, story.unit, story.control) == ("ann@example.com", "order_id", "control")
    assert story.guardrail.outcome is Outcome.BREACH
    assert story.guardrail.evidence >= 1
    assert story.guardrail.history[-1][0] <= world.clock.now()
    hours = (story.counted_at - story.began) // HOUR
    assert story.exposed == {"control": 60 * hours, "treatment": 60 * hours}
    assert story.since is Since.LATCHED
    assert "resume" in story.actions
    (seen,) = story.clients
    since = world.clock.now() - story.rollback.verify_after
    assert seen == ClientsSeen("server", 60 * hours, 60 * (since // HOUR))


def test_an_id_of_the_check_or_the_finding_leads_to_the_same_rollback(world):
    story = world.engine.rollback(KEY, id_of(world))
    for other in (story.check, story.guardrail.decision, f" {id_of(world).upper()} "):
        assert lasting(world.engine.rollback(KEY, other)) == lasting(story)


def test_what_turned_nobody_back_is_told_as_such(world):
    with pytest.raises(NoRollbackError, match="t1 of cancel-page turned nobody back"):
        world.engine.rollback(KEY, "t1")
    with pytest.raises(NoRollbackError, match="c1 of cancel-page turned nobody back"):
        world.engine.rollback(KEY, "c1")
    with pytest.raises(UnknownDecisionError):
        world.engine.rollback(KEY, "t999")
    with pytest.raises(InvalidRequestError, match="is no id"):
        world.engine.rollback(KEY, "../x")
    with pytest.raises(UnknownExperimentError):
        world.engine.rollback("none", id_of(world))
    world.engine.apply(HARMED.replace(KEY, "other"), source="x.yaml", actor="ann")
    with pytest.raises(UnknownDecisionError, match="no change of other has the id"):
        world.engine.rollback("other", id_of(world))


def test_the_page_of_a_rollback_survives_all_that_comes_after_it(world):
    first = id_of(world)
    told = lasting(world.engine.rollback(KEY, first))
    world.restart()
    assert lasting(world.engine.rollback(KEY, first)) == told
    world.engine.resume(KEY, "treatment", reason="mended", actor="ann")
    resumed = world.engine.rollback(KEY, first)
    assert (lasting(resumed), resumed.since) == (told, Since.RESUMED)
    assert [t.after for t in resumed.later] == ["live"]
    world.hours(6)
    again = world.engine.rollback(KEY, first)
    assert (lasting(again), again.since) == (told, Since.BACK_AGAIN)
    second = world.engine.rollback(KEY, id_of(world))
    assert (second.attempt, second.since) == (2, Since.LATCHED)
    assert second.guardrail.history[0][0] > again.transition.at, "looks of its own attempt alone"
    world.engine.apply(HARMED + "seed: 2\n", source="x.yaml", actor="ann")
    anew = world.engine.rollback(KEY, first)
    assert (lasting(anew), anew.since) == (told, Since.NEW_SEED)
    world.engine.stop(KEY, reason="enough", actor="ann")
    world.store.retain(world.clock.now(), running=(), now=world.clock.now())
    gone = world.engine.rollback(KEY, first)
    assert (lasting(gone), gone.clients) == (told, None)


def test_a_rollback_by_hand_has_no_numbers_and_says_who_and_why(tmp_path):
    w = EventWorld(tmp_path)
    w.hours(2)
    w.engine.roll_back(KEY, "treatment", reason="people complain", actor="ann")
    story = w.engine.rollback(KEY, id_of(w))
    assert (story.guardrail, story.check) == (None, None)
    assert (story.transition.actor, story.transition.reason) == ("ann", "people complain")
    assert story.counted_at <= story.transition.at
    assert story.exposed["treatment"] > 0
    assert story.rollback.verify_after == story.transition.at + timedelta(minutes=15)
    w.close()
