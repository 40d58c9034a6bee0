"""A shift of what a KPI divides by is told: fewer answers can make a mean score look better."""

from datetime import timedelta

import numpy as np
import pytest

from experiments.database import ControlPlane
from guardrails import denominators
from guardrails.clock import SteppedClock
from guardrails.denominators import _evidence, _Sums
from guardrails.engine import Engine
from metrics.events import Event, exposure
from metrics.stores import open_store
from tests.engine_world import SPEC, T

RATED = SPEC.replace("flow_failure_rate, max_rise: 10%", "satisfaction, max_drop: 3%")
SUCCESS = SPEC.replace("flow_failure_rate, max_rise: 10%", "cancel_success_rate, max_drop: 3%")
UNITS = 1500


@pytest.fixture
def world():
    store = open_store("memory:")
    clock = SteppedClock(T)
    engine = Engine(control=ControlPlane(), store=store, clock=clock)
    yield engine, store, clock
    engine.close()
    store.close()


def history(answering, *, name="satisfaction_rated", score=None):
    """Yield exposures of 1,500 units of each arm; some of them answer within minutes."""
    for arm, share in answering.items():
        for n in range(UNITS):
            unit, at = f"{arm}-{n}", T + timedelta(seconds=n)
            yield exposure("cancel-page", 1, "order_id", unit, arm, at)
            if n % 100 < share:
                fields = {} if score is None else {"score": score[arm] * 1_000_000}
                happened = at + timedelta(minutes=2)
                yield Event(f"r-{unit}", name, happened, {"order_id": unit}, fields)


def checked(world, text, events):
    engine, store, clock = world
    engine.apply(text, source="s", actor="a")
    store.append(list(events), received_at=T + timedelta(hours=3))
    clock.move_to(T + timedelta(hours=3))
    engine.run_due()
    return engine.experiment("cancel-page")


def test_fewer_answers_are_told_where_the_mean_score_looks_better(world):
    events = history({"control": 40, "treatment": 25}, score={"control": 4, "treatment": 5})
    view = checked(world, RATED, events)
    value = {k.variant: k.value for k in view.kpis if k.window == timedelta(hours=1)}
    assert value["treatment"] > value["control"]
    (shift,) = view.denominators
    assert (shift.kpi, shift.variant, shift.window) == (
        *("satisfaction", "treatment"),
        timedelta(hours=1),
    )
    assert (shift.control, shift.treatment) == pytest.approx((0.40, 0.25))
    assert shift.words in view.attention
    assert shift.words == (
        "Satisfaction over 1 h: what it divides by (ratings) differs between arms: 0.4 per unit in "
        "control, 0.25 in treatment; 40.0% of units have one in control, 25.0% in treatment. Its "
        "values are of different people or cases, so a better one may hide harm"
    )
    engine, *_ = world
    assert f"Needs attention: {shift.words}." in engine.explain("cancel-page").paragraphs


def test_the_units_a_rate_is_about_are_watched_too(world):
    events = history({"control": 60, "treatment": 40}, name="cancel_started")
    (shift,) = checked(world, SUCCESS, events).denominators
    assert shift.words.startswith(
        "Cancel success rate over 1 h: the units it is about (started > 0) differ between arms: "
        "60.0% of units have one in control, 40.0% in treatment."
    )


def test_arms_that_answer_alike_are_not_told(world):
    events = history({"control": 40, "treatment": 38}, score={"control": 4, "treatment": 3})
    assert checked(world, RATED, events).denominators == ()


def test_a_kpi_of_all_units_has_no_denominator_to_watch(world):
    events = history({"control": 10, "treatment": 40}, name="flow_failed")
    assert checked(world, SPEC, events).denominators == ()


def test_a_treatment_that_is_turned_back_is_no_longer_compared(world):
    events = history({"control": 40, "treatment": 25}, score={"control": 4, "treatment": 5})
    assert checked(world, RATED, events).denominators
    engine, *_ = world
    engine.roll_back("cancel-page", "treatment", reason="r", actor="a")
    assert engine.experiment("cancel-page").denominators == ()


@pytest.mark.statistical
def test_arms_without_a_shift_are_told_no_more_often_than_the_level_says(monkeypatch):
    """400 runs of 40 looks at a level of 10%; a fixed test at each look would tell half of them."""
    level, looks, step = 0.1, 40, 250
    monkeypatch.setattr(denominators, "TUNED_FOR", 1_000.0)
    rng = np.random.default_rng(8)
    told = 0
    for _ in range(400):
        drawn = rng.poisson(0.6, (2, looks * step)).astype(float)
        x, xx = drawn.cumsum(axis=1), (drawn**2).cumsum(axis=1)
        told += any(
            (_evidence([tuple(_Sums(n, n, x[a, n - 1], xx[a, n - 1]) for a in (0, 1))], level) or 0)
            >= 1.0
            for n in range(step, looks * step + 1, step)
        )
    assert told / 400 <= level + 3 * (level * (1 - level) / 400) ** 0.5
