"""Rates of false alarms of means and ratios: skewed amounts, capped revenue, few raters.

Nobody is harmed. Units are stretches of a large drawn pool, so a batch of any size is one
subtraction. Every gate also runs an engine that is broken on purpose and must fail it.
"""

import numpy as np
import pytest

from metrics.stats.contrasts import Null, linear_statistic
from tests.monitored import REDUCED, TIERS, Gate, Pool, rate_of, said, usable_values, welch_z

pytestmark = pytest.mark.statistical

VALUES = Gate(0.06)
AMOUNTS = Gate(0.056, low=0.036)
SCORES = Gate(0.0525, low=0.040)
SIDES = {"drop": -1.0, "rise": 1.0}
PER_SIDE = pytest.mark.parametrize("side", SIDES)
CAP_AT = 0.999


def pool_size(runs):
    """Return a number of units so large that batches of a run hardly ever meet."""
    return 1_000_000 if runs <= REDUCED else 4_000_000


def watched(rng, pool, runs, side, *, looks, batches, broken):
    """Return z, gates and another engine's z after each of ``looks`` batches of both arms.

    ``broken`` takes an arm of each and the sign of harm; ``batches`` are units of the treatment
    and of control.
    """
    sign = SIDES[side]
    shape = (looks, runs)
    z, other, usable = np.empty(shape), np.empty(shape), np.zeros(shape, dtype=bool)
    sums = [0.0, 0.0]
    seen = [0.0, 0.0]
    for k in range(looks):
        for arm, units in enumerate(batches):
            starts = pool.stretches(rng, units, runs)
            sums[arm] = sums[arm] + pool.batch(starts, units)
            if pool.others is not None:
                seen[arm] = seen[arm] + pool.others.batch(starts, units)
        t, c = (pool.arm(s) for s in sums)
        found = linear_statistic(t, c, Null(1.0, 0.0, sign))
        z[k], usable[k] = found.z, usable_values(t, c, found.kappa)
        arms = (t, c) if pool.others is None else [pool.others.arm(s) for s in seen]
        other[k] = broken(*arms, sign)
    small, large = batches
    information = small * large / (small + large) * np.arange(1.0, looks + 1)
    return z, usable, other, information


def plain_z(t, c, sign):
    return linear_statistic(t, c, Null(1.0, 0.0, sign)).z


@pytest.mark.parametrize("runs", TIERS)
def test_scores_in_equal_arms_have_the_nominal_rate(runs, record_property):
    rng = np.random.default_rng(11)
    pool = Pool(rng.choice([1.0, 2.0, 3.0, 4.0, 5.0], 1_000_000, p=[0.05, 0.05, 0.1, 0.25, 0.55]))
    z, usable, _, information = watched(
        rng, pool, runs, "drop", looks=60, batches=(100, 100), broken=welch_z
    )
    rate = rate_of(z, information, usable=usable)
    record_property(f"false alarms, scores in equal arms ({SCORES})", said(rate, runs))
    assert SCORES.holds(rate, runs), rate
    loose = rate_of(z, information, usable=usable, alpha=0.1)  # an engine with errors of 10%
    assert not SCORES.holds(loose, runs), loose


@pytest.mark.parametrize("runs", TIERS)
@PER_SIDE
def test_a_canary_has_the_nominal_rate_for_skewed_amounts(side, runs, record_property):
    # lognormal amounts, 19:1: Welch has 13% false alarms on the side of a drop
    rng = np.random.default_rng(4)
    pool = Pool(np.exp(rng.normal(size=pool_size(runs))))
    z, usable, welch, information = watched(
        rng, pool, runs, side, looks=30, batches=(100, 1900), broken=welch_z
    )
    rate = rate_of(z, information, usable=usable)
    record_property(f"false alarms, lognormal amounts 19:1, {side} ({AMOUNTS})", said(rate, runs))
    assert AMOUNTS.holds(rate, runs), rate
    broken = rate_of(welch, information)
    record_property(f"the same by Welch, {side}", said(broken, runs))
    assert not AMOUNTS.holds(broken, runs), broken  # far too sure of a drop, blind for a rise


def revenue(rng, size):
    """Return amounts of units of which one in twenty buys, capped at a frozen quantile."""
    buys = rng.random(size) < 0.05
    amounts = np.where(buys, np.exp(3.0 + 1.5 * rng.normal(size=size)), 0.0)
    return np.minimum(amounts, np.quantile(amounts, CAP_AT))


@pytest.mark.parametrize("runs", TIERS)
@pytest.mark.parametrize("batches", [(1000, 1000), (300, 5700)], ids=["1:1", "19:1"])
@PER_SIDE
def test_capped_revenue_with_a_heavy_tail_has_the_nominal_rate(
    batches, side, runs, record_property
):
    rng = np.random.default_rng(12)
    pool = Pool(revenue(rng, pool_size(runs)))
    z, usable, welch, information = watched(
        rng, pool, runs, side, looks=40, batches=batches, broken=welch_z
    )
    rate = rate_of(z, information, usable=usable)
    shares = "1:1" if batches[0] == batches[1] else "19:1"
    what = f"false alarms, capped revenue {shares}, {side}"
    record_property(f"{what} ({VALUES})", said(rate, runs))
    assert VALUES.holds(rate, runs), rate
    assert rate > 0.02  # nor does the gate keep it from ever looking
    if shares == "19:1" and side == "drop":
        broken = rate_of(welch, information)
        record_property(f"{what}, by Welch", said(broken, runs))
    else:
        broken = rate_of(z, information, usable=usable, alpha=0.1)
    assert not VALUES.holds(broken, runs), broken


def raters(rng, size):
    """Return raters with one to three ratings each, and beside it each rating for itself."""
    x = rng.choice([1.0, 2.0, 3.0], size, p=[0.7, 0.2, 0.1])
    score = rng.choice([1.0, 2.0, 3.0, 4.0, 5.0], size, p=[0.05, 0.05, 0.1, 0.25, 0.55])
    pool = Pool(score * x, x)
    pool.others = Pool(score, times=x)
    return pool


@pytest.mark.parametrize("runs", TIERS)
@pytest.mark.parametrize("batches", [(10, 10), (10, 90)], ids=["1:1", "9:1"])
@PER_SIDE
def test_a_ratio_with_few_raters_has_the_nominal_rate(batches, side, runs, record_property):
    # a rater gives all ratings alike; from 100 to 600 raters in the smaller arm
    rng = np.random.default_rng(13)
    z, usable, events, information = watched(
        rng, raters(rng, 1_000_000), runs, side, looks=60, batches=batches, broken=plain_z
    )
    assert usable.any(axis=1).argmax() == 9
    rate = rate_of(z, information, usable=usable)
    what = f"false alarms, few raters {batches[1] // batches[0]}:1, {side}"
    record_property(f"{what} ({VALUES})", said(rate, runs))
    assert VALUES.holds(rate, runs), rate
    broken = rate_of(events, information, usable=usable)  # each rating a unit of its own
    record_property(f"{what}, ratings taken for units", said(broken, runs))
    assert not VALUES.holds(broken, runs), broken
