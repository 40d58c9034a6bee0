"""The rule ``sample_ratio``: units enter the arms in the planned shares, or people are told."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from experiments.errors import SpecError
from guardrails.judge_sample_ratio import STATE, SplitWatch, judge_split, plan_splits
from guardrails.outcome import Code, Outcome
from guardrails.planning.baselines import Source
from guardrails.planning.calendar import Traffic
from guardrails.planning.plan import plan
from guardrails.repository import finding_to_json
from guardrails.spec_file import load_spec
from guardrails.words import limit_words, outcome_words
from metrics.cells import Cell, Reach, Snapshot, Sums
from metrics.stats.sample_ratio import log_e_value_of_phases
from tests.engine_world import HOUR, SPEC, World

AT = datetime(2026, 3, 2, tzinfo=UTC)
RULE = "  - {kpi: flow_failure_rate, max_rise: 10%}\n"
WATCHED = SPEC.replace(RULE, RULE + "  - {rule: sample_ratio}\n")
RAMPED = WATCHED + "ramp:\n  - {traffic: 20%, hold: 3h}\n  - {traffic: 100%}\n"
WATCH = SplitWatch("sample_ratio", 0.001, 0.5, "control", "treatment")


def seen(treatment, control, cells=()):
    reach = {"treatment": Reach(treatment), "control": Reach(control)}
    return Snapshot(AT, 1, {("k", HOUR): cells}, reach)


def judged(treatment, control, *, watch=WATCH, states=None, first_phase=0, cells=()):
    return judge_split(
        watch, seen(treatment, control, cells), states or {}, first_phase=first_phase
    )


def test_an_uneven_split_is_a_breach_and_an_even_one_passes():
    found = judged(5600, 4400)
    assert (found.outcome, found.code) == (Outcome.BREACH, Code.UNEVEN_SPLIT)
    even = judged(5030, 4970)
    assert (even.outcome, even.code) == (Outcome.PASS, Code.SPLIT_AS_PLANNED)
    assert even.evidence < 1
    few = judged(40, 20)
    assert (few.outcome, few.code) == (Outcome.INCONCLUSIVE, Code.TOO_FEW)


def test_the_shares_are_those_of_the_weights():
    small = replace(WATCH, part=0.05)
    assert judged(500, 9500, watch=small).outcome is Outcome.PASS
    assert judged(5000, 5000, watch=small).outcome is Outcome.BREACH


def test_what_was_lost_does_not_come_back():
    alarmed = judged(5600, 4400)
    later = judged(50_000, 50_000, states=alarmed.states)
    assert later.outcome is Outcome.BREACH
    assert later.states[STATE].crossed


def test_a_resumed_attempt_counts_the_units_that_entered_since():
    cells = [
        Cell(variant, phase, 0, entered, Sums())
        for variant, phase, entered in (
            ("treatment", 0, 5600), ("control", 0, 4400),
            ("treatment", 1, 700), ("control", 1, 690),
        )
    ]  # fmt: skip
    found = judged(6300, 5090, first_phase=1, cells=cells)
    assert found.outcome is Outcome.PASS
    assert found.detail["counts"] == [[700, 690]]


def test_what_is_stored_is_enough_to_recompute_it():
    found = judged(5300, 4700)
    detail = json.loads(json.dumps(finding_to_json(found)))["detail"]
    again = log_e_value_of_phases(
        (counts, (detail["part"], 1 - detail["part"])) for counts in detail["counts"]
    )
    assert math.log(detail["e_value"]) == pytest.approx(again)
    assert detail["low"] < 0.53 < detail["high"]


def test_it_says_who_has_how_many_and_what_was_planned():
    assert limit_words(WATCH, "") == (
        "The split of units between treatment and control may not differ from 50% to 50% (at a "
        "level of its own, outside the guarantee)"
    )
    words = outcome_words(judged(5600, 4400), WATCH, "")
    assert words.startswith("treatment has 5,600 of the 10,000 units of both arms, 56% (between ")
    assert "50% were planned" in words
    assert "needed 1,000 to 1, at a level of 0.1% of its own" in words
    assert "nothing speaks against the plan" in outcome_words(judged(5000, 5000), WATCH, "")


def test_treatments_share_its_level_and_the_alpha_loses_nothing():
    spec = load_spec(
        "experiment: a\nunit: order_id\n"
        "variants: {control: {weight: 60%}, b: {weight: 30%}, c: {weight: 10%}}\n"
        "guardrails:\n"
        "  - {kpi: contact_rate, max_rise: 10%}\n"
        "  - {rule: sample_ratio, level: 1%, action: alert}\n"
        "ends: {after: 14d}\n"
    )
    b, c = plan_splits(spec)
    assert (b.level, c.level) == (0.005, 0.005)
    assert (b.part, c.part) == (pytest.approx(1 / 3), pytest.approx(1 / 7))
    found = plan(spec, Traffic(2400.0, Source.GIVEN)).guardrails
    assert {g.unknown for g in found if g.rule == "sample_ratio"} == {
        "it watches how units are dealt: it finds no harm, and cannot be planned"
    }


def test_it_never_turns_anybody_back():
    with pytest.raises(SpecError, match="a fault of the assignment is no harm of the treatment"):
        load_spec(WATCHED.replace("sample_ratio}", "sample_ratio, action: rollback}"))


@pytest.mark.statistical
def test_units_dealt_as_planned_seldom_raise_the_alarm_and_a_naive_test_often_does():
    rng = np.random.default_rng(5)
    watch, false, naive = replace(WATCH, level=0.05), 0, 0
    for _ in range(150):
        steps = rng.binomial(50, 0.5, 60).cumsum()
        units = 50 * np.arange(1, 61)
        states = {}
        for treated, both in zip(steps, units, strict=True):
            found = judged(int(treated), int(both - treated), watch=watch, states=states)
            states = found.states
        false += found.outcome is Outcome.BREACH
        z = np.abs(steps - units / 2) / np.sqrt(units / 4)
        naive += bool((z > 1.96).any())
    assert false / 150 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)
    assert naive / 150 > 0.2


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

    def snapshot(frame, *, now, as_of=None):
        found = type(w.store).snapshot(w.store, frame, now=now, as_of=as_of)
        more = {
            v: replace(r, exposed=round(r.exposed * factors.get(v, 1.0)))
            for v, r in found.reach.items()
        }
        return replace(found, reach=more)

    w.store.snapshot = snapshot


def test_the_engine_holds_the_ramp_tells_people_once_and_turns_nobody_back(world):
    w = world(spec=RAMPED)
    skew(w, treatment=2.0)
    w.hours(30)
    view = w.view()
    assert view.step == 0
    (split,) = [g for g in view.guardrails if g.rule == "sample_ratio"]
    assert (split.outcome, split.level, split.action) == (Outcome.BREACH, 0.001, "hold")
    assert "66.67%" in split.words
    assert w.rollbacks() == []
    w.engine.deliver()
    told = [m for m in w.channel.told if "sample_ratio" in m.title]
    assert len(told) == 1
    assert any(
        split.words.rstrip(".") in line for line in w.engine.explain("cancel-page").paragraphs
    )


def test_a_proven_breach_still_turns_back_while_the_split_is_uneven(world):
    w = world(spec=RAMPED, treatment=0.3)
    skew(w, treatment=2.0)
    w.hours(48)
    assert w.state_of("treatment") == "rolled_back"


def test_the_engine_lets_the_ramp_go_on_where_the_split_is_even(world):
    w = world(spec=RAMPED)
    w.hours(30)
    assert w.view().step == 1
    assert w.rollbacks() == []


def test_as_an_alert_it_holds_nothing_and_it_may_change_while_it_runs(world):
    w = world(spec=RAMPED.replace("sample_ratio}", "sample_ratio, action: alert}"))
    skew(w, treatment=2.0)
    w.hours(30)
    assert w.view().step == 1
    w.apply(RAMPED.replace("sample_ratio}", "sample_ratio, level: 1%}"))
