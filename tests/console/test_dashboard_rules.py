"""Limits and queries on the dashboard: nothing is called proven that is not."""

from dataclasses import replace
from datetime import timedelta

import pytest

from console import charts
from console.views.experiment import experiment_page
from console.views.headlines import headline, tone_of
from console.views.lines import guardrail_line
from guardrails.outcome import Code, Outcome, WindowFinding
from guardrails.rules import WATCH_RULES
from tests.views import T, rolled_back, view

HOUR = timedelta(hours=1)


def query(**changes):
    known = replace(
        view().guardrails[0],
        guardrail="refund_p99",
        rule="promql",
        kpi=None,
        title="refund_p99",
        limit="refund_p99 may not stay above 0.8 for 5 min (a query of Prometheus, outside the "
        "guarantee)",
        side="rise",
        margin=None,
        prove_past=None,
        level=None,
        outcome=Outcome.PASS,
        code=Code.WITHIN_LIMIT,
        words="refund_p99 is 0.5, and within 0.8 at all 6 evaluations over 5 min",
        history=tuple((T + k * HOUR, k / 4, None, None, None) for k in range(5)),
    )
    return replace(known, **changes)


def limit(**changes):
    window = WindowFinding(
        HOUR,
        0.01,
        changes.get("outcome", Outcome.INCONCLUSIVE),
        changes.get("code", Code.UNDECIDED),
        units=(900, 1000),
        control_value=0.0,
        treatment_value=0.12,
        e_value=40.0,
        bound=0.085,
        evidence=changes.get("evidence", 0.8),
    )
    known = replace(
        query(),
        guardrail="flow_failure_rate-limit",
        rule="limit",
        kpi="flow_failure_rate",
        title="Flow failure rate",
        limit="Flow failure rate may not be above 5%",
        level=0.01,
        outcome=window.outcome,
        code=window.code,
        words="Flow failure rate is 12%",
        windows=(window,),
        evidence=window.evidence,
    )
    return replace(known, **changes)


@pytest.mark.parametrize(
    ("outcome", "code", "evidence", "said", "words"),
    [
        (Outcome.PASS, Code.WITHIN_LIMIT, 0.0, "Within its limit", "0% of its samples"),
        (Outcome.BREACH, Code.BEYOND_LIMIT, 1.0, "Beyond its limit", "100% of its samples"),
        (Outcome.INCONCLUSIVE, Code.NOT_HELD, 0.5, "Beyond at times", "50% of its samples"),
        (Outcome.ERROR, Code.SOURCE_FAILED, 0.0, "Cannot see", "cannot be judged now"),
        (None, None, 0.0, "Not checked yet", "not known yet"),
    ],
)
def test_a_query_is_never_said_to_prove_anything(outcome, code, evidence, said, words):
    line = guardrail_line(query(outcome=outcome, code=code, evidence=evidence))
    assert line.outcome_words == said
    assert words in line.evidence_words
    assert "prove" not in f"{line.outcome_words} {line.evidence_words}".lower()
    assert (line.proof, line.margin, line.effect_words) == (False, None, "not known yet")


def test_a_limit_is_measured_also_where_control_has_no_events_at_all():
    line = guardrail_line(limit())
    assert line.evidence_words == "80% of what would prove harm"
    assert line.proof
    proven = guardrail_line(limit(outcome=Outcome.BREACH, code=Code.PROVEN_HARM, evidence=1.0))
    assert (proven.outcome_words, proven.evidence_words) == ("Harm proven", "harm is proven")


def test_the_page_of_an_experiment_with_limits_and_queries_is_made():
    page = experiment_page(view(guardrails=(query(), limit())), {})
    assert [g.guardrail for g in page.guardrails] == ["refund_p99", "flow_failure_rate-limit"]
    shown = page.guardrails[0].shown
    assert not shown.proof
    assert charts.svg("effect", shown) == "", "a query has no effect"


def test_the_headline_names_the_limit_that_was_crossed():
    breach = {"outcome": Outcome.BREACH, "evidence": 1.0, "treatment": "b"}
    before = view()
    back = tuple(replace(v, state="rolled_back") if v.name == "b" else v for v in before.variants)
    turned = view(variants=back, transitions=(rolled_back(),))
    by_limit = replace(turned, guardrails=(limit(code=Code.PROVEN_HARM, **breach),))
    assert headline(by_limit) == "b was turned back because flow failure rate is beyond its limit."
    by_query = replace(turned, guardrails=(query(code=Code.BEYOND_LIMIT, **breach),))
    assert headline(by_query) == "b was turned back because refund_p99 is beyond its limit."
    stop = query(code=Code.BEYOND_LIMIT, action="stop", **breach)
    stopped = view(state="stopped", guardrails=(stop,))
    assert (
        headline(stopped)
        == "Stopped because refund_p99 is beyond its limit: everybody gets control."
    )
    assert guardrail_line(stop).acts == "stops the experiment"


def test_a_query_that_passes_is_not_counted_as_proven_safe():
    running = view(last_check_at=T, guardrails=(query(evidence=0.5), query(guardrail="second")))
    assert headline(running) == (
        "No harm is proven for b. There is not enough evidence yet to say more."
    )


def test_a_silent_prometheus_is_named_in_the_headline():
    blind = view(
        last_check_at=T, guardrails=(query(outcome=Outcome.ERROR, code=Code.SOURCE_FAILED), limit())
    )
    assert headline(blind) == (
        "Prometheus gives no usable answer: the engine cannot judge refund_p99. Nothing was "
        "turned back."
    )
    assert tone_of(blind) == "warn"


def watch(rule="sample_ratio", **changes):
    known = replace(
        query(),
        guardrail=rule,
        rule=rule,
        title="Split of units",
        limit="The split of units between t and control may not differ from 50% to 50%",
        action="hold",
        outcome=Outcome.BREACH,
        code=Code.UNEVEN_SPLIT,
        evidence=3.0,
        words="t has 5,600 of the 10,000 units of both arms.",
        history=(),
    )
    return replace(known, **changes)


@pytest.mark.parametrize("rule", sorted(WATCH_RULES))
def test_what_watches_the_data_is_never_said_to_prove_harm(rule):
    line = guardrail_line(watch(rule))
    assert (line.outcome_words, line.evidence_words, line.proof) == (
        "Not as it should be", "the data need a look", False,
    )  # fmt: skip
    fine = guardrail_line(watch(rule, outcome=Outcome.PASS, evidence=0.2))
    assert (fine.outcome_words, fine.evidence_words) == ("As it should be", "nothing is amiss")


def turned_back(*guardrails):
    back = tuple(replace(v, state="rolled_back") if v.name == "b" else v for v in view().variants)
    return view(variants=back, transitions=(rolled_back(),), guardrails=guardrails)


def test_the_headline_says_that_the_data_need_a_look_and_never_names_them_as_the_reason():
    running = view(guardrails=(*view().guardrails, watch()), last_check_at=T)
    assert headline(running).endswith("but the data need a look: split of units.")
    assert experiment_page(running, {})
    gone = turned_back(limit(outcome=Outcome.BREACH, evidence=2.0), watch(evidence=99.0))
    assert headline(gone) == "b was turned back because flow failure rate is beyond its limit."


def test_a_catastrophe_is_said_in_multiples_of_control():
    found = limit(rule="catastrophe", outcome=Outcome.BREACH, evidence=2.0)
    assert headline(turned_back(found)) == (
        "b was turned back because flow failure rate is more times control's than is tolerated."
    )
    assert guardrail_line(found).evidence_words == "harm is proven"
