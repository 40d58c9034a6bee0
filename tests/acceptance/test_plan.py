"""``turnback plan`` against a seeded simulation of the engine, at full size."""

import gc
import math
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import pytest

from tests.planned import CASES, HOUR, LIMITS, planned, simulated

pytestmark = [pytest.mark.acceptance(cores=2), pytest.mark.statistical]

REPETITIONS = 600
MEDIAN, NINETY = 0.10, 0.15


@pytest.fixture(scope="module")
def spread():
    """Return a ``map`` by as many processes as there are cores, the same for all cases."""
    cores = min(2, os.cpu_count() or 1)
    with ProcessPoolExecutor(cores, get_context("spawn"), initializer=gc.freeze) as pool:
        yield partial(pool.map, chunksize=10)


def quantile(hours, share):
    """Return the hour by which this share of the repetitions was turned back."""
    return hours[math.ceil(share * len(hours)) - 1]


@pytest.mark.parametrize("case", [*CASES, *LIMITS], ids=str)
def test_the_plan_is_borne_out_by_the_engine(case, spread, record_property):
    found = planned(case)
    hours = simulated(case, REPETITIONS, spread=spread)
    median, ninety = found.median.after / HOUR, found.ninety.after / HOUR
    seen = sum(math.isfinite(h) for h in hours) / len(hours)
    record_property(
        f"{case} (median, 90%, probability: plan / engine, {REPETITIONS} repetitions)",
        f"{median:.1f} / {quantile(hours, 0.5):.1f} h, "
        f"{ninety:.1f} / {quantile(hours, 0.9):.1f} h, {found.probability:.3f} / {seen:.3f}",
    )
    assert median == pytest.approx(quantile(hours, 0.5), rel=MEDIAN)
    assert ninety == pytest.approx(quantile(hours, 0.9), rel=NINETY)
