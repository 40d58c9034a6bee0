import pytest

from experiments.spec import RampStep
from guardrails.ramp import Position, position


def ramp(*traffic):
    return tuple(RampStep(t / 100) for t in traffic)


@pytest.mark.parametrize(
    ("old", "step", "new", "expected"),
    [
        pytest.param((5, 25, 100), 1, (5, 25, 100), (1, False), id="nothing changes"),
        pytest.param((5, 25, 100), 1, (5, 10, 25, 100), (2, False), id="a step before it"),
        pytest.param((5, 25, 100), 1, (25, 100), (0, False), id="a step before it is gone"),
        pytest.param((5, 25, 100), 1, (5, 25, 50, 100), (1, False), id="a step after it"),
        pytest.param((100,), 0, (5, 100), (1, False), id="full traffic stays full"),
        pytest.param((5, 25), 1, (5, 40), (1, True), id="the last step grows"),
    ],
)
def test_a_ramp_goes_on_where_the_traffic_that_is_served_is(old, step, new, expected):
    found = position(ramp(*old), ramp(*new), step=step, approved=-1)
    assert found == Position(expected[0], anew=expected[1], approved=-1)


@pytest.mark.parametrize(
    ("old", "step", "new", "words"),
    [
        pytest.param((5, 25, 100), 1, (5, 20), "ends at 20%, but 25% is served", id="shrinks"),
        pytest.param((100,), 0, (5, 50), "ends at 50%, but 100% is served", id="from full"),
        pytest.param(
            (5, 25, 100), 1, (5, 100), "no step with 25%, which is served: raising", id="jumps"
        ),
        pytest.param((5, 25, 100), 0, (30, 100), "no step with 5%", id="beyond the next step"),
        pytest.param((5, 25, 100), 0, (24.9, 100), "no step with 5%", id="almost the next step"),
    ],
)
def test_a_ramp_that_would_lower_traffic_or_jump_is_refused_in_words(old, step, new, words):
    found = position(ramp(*old), ramp(*new), step=step, approved=-1)
    assert isinstance(found, str)
    assert words in found


@pytest.mark.parametrize(
    ("new", "approved"),
    [
        pytest.param((5, 25, 100), 1, id="nothing changes"),
        pytest.param((25, 100), 0, id="it moves with its step"),
        pytest.param((5, 25, 50, 100), -1, id="another step follows"),
    ],
)
def test_an_approval_holds_for_the_step_it_was_given_for(new, approved):
    found = position(ramp(5, 25, 100), ramp(*new), step=1, approved=1)
    assert isinstance(found, Position)
    assert found.approved == approved
