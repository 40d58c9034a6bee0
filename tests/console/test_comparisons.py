"""Numbers beside a KPI: one evidence for value, lift, interval and units, on every page alike."""

import math
from dataclasses import replace
from datetime import timedelta

import pytest

from console.reports.experiment import report_of
from console.reports.html import html_of
from console.reports.markdown import markdown_of
from console.views import words
from console.views.experiment import experiment_page
from console.views.lines import KpiText
from guardrails.consequences import ENGINE
from guardrails.lifts import lift_of
from guardrails.outcome import Code, Outcome, WindowFinding
from guardrails.plain_words import effect_words
from guardrails.views import KpiView, VariantView
from tests.views import T, rolled_back, view

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TEXTS = {
    "satisfaction": KpiText("Satisfaction", "", "higher", "Words.", HOUR, core=True),
    "net_revenue": KpiText("Net revenue", "", "higher", "Words.", HOUR, core=True),
}


def kpi(key, variant, window, value, units, **lift):
    return KpiView(
        key, key, "higher", variant, window, value, units, units, **{"effect": None} | lift
    )


def found(window, outcome, evidence, *, units, values, effect, ends):
    return WindowFinding(
        window,
        0.05,
        outcome,
        Code.UNDECIDED,
        units=units,
        control_value=values[0],
        treatment_value=values[1],
        effect=effect,
        effect_low=ends[0],
        effect_high=ends[1],
        evidence=evidence,
    )


def turned_back():
    """Harm was proven after an hour; since then units went on to close the window of a day."""
    before = view()
    looked = (
        found(
            HOUR,
            Outcome.BREACH,
            1.1,
            units=(560, 541),
            values=(4.0, 3.8),
            effect=-0.05,
            ends=(-0.081, -0.018),
        ),
        found(
            DAY,
            Outcome.INCONCLUSIVE,
            0.2,
            units=(60, 41),
            values=(4.0, 3.9),
            effect=-0.04,
            ends=(-0.2, 0.1),
        ),
    )
    guardrail = replace(
        before.guardrails[0], outcome=Outcome.BREACH, evidence=1.1, windows=looked, checked_at=T
    )
    kpis = [
        kpi("satisfaction", "control", HOUR, 4.1, 1987),
        kpi("satisfaction", "b", HOUR, 4.0, 1841, effect=-0.024, effect_low=-0.05, effect_high=0.0),
        kpi("satisfaction", "control", DAY, 4.1, 1987),
        kpi("satisfaction", "b", DAY, 4.0, 1841, effect=-0.024, effect_low=-0.05, effect_high=0.0),
        kpi("net_revenue", "control", DAY, -14.10, 900),
    ]
    negative = {"difference": -1.95, "difference_low": -3.0, "difference_high": -0.9}
    kpis.append(kpi("net_revenue", "b", DAY, -16.05, 900, **negative))
    return view(kpis=tuple(kpis), guardrails=(guardrail,), last_check_at=T + DAY)


@pytest.mark.parametrize(
    ("control", "treatment", "effect", "difference"),
    [
        (10.0, 9.0, -0.1, None),
        (-14.10, -16.05, None, -1.95),
        (0.0, 0.5, None, 0.5),
        (math.nan, 1.0, None, None),
        (None, 1.0, None, None),
    ],
)
def test_a_percentage_is_said_of_what_is_positive_alone(control, treatment, effect, difference):
    lift = lift_of(control, treatment)
    assert lift.effect == (None if effect is None else pytest.approx(effect))
    assert lift.difference == (None if difference is None else pytest.approx(difference))


def test_where_control_is_negative_the_difference_is_shown_with_its_colour():
    (row,) = [r for r in experiment_page(turned_back(), TEXTS).kpis if r.kpi == "net_revenue"]
    cell = row.cells[1]
    assert (cell.effect, cell.interval, cell.tone) == (
        "1.95 lower",
        f"{words.MINUS}3.00 to {words.MINUS}0.90",
        "worse",
    )
    assert cell.bar is not None
    assert cell.bar.words == f"effect 1.95 lower, interval {cell.interval}; no margin"
    assert (cell.bar.margin, cell.bar.low < cell.bar.at < cell.bar.high < 50) == (None, True)
    (entry,) = [k for k in report_of(turned_back(), TEXTS).kpis if k.kpi == "net_revenue"]
    assert (entry.effect, entry.interval, entry.tone) == (cell.effect, cell.interval, cell.tone)
    unsure = replace(turned_back(), kpis=())
    chance = {"difference": -1.95, "difference_low": -5.0, "difference_high": 1.1}
    unsure = replace(
        unsure,
        kpis=(
            kpi("net_revenue", "control", DAY, -14.10, 90),
            kpi("net_revenue", "b", DAY, -16.05, 90, **chance),
        ),
    )
    (row,) = [r for r in experiment_page(unsure, TEXTS).kpis if r.kpi == "net_revenue"]
    assert (row.cells[1].effect, row.cells[1].tone) == ("1.95 lower", "quiet")


def test_a_guardrail_that_cannot_take_a_percentage_says_the_difference():
    window = found(
        HOUR,
        Outcome.INCONCLUSIVE,
        0.0,
        units=(200, 200),
        values=(-14.10, -16.05),
        effect=math.nan,
        ends=(math.nan, math.nan),
    )
    assert effect_words(window) == "1.95 lower"
    assert effect_words(replace(window, control_value=14.1)) == "not measured"


def test_a_row_is_of_the_window_that_decided_and_of_the_look_that_did():
    page = experiment_page(turned_back(), TEXTS)
    (row,) = [r for r in page.kpis if r.kpi == "satisfaction"]
    control, cell = row.cells
    assert (row.window, row.decided) == ("1 hour", True)
    assert (control.value, control.units) == ("4.00", "560 units")
    assert (cell.value, cell.units, cell.effect) == ("3.80", "541 units", "5.0% lower")
    assert (cell.interval, cell.tone) == (f"{words.MINUS}8.1% to {words.MINUS}1.8%", "worse")
    assert cell.note == f"As of {words.instant(T)}, when the guardrail decided."
    assert f"{words.MINUS}5.0%" in cell.bar.words


def test_page_and_report_say_the_same_of_every_kpi():
    report = {(r.kpi, r.window): r for r in report_of(turned_back(), TEXTS).kpis}
    assert len(report) == 3
    for row in experiment_page(turned_back(), TEXTS).kpis:
        control, cell = row.cells
        there = report[row.kpi, row.window]
        assert (control.value, cell.value) == (there.control, there.value)
        assert (cell.effect, cell.interval) == (there.effect, there.interval)
        assert (cell.tone, cell.note) == (there.tone, there.note)


def test_it_is_said_where_phases_are_weighed_and_where_controls_differ():
    before = turned_back()
    guardrail = before.guardrails[0]
    looked = replace(guardrail.windows[0], effect=-0.02, effect_low=-0.06, effect_high=-0.001)
    weighed = replace(before, guardrails=(replace(guardrail, windows=(looked,)),))
    more = (*before.variants, VariantView("c", "live", 0.2, 0.2, 9, 1, None))
    third = kpi("satisfaction", "c", HOUR, 4.2, 1800, effect=0.024)
    weighed = replace(weighed, variants=more, kpis=(*before.kpis, third))
    (row,) = [r for r in experiment_page(weighed, TEXTS).kpis if r.kpi == "satisfaction"]
    assert "phases weighed alike; the two values alone say 5.0% lower." in row.cells[1].note
    assert row.cells[2].note == "Against control's 4.10 of 1,987 units."


def several(*, by_hand=False):
    """Return a rollback beside guardrails of which two may be chance and one is none."""
    told = turned_back()
    (first,) = told.guardrails
    kpis, guardrails = list(told.kpis), []
    for key, ends in (("chance", (-0.1, 0.1)), ("better", (0.01, 0.09)), ("also", (-0.2, 0.2))):
        look = found(
            DAY,
            Outcome.INCONCLUSIVE,
            0.2,
            units=(500, 500),
            values=(4.0, 4.1),
            effect=0.02,
            ends=ends,
        )
        hour = replace(look, window=HOUR, effect=0.01)
        guardrails.append(
            replace(
                first,
                guardrail=key,
                kpi=key,
                title=key,
                outcome=Outcome.INCONCLUSIVE,
                windows=(hour, look),
            )
        )
        for window in (HOUR, DAY):
            kpis += [kpi(key, name, window, 4.0, 500) for name in ("control", "b")]
    if by_hand:
        windows = tuple(replace(w, outcome=Outcome.INCONCLUSIVE) for w in first.windows)
        first = replace(first, outcome=Outcome.INCONCLUSIVE, windows=windows)
    return replace(
        told,
        kpis=tuple(kpis),
        guardrails=(*guardrails, replace(first, margin=0.03, limit="It may not drop by 3%")),
        variants=tuple(
            replace(v, state="rolled_back") if v.name == "b" else v for v in told.variants
        ),
        transitions=(replace(rolled_back(), actor="ann" if by_hand else ENGINE),),
    )


def test_what_happened_is_the_proven_harm_and_what_is_no_chance():
    (_asked, happened), (_also, sure), *_rest = report_of(several(), TEXTS).opening
    assert [line.partition(":")[0] for line in happened[1:]] == [
        "Satisfaction of b, over 1 hour",
        "better of b, over 1 day",
    ]
    *proven, promise = sure
    assert proven == ["The guardrail: It may not drop by 3%.", "That harm exceeds 1.5% is proven."]
    assert promise.startswith("A treatment that harms no more than that is turned back with a")


def test_of_a_rollback_by_hand_every_guardrail_is_shown_once():
    (_asked, happened), (_also, sure), *_rest = report_of(several(by_hand=True), TEXTS).opening
    assert [line.partition(":")[0] for line in happened[1:]] == [
        *("Satisfaction of b, over 1 day", "chance of b, over 1 day"),
        *("better of b, over 1 day", "also of b, over 1 day"),
    ]
    assert sure == ("A person decided: no proof was asked for.",)


def test_a_rule_outside_of_statistics_is_no_person_and_no_proof():
    told = several()
    (*_others, first) = told.guardrails
    outside = replace(first, rule="promql", kpi=None, prove_past=None, windows=())
    view_ = replace(told, guardrails=(outside,))
    said = dict(report_of(view_, TEXTS).opening)["How sure is it?"]
    assert said == (
        "The guardrail: It may not drop by 3%.",
        "It is outside of the statistical guarantee: the rule acts on what it sees.",
    )


def test_a_kpi_that_the_file_watches_is_marked_and_comes_before_the_others():
    told = turned_back()
    plain, marked = (
        (view_, experiment_page(view_, TEXTS))
        for view_ in (told, replace(told, watched=("net_revenue",)))
    )
    assert not any(row.watched for row in plain[1].kpis)
    assert [row.kpi for row in marked[1].kpis if row.watched] == ["net_revenue"]
    report = report_of(marked[0], TEXTS)
    assert {row.kpi for row in report.kpis if row.watched} == {"net_revenue"}
    assert "Net revenue (watched)" in markdown_of(report, version="1")
    assert '<span class="tag">watched</span>' in html_of(
        "experiment.html", report=report, version="1"
    )
