"""``turnback simulate``: units as control's numbers say, harms, grids, and seeded runs."""

import itertools
import math
from dataclasses import replace
from datetime import timedelta

import pytest

from guardrails.planning.baselines import (
    baseline_of,
    measured_baseline,
    parse_baselines,
    typical_baselines,
)
from guardrails.planning.calendar import Traffic
from guardrails.simulate import Run
from guardrails.simulation import runs as running
from guardrails.simulation.design import (
    Design,
    SimulationError,
    Wanted,
    parse_harm,
    setup_of,
)
from guardrails.simulation.figures import share_words, simulation_of, usual_repetitions
from guardrails.simulation.grid import designs, parse_vary, read_grid
from guardrails.simulation.runs import many_runs
from guardrails.simulation.units import NONE, Change, impossible, units_like
from guardrails.simulation.values import Share
from guardrails.spec_file import load_spec
from metrics.catalogue import Kind, load_catalogue

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

SPEC = """
experiment: {key}
owner: a@example.com
hypothesis: It helps.
unit: order_id
variants: {variants}
guardrails:
  - {{kpi: satisfaction, max_drop: 5%}}
  - {{kpi: cancel_success_rate, max_drop: 4%, windows: {{1h: 100%}}}}
  - {{kpi: contact_rate, max_rise: 10%, action: alert}}
ends: {{after: 4d, observe_for: 1d}}
check_every: 1h
"""
TWO = "{control: {weight: 50%}, changed: {weight: 50%}}"
THREE = "{control: {weight: 50%}, a: {weight: 25%}, b: {weight: 25%}}"
CATALOGUE = load_catalogue()
KNOWN = [
    kpi
    for kpi in CATALOGUE.kpis.values()
    if not baseline_of(kpi, kpi.windows[0].length, [typical_baselines()]).missing(kpi.kind)
]


def design(text=SPEC, *, variants=TWO, units=4000.0):
    spec = load_spec(text.format(key="e", variants=variants), source="e")
    return Design(spec, Traffic(units))


def setup(wanted=Wanted(), **changes):  # noqa: B008 - it is frozen
    return setup_of(design(**changes), (), wanted)


def simulated(wanted=Wanted(), repetitions=3, **changes):  # noqa: B008 - it is frozen
    one = setup(wanted, **changes)
    return simulation_of(
        one, many_runs(one.scenarios(), repetitions, seed=4), seed=4, repetitions=repetitions
    )


def numbers(baseline):
    fields = (baseline.value, baseline.sd, baseline.answering, baseline.denominator_cv)
    return [math.nan if n is None else n.value for n in fields]


@pytest.mark.parametrize("change", [NONE, Change(-0.05), Change(0.08)], ids=str)
@pytest.mark.parametrize("kpi", KNOWN, ids=lambda kpi: kpi.key)
def test_drawn_units_have_the_numbers_that_were_asked_for(kpi, change):
    asked = {w.length: baseline_of(kpi, w.length, [typical_baselines()]) for w in kpi.windows}
    units = units_like(kpi.kind, asked, change)
    counts = [round(share * 10**7) for share in units.shares]
    for length, baseline in asked.items():
        found = measured_baseline(kpi.kind, sum(counts), units.sums(length, counts))
        value, sd, answering, cv = numbers(baseline)
        assert found.value.value == pytest.approx(change.of(value), rel=1e-4)
        answers = 1.0 if math.isnan(answering) else answering
        assert found.answering.value == pytest.approx(answers, abs=1e-6)
        if kpi.kind is not Kind.PROPORTION:
            raised = max(1.0, change.of(value) / value)
            assert found.sd.value == pytest.approx(sd * raised, rel=1e-3)
            skewness = baseline.skewness.value if baseline.skewness else 0.0
            assert found.skewness.value == pytest.approx(skewness, abs=0.01)
        if kpi.kind is Kind.RATIO and not math.isnan(cv):
            assert found.denominator_cv.value == pytest.approx(cv, rel=1e-3)


def test_a_unit_that_answers_early_keeps_its_value():
    kpi = CATALOGUE.kpis["satisfaction"]
    asked = {length: baseline_of(kpi, length, [typical_baselines()]) for length in (HOUR, DAY)}
    kinds = units_like(kpi.kind, asked).kinds
    early = [kind for kind in kinds if HOUR in kind.values]
    assert sum(kind.share for kind in early) == pytest.approx(0.15)
    assert all(kind.values[HOUR] == kind.values[DAY] for kind in early)


def test_what_a_larger_spread_adds_is_new():
    kpi = CATALOGUE.kpis["net_revenue"]
    asked = {w.length: baseline_of(kpi, w.length, [typical_baselines()]) for w in kpi.windows}
    kinds = units_like(kpi.kind, asked).kinds
    pairs = [[y for y, _ in kind.values.values()] for kind in kinds]
    means = [sum(k.share * p[i] for k, p in zip(kinds, pairs, strict=True)) for i in (0, 1)]
    products = sum(
        k.share * (p[0] - means[0]) * (p[1] - means[1]) for k, p in zip(kinds, pairs, strict=True)
    )
    assert products / (32e6 * 55e6) == pytest.approx(32 / 55, rel=1e-6)


def test_a_share_cannot_rise_above_everybody():
    kpi = CATALOGUE.kpis["cancel_success_rate"]
    asked = {HOUR: baseline_of(kpi, HOUR, [typical_baselines()])}
    assert impossible(kpi.kind, asked, Change(0.2))
    assert not impossible(kpi.kind, asked, Change(0.1))


def test_unless_asked_otherwise_half_the_margin_the_margin_and_twice_it_are_planted():
    cases = {case.guardrail.id: case for case in setup().cases}
    assert list(cases) == ["satisfaction", "cancel_success_rate"]  # the alert turns nothing back
    planted = [(h.words, h.times, h.tolerated) for h in cases["satisfaction"].harms]
    assert planted == [("-2.5%", 0.5, True), ("-5%", 1.0, False), ("-10%", 2.0, False)]


def test_a_guardrail_that_cannot_act_is_simulated_when_it_is_asked_for():
    one = setup(Wanted(guardrails=("contact_rate",)))
    assert [case.guardrail.id for case in one.cases if case.harms] == ["contact_rate"]
    assert len(one.family.comparisons) == 3
    done = simulated(Wanted(guardrails=("contact_rate",)), 1)
    assert done.family.guardrails == ("satisfaction", "cancel_success_rate")


def test_a_harm_is_of_the_guardrails_it_is_a_harm_for():
    both = Wanted(harms=(parse_harm("-5%"), parse_harm("3%")), guardrails=("contact_rate",))
    (case,) = [c for c in setup(both).cases if c.guardrail.id == "contact_rate"]
    assert [(h.words, h.times) for h in case.harms] == [("+3%", None)]
    with pytest.raises(SimulationError, match="no guardrail is about such a harm"):
        setup(Wanted(harms=(parse_harm("+5%"),)))


def test_of_a_limit_the_harms_are_values():
    text = SPEC.replace(
        "{{kpi: satisfaction, max_drop: 5%}}", "{{rule: limit, kpi: flow_failure_rate, max: 8%}}"
    )
    (case, _) = setup(text=text).cases
    assert [h.words for h in case.harms] == ["5.1%", "8%", "13.8%"]  # control: 2.2% after a day
    assert [h.tolerated for h in case.harms] == [True, True, False]
    beyond = parse_baselines(["flow_failure_rate=9%"], design(text).spec.kpis)
    (case, _) = setup_of(design(text), [beyond], Wanted()).cases
    assert "beyond the limit" in case.unknown


def test_treatments_that_are_alike_are_simulated_once():
    one = setup(variants=THREE)
    assert [case.treatments for case in one.cases] == [("a", "b"), ("a", "b")]
    assert len(one.family.comparisons) == 4
    unlike = setup(variants="{control: {weight: 50%}, a: {weight: 30%}, b: {weight: 20%}}")
    assert [case.treatments for case in unlike.cases] == [("a",), ("b",), ("a",), ("b",)]


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (Wanted(guardrails=("satisfacton",)), "did you mean 'satisfaction'"),
        (Wanted(onset=4 * DAY), "harms nobody"),
    ],
)
def test_what_makes_no_sense_is_refused(wanted, says):
    with pytest.raises(SimulationError, match=says):
        setup(wanted)


def test_checks_that_are_left_out_are_late_ones():
    run = Run(1000.0, {"control": 0.5, "t": 0.5}, ends=14 * DAY, check_every=HOUR)
    every, some = run.checks(), replace(run, every_check=False).checks()
    assert every == tuple(HOUR * k for k in range(1, 337))
    assert set(some) < set(every)
    assert some[:30] == every[:30]
    assert some[-1] == every[-1]
    assert all(b - a <= max(HOUR, b / 30) for a, b in itertools.pairwise(some))
    minutes = replace(run, check_every=timedelta(minutes=1), every_check=False).checks()
    assert len(minutes) < 150


def test_the_same_seed_gives_the_same_runs_however_many_processes_there_are():
    scenarios = setup().scenarios()
    alone = many_runs(scenarios, 3, seed=9)
    together = many_runs(scenarios, 3, seed=9, processes=2)
    assert together == alone
    assert not alone.interrupted
    assert many_runs(scenarios, 2, seed=9).outcomes == tuple(o[:2] for o in alone.outcomes)
    assert many_runs(scenarios, 3, seed=10) != alone
    # settings of the method meet the same luck
    other = many_runs(
        setup_of(replace(design(), restarts=False), (), Wanted()).scenarios(), 3, seed=9
    )
    assert len(other.outcomes) == len(alone.outcomes)


def test_what_was_finished_before_an_interruption_is_kept_in_its_order(monkeypatch):
    scenarios = setup(Wanted(guardrails=("satisfaction",))).scenarios()
    whole = many_runs(scenarios, 3, seed=2)
    real, calls = running.one_run, []

    def interrupted(scenario, seed, repetition):
        calls.append(repetition)
        if len(calls) == 2 * len(scenarios) + 2:
            raise KeyboardInterrupt
        return real(scenario, seed, repetition)

    monkeypatch.setattr(running, "one_run", interrupted)
    found = many_runs(scenarios, 3, seed=2)
    assert found.interrupted
    assert [len(o) for o in found.outcomes] == [3, 2, 2, 2]
    assert all(a == b[: len(a)] for a, b in zip(found.outcomes, whole.outcomes, strict=True))


def test_a_late_harm_is_timed_from_its_beginning():
    wanted = Wanted(harms=(parse_harm("20%"),), guardrails=("satisfaction",), onset=2 * DAY)
    late = simulated(wanted, 4)
    found = late.guardrails[0].harms[-1]
    assert found.early.of == 4
    assert found.turned_back.share == 1.0
    assert timedelta(0) < found.median.after < DAY
    at_once = simulated(replace(wanted, onset=timedelta(0)), 4).guardrails[0].harms[-1]
    assert at_once.early is None
    assert at_once.median.by_arm["changed"] < found.median.by_arm["changed"]


def test_a_simulation_says_how_sure_it_is():
    done = simulated(repetitions=4)
    first = done.guardrails[0]
    assert done.verdict.startswith("A treatment that harms nothing was turned back in none of 4")
    assert [h.words for h in first.harms] == ["none", "-2.5%", "-5%", "-10%"]
    assert first.harms[-1].turned_back.count == 4
    half = first.harms[-1].median
    assert half.units == pytest.approx(sum(half.by_arm.values()))
    assert done.finished == 4


def test_an_error_is_never_said_to_be_nothing():
    assert share_words(Share.counted(0, 80)) == "none of 80"
    assert share_words(Share.counted(80, 80)) == "all of 80"
    assert share_words(Share.counted(20, 100)) == "20% ± 4"
    assert share_words(Share.counted(20, 10_000)) == "0.2% ± 0"
    assert share_words(Share.counted(0, 0)) == "no run"
    assert math.isnan(Share.counted(0, 0).share)


def test_the_interval_of_a_share_is_the_exact_one():
    def interval(count, of):
        counted = Share.counted(count, of)
        return counted.low, counted.high

    # R 4.2: binom.test(3, 40)$conf.int
    assert interval(3, 40) == pytest.approx((0.01574, 0.20386), abs=1e-4)
    assert interval(0, 60) == pytest.approx((0.0, 1 - 0.025 ** (1 / 60)))
    assert interval(60, 60) == pytest.approx((0.025 ** (1 / 60), 1.0))


def test_as_many_runs_as_fit_half_a_minute_are_usual():
    one = setup()
    few = usual_repetitions([one] * 10)
    assert 20 <= few < usual_repetitions([one]) <= 1000


def test_every_setting_changes_what_it_is_called():
    one = design()
    vary = parse_vary(
        [
            "alpha=10%",
            "prove_past=1",
            "margin=x2",
            "expect_units=x0.1",
            "restarts=off",
            "ends=8d",
            "check_every=30m",
            "units_per_day=1000",
        ]
    )
    (found,) = designs(one, vary)
    spec, first = found.spec.experiment, found.spec.guardrails[0]
    assert (spec.alpha, spec.ends.after, spec.check_every) == (0.1, 8 * DAY, HOUR / 2)
    assert (first.prove_past, first.margin) == (1.0, 0.1)
    assert spec.expect_units == 800  # a tenth of what will come in eight days
    assert {w.restarts for c in found.comparisons() for w in c.windows} == {0}
    assert found.settings["margin"] == "x2"
    assert (one.spec.experiment.alpha, one.restarts) == (0.05, True)


def test_a_grid_is_every_combination():
    found = designs(design(), parse_vary(["alpha=1%,5%", "margin=3%,2pp", "expect_units=none"]))
    said = [(d.settings["alpha"], d.settings["margin"]) for d in found]
    assert said == [("1%", "3%"), ("1%", "2pp"), ("5%", "3%"), ("5%", "2pp")]
    assert [d.spec.guardrails[0].absolute for d in found] == [False, True, False, True]
    assert designs(design(), {}) == (design(),)


def test_a_grid_file_says_the_same_as_options():
    text = 'alpha: [1%, 5%]\nprove_past: [0, 0.5]\nrestarts: [true, "off"]\nexpect_units: null\n'
    assert read_grid(text, source="grid.yaml") == {
        "alpha": ("1%", "5%"),
        "prove_past": ("0", "0.5"),
        "restarts": ("on", "off"),
        "expect_units": ("none",),
    }


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["alpa=1%"], "unknown setting 'alpa'; did you mean 'alpha'"),
        (["alpha"], "says no value"),
        (["alpha="], "has no value"),
        (["alpha=1%", "alpha=2%"], "is there twice"),
        (["alpha=1%,1%"], "the value '1%' twice"),
        (["alpha=60%"], "'60%' is no value of alpha"),
        (["alpha=1pp"], "'1pp' is no value of alpha"),
        (["prove_past=2"], "is no value of prove_past; write numbers from 0 to 1"),
        (["margin=x-1"], "is no value of margin"),
        (["margin=-5%"], "is no value of margin"),
        (["expect_units=x0"], "is no value of expect_units"),
        (["restarts=maybe"], "write on or off"),
        (["ends=1m"], "is no value of ends"),
        (["check_every=0s"], "is no value of check_every"),
        (["units_per_day=nan"], "is no value of units_per_day"),
        ([f"alpha={','.join(f'{k}%' for k in range(1, 30))}", "prove_past=0,.1,.2,.3,.4,.5,.6"],
         "203 combinations"),
    ],
)  # fmt: skip
def test_a_setting_that_is_none_is_told_with_what_to_write(texts, says):
    with pytest.raises(SimulationError) as caught:
        designs(design(), parse_vary(texts))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("alpha: [1%\n", "grid.yaml:"),
        ("- alpha\n", "it must have settings with their values"),
        ("", "grid.yaml"),
        ("prove_past: 0\nalpa: 1%\n", "grid.yaml:2:1: unknown setting 'alpa'"),
        ("alpha: [[1%]]\n", "grid.yaml:1:1: alpha takes values"),
        ("alpha: [1%]\nrestarts: [on]\n", "grid.yaml:2:"),
    ],
)
def test_a_grid_file_that_is_none_is_told_with_its_line(text, says):
    with pytest.raises(SimulationError) as caught:
        read_grid(text, source="grid.yaml")
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["x", "0%", "5", ""])
def test_a_harm_that_is_none_is_told_with_what_to_write(text):
    with pytest.raises(SimulationError, match="is no harm; write 5%"):
        parse_harm(text)
