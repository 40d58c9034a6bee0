"""The promises of the lifecycle in random order at length, and with the code broken on purpose."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlmodel import update

import guardrails.going_on
import guardrails.layering
import guardrails.loaded
import guardrails.shelf
from experiments.database import ControlPlane
from experiments.models import TreatmentRow
from guardrails.ramp import Position
from tests.lifecycle_machine import TOTALS, Lifecycle

pytestmark = pytest.mark.acceptance
EXAMPLES = 300
STEPS = 40


def run(examples, steps):
    options = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Lifecycle, settings=options)


def test_apply_start_ramp_roll_back_resume_seed_and_crashes_in_any_order(record_property):
    TOTALS.clear()
    run(EXAMPLES, STEPS)
    record_property("runs of random steps", f"{EXAMPLES:,} of up to {STEPS}")
    for what, count in sorted(TOTALS.items()):
        record_property(what, f"{count:,}")
    everything = {
        "apply created",
        "apply updated",
        "apply unchanged",
        "apply broken",
        "apply ReshuffleError",
        "apply ConflictError",
        "apply LayerConflictError",
        "start",
        "pause",
        "continue",
        "stop",
        "approve",
        "roll_back",
        "resume",
        "the engine turned back",
        "the ramp advanced",
        "finished",
        "stopped",
        "crash",
        "crash in the middle",
    }
    assert everything <= set(TOTALS)


def reset_latches(monkeypatch):
    def forget(session, key, seed, _guardrails):
        session.exec(
            update(TreatmentRow).where(TreatmentRow.experiment == key).values(state="live")
        )

    monkeypatch.setattr(guardrails.going_on, "forget_monitors", forget)


def refuse_nothing(monkeypatch):
    monkeypatch.setattr(guardrails.going_on, "refusals", lambda *_, **__: ())


def keep_the_index_of_the_step(monkeypatch):
    def position(_old, new, *, step, approved):
        return Position(min(step, len(new) - 1), anew=False, approved=approved)

    monkeypatch.setattr(guardrails.going_on, "position", position)


def give_buckets_twice(monkeypatch):
    real = guardrails.layering.allocate
    monkeypatch.setattr(
        guardrails.layering, "allocate", lambda share, *, taken, own: real(share, taken=(), own=own)
    )


def need_no_approval(monkeypatch):
    real = guardrails.loaded.Step
    monkeypatch.setattr(
        guardrails.loaded, "Step", lambda *a, **k: real(*a, **(k | {"approval": False}))
    )


def serve_who_is_turned_back(monkeypatch):
    real = guardrails.shelf.Shelf.standings

    def standings(self, session):
        return [type(s)(s.record, s.loaded, frozenset()) for s in real(self, session)]

    monkeypatch.setattr(guardrails.shelf.Shelf, "standings", standings)


def write_in_a_dry_run(monkeypatch):
    real = ControlPlane.transaction
    monkeypatch.setattr(ControlPlane, "transaction", lambda self, **_: real(self))


@pytest.mark.parametrize(
    "defect",
    [
        reset_latches,
        refuse_nothing,
        keep_the_index_of_the_step,
        give_buckets_twice,
        need_no_approval,
        serve_who_is_turned_back,
        write_in_a_dry_run,
    ],
)
def test_a_defect_that_breaks_a_promise_is_found(monkeypatch, defect):
    defect(monkeypatch)
    with pytest.raises(AssertionError):
        run(200, STEPS)
