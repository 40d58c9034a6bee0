"""People, time, harm and crashes in random order: a small run of what acceptance runs at length."""

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.lifecycle_machine import TOTALS, Lifecycle

SMALL = settings(
    max_examples=16,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # shrinking a failure takes minutes: ask for it when one is there
    suppress_health_check=list(HealthCheck),
)


def test_whatever_happens_in_whatever_order_the_promises_of_the_lifecycle_hold():
    TOTALS.clear()
    run_state_machine_as_test(Lifecycle, settings=SMALL)
    everywhere = {
        "apply updated",
        "apply ReshuffleError",
        "roll_back",
        "resume",
        "the ramp advanced",
    }
    assert everywhere <= set(TOTALS), f"the run did not get around to {everywhere - set(TOTALS)}"
    assert TOTALS["crash in the middle"] + TOTALS["crash"] > 10
