import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.cells import MICRO, Cell, Sums
from metrics.stats import moments
from metrics.stats.contrasts import unpooled_variance

VALUES = st.integers(-(10**12), 10**12)
MILLI_VALUES = st.integers(-(10**6), 10**6).map(lambda v: v * 1000)


def summed(values, denominators=None):
    whole = Sums()
    for index, y in enumerate(values):
        whole += Sums.of(y, denominators[index] if denominators else MICRO)
    return whole


def arm_of(*parts, ratio=False, cohorts=1, phases=1):
    """Return an arm of (cohort, phase, sums) parts."""
    cells = [Cell("a", phase, cohort, s.n, s) for cohort, phase, s in parts]
    return moments.arm(cells, moments.total(cells), cohorts=cohorts, phases=phases, ratio=ratio)


def central(values, power):
    """Return an exact central moment of values of 1e-6, in the unit itself."""
    exact = [Fraction(v, MICRO) for v in values]
    mean = sum(exact) / len(exact)
    return float(sum((v - mean) ** power for v in exact) / len(exact))


def test_a_mean_of_1e8_with_sd_1_keeps_its_variance():
    # raw float sums give -86 here (or anything else), centred integers give 1.002
    rng = np.random.default_rng(5)
    values = [int(v) for v in np.rint((1e8 + rng.normal(size=20_000)) * MICRO)]
    arm = arm_of((0, 0, summed(values)))
    n = float(arm.n[0, 0])
    variance = float(arm.uu[0, 0]) / n - (float(arm.u[0, 0]) / n) ** 2
    assert variance == pytest.approx(central(values, 2), rel=1e-9)
    assert variance == pytest.approx(1.0, abs=0.05)
    assert float(unpooled_variance(arm.row(0))[0]) == pytest.approx(variance / n, rel=1e-3)
    raw = [v / MICRO for v in values]
    broken = sum(v * v for v in raw) / n - (sum(raw) / n) ** 2
    assert abs(broken - variance) > 0.1


@settings(max_examples=50, deadline=None)
@given(values=st.lists(VALUES, min_size=1, max_size=30))
def test_first_and_second_moments_are_exact_to_rounding(values):
    arm = arm_of((0, 0, summed(values)))
    n = len(values)
    assert float(arm.y[0, 0]) == pytest.approx(sum(values) / MICRO, rel=1e-12, abs=1e-9)
    variance = float(arm.uu[0, 0]) / n - (float(arm.u[0, 0]) / n) ** 2
    assert variance == pytest.approx(central(values, 2), rel=1e-9, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(
    pairs=st.lists(st.tuples(MILLI_VALUES, MILLI_VALUES), min_size=2, max_size=20),
    slope=st.floats(-3.0, 3.0),
)
def test_third_moments_of_y_minus_r_x_are_those_of_the_units(pairs, slope):
    whole = summed([y for y, _ in pairs], [x for _, x in pairs])
    arm = arm_of((0, 0, whole), ratio=True).row(0)
    u = [y / MICRO - arm.y0 - slope * (x / MICRO - arm.x0) for y, x in pairs]
    ours = arm.uuu - 3 * slope * arm.uuv + 3 * slope**2 * arm.uvv - slope**3 * arm.vvv
    scale = math.fsum(abs(e) ** 3 for e in u) + 1.0
    assert float(ours[0]) == pytest.approx(math.fsum(e**3 for e in u), abs=1e-6 * scale)


@settings(max_examples=30, deadline=None)
@given(
    parts=st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 1), st.lists(VALUES, min_size=1, max_size=4)),
        min_size=1,
        max_size=10,
        unique_by=lambda part: part[:2],
    )
)
def test_a_row_is_what_entered_since_its_cohort(parts):
    arm = arm_of(*((c, h, summed(v)) for c, h, v in parts), cohorts=5, phases=2)
    for since in range(5):
        for phase in range(2):
            values = [v for c, h, vs in parts if c >= since and h == phase for v in vs]
            assert arm.n[since, phase] == len(values)
            assert float(arm.y[since, phase]) == pytest.approx(
                sum(values) / MICRO, rel=1e-9, abs=1e-6
            )


def test_counts_of_a_rate_are_exact():
    cells = [
        Cell("a", 0, 0, 10, summed([MICRO] * 3 + [0] * 7)),
        Cell("a", 1, 2, 5, summed([MICRO] * 5)),
    ]
    n, events = moments.counts([cells, []], cohorts=3, phases=2)
    assert n[:, 0].tolist() == [[[10, 5], [0, 5], [0, 5]], [[0, 0], [0, 0], [0, 0]]]
    assert events[:, 0].tolist() == [[[3, 5], [0, 5], [0, 5]], [[0, 0], [0, 0], [0, 0]]]


def test_third_moments_that_rounding_has_spoilt_are_not_used():
    rng = np.random.default_rng(6)
    fine = [int(v) for v in np.rint((1e6 + rng.normal(size=500)) * MICRO)]
    assert not arm_of((0, 0, summed(fine))).cubes
    whole_numbers = [round(v / MICRO) * MICRO for v in fine]
    assert arm_of((0, 0, summed(whole_numbers))).cubes
    ordinary = [int(v) for v in np.rint(rng.lognormal(3, 1, 500) * MICRO)]
    assert arm_of((0, 0, summed(ordinary))).cubes
    arm = arm_of((0, 0, summed(whole_numbers)))
    n, u = float(arm.n[0, 0]), float(arm.u[0, 0])
    third = float(arm.uuu[0, 0]) - 3 * u * float(arm.uu[0, 0]) / n + 2 * u**3 / n**2
    assert third / n == pytest.approx(central(whole_numbers, 3), rel=1e-6, abs=1e-6)
