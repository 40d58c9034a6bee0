"""The rule ``catastrophe`` through the engine's judge, at every event under a jumping rate."""

import math

import numpy as np
import pytest
from scipy.stats import binom

import guardrails.judge_catastrophe
from guardrails.outcome import Outcome
from tests.guardrails.test_catastrophe import comparison, judged, rate

RUNS, EVENTS = 150, 100
LEVEL = 0.1
"""Higher than any in use, so that 150 runs can tell a wrong one."""


def alarms(made, chance, runs=RUNS, events=EVENTS):
    """Share of runs that alarm when each event is judged as it comes.

    Units come in bursts with no harm and with nothing but harm: what an hour's rate is tells
    nothing about which arm a harmed unit was dealt into.
    """
    rng = np.random.default_rng(20260302)
    found = 0
    for _ in range(runs):
        mine = rng.random(events) < chance
        quiet = rng.integers(0, 60, events)  # units without harm between two that are harmed
        units, harmed = [0, 0], [0, 0]
        for is_treated, between in zip(mine, quiet, strict=True):
            calm = int(rng.binomial(between, made.part))
            for arm, more in ((0, int(between) - calm), (1, calm)):
                units[arm] += more
            units[int(is_treated)] += 1
            harmed[int(is_treated)] += 1
            cells = (rate(v, units[i], harmed[i]) for i, v in enumerate(("control", "t")))
            if judged(made, *cells).outcome is Outcome.BREACH:
                found += 1
                break
    return found / runs


def at_limit(part, times):
    """Chance that a harmed unit is the treatment's where it has exactly what is tolerated."""
    return times * part / (times * part + 1 - part)


def made_of(part, times):
    plan = comparison(part=part, max_times=times)
    (window,) = plan.windows
    return comparison(part=part, max_times=times, windows=(_at(window),))


def _at(window):
    return type(window)(window.length, LEVEL, window.information_max, window.restarts)


@pytest.mark.statistical
@pytest.mark.parametrize(("part", "times"), [(0.5, 1.0), (0.5, 2.0), (0.05, 2.0)])
def test_harm_within_what_is_tolerated_alarms_no_more_often_than_its_level(part, times):
    found = alarms(made_of(part, times), at_limit(part, times))
    assert found <= LEVEL + 3 * math.sqrt(LEVEL * (1 - LEVEL) / RUNS)


@pytest.mark.statistical
def test_an_engine_that_tests_every_event_as_if_it_were_the_last_alarms_too_often(monkeypatch):
    def fixed(phases, *, alpha, worse):
        ((treated, beside, share),) = phases
        limit = at_limit(share, worse)
        return -math.log(max(binom.sf(treated - 1, treated + beside, limit), 1e-300))

    monkeypatch.setattr(guardrails.judge_catastrophe, "catastrophe_log_e_of_phases", fixed)
    found = alarms(made_of(0.5, 2.0), at_limit(0.5, 2.0), runs=100)
    assert found > LEVEL + 3 * math.sqrt(LEVEL * (1 - LEVEL) / 100)


@pytest.mark.statistical
def test_an_engine_that_forgets_the_planned_shares_alarms_too_often():
    # a treatment with 60% of the units, judged as if it had half
    found = alarms(made_of(0.5, 1.0), 0.6, runs=100)
    assert found > 0.3


@pytest.mark.statistical
def test_the_total_failure_of_an_arm_is_found_by_its_first_dozens_of_units():
    rng = np.random.default_rng(7)
    made, needed = comparison(), []
    for _ in range(200):
        treated = beside = failed = 0
        while True:
            if rng.random() < made.part:
                treated += 1
            else:
                beside += 1
                failed += int(rng.random() < 0.05)
            if min(treated, beside) == 0:
                continue
            cells = rate("control", beside, failed), rate("t", treated, treated)
            if judged(made, *cells).outcome is Outcome.BREACH:
                needed.append(treated)
                break
    assert np.median(needed) <= 24
    assert max(needed) <= 60
