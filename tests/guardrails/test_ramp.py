from dataclasses import replace
from datetime import timedelta

import pytest

from experiments.spec import Advance, RampStep
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


ASKED = RampStep(0.05, timedelta(hours=6), 500, approval=True, advance=Advance.PROVEN)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"approval": False}, "no longer waits for the approval", id="approval"),
        pytest.param({"hold": timedelta(hours=1)}, "held for 1 h instead of 6 h", id="hold"),
        pytest.param({"min_units": 50}, "waits for 50 units instead of 500", id="units"),
        pytest.param({"advance": Advance.UNHARMED}, "no longer waits for proof", id="proof"),
    ],
)
def test_the_step_that_is_served_goes_on_asking_for_what_it_asked_for(change, words):
    less, full = replace(ASKED, **change), RampStep()
    found = position((ASKED, full), (less, full), step=0, approved=-1)
    assert isinstance(found, str)
    assert found.startswith("the step with 5%, which is served, ")
    assert words in found
    assert position((less, full), (ASKED, full), step=0, approved=-1) == Position(0, False, -1)
    # the last step asks for nothing, and a ramp that ends there advances nowhere
    assert isinstance(position((ASKED,), (less, full), step=0, approved=-1), Position)
    assert isinstance(position((ASKED, full), (less,), step=0, approved=-1), Position)


def test_an_approval_that_was_given_need_not_be_asked_for_any_longer():
    less, full = replace(ASKED, approval=False), RampStep()
    assert position((ASKED, full), (less, full), step=0, approved=0) == Position(0, False, 0)
    sooner = (less, RampStep(0.5, timedelta(hours=1)), full)
    found = position((ASKED, full), sooner, step=0, approved=0)
    assert "no longer waits for the approval" in str(found), "it was given for another step"


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
