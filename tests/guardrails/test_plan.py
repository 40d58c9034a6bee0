"""The plan of a run: calendar, figures, warnings, and what it rests on."""

import math
from datetime import timedelta

import pytest

from guardrails.levels import plan_comparisons
from guardrails.planning.baselines import (
    Baseline,
    BaselineError,
    Number,
    Source,
    baseline_of,
    measured_baseline,
    parse_baselines,
    typical_baselines,
)
from guardrails.planning.calendar import Traffic, plan_calendar
from guardrails.planning.guardrail import plan_guardrail
from guardrails.planning.plan import plan
from guardrails.planning.scores import Arms, score_under
from guardrails.planning.words import change_words, harm_words, span_words
from guardrails.simulate_units import (
    amount_points,
    amounts_of,
    events_of,
    ratings_of,
    score_shares,
    values_of,
)
from guardrails.spec_file import load_spec
from metrics.catalogue import Kind, load_catalogue
from metrics.cells import MICRO, Sums

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HEAD = "experiment: e\nowner: a@example.com\nhypothesis: h\nunit: order_id\n"
ARMS = "variants: {control: {weight: 50%}, changed: {weight: 50%}}\n"
SUCCESS = "  - {kpi: cancel_success_rate, max_drop: 5%}\n"
SHORT = (
    HEAD + ARMS + "guardrails:\n" + SUCCESS + "ends: {after: 7d}\ncheck_every: 1h\n"
    "expect_units: 28000\n"
)


def planned(text=SHORT, per_day=4000.0, *baselines, paths=400, **changes):
    spec = load_spec(text)
    return plan(
        spec,
        Traffic(per_day),
        [parse_baselines(baselines, spec.kpis)],
        paths=paths,
        **changes,
    )


def codes(done):
    return {w.code for w in done.warnings}


def test_the_same_seed_gives_the_same_plan():
    assert planned() == planned()
    assert planned(seed=2).guardrails != planned().guardrails


MANY = SHORT.replace(
    ARMS,
    "variants: {control: {weight: 40%}, a: {weight: 20%}, b: {weight: 20%}, c: {weight: 20%}}\n",
)


def test_arms_that_are_alike_are_planned_once_and_say_the_same(monkeypatch):
    made = []

    def counted(guardrail, comparison, setting):
        made.append(comparison.treatment)
        return plan_guardrail(guardrail, comparison, setting)

    monkeypatch.setattr("guardrails.planning.plan.plan_guardrail", counted)
    a, b, c = planned(MANY).guardrails
    assert made == ["a"]
    assert [g.treatment for g in (a, b, c)] == ["a", "b", "c"]
    assert set(c.at_twice.median.by_arm) == set(c.windows[0].units) == {"control", "c"}
    assert c.curve == a.curve
    alone = load_spec(MANY.replace("c: {weight", "d: {weight").replace("a: {weight", "c: {weight"))
    by_itself = plan(alone, Traffic(4000.0), paths=400).guardrails[0]
    assert (by_itself.treatment, by_itself) == ("c", c)


def test_arms_of_another_share_are_planned_by_themselves():
    uneven = MANY.replace("control: {weight: 40%}", "control: {weight: 30%}").replace(
        "a: {weight: 20%}", "a: {weight: 30%}"
    )
    a, b, c = planned(uneven).guardrails
    assert a.smallest < b.smallest == c.smallest


def test_who_waits_is_told_which_guardrail_is_planned():
    told = []
    planned(MANY, progress=lambda *now: told.append(now))
    assert told == [(i, 3, f"cancel_success_rate ({arm})") for i, arm in enumerate("abc")]


def test_a_larger_harm_is_found_sooner_and_more_often():
    one = planned().guardrails[0]
    assert one.at_twice.harm == 2 * one.at_margin.harm == pytest.approx(0.10)
    assert one.at_twice.probability >= one.at_margin.probability
    assert one.at_twice.median.after < one.at_margin.median.after
    assert one.at_margin.median.after < one.at_margin.ninety.after


def test_more_units_find_harm_sooner_and_smaller_harm():
    few, many = planned(per_day=2000.0).guardrails[0], planned(per_day=8000.0).guardrails[0]
    assert many.smallest < few.smallest
    assert many.at_twice.median.after < few.at_twice.median.after


def test_the_smallest_harm_is_found_with_80_percent():
    spec, one = load_spec(SHORT), planned(paths=2000).guardrails[0]
    margin = f"{100 * one.smallest:.4f}%"
    exactly = SHORT.replace("max_drop: 5%", f"max_drop: {margin}, prove_past: 0")
    assert spec.guardrails[0].prove_past == 0.5
    # the same null hypothesis, a margin at the smallest harm: half of 5% is proven past
    part = 0.025 / one.smallest
    exactly = exactly.replace("prove_past: 0", f"prove_past: {part:.6f}")
    assert planned(exactly, paths=2000).guardrails[0].at_margin.probability == pytest.approx(
        0.8, abs=0.04
    )


def test_reached_counts_units_of_all_arms_and_of_each():
    at = planned().guardrails[0].at_twice.median
    assert at.units == pytest.approx(4000 * (at.after / DAY), abs=1)
    half = round(2000 * (at.after / DAY))
    assert at.by_arm == {"control": half, "changed": half}


def test_levels_and_windows_are_those_the_engine_judges_with():
    spec = load_spec(SHORT)
    comparison = plan_comparisons(spec)[0]
    one = planned().guardrails[0]
    assert [(w.length, w.level) for w in one.windows] == [
        (w.length, w.level) for w in comparison.windows
    ]
    assert one.level == pytest.approx(0.05)


def test_a_window_that_never_closes_gets_no_alpha_and_is_told():
    text = SHORT.replace(SUCCESS, SUCCESS + "  - {kpi: satisfaction, max_drop: 5%}\n")
    text = text.replace("ends: {after: 7d}", "ends: {after: 7d, observe_for: 1d}")
    done = planned(text)
    rating = done.guardrails[1]
    assert [d.length for d in rating.dropped] == [14 * DAY]
    assert "window_dropped" in codes(done)
    assert sum(w.level for w in rating.windows) == pytest.approx(0.025)


def verdict(*arguments, **changes):
    found = planned(*arguments, **changes).verdict
    return found.protects, found.words


TWO = SHORT.replace(SUCCESS, SUCCESS + "  - {kpi: repeat_complaint_rate, max_rise: 10%}\n")
GIVEN = ("cancel_success_rate=88%,answering=95%",)


def test_the_verdict_of_a_guardrail_that_finds_its_margin_says_when():
    one = planned(SHORT, 8000.0).guardrails[0].at_margin
    protects, words = verdict(SHORT, 8000.0)
    assert protects == "all"
    assert words == (
        "This run protects: a drop of 5% in cancel success rate is found in "
        f"{span_words(one.median.after)} (median), 9 of 10 within {span_words(one.ninety.after)} "
        "(if control is as assumed)."
    )
    assert "assumed" not in verdict(SHORT, 8000.0, *GIVEN)[1]


def test_the_verdict_claims_nothing_below_80_percent():
    done = planned(SHORT, 1500.0, *GIVEN)
    one = done.guardrails[0]
    assert 0.5 < one.at_margin.probability < 0.8
    assert one.at_margin.median is not None
    assert done.verdict.protects == "nothing"
    assert done.verdict.words == (
        "This run cannot protect at these margins: a drop of 5% in cancel success rate is found in "
        f"{100 * one.at_margin.probability:.0f}% of runs "
        f"(8 of 10 only from {harm_words(one, one.smallest)})."
    )


def test_the_verdict_on_several_guardrails_names_what_is_not_protected():
    protects, words = verdict(TWO, 8000.0)
    assert protects == "partly"
    assert words.startswith("This run protects in part: a drop of 5% in cancel success rate")
    assert "; not protected: a rise of 10% in repeat complaint rate is found in" in words
    protects, words = verdict(TWO, 500.0)
    assert protects == "nothing"
    assert "a drop of 5% in cancel success rate (found in" in words
    both = TWO.replace("max_rise: 10%", "max_rise: 200%")
    protects, words = verdict(both, 12000.0)
    assert protects == "all"
    assert words.startswith("This run protects: 2 guardrails find harm in time; latest, a ")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(("check_every: 1h", "check_every: 1h\nmode: shadow"), "shadow", id="shadow"),
        pytest.param(("max_drop: 5%", "max_drop: 5%, action: alert"), "no guardrail", id="alert"),
        pytest.param(
            (SUCCESS, "  - {rule: promql, query: p99, max: 0.8, hold: 2h, action: rollback}\n"),
            "only a query of Prometheus",
            id="query",
        ),
    ],
)
def test_a_run_that_turns_nothing_back_cannot_protect(change, says):
    protects, words = verdict(SHORT.replace(*change), 100_000.0)
    assert protects == "nothing"
    assert words.startswith("This run cannot protect: ")
    assert says in words
    assert verdict(per_day=20.0)[1] == (
        "This run cannot protect: an arm gets fewer than 100 units, and no guardrail decides on so "
        "few."
    )


def test_the_verdict_on_a_limit_and_on_no_margin_says_what_is_found():
    assert "a value of 7.8% in flow failure rate is found in" in verdict(LIMIT)[1]
    protects, words = verdict(SHORT.replace("max_drop: 5%", "max_drop: 0%"))
    assert protects == "all"
    assert "any drop in cancel success rate counts as harm" in words
    assert "smallest that is found by the end in 8 of 10 runs is a drop of " in words


def test_the_verdict_tells_the_worst_treatment():
    arms = "{control: {weight: 45%}, a: {weight: 10%}, b: {weight: 45%}}"
    uneven = SHORT.replace(ARMS, f"variants: {arms}\n")
    protects, words = verdict(uneven, 4000.0)
    assert protects == "nothing"
    assert "in cancel success rate of a is found in" in words


RAMP = SHORT.replace(
    "guardrails:",
    "ramp:\n  - {traffic: 10%, hold: 6h, min_units: 500}\n  - {traffic: 50%, hold: 12h}\n"
    "  - {traffic: 100%}\nguardrails:",
)


def test_a_step_begins_after_the_longer_of_hold_and_units():
    steps = planned(RAMP).ramp
    # 500 units of an arm at 4,000 x 10% x 50% a day: 2.5 days; then 12 h
    assert [s.begins for s in steps] == [timedelta(0), 2.5 * DAY, 3 * DAY]
    assert [s.because for s in steps] == ["start", "min_units", "hold"]
    assert [round(s.units) for s in steps] == [1000, 1000, 16000]
    quick = planned(RAMP, per_day=400_000.0).ramp
    assert [s.begins for s in quick] == [timedelta(0), 6 * HOUR, 18 * HOUR]


def test_a_ramp_that_is_too_slow_never_reaches_its_last_step():
    done = planned(RAMP, per_day=1000.0)
    assert [s.begins for s in done.ramp] == [timedelta(0), None, None]
    assert "ramp_too_slow" in codes(done)


def test_what_a_step_waits_for_is_told_of_the_step_that_says_so():
    text = RAMP.replace("hold: 6h, min_units: 500", "hold: 6h, approval: true").replace(
        "hold: 12h", "hold: 12h, advance: proven"
    )
    told = [(w.code, w.about, w.words) for w in planned(text).warnings if "waits_for" in w.code]
    assert told == [
        (
            "waits_for_approval",
            "ramp[0]",
            (
                "10% of the traffic is left for 50% only with a person's approval; the plan takes it "
                "to come in time"
            ),
        ),
        (
            "waits_for_proof",
            "ramp[1]",
            (
                "50% of the traffic is left for 100% only with proof that nothing is harmed; the plan "
                "takes it to come in time"
            ),
        ),
    ]
    assert (
        "if control is as assumed and the ramp's approvals and proofs"
        in planned(text, 40_000.0).verdict.words
    )


def test_in_shadow_mode_the_plan_stays_at_the_first_step():
    done = planned(RAMP + "mode: shadow\n")
    assert [s.begins for s in done.ramp] == [timedelta(0), None, None]
    assert done.units == round(done.ramp[0].units)
    (still,) = [w for w in done.warnings if w.about.startswith("ramp")]
    assert (still.code, still.words) == (
        "shadow_ramp",
        "in shadow mode the ramp stands still: traffic stays 10%",
    )


def test_a_frozen_ramp_advances_when_the_freeze_is_over():
    freeze = (
        "starts: 2026-11-30T00:00Z\n"
        "freeze: [{from: 2026-11-30T05:00Z, to: 2026-12-02T00:00Z, why: sale}]\n"
    )
    steps = planned(RAMP + freeze, per_day=400_000.0).ramp
    assert steps[1].begins == 2 * DAY
    assert steps[1].because == "freeze"


def test_a_layer_leaves_its_share_of_the_units():
    layer = SHORT + "layer: {name: cancel-page, share: 25%}\n"
    assert planned(layer).units == planned().units / 4


def test_too_few_units_protect_nobody():
    done = planned(per_day=20.0)
    assert {"too_few_units", "never_looks", "expect_units"} <= codes(done)
    one = done.guardrails[0]
    assert (one.at_margin.probability, one.at_margin.median, one.smallest) == (0.0, None, None)
    assert all(w.first_look is None and w.looks == 0 for w in one.windows)


def test_a_weak_guardrail_says_what_it_can_find():
    done = planned(per_day=1000.0)
    weak = next(w for w in done.warnings if w.code == "weak")
    assert f"it finds {harm_words(done.guardrails[0], done.guardrails[0].smallest)}" in weak.words


def test_planned_units_far_from_the_files_are_told():
    assert "expect_units" not in codes(planned())
    assert "expect_units" in codes(planned(per_day=1000.0))
    assert "expect_units" in codes(planned(SHORT.replace("expect_units: 28000\n", "")))


def test_a_margin_of_nothing_has_no_harm_of_the_margin():
    one = planned(SHORT.replace("max_drop: 5%", "max_drop: 0%")).guardrails[0]
    assert one.at_margin is None
    assert one.at_twice is None
    assert 0.01 < one.smallest < 0.10
    assert one.at_smallest.harm == one.smallest
    assert one.at_smallest.probability == pytest.approx(0.8, abs=0.06)
    assert one.at_smallest.median is not None


def test_a_margin_of_nothing_is_told_to_be_in_the_way_of_shipping():
    text = SHORT.replace("max_drop: 5%", "max_drop: 0%")
    (warned,) = [w for w in load_spec(text).warnings if "tolerates nothing" in w.message]
    assert "shipping is advised only once `cancel_success_rate` is proven better" in warned.message
    assert "margin_of_nothing" in codes(planned(text))
    assert "margin_of_nothing" not in codes(planned())
    tried = text.replace("max_drop: 0%", "max_drop: 0%, dry_run: true")
    assert not [w for w in load_spec(tried).warnings if "tolerates nothing" in w.message]


def test_the_whole_margin_as_null_hypothesis_finds_the_margin_as_rarely_as_it_may():
    one = planned(SHORT.replace("max_drop: 5%", "max_drop: 5%, prove_past: 1")).guardrails[0]
    assert one.at_margin.probability <= 0.05
    assert one.smallest > 0.05


def test_a_harm_that_is_impossible_has_no_figures():
    text = SHORT.replace("cancel_success_rate, max_drop: 5%", "cancellation_rate, max_rise: 30%")
    done = planned(text, 4000.0, "cancellation_rate=80%")
    one = done.guardrails[0]
    assert one.at_margin is None
    assert 0.15 < one.smallest < 0.25
    assert "impossible" in codes(done)
    # half of 50% more than 80% is everybody: nothing can be proven past it
    never = planned(text.replace("30%", "50%"), 4000.0, "cancellation_rate=80%").guardrails[0]
    assert never.smallest is None


LIMIT = SHORT.replace(SUCCESS, "  - {rule: limit, kpi: flow_failure_rate, max: 5%}\n")


def test_a_limit_finds_values_beyond_it():
    one = planned(LIMIT).guardrails[0]
    assert (one.rule, one.margin, one.at_margin) == ("limit", None, None)
    # control's nearest window is at 2.2%: twice as far is 7.8%
    assert one.at_twice.harm == pytest.approx(0.078)
    assert one.at_twice.probability > 0.99
    assert 0.05 < one.smallest < 0.07
    assert harm_words(one, one.at_twice.harm) == "7.8%"
    assert one.windows[0].first_look is not None


def test_a_limit_on_a_score_is_a_least_value():
    text = LIMIT.replace("flow_failure_rate, max: 5%", "satisfaction, min: 4")
    one = planned(text, 8000.0).guardrails[0]
    assert one.at_twice.harm == pytest.approx(3.8)
    assert 3.8 < one.smallest < 4.0
    assert harm_words(one, one.at_twice.harm) == "3.8"


def test_a_limit_that_control_is_beyond_can_find_nothing():
    one = planned(LIMIT, 4000.0, "flow_failure_rate=6%").guardrails[0]
    assert "control itself is beyond the limit" in one.unknown
    assert one.at_twice is None


def test_a_query_of_prometheus_is_outside_of_the_plan():
    text = SHORT.replace(SUCCESS, SUCCESS + "  - {rule: promql, query: p99, max: 0.8, hold: 2h}\n")
    done = planned(text)
    assert done.guardrails[1].level is None
    assert "outside of statistics" in done.guardrails[1].unknown
    assert done.guardrails[0] == planned().guardrails[0]


def test_what_nobody_knows_is_not_made_up():
    text = SHORT.replace("cancel_success_rate, max_drop: 5%", "own, max_drop: 5%") + (
        "kpis:\n  own:\n    kind: mean\n    better: higher\n    title: Own\n"
        "    unit: count\n    words: w\n    windows: {1h: 100%}\n"
        "    measures: {n: {event: cancel_started}}\n    value: n\n"
    )
    done = planned(text)
    assert done.guardrails[0].at_margin is None
    assert "nobody knows control's own" in done.guardrails[0].unknown
    assert done.verdict.protects == "unknown"
    assert "cannot be said: nobody knows control's own" in done.verdict.words
    assert "unknown" in codes(done)
    spread = planned(text, 4000.0, "own=3").guardrails[0]
    assert "spread" in spread.unknown
    assert planned(text, 4000.0, "own=3,sd=2").guardrails[0].at_margin is not None


def test_the_goal_has_power_duration_and_smallest_change():
    goal = SHORT.replace("guardrails:", "goal: {kpi: save_rate, expect: +10%}\nguardrails:")
    found = planned(goal, per_day=1000.0).goal[0]
    assert found.window == 7 * DAY  # observed until its longest window has closed
    assert found.baseline.value == Number(0.22, Source.ASSUMED)
    assert found.power < 0.6
    more = planned(goal, per_day=4000.0).goal[0]
    assert more.power > found.power
    assert more.smallest < found.smallest
    assert more.duration < found.duration
    exact = planned(goal, per_day=found.needed / 7).goal[0]
    assert exact.power == pytest.approx(0.8, abs=1e-3)
    assert exact.smallest == pytest.approx(0.1, abs=1e-3)
    # seven days of exposures, then its window and the lag
    assert exact.duration / DAY == pytest.approx(14 + 5 / 1440, abs=0.01)


def test_the_goal_is_read_over_the_longest_window_that_closes():
    goal = SHORT.replace("guardrails:", "goal: {kpi: save_rate, expect: +10%}\nguardrails:")
    found = planned(goal.replace("ends: {after: 7d}", "ends: {after: 7d, observe_for: 1d}")).goal[0]
    assert found.window == DAY
    assert found.baseline.value == Number(0.25, Source.ASSUMED)


def test_a_goal_without_a_number_tells_what_can_be_found():
    goal = SHORT.replace("guardrails:", "goal: {kpi: save_rate}\nguardrails:")
    found = planned(goal).goal[0]
    assert found.power is None
    assert found.smallest > 0.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("satisfaction", "says no value", id="no value"),
        pytest.param("cancel_sucess_rate=9%", "did you mean 'cancel_success_rate'?", id="KPI"),
        pytest.param("cancel_success_rate=0.9,sdd=1", "unknown number 'sdd'", id="number"),
        pytest.param("cancel_success_rate=120%", "above 0% and below 100%", id="no share"),
        pytest.param("cancel_success_rate=90%,sd=1", "leave sd out", id="spread of a share"),
        pytest.param("cancel_success_rate=often", "is no number", id="words"),
        pytest.param("cancel_success_rate=nan", "is no number", id="nan"),
        pytest.param("cancel_success_rate=inf", "is no number", id="inf"),
        pytest.param("cancel_success_rate@2h=90%", "no window of that length", id="window"),
        pytest.param("cancel_success_rate@soon=90%", "is no length", id="no length"),
        pytest.param("cancel_success_rate=90%,answering=0%", "answering is a share", id="nobody"),
        pytest.param("satisfaction=4,sd=0", "the file has no KPI 'satisfaction'", id="not named"),
    ],
)
def test_a_faulty_baseline_is_refused_in_words(text, says):
    with pytest.raises(BaselineError, match=says) as told:
        parse_baselines([text], load_spec(SHORT).kpis)
    assert repr(text) in str(told.value)


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("satisfaction=9", "satisfaction is a mean of scores from 1 to 5", "satisfaction=4.2"),
        ("satisfaction=0.9", "a mean of scores from 1 to 5", "satisfaction=4.2"),
        ("satisfaction=4,2", "a comma separates the numbers", "write a decimal point: 4.2"),
        ("first_contact_resolution_rate=120%", "is a share: it must be from 0% to 100%", ""),
    ],
)
def test_a_baseline_that_the_kpi_cannot_have_is_refused(text, says, hint):
    kpis = load_catalogue().kpis
    with pytest.raises(BaselineError, match=says) as told:
        parse_baselines([text], kpis)
    assert hint in told.value.hint
    parse_baselines(["satisfaction=5", "first_contact_resolution_rate=100%"], kpis)


def test_each_number_comes_from_the_surest_source():
    kpis = load_catalogue().kpis
    given = parse_baselines(["satisfaction=4.4", "satisfaction@1h=4.0,sd=1.2"], kpis)
    known = {("satisfaction", DAY): measured_baseline(Kind.RATIO, 1000, ratings(250))}
    hour, day, fortnight = (
        baseline_of(kpis["satisfaction"], at, (given, known, typical_baselines()))
        for at in (HOUR, DAY, 14 * DAY)
    )
    assert (hour.value, hour.sd) == (Number(4.0, Source.GIVEN), Number(1.2, Source.GIVEN))
    assert hour.answering.source is Source.ASSUMED
    assert day.value == Number(4.4, Source.GIVEN)
    assert day.answering == Number(0.25, Source.MEASURED)
    assert fortnight.value == Number(4.4, Source.GIVEN)
    assert fortnight.answering.source is Source.ASSUMED
    assert day.sources == (Source.GIVEN, Source.MEASURED)


def ratings(n):
    total = Sums()
    for index in range(n):
        total += Sums.of((1 + index % 5) * MICRO)
    return total


def test_measured_moments_are_those_of_the_units():
    found = measured_baseline(Kind.RATIO, 1000, ratings(250))
    assert found.value.value == 3.0
    assert found.sd.value == pytest.approx(math.sqrt(2.0))
    assert found.skewness.value == pytest.approx(0.0, abs=1e-9)
    assert found.denominator_cv.value == 0.0
    assert measured_baseline(Kind.RATIO, 1000, ratings(99)) is None


def test_typical_values_cover_the_catalogue_and_say_where_they_come_from():
    for kpi in load_catalogue():
        for window in kpi.windows:
            found = typical_baselines()[kpi.key, window.length]
            assert found.missing(kpi.kind) is None, kpi.key
            assert found.words, kpi.key
            assert found.sources == (Source.ASSUMED,)
            if kpi.kind is Kind.PROPORTION:
                assert 0.0 < found.value.value < 1.0
    assert {key for key, _ in typical_baselines()} <= set(load_catalogue().kpis)


def known(value, sd=None):
    numbers = {"value": value, "sd": sd}
    return {k: Number(v, Source.GIVEN) for k, v in numbers.items() if v is not None}


def test_without_harm_the_statistic_has_no_drift_at_the_edge_of_the_null():
    spec = load_spec(SHORT)
    comparison = plan_comparisons(spec)[0]
    edge = score_under(comparison, Baseline(**known(0.88)), Arms(0.5, 0.5), harm=0.025)
    assert edge.drift == pytest.approx(0.0, abs=1e-12)
    assert edge.spread == pytest.approx(1.0)
    assert edge.corrected == pytest.approx(edge.skewness)
    harmless = score_under(comparison, Baseline(**known(0.88)), Arms(0.5, 0.5), harm=0.0)
    assert harmless.drift < 0.0


def test_a_small_canary_waits_for_its_skewness():
    text = SHORT.replace("cancel_success_rate, max_drop: 5%", "flow_failure_rate, max_rise: 50%")
    comparison = plan_comparisons(load_spec(text))[0]
    even = score_under(comparison, Baseline(**known(0.01)), Arms(0.5, 0.5), harm=0.5)
    canary = score_under(comparison, Baseline(**known(0.01)), Arms(0.95, 0.05), harm=0.5)
    assert canary.corrected > 5 * abs(even.corrected)
    assert canary.gate > even.gate


def test_times_and_changes_in_words():
    assert [span_words(timedelta(minutes=m)) for m in (0, 45, 60, 1441, 2880, 3000)] == [
        "0 min", "45 min", "1 h", "24 h", "2 d", "2 d 2 h"
    ]  # fmt: skip
    assert change_words(-0.03, absolute=False) == "-3%"
    assert change_words(0.02, absolute=True) == "+2pp"


def test_simulated_units_are_what_was_asked_for():
    def seen(population, length):
        counts = [round(10_000_000 * share) for share in population.shares]
        sums = population.sums(length, counts)
        kind = Kind.RATIO if sums.n < 9_999_000 else Kind.MEAN
        return measured_baseline(kind, sum(counts), sums)

    events = events_of({HOUR: 0.05, DAY: 0.06})
    assert [seen(events, at).value.value for at in (HOUR, DAY)] == pytest.approx([0.05, 0.06])
    saves = events_of({HOUR: 0.4, DAY: 0.3})
    assert [seen(saves, at).value.value for at in (HOUR, DAY)] == pytest.approx([0.4, 0.3])
    amounts = amounts_of({HOUR: amount_points(10, 34, something=0.22)})
    assert seen(amounts, HOUR).value.value == pytest.approx(10.0)
    assert seen(amounts, HOUR).sd.value == pytest.approx(34.0)
    scores = ratings_of(4.2, 1.0, {HOUR: 0.15, DAY: 0.3})
    assert seen(scores, DAY).value.value == pytest.approx(4.2, abs=1e-5)
    assert seen(scores, DAY).answering.value == pytest.approx(0.3, abs=1e-5)
    assert seen(scores, HOUR).answering.value == pytest.approx(0.15, abs=1e-5)
    assert score_shares(4.2, 1.0).sum() == pytest.approx(1.0)
    twice = values_of([(0.5, 2 * MICRO, MICRO), (0.5, 6 * MICRO, 3 * MICRO)], {HOUR: 1.0})
    assert seen(twice, HOUR).value.value == pytest.approx(2.0)
    with pytest.raises(ValueError, match="too small"):
        amount_points(10, 1, something=0.2)


def test_the_calendar_ends_where_the_run_ends():
    spec = load_spec(SHORT)
    calendar = plan_calendar(spec.experiment, Traffic(4000.0))
    assert calendar.units == 28_000
    assert calendar.ends == 7 * DAY
    # the check after the last window and the lag are over still sees them
    assert calendar.checks()[-1] == (8 * DAY + HOUR).total_seconds()
