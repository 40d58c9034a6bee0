"""What a margin means: probability and time of a rollback by true harm, through the shipped rule.

A rate of .8 with ``max_drop: 5%``, 140 new units per arm and check, 200 checks (2,000 a day over
14 days), half of the margin to be proven. With more than half of it as harm a treatment is on
its way out; at half of it the level is what is promised.
"""

from dataclasses import replace

import numpy as np
import pytest

from tests.monitored import TIERS, Gate, Rule, error, said, turned_back

pytestmark = pytest.mark.statistical

MARGIN = 0.05
LEVELS = pytest.mark.parametrize("level", [0.0125, 0.05])
AT_THE_MARGIN = 0.95
FEW = 4_000  # where a rate is far from its limit
HALF = [pytest.param(0.0125, tier.values[0], id=tier.id, marks=tier.marks) for tier in TIERS]


def rule_of(level):
    return Rule(level, batch=140, margin=MARGIN)


def checks(rule, harm, runs):
    """Return the check of the rollback of each run, ``rule.checks`` for none."""
    return turned_back(np.random.default_rng(51), rule, (0.8, 0.8 * (1.0 - harm)), runs)


def share(rule, harm, runs):
    return float((checks(rule, harm, runs) < rule.checks).mean())


@pytest.mark.parametrize(("level", "runs"), [*HALF, pytest.param(0.05, FEW)])
def test_half_of_the_margin_is_turned_back_no_more_often_than_the_level(
    level, runs, record_property
):
    rule, gate = rule_of(level), Gate(level)
    for harm, size in ((0.0, FEW), (MARGIN / 2, runs)):
        rate = share(rule, harm, size)
        record_property(f"rollbacks at harm {harm:.1%}, level {level}", said(rate, size))
        assert gate.holds(rate, size), rate
    # an engine that is content with any harm at all
    broken = share(replace(rule, prove_past=0.0), MARGIN / 2, 1000)
    assert not gate.holds(broken, 1000), broken


@pytest.mark.parametrize("runs", TIERS)
@LEVELS
def test_harm_of_the_margin_is_found_by_the_planned_end_and_twice_as_much_far_sooner(
    level, runs, record_property
):
    rule = rule_of(level)
    once, twice = checks(rule, MARGIN, runs), checks(rule, 2 * MARGIN, runs)
    found = float((once < rule.checks).mean())
    medians = [float(np.median(rule.batch * (k + 1.0))) for k in (once, twice)]
    record_property(f"rollbacks at the margin, level {level} (at least .95)", said(found, runs))
    record_property(
        f"median units per arm at the margin and at twice it, level {level}",
        f"{medians[0]:,.0f} and {medians[1]:,.0f}",
    )
    assert found - 3 * error(found, runs) >= AT_THE_MARGIN
    assert medians[1] <= medians[0] / 4
    # one that wants the whole margin proven is at its own edge there
    blunt = replace(rule, prove_past=1.0)
    assert share(blunt, MARGIN, 1000) < AT_THE_MARGIN / 4
    # and one that spends its level at the end finds the large harm hardly sooner than the small
    late = replace(rule, curve=lambda t, alpha: alpha * min(t, 1.0) ** 30, restarts=0)
    slow = [float(np.median(checks(late, harm, 1000))) for harm in (MARGIN, 2 * MARGIN)]
    assert slow[1] > slow[0] / 4
