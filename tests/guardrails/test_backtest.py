"""A replay runs the engine's own code over recorded events, and says what was planted."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from console.commands.backtesting import load_events
from experiments.assignment import bucket_of
from experiments.database import ControlPlane
from experiments.errors import SpecError
from guardrails.backtest import BacktestError, backtest
from metrics.events import Event
from metrics.plant import Plant, PlantError
from metrics.simulate import Scenario, Shop
from metrics.stores import open_store

START = datetime(2026, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)

SPEC = """\
experiment: replayed
unit: order_id
variants:
  control: {weight: 50%}
  treatment: {weight: 50%}
guardrails:
  - {kpi: satisfaction, max_drop: 3%}
ends: {after: 4d, observe_for: 1d}
expect_units: 5000
"""


def exact(fields):
    return {k: v if isinstance(v, (str, bool)) else round(v * 1_000_000) for k, v in fields.items()}


def recorded(*, hours, variant_of, named):
    """Events of a simulated shop whose treated orders are 10% less satisfied from the start."""
    shop = Shop(1, Scenario.LATE_HARM, START, per_hour=60)
    events = []
    for hour in range(hours):
        at = START + hour * HOUR
        for order in shop.orders(hour + 100):  # beyond hour 75: the harm is there
            variant = variant_of(order.order_id)
            units = {"order_id": order.order_id}
            fields = {"variant": variant} if named else {}
            events.append(Event(f"{order.order_id}-exposed", "exposure", at, units, fields))
            events.extend(
                Event(
                    raw["id"],
                    raw["name"],
                    datetime.fromisoformat(raw["happened_at"]),
                    raw["units"],
                    exact(raw["fields"]),
                )
                for raw in shop.events(order, variant=variant, exposed_at=at)
            )
    return events


def by_hash(unit):
    return "control" if bucket_of("replayed:1", unit) < 5_000 else "treatment"


def by_number(unit):
    return "control" if int(unit[-1]) % 2 else "treatment"


def test_recorded_variants_are_used_as_recorded_and_harm_is_turned_back():
    events = recorded(hours=40, variant_of=by_number, named=True)
    result = backtest(SPEC, events, every=HOUR)
    assert (result.rolled_back, result.variant, result.kpi) == (True, "treatment", "satisfaction")
    assert result.at == result.ended_at
    assert result.planted is None
    half = sum(1 for e in events if e.name == "exposure" and e.happened_at <= result.at) / 2
    assert result.exposed == {"control": half, "treatment": half}
    assert [moment.what for moment in result.timeline][-2:] == ["rolled_back", "end"]
    assert "Satisfaction of treatment is" in result.timeline[-2].words


def test_the_hash_assigns_where_nothing_was_recorded_and_the_same_replay_ends_the_same():
    events = recorded(hours=40, variant_of=by_hash, named=False)
    first = backtest(SPEC, events, every=HOUR)
    assert first.rolled_back
    again = backtest(SPEC, list(reversed(events)), every=HOUR)
    assert (again.at, again.exposed, again.looks) == (first.at, first.exposed, first.looks)


def test_a_replay_in_memory_ends_as_one_on_disk_does(tmp_path):
    events = recorded(hours=40, variant_of=by_number, named=True)
    passing = backtest(SPEC, events, every=HOUR)
    assert passing.rolled_back
    kept = backtest(
        SPEC,
        events,
        every=HOUR,
        store=open_store(tmp_path / "s.duckdb"),
        control=ControlPlane(f"sqlite:///{tmp_path / 'control.db'}"),
    )
    assert repr(kept) == repr(passing)  # nan is not equal to itself


def test_a_replay_that_is_kept_can_be_computed_again(tmp_path):
    events = recorded(hours=40, variant_of=by_number, named=True)
    stores = [open_store(tmp_path / "s.duckdb"), ControlPlane(f"sqlite:///{tmp_path / 'c.db'}")]
    result = backtest(SPEC, events, every=HOUR, store=stores[0], control=stores[1])
    with closing(sqlite3.connect(tmp_path / "c.db")) as control:
        checks = control.execute("SELECT id FROM evaluation").fetchall()
        assert checks == control.execute("SELECT evaluation FROM evidence").fetchall()
    assert len(checks) == result.checks > 0


def test_another_seed_deals_other_hands_so_the_harm_is_spread_over_both_arms():
    events = recorded(hours=40, variant_of=by_hash, named=False)
    result = backtest(SPEC, events, every=HOUR, seed=2)
    assert result.seed == 2
    assert not result.rolled_back


REFUNDS = """\
experiment: refunds
unit: order_id
variants:
  control: {weight: 50%}
  treatment: {weight: 50%}
guardrails:
  - {kpi: refund_hours, max_rise: 10%, windows: {3d: 100%}}
ends: {after: 4d, observe_for: 4d}
expect_units: 4000
"""


def refunds(count=3_000):
    for number in range(count):
        at = START + number * timedelta(minutes=1)
        units = {"order_id": f"o{number}"}
        hours = 10 + number % 7
        yield Event(f"e{number}", "exposure", at, units, {})
        yield Event(f"r{number}", "refund_requested", at, units, {"amount": 1_000_000})
        paid = {"amount": 1_000_000, "hours": hours * 1_000_000}
        yield Event(f"p{number}", "refund_paid", at + hours * HOUR, units, paid)


def test_a_planted_effect_is_found_and_said():
    honest = backtest(REFUNDS, tuple(refunds()), every=6 * HOUR)
    assert not honest.rolled_back
    plant = Plant.parse("refund_hours*1.5@treatment")
    planted = backtest(REFUNDS, tuple(refunds()), every=6 * HOUR, plant=plant)
    assert (planted.rolled_back, planted.kpi) == (True, "refund_hours")
    assert planted.planted == "PLANTED: refund_hours of treatment was multiplied by 1.5"
    window = planted.view.guardrails[0].windows[0]
    assert window.treatment_value / window.control_value == pytest.approx(1.5, rel=0.03)


def test_slower_refunds_are_paid_later_and_only_in_the_planted_arm():
    plant = Plant.parse("refund_hours*2.5@treatment")
    paid = Event("p", "refund_paid", START + 4 * HOUR, {"order_id": "o"}, {"hours": 4_000_000})
    slower = plant.apply(paid, "treatment")
    assert slower.fields == {"hours": 10_000_000}
    assert slower.happened_at == START + 10 * HOUR
    assert plant.apply(paid, "control") is paid
    assert plant.apply(paid, None) is paid
    assert plant.factor == Fraction(5, 2)


def test_faster_agents_need_fewer_hours():
    worked = Event("w", "agent_worked", START, {"order_id": "o"}, {"hours": 700_000})
    faster = Plant.parse("agent_efficiency*1.4@treatment").apply(worked, "treatment")
    assert faster.fields == {"hours": 500_000}
    assert faster.happened_at == START


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("refund_hours=2@treatment", "write KPI*FACTOR@VARIANT"),
        ("refund_hours*0@treatment", "is no effect"),
        ("refund_hours*-1@treatment", "is no effect"),
        ("save_rate*2@treatment", "agent_efficiency, flow_dwell_seconds, refund_hours it can"),
    ],
)
def test_what_cannot_be_planted_is_refused_with_what_can(text, words):
    with pytest.raises(PlantError) as refused:
        Plant.parse(text)
    assert words in str(refused.value)


def test_problems_are_told_before_anything_is_replayed():
    events = tuple(refunds(10))
    with pytest.raises(SpecError, match="guardrials: unknown key"):
        backtest("guardrials: []", events, every=HOUR)
    with pytest.raises(BacktestError, match="no exposure of refunds in the events"):
        backtest(REFUNDS, [e for e in events if e.name != "exposure"], every=HOUR)
    with pytest.raises(BacktestError, match="nothing can be planted in 'other'; treatments"):
        backtest(REFUNDS, events, every=HOUR, plant=Plant.parse("refund_hours*2@other"))


def test_exposures_of_another_experiment_and_without_the_unit_are_ignored_and_counted():
    other = Event("x1", "exposure", START + HOUR, {"order_id": "q"}, {"experiment": "another"})
    no_unit = Event("x2", "exposure", START + HOUR, {"user_id": "u"}, {})
    result = backtest(REFUNDS, (*refunds(100), other, no_unit), every=6 * HOUR)
    assert result.ignored == 2
    assert sum(result.exposed.values()) == 100


def test_the_replay_goes_on_until_the_last_window_has_closed():
    result = backtest(REFUNDS, tuple(refunds(100)), every=6 * HOUR)
    entered = result.view.guardrails[0].windows[0].entered
    assert sum(entered) == 100
    assert result.ended_at >= START + timedelta(days=3)


@pytest.mark.parametrize("trusted", [True, False])
def test_events_that_a_public_key_sent_feed_no_kpi_that_may_turn_back(trusted, tmp_path):
    """As in the service: what is forged in a browser proves no harm, also not in a replay."""
    lines = [
        {
            "id": each.id,
            "name": each.name,
            "happened_at": each.happened_at.isoformat(),
            "units": dict(each.units),
            "fields": {
                key: value / 1_000_000 if type(value) is int else value
                for key, value in each.fields.items()
            },
            "trusted": trusted or each.name != "satisfaction_rated",
        }
        for each in recorded(hours=40, variant_of=by_number, named=True)
    ]
    file = tmp_path / "events.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    events, rejected = load_events(file)
    assert not rejected
    assert backtest(SPEC, events, every=HOUR).rolled_back is trusted
