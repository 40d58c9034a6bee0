"""The simulated shop is the same everywhere and plants exactly what its scenario names."""

import hashlib
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from metrics.simulate import (
    LATE_HARM_HOUR,
    OUTAGE_HOUR,
    SCORES,
    SILENCE_HOUR,
    Scenario,
    Shop,
    effects,
    score,
)

START = datetime(2026, 1, 5, tzinfo=UTC)


def shop(scenario=Scenario.SATISFACTION_DROP, seed=1):
    return Shop(seed=seed, scenario=scenario, start=START)


def told(shop, hours, variant="three_step"):
    for hour in hours:
        at = START + timedelta(hours=hour)
        for order in shop.orders(hour):
            yield order, at, shop.events(order, variant=variant, exposed_at=at)


def digest(seed, hour):
    events = [event for *_, events in told(shop(seed=seed), [hour]) for event in events]
    return hashlib.sha256(msgspec.json.encode(events)).hexdigest()


def test_a_seed_gives_the_same_shop_on_every_machine():
    # fixed once from this generator: PCG64 words and straight lines, nothing of the platform
    assert digest(1, 0) == digest(1, 0)
    assert digest(1, 0)[:16] == "fa757e6cb74b90bd"
    assert shop().orders(7) == shop().orders(7)


def test_seeds_and_hours_differ():
    assert len({digest(1, 0), digest(2, 0), digest(1, 1)}) == 3


def test_the_scenario_changes_neither_who_comes_nor_what_control_gets():
    def control(scenario):
        return [events for *_, events in told(shop(scenario), [80], "control")]

    assert shop(Scenario.OUTAGE).orders(80) == shop(Scenario.HARMLESS).orders(80)
    assert control(Scenario.LATE_HARM) == control(Scenario.HARMLESS) == control(Scenario.OUTAGE)


def test_everything_happens_after_the_exposure_in_order_and_once():
    seen = set()
    for _, at, events in told(shop(), range(5)):
        times = [datetime.fromisoformat(event["happened_at"]) for event in events]
        assert times == sorted(times)
        assert times[0] > at
        seen.update(event["id"] for event in events)
    assert len(seen) == sum(len(events) for *_, events in told(shop(), range(5)))


@pytest.mark.parametrize("drop", [0.0, 0.015, 0.05, 0.1])
def test_the_planted_mean_is_exact(drop):
    # midpoints of a grid over both draws: exact up to the grid
    grid = [(i + 0.5) / 400 for i in range(400)]
    mean = sum(score(u, v, drop) for u in grid for v in grid) / 160_000
    assert mean == pytest.approx(4.2 * (1 - drop), abs=0.004)


def test_scores_without_effect_have_mean_four_point_two_and_sd_about_one():
    mean = sum(s * p for s, p in enumerate(SCORES, start=1))
    variance = sum((s - mean) ** 2 * p for s, p in enumerate(SCORES, start=1))
    assert sum(SCORES) == pytest.approx(1)
    assert mean == pytest.approx(4.2)
    assert 0.9 < variance**0.5 < 1.1


@pytest.mark.parametrize(
    ("scenario", "before", "after"),
    [
        (Scenario.SATISFACTION_DROP, 0.05, 0.05),
        (Scenario.HARMLESS, 0.0, 0.0),
        (Scenario.TOLERATED, 0.015, 0.015),
        (Scenario.LATE_HARM, 0.0, 0.10),
    ],
)
def test_a_scenario_plants_its_drop_of_satisfaction(scenario, before, after):
    assert effects(scenario, hour=LATE_HARM_HOUR - 1, treated=True).satisfaction == before
    assert effects(scenario, hour=LATE_HARM_HOUR, treated=True).satisfaction == after
    assert effects(scenario, hour=LATE_HARM_HOUR, treated=False).satisfaction == 0


@pytest.mark.statistical
def test_six_in_ten_rate_most_of_them_within_the_hour():
    rated = [
        datetime.fromisoformat(event["happened_at"]) - at
        for _, at, events in told(shop(), range(50))
        for event in events
        if event["name"] == "satisfaction_rated"
    ]
    assert len(rated) / 10_000 == pytest.approx(0.6, abs=0.02)  # 4 sd of 10,000 units
    assert sum(delay < timedelta(hours=1) for delay in rated) / len(rated) > 0.75


def helped(shop, hours, variant):
    units = done = 0
    for *_, events in told(shop, hours, variant):
        units += 1
        done += any(
            event["name"] == "offer_accepted" or event["fields"].get("outcome") == "cancelled"
            for event in events
        )
    return done / units


@pytest.mark.statistical
def test_in_the_outage_nobody_gets_out_while_events_keep_arriving():
    out = shop(Scenario.OUTAGE)
    before, after = range(OUTAGE_HOUR - 10, OUTAGE_HOUR), range(OUTAGE_HOUR, OUTAGE_HOUR + 10)
    assert helped(out, before, "three_step") == pytest.approx(0.9, abs=0.03)
    assert helped(out, after, "three_step") == 0
    assert helped(out, after, "control") == pytest.approx(0.9, abs=0.03)
    assert all(len(events) >= 5 for *_, events in told(out, after))


@pytest.mark.statistical
def test_agents_are_forty_percent_more_efficient_with_the_treatment():
    def hours(variant):
        return sum(
            event["fields"]["hours"]
            for *_, events in told(shop(), range(20), variant)
            for event in events
            if event["name"] == "agent_worked"
        )

    assert hours("control") / hours("three_step") == pytest.approx(1.4, rel=0.001)


def test_the_stream_of_both_arms_stops_in_no_data():
    silent = START + timedelta(hours=SILENCE_HOUR)
    quiet = shop(Scenario.NO_DATA)
    for variant in ("control", "three_step"):
        times = [
            datetime.fromisoformat(event["happened_at"])
            for *_, events in told(quiet, range(SILENCE_HOUR - 3, SILENCE_HOUR + 1), variant)
            for event in events
        ]
        assert times
        assert max(times) < silent
