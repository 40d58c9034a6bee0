"""Uneven split, double exposure: hold the ramp, alert; a proven breach still rolls back.

Every experiment is watched, whether its file says so or not.
"""

import json
from dataclasses import replace

import pytest

from guardrails.conclude import conclude
from guardrails.evidence import inputs_of
from guardrails.evidence_rows import load_kept, load_parts
from guardrails.judge_sample_ratio import judge_split, plan_splits, unasked_split
from guardrails.loaded import load
from guardrails.outcome import Code, Outcome
from guardrails.replay import named_parts
from guardrails.spec_file import load_spec
from guardrails.telemetry import Intake, StateCollector
from guardrails.words import outcome_words
from metrics.catalogue import load_catalogue
from metrics.cells import Reach, Snapshot
from tests.engine_world import HOUR, SPEC, THREE, T, World

RAMP = "ramp:\n  - {traffic: 20%, hold: 3h}\n  - {traffic: 100%}\n"
RAMPED = SPEC + RAMP
RULE = "  - {kpi: flow_failure_rate, max_rise: 10%}\n"


@pytest.fixture
def world():
    worlds = []

    def build(*args, **kwargs):
        worlds.append(World(*args, **kwargs))
        return worlds[-1]

    yield build
    for made in worlds:
        made.control.close()


def skew(w, **factors):
    """Let the store count so many units of an arm for each it should have."""
    real = w.store.snapshot

    def snapshot(frame, *, now, as_of=None):
        found = real(frame, now=now, as_of=as_of)
        more = {
            v: replace(r, exposed=round(r.exposed * factors.get(v, 1.0)))
            for v, r in found.reach.items()
        }
        return replace(found, reach=more)

    w.store.snapshot = snapshot


def split_of(w):
    (found,) = [g for g in w.view().guardrails if g.guardrail == "sample_ratio"]
    return found


def told(w, kind="uneven_split"):
    return [m for m in w.channel.told if m.kind == kind]


def test_uneven_split_holds_the_ramp_and_alerts_though_the_file_has_no_such_rule(world):
    w = world(spec=RAMPED)
    skew(w, treatment=2.0)
    w.hours(30)
    view, split = w.view(), split_of(w)
    assert view.step == 0
    assert view.waiting == "sample_ratio of treatment is breach"
    assert (split.rule, split.outcome, split.code) == (
        "sample_ratio",
        Outcome.BREACH,
        Code.UNEVEN_SPLIT,
    )
    assert any("66.67%" in line for line in view.attention)
    (message,) = told(w)
    assert "sample_ratio of treatment is breached, the ramp stands still" in message.title
    assert w.rollbacks() == []
    assert outcomes(w)["sample_ratio", "breach"] == 1.0


def outcomes(w):
    """Return the outcomes that are exported, by (guardrail, outcome)."""
    collector = StateCollector(
        experiments=lambda: (w.view(),),
        intake=lambda: Intake(*[0] * 8),
        now=w.clock.now,
        suspended=lambda: False,
        config_valid=lambda: True,
    )
    return {
        (s.labels["guardrail"], s.labels["outcome"]): s.value
        for family in collector.collect()
        if family.name == "turnback_guardrail_outcome"
        for s in family.samples
    }


def test_a_proven_breach_still_rolls_back_while_the_split_is_uneven(world):
    w = world(spec=RAMPED, treatment=0.3)
    skew(w, treatment=2.0)
    w.hours(48)
    assert w.state_of("treatment") == "rolled_back"
    assert w.rollbacks()[0].evidence["finding"]["guardrail"] == "flow_failure_rate"


def test_an_even_split_lets_the_ramp_advance_and_says_nothing(world):
    w = world(spec=RAMPED)
    w.hours(30)
    assert w.view().step == 1
    assert split_of(w).outcome is Outcome.PASS
    assert told(w) == []


def test_arms_of_other_weights_are_held_against_their_own_shares(world):
    w = world(spec=THREE + RAMP)
    w.hours(30)
    assert {g.outcome for g in w.view().guardrails if g.rule == "sample_ratio"} == {Outcome.PASS}
    assert w.view().step == 1


@pytest.mark.parametrize(
    ("rule", "step", "messages"),
    [
        pytest.param("{rule: sample_ratio, action: alert}", 1, 1, id="it only alerts"),
        pytest.param("{rule: sample_ratio, dry_run: true}", 1, 1, id="it is tried out"),
        pytest.param("{rule: sample_ratio}", 0, 1, id="it holds"),
    ],
)
def test_with_the_rule_in_the_file_its_own_settings_win(world, rule, step, messages):
    w = world(spec=SPEC.replace(RULE, f"{RULE}  - {rule}\n") + RAMP)
    skew(w, treatment=2.0)
    w.hours(30)
    assert len([g for g in w.view().guardrails if g.rule == "sample_ratio"]) == 1
    assert w.view().step == step
    assert len(told(w)) == messages


def test_double_exposure_of_many_units_holds_the_ramp_and_alerts_once(world):
    w = world(spec=RAMPED)
    w.store.conflicted = 300
    w.hours(2)
    assert split_of(w).code is Code.DOUBLE_EXPOSED
    w.hours(20)
    assert w.view().step == 0
    (message,) = told(w)
    assert "300 of " in message.text
    assert "were seen in two variants" in message.text
    assert w.rollbacks() == []
    w.store.conflicted = 0
    w.hours(2)
    assert w.view().step == 1


def test_double_exposure_is_told_once_for_all_treatments(world):
    w = world(spec=THREE + RAMP)
    w.store.conflicted = 300
    w.hours(5)
    assert len(told(w)) == 1


def snapshot(conflicted, each=5000):
    reach = {"treatment": Reach(each), "control": Reach(each)}
    return Snapshot(T, 1, {}, reach, conflicted)


@pytest.mark.parametrize(
    ("conflicted", "each", "code"),
    [
        (0, 5000, Code.SPLIT_AS_PLANNED),
        (100, 5000, Code.SPLIT_AS_PLANNED),
        (102, 5000, Code.DOUBLE_EXPOSED),
        (19, 150, Code.SPLIT_AS_PLANNED),
        (20, 150, Code.DOUBLE_EXPOSED),
    ],
)
def test_more_than_a_hundredth_of_all_units_and_at_least_twenty_are_many(conflicted, each, code):
    (watch,) = plan_splits(load_spec(SPEC))
    assert judge_split(watch, snapshot(conflicted, each), {}, first_phase=0).code is code


def test_an_uneven_split_is_the_reason_before_double_exposures_and_both_are_recorded():
    (watch,) = plan_splits(load_spec(SPEC))
    seen = replace(snapshot(900), reach={"treatment": Reach(5600), "control": Reach(4400)})
    found = judge_split(watch, seen, {}, first_phase=0)
    assert (found.code, found.detail["conflicted"]) == (Code.UNEVEN_SPLIT, 900)
    assert "units of both arms" in outcome_words(found, watch, "")


def test_its_name_gives_way_to_a_guardrail_that_is_called_so():
    spec = load_spec(SPEC.replace("max_rise: 10%", "max_rise: 10%, id: sample_ratio"))
    assert unasked_split(spec).id == "sample_ratio-2"
    assert set(load(spec.text, source="x", catalogue=load_catalogue(), show_core=False).rules) == {
        "sample_ratio",
        "sample_ratio-2",
    }


def test_the_alpha_loses_nothing_to_it():
    loaded = load(SPEC, source="x", catalogue=load_catalogue(), show_core=False)
    assert sum(w.level for c in loaded.comparisons for w in c.windows) == pytest.approx(0.05)
    assert {w.level for w in loaded.watches} == {0.001}


def test_a_decision_that_held_is_replayed_and_one_of_before_knows_no_such_watch(world):
    w = world(spec=RAMPED)
    skew(w, treatment=2.0)
    w.hours(6)
    with w.control.reading() as session:
        kept = load_kept(session, 6)
        account = json.loads(kept.body)
        parts = load_parts(session, kept.experiment, named_parts(account))
    assert account["data_quality"] is True
    loaded = load(RAMPED, source="x", catalogue=load_catalogue(), show_core=False)
    inputs = inputs_of(account, parts)
    cells = w.store.snapshot(loaded.frame(inputs.record, ()), now=T + 6 * HOUR)
    inputs = replace(inputs, snapshot=cells)
    found, decision = conclude(loaded, inputs)
    assert [f.guardrail for f in found] == ["flow_failure_rate", "sample_ratio"]
    assert decision.words == "hold: sample_ratio of treatment is breach"
    del account["data_quality"]
    before = replace(inputs_of(account, parts), snapshot=cells)
    found, decision = conclude(loaded, before)
    assert [f.guardrail for f in found] == ["flow_failure_rate"]
    assert decision.advance
