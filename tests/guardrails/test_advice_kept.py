"""Advice of the engine: told once, kept with its evidence, computed again."""

from datetime import timedelta

import pytest

from guardrails.replay import Verdict
from tests.engine_world import Recording
from tests.evidence_world import KEY, EventWorld

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


def played(folder, **failing):
    """Return the world after a run of a week; every ``failing[variant]``-th unit fails."""
    world = EventWorld(folder, SPEC, **failing)
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
