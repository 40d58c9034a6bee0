"""Nobody who keeps the level is faster, with the same protection against late harm or without.

A rate of .8 that drops by 5%, 100 new units per arm and check, 200 checks, on identical draws. A
repeated constant z is no valid peer: its error grows with the number of checks.
"""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from benchmarks.detection.rules import OURS, PROTECTION, RULES, found_by
from benchmarks.detection.scenarios import SCENARIOS
from benchmarks.detection.verdicts import PLAIN
from tests.monitored import said

pytestmark = pytest.mark.statistical

EQUAL = next(s for s in SCENARIOS if s.key == "equal")
VALID = [rule.name for rule in RULES if "repeated z" not in rule.name]
TIERS = [
    pytest.param(2_000, id="reduced"),
    pytest.param(20_000, id="full", marks=pytest.mark.acceptance),
]
LEVELS = pytest.mark.parametrize("level", [0.05, 0.05 / 12], ids=["5%", "5% over 12"])
AT_ONCE = 2_000


@cache
def hours(level, runs, case):
    """Return the check of the rollback of every run by rule, infinite without one."""
    setting, found = replace(EQUAL.cases[case].setting, level=level), {}
    for part in range(math.ceil(runs / AT_ONCE)):
        draw = EQUAL.cases[case].draw(np.random.default_rng((81, case, part)), setting, AT_ONCE)
        for name, at in found_by(iter(draw), setting).items():
            found.setdefault(name, []).append(at)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def units(level, runs, name):
    """Return units per arm until the rollback or the end."""
    setting = EQUAL.cases[1].setting
    return setting.units * np.minimum(hours(level, runs, 1)[name], setting.hours)


def faster(level, runs, *, than):
    """Return the valid peers that need fewer units than a rule, by how many, chance aside."""
    own, found = units(level, runs, than), {}
    for name in VALID:
        if name in {OURS, PLAIN} or (PROTECTION[name] == "none") != (PROTECTION[than] == "none"):
            continue
        fewer = own - units(level, runs, name)
        if fewer.mean() > 3.0 * fewer.std() / math.sqrt(runs):
            found[name] = round(float(fewer.mean()))
    return found


@pytest.mark.parametrize("runs", TIERS)
@LEVELS
@pytest.mark.parametrize("ours", [OURS, PLAIN])
def test_no_valid_peer_with_the_same_protection_is_faster(ours, level, runs, record_property):
    names = [n for n in VALID if (PROTECTION[n] == "none") == (PROTECTION[ours] == "none")]
    for name in names:
        record_property(
            f"units per arm until a drop of 5% is found, level {level:.4f}: {name}",
            f"{units(level, runs, name).mean():,.0f}",
        )
    assert len(names) > 5
    assert faster(level, runs, than=ours) == {}
    slow = "O'Brien-Fleming" if ours == PLAIN else "O'Brien-Fleming, restarts"
    assert len(faster(level, runs, than=slow)) >= len(names) - 2  # it fails the gate


@pytest.mark.parametrize("runs", TIERS)
@LEVELS
def test_these_peers_are_valid_here(level, runs, record_property):
    for name in VALID:
        rate = float(np.isfinite(hours(level, runs, 0)[name]).mean())
        record_property(f"false rollbacks, level {level:.4f}: {name}", said(rate, runs))
        assert rate <= level + 3 * math.sqrt(level * (1 - level) / runs), name
    naive = float(np.isfinite(hours(level, runs, 0)["repeated z at 5%"]).mean())
    assert naive > 4 * level
