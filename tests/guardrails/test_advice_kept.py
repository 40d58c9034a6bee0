"""Advice of the engine: told once, kept with its evidence, computed again."""

from datetime import timedelta

import pytest

from experiments.errors import IllegalTransitionError
from experiments.growthbook import growthbook_payload
from guardrails.replay import Verdict
from tests.engine_world import Recording
from tests.evidence_world import KEY, EventWorld
from tests.parity import Answer, agree, official

HALF_A_DAY = timedelta(hours=12)
SPEC = """\
experiment: cancel-page
title: A test
unit: order_id
variants:
  control: {weight: 50%}
  treatment: {weight: 50%}
goal: {kpi: flow_failure_rate, expect: -10%}
guardrails:
  - {kpi: satisfaction, max_drop: 10%, windows: {1h: 100%}}
ends: {after: 7d, observe_for: 1d}
check_every: 12h
expect_units: 5000
"""


def played(folder, spec=SPEC, **failing):
    """Return the world after a run of a week; every ``failing[variant]``-th unit fails."""
    world = EventWorld(folder, spec, **failing)
    world.close()
    channel = Recording()
    world.open(channels={"log": channel})
    world.told = channel.told
    for _ in range(17):
        world.store.append([*world.coming(), *world.coming()], received_at=world.clock.now())
        world.clock.move_to(world.clock.now() + HALF_A_DAY)
        world.engine.run_due()
    return world


@pytest.fixture
def world(tmp_path):
    made = played(tmp_path, control=4, treatment=20)
    yield made
    made.close()


def test_advice_is_kept_told_once_and_shown_and_ships_nothing_by_itself(world):
    (end,) = world.transitions("finished")
    advice = end.evidence["advice"]
    assert (advice["recommended"], advice["treatment"]) == ("ship", "treatment")
    told = [m for m in world.told if m.kind == "advice"]
    assert [(m.key, m.variant) for m in told] == [("advice:cancel-page/1", "treatment")]
    assert told[0].title == "cancel-page is over: ship"
    assert "Flow failure rate" in told[0].text
    view = world.engine.experiment(KEY)
    assert view.advice == advice | {"decision": f"t{end.id}"}
    said = " ".join(world.engine.explain(KEY).paragraphs)
    assert f"Advice: {advice['words']}" in said
    assert f"turnback replay t{end.id}" in said
    served = world.engine.serving().experiments[KEY].assign({"targetingKey": "o1"})
    assert served.variant == "control"


def test_advice_is_computed_again_from_the_log(world):
    (end,) = world.transitions("finished")
    again = world.engine.replay(f"t{end.id}")
    assert again.verdict is Verdict.EQUAL, again.differences
    world.restart()
    assert world.engine.replay(f"t{end.id}").verdict is Verdict.EQUAL


def test_advice_that_somebody_changed_is_noticed(world):
    (end,) = world.transitions("finished")
    changed = world.change(
        "UPDATE transition SET evidence = replace(evidence, 'ship', 'keep') WHERE id = ?", end.id
    )
    assert changed == 1
    again = world.engine.replay(f"t{end.id}")
    assert again.verdict is Verdict.DIFFERENT
    assert any("evidence" in each.where for each in again.differences)


def test_a_treatment_without_effect_is_not_advised(tmp_path):
    world = played(tmp_path)
    advice = world.engine.experiment(KEY).advice
    world.close()
    assert advice["recommended"] in {"extend", "keep_control"}
    assert advice["treatment"] is None


AUTO = SPEC.replace("guardrails:", "auto_ship: true\nguardrails:")


def served(world, unit="o1"):
    compiled = world.engine.serving().experiments[KEY]
    theirs = official(growthbook_payload([compiled])["features"], compiled, {"order_id": unit})
    mine = compiled.assign({"order_id": unit})
    assert agree(Answer(mine.variant, mine.value, mine.counts), theirs)
    return mine.variant


def test_auto_ship_serves_the_winner_until_a_person_turns_it_back(tmp_path):
    world = played(tmp_path, AUTO, control=4, treatment=20)
    (ship,) = world.transitions("shipped")
    assert (ship.variant, ship.actor) == ("treatment", "turnback")
    assert ship.reason.startswith("auto_ship: Ship treatment: over a whole week")
    (told,) = [m for m in world.told if m.kind == "shipped"]
    assert "turnback roll-back cancel-page treatment" in told.text
    assert {served(world, f"new-{n}") for n in range(40)} == {"treatment"}
    view = world.engine.experiment(KEY)
    assert (view.state, view.shipped, view.actions) == ("finished", "treatment", ("roll_back",))
    assert [v.share for v in view.variants] == [0.0, 1.0]
    assert "the audience gets treatment" in world.engine.explain(KEY).headline
    assert world.engine.replay(f"t{ship.id}").verdict is Verdict.EQUAL
    world.restart()
    assert served(world) == "treatment"
    world.engine.roll_back(KEY, "treatment", reason="we changed our mind", actor="anna")
    assert {served(world, f"new-{n}") for n in range(40)} == {"control"}
    view = world.engine.experiment(KEY)
    assert (view.shipped, view.actions) == (None, ())
    with pytest.raises(IllegalTransitionError):
        world.engine.resume(KEY, "treatment", reason="again", actor="anna")
    world.close()


def test_auto_ship_ships_nothing_that_is_not_advised_nor_while_suspended(tmp_path):
    world = played(tmp_path, AUTO)
    assert world.transitions("shipped") == []
    assert served(world) == "control"
    with pytest.raises(IllegalTransitionError):
        world.engine.roll_back(KEY, "treatment", reason="why not", actor="anna")
    world.close()
    (tmp_path / "other").mkdir()
    world = EventWorld(tmp_path / "other", AUTO, control=4, treatment=20)
    world.engine.suspend(reason="a test", actor="anna")
    for _ in range(17):
        world.store.append([*world.coming(), *world.coming()], received_at=world.clock.now())
        world.clock.move_to(world.clock.now() + HALF_A_DAY)
        world.engine.run_due()
    assert world.engine.experiment(KEY).advice["recommended"] == "ship"
    assert served(world) == "control"
    world.close()
