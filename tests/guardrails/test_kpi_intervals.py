"""Intervals of KPIs that no guardrail judges: valid at every look, and none where little is known."""

import math
from datetime import timedelta

import numpy as np
import pytest
from scipy.stats import norm

from experiments.database import ControlPlane
from guardrails.clock import SteppedClock
from guardrails.engine import Engine
from guardrails.kpi_intervals import LEVEL, Ends, add_intervals, ends_of
from metrics.catalogue import Kind
from metrics.cells import MICRO, Cell, Sums
from metrics.events import Event, exposure
from metrics.stats.comparison import Compared, Estimate, compare
from metrics.stats.contrasts import Null, Statistic
from metrics.stores import open_store
from tests.engine_world import SPEC, T

HOUR = timedelta(hours=1)


def rate(n, events):
    return Cell("arm", 0, 0, n, Sums(n, events * MICRO, n * MICRO, events * MICRO**2, *[0] * 6))


def of_rates(control, treatment):
    null = Null(1.0, 0.0, 1.0)
    found = compare([rate(*control)], [rate(*treatment)], kind=Kind.PROPORTION, null=null, rows=1)
    return ends_of(found, share=True)


def test_an_interval_is_wider_than_one_that_is_looked_at_once():
    effect, low, high, _ = of_rates((4000, 800), (4000, 880))
    assert effect == pytest.approx(0.1)
    spread = math.sqrt(0.2 * 0.8 / 4000 + 0.22 * 0.78 / 4000) / 0.2
    once = norm.isf(LEVEL / 2) * spread
    assert once < 0.1 - low < 2 * once
    assert once < high - 0.1 < 2 * once


def test_few_units_or_events_have_no_interval():
    assert of_rates((90, 45), (90, 45)) is None
    assert of_rates((5000, 3), (5000, 2)) is None


def test_a_share_is_never_more_than_all_of_it_lower():
    effect, low, high, _ = of_rates((1000, 60), (1000, 0))
    assert (effect, low) == (-1.0, -1.0)
    assert high < -0.5


def test_where_control_is_not_positive_the_interval_is_of_the_difference():
    def of(control, treatment):
        e = Estimate(control, treatment, 0.25, 0.25)
        found = Compared(
            Statistic(np.zeros((1, 1)), np.zeros((1, 1)), np.array([2000.0])), np.array([[True]]), e
        )
        return ends_of(found, share=False)

    found = of(-14.1, -16.05)
    assert found.absolute
    assert found.effect == pytest.approx(-1.95)
    assert found.low == pytest.approx(2 * -1.95 - found.high)
    assert not of(14.1, 16.05).absolute
    row = {"kpi": "a", "window": 3600, "variant": "b"}
    add_intervals({"kpis": [row]}, {("a", HOUR, "b"): found})
    assert ("interval" in row, row["difference"]) == (False, list(found)[:3])


def test_intervals_stand_beside_the_totals_they_belong_to():
    rows = [
        {"kpi": "a", "window": 3600, "variant": "control"},
        {"kpi": "a", "window": 3600, "variant": "b"},
    ]
    add_intervals({"kpis": rows}, {("a", HOUR, "b"): Ends(0.1, -0.1, 0.3)})
    assert [row.get("interval") for row in rows] == [None, [0.1, -0.1, 0.3]]


def test_an_experiment_shows_intervals_of_kpis_that_no_guardrail_judges():
    store, clock = open_store("memory:"), SteppedClock(T)
    engine = Engine(control=ControlPlane(), store=store, clock=clock)
    try:
        engine.apply(SPEC, source="s", actor="a")
        events = []
        for arm, kept in (("control", 40), ("treatment", 55)):
            for n in range(600):
                unit, at = f"{arm}-{n}", T + timedelta(seconds=n)
                events.append(exposure("cancel-page", 1, "order_id", unit, arm, at))
                outcome = "kept" if n % 100 < kept else "cancelled"
                later = at + timedelta(minutes=2)
                fields = {"outcome": outcome}
                events.append(
                    Event(f"f-{unit}", "cancel_finished", later, {"order_id": unit}, fields)
                )
        store.append(events, received_at=T + timedelta(hours=3))
        clock.move_to(T + timedelta(hours=3))
        engine.run_due()
        view = engine.experiment("cancel-page")
    finally:
        engine.close()
        store.close()
    found = {(k.kpi, k.variant): k for k in view.kpis if k.window == HOUR}
    assert "cancellation_rate" not in {g.kpi for g in view.guardrails}
    control, treated = (found["cancellation_rate", arm] for arm in ("control", "treatment"))
    assert (control.effect, control.effect_low, control.effect_high) == (None, None, None)
    assert treated.effect == pytest.approx(treated.value / control.value - 1)
    assert treated.effect_low < treated.effect < treated.effect_high < 0


@pytest.mark.statistical
def test_the_truth_is_outside_at_any_look_no_more_often_than_said():
    rng = np.random.default_rng(7)
    missed, runs = 0, 400
    for _run in range(runs):
        control = rng.binomial(250, 0.2, size=16).cumsum()
        treatment = rng.binomial(250, 0.2, size=16).cumsum()
        units = 250 * np.arange(1, 17)
        looks = (
            of_rates((int(n), int(c)), (int(n), int(t)))
            for n, c, t in zip(units, control, treatment, strict=True)
        )
        missed += any(ends is not None and not ends[1] <= 0 <= ends[2] for ends in looks)
    assert missed <= runs * LEVEL + 2 * math.sqrt(runs * LEVEL * (1 - LEVEL))
