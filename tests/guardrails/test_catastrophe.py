"""The rule ``catastrophe``: units harmed, counted one by one from the first on."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from experiments.errors import ConflictError
from guardrails.judge import judge
from guardrails.levels import CatastropheComparison, WindowPlan, plan_comparisons
from guardrails.outcome import Code, Outcome
from guardrails.planning.baselines import Source
from guardrails.planning.calendar import Traffic
from guardrails.planning.plan import plan
from guardrails.repository import finding_to_json
from guardrails.spec_file import load_spec
from guardrails.words import breach_words, limit_words, outcome_words
from metrics.catalogue import Kind
from metrics.cells import MICRO, Cell, Snapshot, Sums
from metrics.stats.beta_binomial import catastrophe_log_e_of_phases
from tests.engine_world import HOUR, SPEC, World

AT = datetime(2026, 3, 2, tzinfo=UTC)
LEVEL = 0.01
RULE = "  - {rule: catastrophe, kpi: flow_failure_rate, windows: {1h: 100%}}\n"
WATCHED = SPEC.replace("  - {kpi: flow_failure_rate, max_rise: 10%}\n", RULE)


def comparison(**changes):
    made = CatastropheComparison(
        guardrail="g",
        kpi="k",
        kind=Kind.PROPORTION,
        side="rise",
        max_times=2.0,
        part=0.5,
        control="control",
        treatment="t",
        acts=True,
        windows=(WindowPlan(HOUR, LEVEL, 1e4, 3),),
    )
    return replace(made, **changes)


def rate(variant, n, x, *, phase=0):
    sums = Sums(n, x * MICRO, n * MICRO, x * MICRO**2, x * MICRO**2, n * MICRO**2,
                x * 10**9, x * 10**9, x * 10**9, n * 10**9)  # fmt: skip
    return Cell(variant, phase, 0, n, sums)


def judged(made, *cells, states=None, **options):
    return judge(Snapshot(AT, 1, {("k", HOUR): cells}, {}), made, states or {}, **options)


def test_a_total_failure_is_found_by_its_first_dozen_units():
    found = judged(comparison(), rate("control", 14, 0), rate("t", 14, 14))
    assert (found.outcome, found.code) == (Outcome.BREACH, Code.PROVEN_HARM)
    assert found.states["3600"].crossed
    few = judged(comparison(), rate("control", 6, 0), rate("t", 6, 6))
    assert (few.outcome, few.code) == (Outcome.INCONCLUSIVE, Code.UNDECIDED)
    assert 0 < few.evidence < 1


def test_the_absence_of_what_should_happen_is_harm_too():
    # everybody of control gets out, nobody of the treatment does
    out = comparison(side="drop")
    found = judged(out, rate("control", 20, 20), rate("t", 20, 0))
    assert found.outcome is Outcome.BREACH
    assert judged(out, rate("control", 20, 0), rate("t", 20, 20)).outcome is not Outcome.BREACH
    assert (
        found.evidence == judged(comparison(), rate("control", 20, 0), rate("t", 20, 20)).evidence
    )


def test_an_outage_that_meets_both_arms_is_nobodys_fault():
    both = judged(comparison(), rate("control", 500, 500), rate("t", 500, 500))
    assert both.outcome is Outcome.PASS
    assert both.code is Code.PROVEN_SAFE


def test_twice_as_much_is_tolerated_and_four_times_is_not():
    twice = judged(comparison(), rate("control", 5000, 50), rate("t", 5000, 100))
    assert twice.outcome is Outcome.INCONCLUSIVE
    assert judged(comparison(), rate("control", 5000, 50), rate("t", 5000, 200)).outcome is (
        Outcome.BREACH
    )
    any_harm = comparison(max_times=1.0)
    assert judged(any_harm, rate("control", 5000, 50), rate("t", 5000, 100)).outcome is (
        Outcome.BREACH
    )


def test_a_small_arm_is_owed_few_of_the_units_that_are_harmed():
    small = comparison(part=0.05)
    assert judged(small, rate("control", 95, 3), rate("t", 5, 5)).outcome is Outcome.BREACH
    assert judged(comparison(), rate("control", 95, 3), rate("t", 5, 5)).outcome is not (
        Outcome.BREACH
    )


def test_a_resumed_attempt_counts_only_what_came_since():
    cells = (rate("control", 50, 0), rate("t", 50, 50), rate("control", 9, 0, phase=1),
             rate("t", 9, 1, phase=1))  # fmt: skip
    assert judged(comparison(), *cells).outcome is Outcome.BREACH
    later = judged(comparison(), *cells, first_phase=1)
    assert later.outcome is Outcome.INCONCLUSIVE
    assert later.detail["harmed"] == {"3600": [[1, 1, 0]]}


def test_phases_have_evidence_of_their_own_and_what_is_stored_is_enough_to_recompute_it():
    made = comparison(part=0.3)
    found = judged(made, rate("control", 40, 1), rate("t", 20, 5),
                   rate("control", 90, 2, phase=1), rate("t", 30, 9, phase=1))  # fmt: skip
    stored = json.loads(json.dumps(finding_to_json(found)))
    detail = stored["detail"]
    again = catastrophe_log_e_of_phases(
        [(t, c, detail["part"]) for _, t, c in detail["harmed"]["3600"]],
        alpha=stored["windows"][0]["level"],
        worse=detail["max_times"],
    )
    assert stored["windows"][0]["e_value"] == pytest.approx(math.exp(again))
    assert found.evidence == pytest.approx(min(again / -math.log(LEVEL), 0.999), abs=1e-3)


def test_where_events_no_longer_arrive_nothing_is_decided():
    cells = rate("control", 14, 0), rate("t", 14, 14)
    blind = judged(comparison(), *cells, events_stopped=True)
    assert (blind.outcome, blind.code) == (Outcome.NO_DATA, Code.EVENTS_STOPPED)
    assert blind.evidence < 1
    assert blind.states == {}


def test_it_says_whom_it_counts_and_what_is_proven():
    made, title = comparison(), "Flow failure rate"
    assert limit_words(made, title) == (
        "Flow failure rate may not be more than 2 times control's, counted unit by unit from the "
        "first on"
    )
    found = judged(made, rate("control", 16, 0), rate("t", 20, 20))
    assert breach_words(found, made, title) == (
        "Flow failure rate: 20 of 20 units of t, 0 of 16 of control (window of 1 h closed). Dealt "
        "at random, 50% of these 20 would be t's if it did no harm. The file tolerates 2 times "
        "control's rate; more is proven (evidence 1,520 to 1, needed 100 to 1), at a level of 1% for "
        "this comparison."
    )
    few = judged(made, rate("control", 16, 1), rate("t", 20, 4))
    assert outcome_words(few, made, title) == (
        "Flow failure rate: 4 of 20 units of t, 1 of 16 of control; more than tolerated, nothing "
        "is proven yet"
    )
    out = comparison(side="drop")
    none = judged(out, rate("control", 16, 16), rate("t", 20, 0))
    assert breach_words(none, out, "Got out").startswith(
        "Got out, missed: 20 of 20 units of t, 0 of 16 of control"
    )


def test_the_alpha_is_shared_by_weight_and_the_planned_shares_are_known():
    spec = load_spec(
        "experiment: a\nunit: order_id\n"
        "variants: {control: {weight: 60%}, b: {weight: 30%}, c: {weight: 10%}}\n"
        "guardrails:\n"
        "  - {kpi: contact_rate, max_rise: 10%}\n"
        "  - {rule: catastrophe, kpi: flow_failure_rate, weight: 3}\n"
        "  - {rule: catastrophe, kpi: cancel_success_rate, action: alert}\n"
        "ends: {after: 14d}\n"
    )
    plans = {(c.guardrail, c.treatment): c for c in plan_comparisons(spec)}
    failing = plans["flow_failure_rate-catastrophe", "b"]
    assert math.fsum(w.level for w in failing.windows) == pytest.approx(0.05 * 3 / 4 / 2)
    assert [w.length for w in failing.windows] == [timedelta(minutes=10), HOUR]
    assert failing.part == pytest.approx(1 / 3)
    assert plans["flow_failure_rate-catastrophe", "c"].part == pytest.approx(1 / 7)
    out = plans["cancel_success_rate-catastrophe", "b"]
    assert (out.side, out.acts) == ("drop", False)
    assert [w.length for w in out.windows] == [HOUR], "what has not happened may still come"


def test_a_plan_says_when_a_total_failure_is_found():
    spec = load_spec(WATCHED.replace("cancel-page", "planned"))
    (found,) = plan(spec, Traffic(2400.0, Source.GIVEN)).guardrails
    assert found.at_twice.harm == 1.0
    assert found.at_twice.probability == 1.0
    assert found.at_twice.ninety.by_arm["treatment"] <= 100
    assert 0.04 < found.smallest < 0.1
    often = load_spec(WATCHED.replace("flow_failure_rate", "save_rate"))
    (said,) = plan(often, Traffic(2400.0, Source.GIVEN)).guardrails
    assert said.unknown == "" or "so common in control" in said.unknown


@pytest.fixture
def world():
    worlds = []

    def build(*args, **kwargs):
        worlds.append(World(*args, **kwargs))
        return worlds[-1]

    yield build
    for made in worlds:
        made.control.close()


def test_the_engine_turns_a_total_failure_back_with_its_first_units(world):
    w = world(spec=WATCHED.replace("check_every: 1h", "check_every: 5m"), treatment=1.0)
    for _ in range(20):
        w.clock.move_to(w.clock.now() + timedelta(minutes=5))
        w.engine.run_due()
    (rollback,) = w.rollbacks()
    detail = rollback.evidence["finding"]["detail"]
    ((phase, treated, beside),) = detail["harmed"]["3600"]
    assert (phase, detail["part"]) == (0, 0.5)
    assert treated < 50, "long before any rule that waits for 100 units"
    assert f"{treated} of {treated} units of treatment, {beside} of" in rollback.reason
    (view,) = w.judged()
    assert (view.rule, view.action, view.level) == ("catastrophe", "rollback", 0.05)
    told = w.engine.explain("cancel-page")
    assert rollback.reason in told.paragraphs


def test_the_engine_holds_still_where_both_arms_fail_alike(world):
    w = world(spec=WATCHED, control=0.5, treatment=0.55)
    w.hours(100)
    assert w.rollbacks() == []
    (view,) = w.judged()
    assert view.outcome is Outcome.PASS


def test_what_it_tolerates_may_not_change_while_it_runs(world):
    w = world(spec=WATCHED, treatment=0.1)
    w.hours(3)
    with pytest.raises(ConflictError, match="guardrail flow_failure_rate"):
        w.apply(WATCHED.replace("windows:", "max_times: 3, windows:"))
    w.apply(WATCHED.replace("windows:", "max_times: 3, windows:") + "seed: 2\n")


def test_an_alert_may_change_and_starts_over(world):
    alert = WATCHED.replace("windows:", "action: alert, windows:")
    w = world(spec=alert, treatment=0.1)
    w.hours(3)
    applied = w.apply(alert.replace("windows:", "max_times: 3, windows:"))
    assert any("start over" in words for words in applied.words)
