import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from metrics.stats.relative import fieller


def test_an_interval_is_unbounded_where_control_cannot_be_told_from_zero():
    found = fieller(0.1, 0.2, 0.01, 0.01, 3.0)
    assert found.effect == pytest.approx(1.0)
    assert (found.low, found.high) == (-math.inf, math.inf)


@pytest.mark.parametrize("control", [0.0, -2.0, math.nan])
def test_there_is_no_percentage_of_nothing(control):
    found = fieller(control, 1.0, 0.01, 0.01, 2.0)
    assert all(math.isnan(x) for x in (found.effect, found.low, found.high))


@given(
    control=st.floats(0.1, 1e3),
    treatment=st.floats(0.0, 1e3),
    cv=st.floats(1e-4, 0.3),
    z=st.floats(0.5, 5.0),
)
def test_the_ends_are_exactly_the_ratios_that_are_just_not_rejected(control, treatment, cv, z):
    var_c, var_t = (cv * control) ** 2, (cv * control) ** 2 / 2
    found = fieller(control, treatment, var_c, var_t, z)
    assume(math.isfinite(found.low))
    assert found.low <= found.effect <= found.high
    for end in (found.low, found.high):
        ratio = 1 + end
        contrast = treatment - ratio * control
        assert abs(contrast) == pytest.approx(
            z * math.sqrt(var_t + ratio**2 * var_c), rel=1e-6, abs=1e-9
        )
