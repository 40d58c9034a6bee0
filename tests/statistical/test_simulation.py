"""``turnback simulate`` against the design's table, the plan, and the guarantee of the family."""

import math
import os
from dataclasses import replace
from datetime import timedelta

import pytest

from guardrails import levels
from guardrails.planning.calendar import Traffic
from guardrails.planning.plan import plan
from guardrails.simulation.design import Asked, Design, Wanted, setup_of
from guardrails.simulation.figures import simulation_of
from guardrails.simulation.runs import many_runs
from guardrails.spec_file import load_spec
from tests.statistical.test_expectations import TABLE, comparison, problems

pytestmark = pytest.mark.statistical

HOUR = timedelta(hours=1)
HEAD = """
experiment: e
owner: a@example.com
hypothesis: It helps.
unit: order_id
variants: {control: {weight: 50%}, treatment: {weight: 50%}}
check_every: 1h
lag: 0s
"""
RATED = "guardrails: [{kpi: satisfaction, max_drop: 5%}]\nends: {after: 14d, observe_for: 14d}\n"
MANY = """
alpha: 20%
guardrails:
  - {kpi: cancel_success_rate, max_drop: 3%, prove_past: 0, windows: {1h: 100%}}
  - {kpi: flow_failure_rate, max_rise: 20%, prove_past: 0, windows: {1h: 100%}}
  - {kpi: satisfaction, max_drop: 3%, prove_past: 0, windows: {1h: 100%}}
  - {kpi: response_rate, max_drop: 5%, prove_past: 0, windows: {1h: 100%}}
  - {kpi: contact_rate, max_rise: 10%, prove_past: 0, windows: {1d: 100%}}
  - {kpi: cancellation_rate, max_rise: 5%, prove_past: 0, windows: {1h: 100%}}
ends: {after: 3d, observe_for: 1d}
expect_units: 24000
"""
LATE = next(r for r in TABLE if r.onset and r.restarts)
ROWS = [r for r in TABLE if r.few]


def setup(body, units, wanted):
    return setup_of(Design(load_spec(HEAD + body, source="e"), Traffic(units)), (), wanted)


def cores():
    return min(2, os.cpu_count() or 1)


def delays(row, repetitions, *, processes=1, **changes):
    """Return hours from the onset to the rollback through the command's own runs."""
    onset = timedelta(hours=row.onset)
    harms = (Asked(abs(row.effect), absolute=False, side="drop"),) if row.effect else ()
    # late harm is found in hours: with some of the checks alone it would wait for the next of them
    wanted = Wanted(harms=harms, onset=onset, every_check=row.onset > 0)
    found = setup(RATED, 2.0 * row.units_a_day, wanted)
    scenario = found.cases[0].harms[0].scenario if row.effect else found.family
    # the table's own level, windows and end
    run = replace(scenario.run, observe_for=timedelta(0))
    judged = (comparison(row, **changes),)
    scenario = replace(scenario, run=run, comparisons=judged)
    runs = many_runs([scenario], repetitions, seed=20260501, processes=processes).outcomes[0]
    return [math.inf if b is None else b.after / HOUR - row.onset for (b,) in runs]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_command_agrees_with_what_to_expect(row):
    assert problems(row, delays(row, min(row.few, 30))) == []


def test_an_engine_without_restarts_fails_the_gate():
    assert problems(LATE, delays(replace(LATE, restarts=0), 15)) != []


def test_an_engine_that_tests_against_zero_fails_the_gate():
    tolerated = next(r for r in TABLE if r.effect == -0.02)
    assert problems(tolerated, delays(tolerated, 6, prove_past=0.0)) != []


def turned_back(repetitions, *, processes=1):
    """Return the share of runs in which nothing is harmed and something is turned back."""
    found = setup(MANY, 8000.0, Wanted())
    only = replace(found, cases=tuple(replace(case, harms=()) for case in found.cases))
    runs = many_runs(only.scenarios(), repetitions, seed=20260502, processes=processes)
    done = simulation_of(only, runs, seed=1, repetitions=repetitions)
    assert len(done.family.guardrails) == 6
    return done.family.turned_back


def kept(share, alpha):
    return share.share <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / share.of)


def test_six_guardrails_together_turn_back_an_unharmed_treatment_no_more_often_than_alpha():
    assert kept(turned_back(40), 0.2)


def test_an_engine_that_gives_every_guardrail_the_whole_alpha_fails_the_gate(monkeypatch):
    def whole(alpha, guardrails, treatments):
        return {g.id: alpha for g in guardrails}

    monkeypatch.setattr(levels, "split_alpha", whole)
    assert not kept(turned_back(40), 0.2)


def test_the_plan_and_the_simulation_of_a_file_agree():
    body = (
        "guardrails: [{kpi: satisfaction, max_drop: 5%, windows: {1h: 50%, 1d: 50%}}]\n"
        "ends: {after: 7d, observe_for: 1d}\nexpect_units: 42000\n"
    )
    found = setup(body, 6000.0, Wanted())
    done = simulation_of(
        found, many_runs(found.scenarios(), 24, seed=20260503), seed=1, repetitions=24
    )
    planned = plan(found.design.spec, found.design.traffic, paths=2000).guardrails[0]
    for harm, expected in zip(done.guardrails[0].harms[2:], planned_harms(planned), strict=True):
        share, p = harm.turned_back.share, expected.probability
        assert abs(share - p) <= 3 * math.sqrt(max(p * (1 - p), 0.01) / 24)
        if expected.median is not None:
            assert harm.median.after / expected.median.after == pytest.approx(1.0, abs=0.35)


def planned_harms(planned):
    return planned.at_margin, planned.at_twice


@pytest.mark.acceptance(cores=2)
@pytest.mark.parametrize("row", TABLE, ids=str)
def test_the_command_reproduces_the_full_table(row, record_property):
    found = sorted(delays(row, 200, processes=cores()))
    record_property(
        f"{row} (turnback simulate)",
        f"p {sum(map(math.isfinite, found)) / 200:.3f}, median {found[100]:.0f} h (200 runs)",
    )
    assert problems(row, found) == []


@pytest.mark.acceptance(cores=2)
def test_six_guardrails_together_keep_alpha_in_a_thousand_runs(record_property):
    share = turned_back(1000, processes=cores())
    record_property(
        "six guardrails at the edge of what is tolerated, alpha 20%",
        f"{share.share:.3f} +- {share.standard_error:.3f} turned back (1,000 runs)",
    )
    assert kept(share, 0.2)
