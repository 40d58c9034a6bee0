"""What every rule promises, whichever it is: the next one is tested by being in ``RULES``."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import jsonschema
import pytest

from experiments.errors import SpecError
from experiments.language.reading import key_schema, record_schema
from guardrails.decide import query_failed
from guardrails.judge import judge
from guardrails.judge_alert import ToldAlert, judge_alert, plan_alerts
from guardrails.judge_query import judge_query, plan_queries, unanswered
from guardrails.levels import plan_comparisons
from guardrails.loaded import prepare
from guardrails.outcome import Outcome
from guardrails.repository import finding_from_json, finding_to_json
from guardrails.rules import LATER, RULES, Action, turns_back
from guardrails.spec_file import load_spec
from guardrails.watches import judge_watch, plan_watches
from guardrails.words import limit_words, outcome_words
from metrics.catalogue import Kind, load_catalogue
from metrics.cells import MICRO, Cell, Reach, Snapshot, Sums

AT = datetime(2026, 3, 2, tzinfo=UTC)
QUERIES = {"refund_p99": 'refund_p99{variant="$variant"}'}


def spec_with(rule, **more):
    entry = {**RULES[rule].example, **more}
    return load_spec(
        json.dumps(
            {
                "experiment": "contract",
                "unit": "order_id",
                "variants": {"control": {"weight": "50%"}, "t": {"weight": "50%"}},
                "guardrails": [entry, {"kpi": "contact_rate", "max_rise": "10%"}],
                "ends": {"after": "14d"},
            },
            indent=1,
        )
    )


@pytest.fixture(params=sorted(RULES))
def rule(request):
    return request.param


def test_no_rule_is_both_there_and_not_supported_yet():
    assert not RULES.keys() & LATER


def test_every_key_says_what_it_means_and_has_an_example_that_fits(rule):
    for key in RULES[rule].keys:
        assert key.about.endswith(".")
        jsonschema.Draft202012Validator(key_schema(key)).validate(key.example)
    jsonschema.Draft202012Validator(record_schema(RULES[rule].keys)).validate(RULES[rule].example)


def test_its_example_is_a_guardrail_with_all_that_others_ask_of_it(rule):
    guardrail = spec_with(rule).guardrails[0]
    assert guardrail.rule == rule
    assert guardrail.id
    assert (guardrail.dry_run, guardrail.weight) == (False, 1.0)
    assert guardrail.acts in {True, False}
    assert (guardrail.kpi is None) == (guardrail.windows == ())
    whole = 1.0 if guardrail.windows else 0.0
    assert sum(w.weight for w in guardrail.windows) == pytest.approx(whole)
    assert turns_back(guardrail) == ("rollback" in actions_of(rule))
    tried = spec_with(rule, dry_run=True, id="tried").guardrails[0]
    assert (tried.id, tried.dry_run, tried.acts, turns_back(tried)) == ("tried", True, False, False)
    assert not turns_back(spec_with(rule, action="alert").guardrails[0])


def actions_of(rule):
    (key,) = (key for key in RULES[rule].keys if key.name == "action")
    return key.type.schema["enum"]


def test_an_action_that_is_not_for_it_is_refused_and_the_others_are_named(rule):
    for action in set(Action) - set(actions_of(rule)):
        with pytest.raises(SpecError) as caught:
            spec_with(rule, action=action.value)
        (problem,) = caught.value.problems
        assert problem.path == "guardrails[0].action"
        assert all(known in problem.hint for known in actions_of(rule))


def test_the_alpha_is_split_over_the_rules_of_the_guarantee_alone(rule):
    spec = spec_with(rule)
    levels = {}
    for comparison in plan_comparisons(spec):
        levels[comparison.guardrail] = math.fsum(w.level for w in comparison.windows)
    inside = spec.guardrails[0].acts
    assert levels["contact_rate"] == pytest.approx(0.025 if inside else 0.05)
    assert (spec.guardrails[0].id in levels) == inside


def test_what_it_promises_is_said_in_words(rule):
    loaded = prepare(spec_with(rule), load_catalogue(), show_core=False, queries=QUERIES)
    judged = loaded.comparison(loaded.spec.guardrails[0].id, "t")
    words = limit_words(judged, "Title")
    assert " may not " in words
    assert ("outside the guarantee" in words) == (judged not in loaded.comparisons)


def cells_of(*arms):
    return tuple(
        Cell(name, 0, 0, entered, sums) for name, entered, sums in zip("ct", *arms, strict=True)
    )


def all_alike(n, value):
    y, v = n * round(value * MICRO), round(value * MICRO)
    third = n * (v // 1000) ** 3
    return Sums(n, y, n * MICRO, n * v * v, n * v * MICRO, n * MICRO**2,
                third, n * (v // 1000) ** 2 * 1000, n * (v // 1000) * 10**6, n * 10**9)  # fmt: skip


DEGENERATE = {
    "no cells": ((0, 0), (Sums(), Sums())),
    "no values": ((500, 500), (Sums(), Sums())),
    "one arm without values": ((500, 500), (Sums(), all_alike(500, 1))),
    "one unit each": ((1, 1), (all_alike(1, 1), all_alike(1, 1))),
}


def repeated(sums, times):
    return Sums(*(times * getattr(sums, name) for name in Sums.__slots__))


ODD = {
    "denominators below zero": repeated(Sums.of(5 * MICRO, -5 * MICRO), 500),
    "denominators that cancel": Sums.of(0, MICRO) + Sums.of(0, -MICRO),
    "one enormous value": Sums.of(10**15) + repeated(Sums.of(0), 499),
}


@pytest.mark.parametrize("name", sorted(DEGENERATE))
@pytest.mark.parametrize("kind", list(Kind))
def test_degenerate_cells_never_raise_and_never_pass(rule, name, kind):
    entered, sums = DEGENERATE[name]
    for comparison in plan_comparisons(spec_with(rule)):
        plan = replace(comparison, kind=kind, control="c", treatment="t")
        cells = cells_of(entered, sums) if any(entered) else ()
        seen = Snapshot(AT, 1, {(plan.kpi, w.length): cells for w in plan.windows}, {})
        finding = judge(seen, plan, {})
        assert finding.outcome in {Outcome.INCONCLUSIVE, Outcome.NO_DATA}
        assert outcome_words(finding, plan, "Title")
        kept = finding_from_json(json.loads(json.dumps(finding_to_json(finding))))
        assert (kept.outcome, kept.code) == (finding.outcome, finding.code)
        blind = judge(seen, plan, {}, events_stopped=True)
        assert blind.outcome is Outcome.NO_DATA


@pytest.mark.parametrize("name", sorted(ODD))
def test_ratios_that_mean_nothing_never_raise_and_never_pass(rule, name):
    for comparison in plan_comparisons(spec_with(rule)):
        plan = replace(comparison, kind=Kind.RATIO, control="c", treatment="t")
        cells = cells_of((500, 500), (ODD[name], ODD[name]))
        seen = Snapshot(AT, 1, {(plan.kpi, w.length): cells for w in plan.windows}, {})
        assert judge(seen, plan, {}).outcome in {Outcome.INCONCLUSIVE, Outcome.NO_DATA}


@pytest.mark.parametrize("value", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("kind", list(Kind))
def test_values_without_any_variance_are_judged_without_a_crash(rule, kind, value):
    if kind is Kind.PROPORTION and value > 1:
        pytest.skip("a share is at most 1")
    same = all_alike(500, value)
    for comparison in plan_comparisons(spec_with(rule)):
        plan = replace(comparison, kind=kind, control="c", treatment="t")
        cells = cells_of((500, 500), (same, same))
        seen = Snapshot(AT, 1, {(plan.kpi, w.length): cells for w in plan.windows}, {})
        assert judge(seen, plan, {}).outcome is not Outcome.BREACH, "both arms are the same"


def test_what_watches_the_data_never_raises_and_says_what_it_sees(rule):
    nothing = Snapshot(AT, 1, {}, {})
    some = Snapshot(AT, 1, {}, {"control": Reach(5, 9, AT, AT), "t": Reach(4, 8, AT, AT)})
    for watch in plan_watches(spec_with(rule)):
        for seen in (nothing, some):
            for running in (True, False):
                found = judge_watch(
                    watch, seen, {}, first_phase=0, since=AT - 99 * DAY, running=running
                )
                assert (found.guardrail, found.treatment) == (watch.guardrail, "t")
                assert outcome_words(found, watch, "Title")
                kept = finding_from_json(json.loads(json.dumps(finding_to_json(found))))
                assert (kept.outcome, kept.detail) == (found.outcome, found.detail)
        assert judge_watch(
            watch, nothing, {}, first_phase=3, since=AT, running=True
        ).outcome is not Outcome.BREACH  # fmt: skip
        assert outcome_words(query_failed(watch.guardrail, None, "t", "x"), watch, "Title")


@pytest.mark.parametrize("ended", [None, AT])
def test_what_others_tell_never_raises_and_is_kept_as_it_was(rule, ended):
    for watch in plan_alerts(spec_with(rule)):
        told = ToldAlert("ab", watch.name, None, {}, None, "", AT, AT, AT, ended)
        for alerts in ((), (told,), (replace(told, variant="other"),)):
            finding = judge_alert(watch, alerts, since=AT, at=AT)
            assert (finding.outcome is Outcome.PASS) == (ended is not None and alerts == (told,))
            assert outcome_words(finding, watch, "Title")
            assert finding_from_json(json.loads(json.dumps(finding_to_json(finding)))) == finding


MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


@pytest.mark.parametrize(
    "series",
    [
        (),
        ((),),
        (((AT, 1.0),), ((AT, 1.0),)),
        (((AT, 0.1),),),
        (tuple((AT - MINUTE * k, math.nan) for k in range(6)),),
        (tuple((AT - MINUTE * k, math.inf) for k in range(6)),),
    ],
)
def test_degenerate_answers_never_raise_pass_or_breach(rule, series):
    for watch in plan_queries(spec_with(rule), QUERIES):
        finding = judge_query(watch, series)
        assert finding.outcome is Outcome.ERROR
        assert "not be judged" in outcome_words(finding, watch, "Title")
        kept = finding_from_json(json.loads(json.dumps(finding_to_json(finding))))
        assert kept == finding
        assert unanswered(watch, "x").outcome is Outcome.ERROR
