"""What a message says: numbers in short, what clients get, what to do; and that it is told once."""

from datetime import timedelta

import pytest

from experiments.errors import ConflictError, InvalidRequestError
from experiments.lifecycle import Move
from guardrails.channels.texts import NAMES
from tests.engine_world import SPEC, THREE, World

RAMP = "ramp:\n  - {traffic: 50%, hold: 6h, approval: true}\n  - {traffic: 100%}\n"
REGRESSION = "{kpi: flow_failure_rate, max_rise: 10%}"
RULES = {
    REGRESSION: {
        "effect": "% higher",
        "interval": "between",
        "value": "0.5026 in treatment, 0.09948 in control",
        "look": "1",
        "evidence": "z ",
        "budget": "of 5% for the whole experiment",
        "margin": "10% (rise)",
    },
    "{rule: limit, kpi: flow_failure_rate, max: 20%}": {
        "value": "50.55% in treatment, 9.89% in control",
        "interval": "or more",
        "evidence": "needed 40 to 1",
        "budget": "2.5% for this comparison, of 5% for the whole experiment",
        "margin": "at most 20%",
    },
    "{rule: catastrophe, kpi: flow_failure_rate, max_times: 2}": {
        "effect": "higher",
        "value": "50.3% in treatment, 10.3% in control",
        "evidence": "to 1",
        "budget": "of 5% for the whole experiment",
        "margin": "2 times control's rate",
    },
}


def told(world, kind):
    return [m for m in world.channel.told if m.kind == kind]


def test_a_rollback_by_hand_says_whose_hand_it_was():
    w = World(SPEC, treatment=0.05)
    w.hours(2)
    w.engine.roll_back("cancel-page", "treatment", reason="calls pile up", actor="anna")
    w.engine.deliver()
    (message,) = told(w, "rolled_back")
    assert message.text == "By hand, by anna: calls pile up"


@pytest.mark.parametrize("rule", RULES)
def test_a_rollback_names_kpi_effect_units_look_budget_margin_and_what_to_do(rule):
    w = World(SPEC.replace(REGRESSION, rule), treatment=0.5)
    w.hours(30)
    (message,) = told(w, "rolled_back")
    facts = message.facts
    assert {name: part for name, part in RULES[rule].items() if part not in facts[name]} == {}
    assert facts["kpi"].startswith("Flow failure rate, over")
    assert "of treatment" in facts["units"]
    assert "of control" in facts["units"]
    assert facts["look"]
    assert facts["now"].startswith("whoever had treatment gets control, from now on")
    (back,) = [t for t in w.engine.transitions("cancel-page") if t.after == "rolled_back"]
    assert facts["next"] == (
        f"turnback explain cancel-page; turnback replay t{back.id}; "
        'once the cause is mended: turnback resume cancel-page treatment --reason "..."'
    )
    assert set(facts) <= set(NAMES)
    assert message.guardrail == message.evidence["finding"]["guardrail"]
    assert not any(word in " ".join(facts.values()) for word in ("nan", "unknown", "inf"))


def test_a_breach_that_only_alerts_says_that_nothing_changed_and_spends_no_budget():
    w = World(SPEC.replace("10%}", "10%, action: alert}"), treatment=0.5)
    w.hours(30)
    (message,) = told(w, "breach_told")
    assert message.facts["budget"].startswith("none: it only alerts, at a level of")
    assert message.facts["now"] == "nothing changed: treatment is served as before"
    assert "turnback roll-back cancel-page treatment" in message.facts["next"]


def test_what_people_do_is_told_once_with_who_and_why():
    w = World(THREE)
    act = {"reason": "a test", "actor": "ada"}
    w.engine.roll_back("cancel-page", "treatment", **act)
    w.engine.resume("cancel-page", "treatment", **act)
    w.engine.roll_back("cancel-page", "treatment", **act)
    w.engine.move("cancel-page", Move.PAUSE, **act)
    w.engine.move("cancel-page", Move.CONTINUE, **act)
    w.engine.suspend(**act)
    w.engine.suspend(on=False, **act)
    w.engine.stop("cancel-page", **act)
    w.hours(3)
    kinds = [m.kind for m in w.channel.told]
    assert kinds == [
        *("rolled_back", "resumed", "rolled_back", "paused", "continued"),
        *("suspended", "awake", "stopped"),
    ]
    assert len({m.key for m in w.channel.told}) == len(kinds)
    texts = {m.kind: m.text for m in w.channel.told}
    assert {texts[kind] for kind in kinds[3:]} == {"a test (ada)"}
    w.engine.deliver()
    assert len(w.channel.told) == len(kinds)


def test_an_extension_and_an_approval_are_told_once_with_who_and_why():
    w = World(SPEC.replace("guardrails:", RAMP + "guardrails:"))
    w.engine.extend("cancel-page", by=timedelta(days=7), reason="a holiday", actor="ann")
    w.engine.extend("cancel-page", by=timedelta(days=1), reason="another", actor="ann")
    w.engine.approve("cancel-page", reason="looks fine", actor="bob")
    w.hours(1)
    w.engine.deliver()
    first, second, approved = (m for m in w.channel.told if m.kind in {"extended", "approved"})
    assert (first.title, first.text) == (
        "cancel-page takes units in until 2026-03-18 00:00 UTC",
        "a holiday (ann)",
    )
    assert first.facts["now"].startswith("the end was 2026-03-11 00:00 UTC; levels, windows")
    assert second.title.endswith("until 2026-03-19 00:00 UTC")
    assert first.key != second.key
    assert (approved.title, approved.text) == (
        "cancel-page: step 1 of its ramp is approved",
        "looks fine (bob)",
    )
    assert approved.facts["now"].startswith("step 1 is left as soon as its hold")


def test_what_is_refused_tells_nobody():
    w = World()
    with pytest.raises(ConflictError):
        w.engine.approve("cancel-page", reason="looks fine", actor="bob")
    with pytest.raises(InvalidRequestError):
        w.engine.extend("cancel-page", reason="a holiday", actor="ann")
    w.hours(1)
    assert {m.kind for m in w.channel.told} <= {"started"}


def test_the_end_by_time_is_told_once():
    w = World(SPEC.replace("after: 10d, observe_for: 1d", "after: 2d, observe_for: 1d"))
    w.hours(24 * 4)
    assert [m.kind for m in w.channel.told] == ["observing", "finished", "advice"]
    assert w.channel.told[1].title == "cancel-page is finished"


def test_a_service_started_suspended_says_so_once_and_once_when_it_acts_again():
    w = World()
    first = w.new_engine(suspended=True)
    for engine in (first, w.new_engine(suspended=True), w.new_engine(), w.new_engine()):
        engine.begin()
        engine.deliver()
    assert [m.kind for m in w.channel.told] == ["suspended", "awake"]
    assert w.channel.told[0].text == "started with TURNBACK_SUSPEND=1 (TURNBACK_SUSPEND)"
