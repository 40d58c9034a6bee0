"""False alarms of an experiment with twelve guardrails, nobody being harmed: any of them counts."""

from dataclasses import dataclass

import numpy as np
import pytest

from guardrails.levels import split_alpha
from metrics.stats.contrasts import Null, proportion_statistic
from tests.monitored import ALPHA, TIERS, Gate, crossed, in_parts, said

pytestmark = pytest.mark.statistical

KPIS = 12
FAMILY = Gate(0.055)
LOOKS, BATCH = 30, 400
BAD = 0.2
"""Share of units that fare ill in every KPI: what correlates the KPIs."""


@dataclass(frozen=True)
class Share:
    """What the split of alpha asks of a guardrail."""

    id: str
    weight: float = 1.0
    acts: bool = True


def level_of_one():
    """Return the level the engine gives each of twelve guardrails."""
    guardrails = [Share(str(i)) for i in range(KPIS)]
    (level,) = set(split_alpha(ALPHA, guardrails, 1).values())
    return level


def events(rng, rates, runs):
    """Return events (runs, KPIs) of a batch: the same bad units for all KPIs."""
    ill, well = rates
    bad = np.broadcast_to(rng.binomial(BATCH, BAD, (runs, 1)), (runs, KPIS))
    return rng.binomial(bad, ill) + rng.binomial(BATCH - bad, well)


def simulated(rng, rates, runs):
    """Return z (looks, runs x KPIs) of equal arms."""
    z = np.empty((LOOKS, runs * KPIS))
    t, c = np.zeros((runs, KPIS)), np.zeros((runs, KPIS))
    for k in range(LOOKS):
        t += events(rng, rates, runs)
        c += events(rng, rates, runs)
        units = np.full((runs * KPIS, 1), BATCH * (k + 1.0))
        arms = (t.reshape(-1, 1), c.reshape(-1, 1))
        z[k] = proportion_statistic((units, arms[0]), (units, arms[1]), Null(1.0, 0.0, 1.0)).z
    return z


@pytest.mark.parametrize("runs", TIERS)
@pytest.mark.parametrize(
    ("correlation", "rates"), [(0.0, (0.2, 0.2)), (0.56, (0.8, 0.05))], ids=["independent", "alike"]
)
def test_twelve_guardrails_alarm_no_more_often_than_one(correlation, rates, runs, record_property):
    rng = np.random.default_rng(21)
    information = BATCH / 2 * np.arange(1.0, LOOKS + 1)
    level, found, broken = level_of_one(), [], []
    for n in in_parts(runs):
        z = simulated(rng, rates, n)
        found.append(any_of(z, information, level))
        if not broken:  # once
            broken.append(any_of(z, information, ALPHA))  # each of them has the whole level
            seen = np.corrcoef(z[-1].reshape(-1, KPIS).T)
            assert np.mean(seen[np.triu_indices(KPIS, 1)]) == pytest.approx(correlation, abs=0.02)
    rate, unsplit = float(np.concatenate(found).mean()), float(broken[0].mean())
    what = f"false alarms, 12 guardrails, correlation {correlation}"
    record_property(f"{what} ({FAMILY})", said(rate, runs))
    assert FAMILY.holds(rate, runs), rate
    assert not FAMILY.holds(unsplit, broken[0].size), unsplit


def any_of(z, information, level):
    """Return in which runs any of the KPIs crosses."""
    return crossed(z, information, alpha=level).reshape(-1, KPIS).any(axis=1)
