"""Limits of means: how often an arm whose true mean is at its limit is found beyond it.

Every gate also runs an engine that is broken on purpose and must fail it: the same one without
the gate on what a sample may hide.
"""

import math

import numpy as np
import pytest

from metrics.cells import MICRO, MILLI, Sums
from metrics.stats import one_sample
from metrics.stats.comparison import MAX_DENOMINATOR_CV, MAX_SKEWNESS, MIN_UNITS

pytestmark = pytest.mark.statistical

LEVEL, LIMIT = 0.05, 5.0
LOOKS = np.unique(np.concatenate([np.arange(120, 3001, 120), np.geomspace(3000, 20000, 12)]))


def lognormal(sigma, mean=LIMIT):
    return lambda rng, n: mean * np.exp(rng.normal(0.0, sigma, n) - sigma * sigma / 2)


def buyers(share, mean=LIMIT):
    baskets = lognormal(0.8, mean / share)
    return lambda rng, n: (rng.random(n) < share) * baskets(rng, n)


def capped(rng, n):
    # a tenth buys, baskets of a lognormal are counted up to 30; the mean in closed form
    sigma, most = 1.5, 30.0

    def below(v):
        return 0.5 * math.erfc(-v / math.sqrt(2.0))

    cut = math.log(most) / sigma
    mean = math.exp(sigma * sigma / 2) * below(cut - sigma) + most * below(-cut)
    baskets = np.minimum(rng.lognormal(0.0, sigma, n), most)
    return (rng.random(n) < 0.1) * baskets * LIMIT / (0.1 * mean)


def seldom_large(rng, n):
    return rng.normal(1.0, 1.0, n) + (rng.random(n) < 0.01) * 400.0


AT_LIMIT = {
    "1% buyers": buyers(0.01),
    "3% buyers": buyers(0.03),
    "10% buyers": buyers(0.1),
    "lognormal 1": lognormal(1.0),
    "lognormal 1.5": lognormal(1.5),
    "lognormal 2": lognormal(2.0),
    "capped": capped,
    "1% large": seldom_large,
}


def cells(draw, rng):
    """Return exact sums of one arm at every look."""
    y = np.round(draw(rng, int(LOOKS[-1])) * MILLI).astype(np.int64)
    at = LOOKS.astype(int) - 1
    # cubes do not fit 64 bits
    first, second = np.cumsum(y)[at], np.cumsum(y * y)[at]
    starts = np.concatenate([[0], at[:-1] + 1])
    third, whole = np.add.reduceat(y.astype(object) ** 3, starts), 0
    for n, a, b, c in zip(LOOKS.astype(int), first, second, third, strict=True):
        whole += int(c)
        yield Sums(int(n), int(a) * MILLI, int(n) * MICRO, int(b) * MICRO, yyy=whole)


def found_at(draw, rng, sign, level=LEVEL):
    """Return the units at which a mean is first found beyond its limit, or ``inf``."""
    for sums in cells(draw, rng):
        found = one_sample.mean_evidence(
            sums,
            LIMIT,
            sign,
            level,
            ratio=False,
            min_units=MIN_UNITS,
            max_skewness=MAX_SKEWNESS,
            max_cv=MAX_DENOMINATOR_CV,
        )
        if found.usable and found.log_beyond >= -math.log(level):
            return float(sums.n)
    return math.inf


def trips(name, sign, runs):
    rng = np.random.default_rng((4, runs))
    return sum(math.isfinite(found_at(AT_LIMIT[name], rng, sign)) for _ in range(runs))


def allowed(runs):
    return LEVEL * runs + 3 * math.sqrt(LEVEL * (1 - LEVEL) * runs)


@pytest.mark.parametrize(
    "runs",
    [pytest.param(60, id="reduced"), pytest.param(1000, id="full", marks=pytest.mark.acceptance)],
)
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["maximum", "minimum"])
@pytest.mark.parametrize("name", AT_LIMIT)
def test_a_mean_at_its_limit_trips_no_more_often_than_its_level(name, sign, runs, record_property):
    tripped = trips(name, sign, runs)
    record_property(f"false trips of a mean at its limit, {name}, {runs} runs, {sign}", tripped)
    assert tripped <= allowed(runs)


@pytest.mark.parametrize("name", ["1% buyers", "lognormal 2", "1% large"])
def test_an_engine_that_asks_nothing_of_the_tail_fails_this_test(name, monkeypatch):
    kept, measure = one_sample._worn_off, one_sample._skewness
    monkeypatch.setattr(one_sample, "_worn_off", lambda n, kappa: True)
    # and what it made of an arm without spread
    monkeypatch.setattr(one_sample, "_skewness", lambda *moments: measure(*moments) or 0.0)
    runs = 200
    assert trips(name, -1.0, runs) > allowed(runs)
    monkeypatch.setattr(one_sample, "_worn_off", kept)
    assert trips(name, -1.0, runs) <= allowed(runs)


@pytest.mark.parametrize(
    ("draw", "sign", "within"),
    [
        pytest.param(lambda rng, n: rng.gamma(2.0, LIMIT, n), 1.0, 240, id="refund hours"),
        pytest.param(lambda rng, n: rng.exponential(2 * LIMIT, n), 1.0, 240, id="dwell"),
        pytest.param(lambda rng, n: rng.exponential(LIMIT / 2, n), -1.0, 2400, id="dwell halved"),
        pytest.param(lambda rng, n: rng.normal(LIMIT / 2, 2.0, n), -1.0, 600, id="even"),
        pytest.param(lognormal(1.0, 2 * LIMIT), 1.0, 600, id="lognormal"),
        pytest.param(buyers(0.1, LIMIT / 2), -1.0, 15_000, id="10% buyers"),
    ],
)
def test_twice_or_half_the_limit_is_found_in_time(draw, sign, within):
    rng = np.random.default_rng(5)
    found = [found_at(draw, rng, sign, level=0.00625) for _ in range(20)]
    assert float(np.median(found)) <= within
    assert sum(map(math.isfinite, found)) >= 19
