"""The sample-ratio alarm: as rare as promised when all is well, as fast as published when not."""

import math

import numpy as np
import pytest
from scipy.stats import chi2

from metrics.stats.sample_ratio import log_e_value
from tests.golden.test_sample_ratio import REFERENCE

pytestmark = pytest.mark.statistical

ALPHA = 0.001


def counts_over_time(rng, shares, *, runs, looks, batch):
    return rng.multinomial(batch, shares, size=(runs, looks)).cumsum(axis=1)


def alarms(counts, shares, *, alpha=ALPHA, concentration=1000.0):
    """First look with an alarm of each run, the number of looks where there is none."""
    evidence = log_e_value(counts, shares, concentration=concentration)
    crossed = evidence >= math.log(1 / alpha)
    return np.where(crossed.any(axis=1), crossed.argmax(axis=1), counts.shape[1])


def margin(share, runs):
    return 4 * math.sqrt(share * (1 - share) / runs)


@pytest.mark.parametrize("alpha", [0.001, 0.05])
@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.8, 0.1, 0.1), (0.95, 0.05)], ids=str)
def test_units_dealt_as_planned_hardly_ever_raise_the_alarm(shares, alpha):
    runs, looks = 10_000, 100
    rng = np.random.default_rng(20260501)
    counts = counts_over_time(rng, shares, runs=runs, looks=looks, batch=500)
    rate = (alarms(counts, shares, alpha=alpha) < looks).mean()
    assert rate <= alpha + margin(alpha, runs)
    # the same gate, and a test made for one look: it must not pass
    expected = np.array(shares) * counts.sum(axis=2, keepdims=True)
    statistic = ((counts - expected) ** 2 / expected).sum(axis=2)
    naive = (statistic > chi2.isf(alpha, len(shares) - 1)).any(axis=1).mean()
    assert naive > alpha + margin(alpha, runs)


@pytest.mark.parametrize("concentration", [100, 1000, 10_000])
@pytest.mark.parametrize(
    ("real", "batch"), [(0.48, 100), (0.49, 500), (0.495, 2500)], ids=["2 points", "1 point", "1%"]
)
def test_an_uneven_split_is_found_as_fast_as_published(real, batch, concentration):
    runs, looks = 1_000, 200
    published = REFERENCE["simulation"][f"theta={real}, batch={batch}, checks=200, alpha=.001"][
        str(concentration)
    ]
    rng = np.random.default_rng(20260502)
    counts = counts_over_time(rng, (real, 1 - real), runs=runs, looks=looks, batch=batch)
    first = alarms(counts, (0.5, 0.5), concentration=concentration)
    both = math.sqrt(1 / runs + 1 / 4000)
    share = published["reject"]
    assert abs((first < looks).mean() - share) < 4 * math.sqrt(share * (1 - share)) * both + 0.002
    by_then = ((first + 1) * batch <= published["median_n"]).mean()
    assert abs(by_then - 0.5) < 4 * 0.5 * both
