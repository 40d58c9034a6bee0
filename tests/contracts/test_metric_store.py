"""Every store engine keeps the same promises: the same integers, once, whatever the order."""

import importlib.util
import random
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from metrics.catalogue import Trust, load_catalogue
from metrics.cells import MICRO, Sums
from metrics.events import Rejection, exposure
from metrics.store import StoreError, StoreLockedError
from metrics.stores import STORES, open_store, units
from metrics.stores.duckdb import DuckDBMetricStore
from metrics.stores.memory import MemoryMetricStore


def _load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


HERE = Path(__file__).resolve().parent
support = _load("turnback_tests_support", HERE.parent / "support.py")
histories = _load("turnback_tests_histories", HERE / "histories.py")
at, event, exposed, frame_of, START = (
    support.at,
    support.event,
    support.exposed,
    support.frame_of,
    support.START,
)
DAY = timedelta(days=1)
LATE = at(24 * 60)
EVERY_KPI = tuple(kpi.key for kpi in load_catalogue())


@pytest.fixture(params=sorted(STORES))
def store(request, tmp_path):
    opened = STORES[request.param](str(tmp_path / "store.duckdb"))
    yield opened
    opened.close()


def put(store, *events):
    return store.append(list(events), received_at=LATE)


def value_of(store, kpi, window=None, *, now=LATE, variant="control", frame=None):
    """Return (entered, n, y, x) of one arm, the numbers as people read them."""
    frame = frame or frame_of(kpi)
    definition, windows = frame.kpis[0]
    cells = store.snapshot(frame, now=now).cells[definition.key, window or windows[0]]
    mine = [cell for cell in cells if cell.variant == variant]
    total = sum((cell.sums for cell in mine), Sums())
    return sum(cell.entered for cell in mine), total.n, total.y / MICRO, total.x / MICRO


# --- append: durable, once ------------------------------------------------------------------


def test_a_repeated_event_is_acknowledged_and_counted_once(store):
    rating = event("r", "satisfaction_rated", 0.1, score=4)
    put(store, exposed(0), rating)
    again = put(store, rating, rating)
    assert (again.accepted, again.duplicates, again.rejected) == (0, 2, ())
    assert again.repeated == (0, 1)
    assert again.watermark == store.watermark() == 2
    assert value_of(store, "satisfaction") == (1, 1, 4, 1)


def test_a_repeat_inside_one_batch_is_counted_once(store):
    rating = event("r", "satisfaction_rated", 0.1, score=4)
    answer = put(store, exposed(0), rating, rating)
    assert (answer.accepted, answer.duplicates, answer.repeated) == (2, 1, (2,))
    assert value_of(store, "satisfaction") == (1, 1, 4, 1)


def test_an_id_used_for_another_instant_within_a_day_is_quarantined(store):
    put(store, exposed(0), event("r", "satisfaction_rated", 0.1, score=4))
    answer = put(
        store, event("q", "flow_failed", 0.2), event("r", "satisfaction_rated", 24.1, score=1)
    )
    assert answer.accepted == 1
    assert [(r.index, r.id, r.field, r.code) for r in answer.rejected] == [
        (1, "r", "id", "id_reused")
    ]
    assert "2026-03-02T00:06:00" in answer.rejected[0].reason
    assert store.quarantined()[0] == answer.rejected[0]
    assert value_of(store, "satisfaction") == (1, 1, 4, 1)


def test_an_id_used_again_after_more_than_a_day_is_another_event(store):
    put(store, exposed(0), event("r", "satisfaction_rated", 0.1, score=4))
    answer = put(store, event("r", "satisfaction_rated", 24.2, score=1))
    assert (answer.accepted, answer.rejected) == (1, ())
    assert value_of(store, "satisfaction", timedelta(days=14)) == (1, 1, 5, 2)


def test_a_derived_exposure_recorded_again_is_one_exposure_at_the_earlier_instant(store):
    def seen(hours):
        return exposure("x", 1, "order_id", "o1", "control", at(hours))

    put(store, seen(2))
    later, earlier = put(store, seen(3)), put(store, seen(1))
    assert (later.accepted, later.duplicates, later.rejected) == (0, 1, ())
    assert (earlier.accepted, earlier.rejected) == (1, ())
    reach = store.snapshot(frame_of("satisfaction"), now=LATE).reach["control"]
    assert (reach.exposed, reach.last_exposure_at) == (1, at(1))


def test_an_exposure_derived_for_another_variant_is_seen_as_a_conflict(store):
    put(
        store, *(exposure("x", 1, "order_id", "o1", arm, at(0)) for arm in ("control", "treatment"))
    )
    assert store.snapshot(frame_of("satisfaction"), now=LATE).conflicted == 1


def test_odd_ids_are_kept_as_they_are(store):
    odd = ["\u0000", "取消", "👩‍👩‍👧", "a" * 256, "'; DROP TABLE events; --", " "]
    put(store, *(exposed(0, unit) for unit in odd))
    put(store, *(event(unit, "satisfaction_rated", 0.1, unit, score=5) for unit in odd))
    assert put(store, event("取消", "satisfaction_rated", 0.1, "取消", score=5)).duplicates == 1
    assert value_of(store, "satisfaction") == (len(odd), len(odd), 5 * len(odd), len(odd))


def test_an_empty_batch_changes_nothing(store):
    assert put(store).watermark == 0
    assert store.snapshot(frame_of("satisfaction"), now=LATE).cells == {
        ("satisfaction", window): () for window in frame_of("satisfaction").kpis[0][1]
    }


def test_quarantine_shows_the_newest_first(store):
    many = [Rejection(n, f"id{n}", "fields.score", "why", "wrong_type", "{}") for n in range(5)]
    store.quarantine(many[:3], received_at=LATE)
    store.quarantine(many[3:], received_at=LATE)
    assert list(store.quarantined(limit=3)) == [many[4], many[3], many[2]]


def test_a_closed_store_refuses(store):
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        put(store, exposed(0))


# --- which units and events count -----------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "counts"),
    [
        pytest.param(10 - 61 / 3600, False, id="61 s before the exposure is before it"),
        pytest.param(10 - 60 / 3600, True, id="60 s before is the clock"),
        pytest.param(10, True, id="at the exposure"),
        pytest.param(11 - 1 / 3600, True, id="a second before the window closes"),
        pytest.param(11, False, id="when the window closes"),
    ],
)
def test_events_count_from_the_exposure_until_the_window_closes(store, hours, counts):
    put(store, exposed(10), event("f", "flow_failed", hours))
    assert value_of(store, "flow_failure_rate") == (1, 1, 1 if counts else 0, 1)


def test_a_unit_enters_when_window_and_lag_are_over(store):
    put(store, exposed(1))
    closed = at(2) + timedelta(minutes=5)
    assert value_of(store, "flow_failure_rate", now=closed - timedelta(microseconds=1))[0] == 0
    assert value_of(store, "flow_failure_rate", now=closed)[0] == 1
    assert value_of(store, "flow_failure_rate", DAY, now=closed)[0] == 0


def test_now_may_go_back_and_forth(store):
    put(store, exposed(1), exposed(5, "o2"), event("f", "flow_failed", 1.5))
    answers = [value_of(store, "flow_failure_rate", now=at(h))[0] for h in (9, 3, 9, 0, 3)]
    assert answers == [2, 1, 2, 0, 1]


def test_a_unit_seen_in_two_variants_is_dropped_from_both(store):
    put(store, exposed(0), exposed(0, "o2", "treatment"), event("f", "flow_failed", 0.5))
    assert value_of(store, "flow_failure_rate") == (1, 1, 1, 1)
    put(store, exposed(30, "o1", "treatment"))
    snapshot = store.snapshot(frame_of("flow_failure_rate"), now=LATE)
    assert snapshot.conflicted == 1
    assert [cell.variant for cell in snapshot.cells["flow_failure_rate", DAY]] == ["treatment"]
    assert snapshot.reach["control"].exposed == snapshot.reach["control"].events == 0
    assert snapshot.reach["control"].last_event_at is None


def test_exposures_of_other_seeds_experiments_variants_and_unit_types_are_ignored(store):
    put(
        store,
        exposed(0, "a", seed=2),
        exposed(0, "b", experiment="y"),
        exposed(0, "c", "purple"),
        replace(exposed(0, "d"), units={"user_id": "d"}),
        replace(exposed(0, "e"), fields={"experiment": "x", "variant": "control"}),
    )
    assert store.snapshot(frame_of("satisfaction"), now=LATE).reach["control"].exposed == 0


def test_events_count_through_the_unit_type_of_the_frame(store):
    per_user = replace(exposed(0), units={"user_id": "ann"})
    placed = replace(event("p", "order_placed", 1, amount=10), units={"user_id": "ann"})
    put(store, per_user, placed, event("q", "order_placed", 1, "ann", amount=10))
    frame = frame_of("net_revenue", unit="user_id")
    assert value_of(store, "net_revenue", frame=frame) == (1, 1, 10, 1)


def test_exposures_from_until_on_do_not_count(store):
    put(store, exposed(1), exposed(2, "o2"), exposed(3, "o1", "treatment"))
    closed = frame_of("satisfaction", until=at(2))
    snapshot = store.snapshot(closed, now=LATE)
    assert (snapshot.reach["control"].exposed, snapshot.conflicted) == (1, 0)
    open_ended = store.snapshot(replace(closed, until=None), now=LATE)
    assert (open_ended.reach["control"].exposed, open_ended.conflicted) == (1, 1)
    assert store.snapshot(closed, now=LATE) == snapshot


def test_a_longer_list_of_phases_moves_only_units_exposed_later(store):
    put(store, exposed(1), exposed(20, "o2"))
    frame = frame_of("flow_failure_rate")
    store.snapshot(frame, now=LATE)
    cells = store.snapshot(replace(frame, phases=(at(10),)), now=LATE).cells
    assert [(c.phase, c.cohort, c.entered) for c in cells["flow_failure_rate", DAY]] == [
        (0, 0, 1),
        (1, 1, 1),
    ]


def test_the_analysis_starts_at_the_origin_give_or_take_the_clock(store):
    put(store, exposed(-61 / 3600, "o2"), exposed(-60 / 3600))
    (cell,) = store.snapshot(frame_of("flow_failure_rate"), now=LATE).cells[
        "flow_failure_rate", DAY
    ]
    assert (cell.cohort, cell.entered) == (0, 1)


def test_events_from_a_browser_feed_only_kpis_that_trust_any(store):
    put(store, exposed(0), event("r", "satisfaction_rated", 0.1, score=1, trusted=False))
    assert value_of(store, "satisfaction") == (1, 0, 0, 0)
    anybody = replace(load_catalogue().get("satisfaction"), trust=Trust.ANY)
    assert value_of(store, "satisfaction", frame=frame_of(anybody)) == (1, 1, 1, 1)


def test_an_exposure_from_a_browser_counts(store):
    put(store, replace(exposed(0), trusted=False))
    assert value_of(store, "flow_failure_rate") == (1, 1, 0, 1)


def test_one_unit_contributes_its_first_twenty_events(store):
    scores = [
        event(f"r{n:02}", "satisfaction_rated", 0.5, score=1 if n < 20 else 5) for n in range(40)
    ]
    random.Random(3).shuffle(scores)
    put(store, exposed(0), *scores[:30])
    store.snapshot(frame_of("satisfaction"), now=LATE)
    put(store, *scores[30:])
    assert value_of(store, "satisfaction") == (1, 1, 20, 20)


def test_the_cap_never_counts_requests_without_their_payments(store):
    lines = [event(f"q{n}", "refund_requested", 0, amount=1) for n in range(20)]
    paid = [event(f"p{n}", "refund_paid", 2, amount=1, hours=2) for n in range(20)]
    put(store, exposed(0), *lines, *paid)
    assert value_of(store, "refund_hours") == (1, 1, 40, 20)


def test_sums_far_beyond_64_bits_stay_exact(store):
    huge = 2**63 - 1
    placed = [
        replace(event(f"p{n}", "order_placed", 1), fields={"amount": huge}) for n in range(20)
    ]
    put(store, exposed(0), *placed)
    (cell,) = store.snapshot(frame_of("net_revenue"), now=LATE).cells[
        "net_revenue", timedelta(days=7)
    ]
    assert cell.sums == Sums.of(20 * huge)


# --- what a naive definition would miss -----------------------------------------------------


def test_a_refund_never_paid_costs_the_whole_window(store):
    put(
        store,
        exposed(0),
        event("q1", "refund_requested", 0, amount=5),
        event("q2", "refund_requested", 1, amount=5),
        event("p1", "refund_paid", 3, amount=5, hours=3),
    )
    assert value_of(store, "refund_hours") == (1, 1, 3 + 72, 2)
    assert value_of(store, "refund_hours", timedelta(days=14)) == (1, 1, 3 + 336, 2)


def test_a_refund_paid_after_the_window_counts_as_unpaid_in_it(store):
    put(
        store,
        exposed(0),
        event("q", "refund_requested", 0, amount=5),
        event("p", "refund_paid", 100, amount=5, hours=100),
    )
    assert value_of(store, "refund_hours") == (1, 1, 72, 1)
    assert value_of(store, "refund_hours", timedelta(days=14)) == (1, 1, 100, 1)


def test_a_refund_paid_without_its_hours_is_left_out_instead_of_counted_as_instant(store):
    put(
        store,
        exposed(0),
        event("q", "refund_requested", 0, amount=5),
        event("p", "refund_paid", 3, amount=5),
    )
    assert value_of(store, "refund_hours") == (1, 0, 0, 0)


def test_a_save_that_does_not_last_is_none(store):
    put(
        store,
        exposed(0),
        event("k", "cancel_finished", 0.2, outcome="kept"),
        event("c", "cancel_finished", 50, outcome="cancelled"),
    )
    assert value_of(store, "save_rate", DAY) == (1, 1, 1, 1)
    assert value_of(store, "save_rate", timedelta(days=7)) == (1, 1, 0, 1)


def test_a_case_reopened_was_not_resolved_at_first_contact(store):
    put(
        store,
        exposed(0),
        event("o1", "case_opened", 0.1, case_id="a"),
        event("o2", "case_opened", 0.1, case_id="b"),
        event("c1", "case_closed", 0.5, case_id="a", first_contact=True),
        event("c2", "case_closed", 0.5, case_id="b", first_contact=True),
        event("r1", "case_reopened", 30, case_id="a"),
    )
    assert value_of(store, "first_contact_resolution_rate", DAY) == (1, 1, 2, 2)
    assert value_of(store, "first_contact_resolution_rate", timedelta(days=14)) == (1, 1, 1, 2)


@pytest.mark.parametrize(
    ("complaints", "repeated"),
    [
        pytest.param([("a", False)], 0, id="one complaint"),
        pytest.param([("a", False), ("b", False)], 0, id="two cases"),
        pytest.param([("a", False), ("a", False)], 1, id="one case twice"),
        pytest.param([("a", True)], 1, id="marked as repeated"),
        pytest.param([("a", False), ("b", False), ("a", True)], 1, id="a unit counts once"),
    ],
)
def test_a_complaint_repeats_within_its_case(store, complaints, repeated):
    filed = [
        event(f"c{n}", "complaint_filed", n, case_id=case, repeat=again)
        for n, (case, again) in enumerate(complaints)
    ]
    put(store, exposed(0), *filed)
    assert value_of(store, "repeat_complaint_rate") == (1, 1, repeated, 1)


def test_a_flow_abandoned_without_a_word_counts_with_the_seconds_of_its_steps(store):
    put(
        store,
        exposed(0),
        event("s1", "cancel_started", 0),
        event("l1", "cancel_step_left", 0.01, step="points_lost", seconds=30),
        event("l2", "cancel_step_left", 0.3, step="coupon", seconds=900),
    )
    assert value_of(store, "flow_dwell_seconds", timedelta(hours=1)) == (1, 1, 930, 1)


def test_a_flow_still_open_when_the_window_closes_is_not_abandoned(store):
    put(
        store,
        exposed(0),
        event("s1", "cancel_started", 0.6),
        event("l1", "cancel_step_left", 0.61, step="points_lost", seconds=30),
    )
    assert value_of(store, "flow_dwell_seconds", timedelta(hours=1)) == (1, 0, 0, 0)


def test_time_in_the_flow_is_capped_and_a_finished_flow_explains_its_steps(store):
    put(
        store,
        exposed(0),
        event("s1", "cancel_started", 0),
        event("l1", "cancel_step_left", 0.1, step="points_lost", seconds=2400),
        event("f1", "cancel_finished", 0.2, outcome="kept", seconds=2500),
    )
    assert value_of(store, "flow_dwell_seconds", DAY) == (1, 1, 1800, 1)


def test_people_who_cannot_get_out_lower_the_cancel_success_rate(store):
    put(
        store,
        *(exposed(0, unit) for unit in ("out", "offer", "stuck", "never")),
        *(event(f"s-{unit}", "cancel_started", 0.1, unit) for unit in ("out", "offer", "stuck")),
        event("c", "cancel_finished", 0.2, "out", outcome="cancelled"),
        event("a", "offer_accepted", 0.2, "offer", cost=5),
        event("k", "cancel_finished", 0.2, "stuck", outcome="abandoned"),
    )
    assert value_of(store, "cancel_success_rate") == (4, 3, 2, 3)


def test_agents_hours_on_open_cases_lower_their_efficiency(store):
    put(
        store,
        exposed(0),
        event("w1", "agent_worked", 1, case_id="a", hours=1),
        event("w2", "agent_worked", 2, case_id="b", hours=3),
        event("c1", "case_closed", 1, case_id="a", first_contact=True),
    )
    assert value_of(store, "agent_efficiency") == (1, 1, 1, 4)


def test_the_units_own_order_is_no_repurchase(store):
    put(
        store,
        exposed(0),
        exposed(0, "o2"),
        event("p1", "order_placed", 1, order_id="o1", amount=10),
        event("p2", "order_placed", 1, "o2", order_id="o3", amount=10),
    )
    assert value_of(store, "repurchase_rate") == (2, 2, 1, 2)


def test_net_revenue_takes_refunds_and_offers_off(store):
    put(
        store,
        exposed(0),
        exposed(0, "o2"),
        event("p", "order_placed", 1, order_id="o9", amount=100),
        event("r", "refund_paid", 2, amount=130, hours=1),
        event("a", "offer_accepted", 1, cost=5),
    )
    assert value_of(store, "net_revenue") == (2, 2, -35, 2)


def test_a_unit_without_ratings_has_no_satisfaction_and_stays_entered(store):
    put(store, exposed(0), exposed(0, "o2"), event("r", "satisfaction_rated", 0.5, score=2))
    put(store, event("r2", "satisfaction_rated", 0.5, "o2"))
    assert value_of(store, "satisfaction") == (2, 1, 2, 1)


# --- reach, counts, lists -------------------------------------------------------------------


def test_reach_says_how_far_each_arm_goes(store):
    put(
        store,
        exposed(1),
        exposed(2, "o2", "treatment"),
        exposed(5, "o3", "treatment"),
        event("f", "page_viewed", 3),
        event("g", "page_viewed", 0.5),
        event("h", "page_viewed", 9, "stranger"),
    )
    reach = store.snapshot(frame_of("satisfaction"), now=LATE).reach
    control, treatment = reach["control"], reach["treatment"]
    assert (control.exposed, control.events, control.last_event_at) == (1, 1, at(3))
    assert control.exposed_since_last_event == 0
    assert (treatment.exposed, treatment.events, treatment.last_event_at) == (2, 0, None)
    assert (treatment.last_exposure_at, treatment.exposed_since_last_event) == (at(5), 1)


def test_exposures_are_counted_by_variant_and_time(store):
    put(store, exposed(1), exposed(2), exposed(2, "o2", "treatment"), exposed(3, "o3", seed=2))
    assert store.exposure_counts("x", 1, since=at(1), until=at(2)) == {"control": 1}
    assert store.exposure_counts("x", 1, since=at(0), until=at(9)) == {"control": 2, "treatment": 1}


def test_exposed_units_fill_the_first_seen_set(store):
    put(store, exposed(1), exposed(2, "o2", "treatment"), exposed(3, "o3", seed=2))
    assert store.exposed_units("x", 1) == {"o1": "control", "o2": "treatment"}


def test_as_of_answers_as_if_later_events_were_unknown(store):
    put(store, exposed(0))
    put(store, event("f", "flow_failed", 0.5))
    frame = frame_of("flow_failure_rate")
    before = store.snapshot(frame, now=LATE, as_of=1)
    assert before.watermark == 1
    assert before.cells["flow_failure_rate", DAY][0].sums == Sums.of(0)
    assert store.snapshot(frame, now=LATE).cells["flow_failure_rate", DAY][0].sums == Sums.of(MICRO)


def test_a_robots_events_do_not_pile_up(tmp_path):
    store, reference = DuckDBMetricStore(tmp_path / "s.duckdb"), MemoryMetricStore()
    frame = frame_of(*EVERY_KPI)
    for engine in (store, reference):
        put(engine, exposed(1))
    for batch in range(12):
        many = [event(f"{batch}-{n}", "satisfaction_rated", 2 + n / 9, score=1) for n in range(500)]
        for engine in (store, reference):
            put(engine, *many)
        assert store.snapshot(frame, now=LATE) == reference.snapshot(frame, now=LATE)
    for engine in (store, reference):
        put(engine, exposed(0.5), event("late", "satisfaction_rated", 0.6, score=5))
    assert store.snapshot(frame, now=LATE) == reference.snapshot(frame, now=LATE)
    (state,) = store._frames.values()
    assert state._events.gather(state._head(0)).rows.size < 1100
    store.close()


# --- the same integers ----------------------------------------------------------------------


def replay(seed, folder, monkeypatch):
    """Run one random history through both engines and compare every answer."""
    rng = random.Random(seed)
    events = histories.events_of(rng, START, rng.choice([3, 12, 40]), 10)
    frame = frame_of(*EVERY_KPI)
    if rng.random() < 0.5:
        trusting = tuple(
            (replace(kpi, trust=Trust.ANY), windows) for kpi, windows in frame.kpis[6:]
        )
        frame = replace(frame, kpis=frame.kpis[:6] + trusting)
    path = folder / f"{seed}.duckdb"
    reference = MemoryMetricStore()
    store = DuckDBMetricStore(path, recent_ids=rng.choice([5, 1_000_000]))
    phases = ()
    monkeypatch.setattr(units, "PRUNE_ABOVE", rng.choice([512, 15]))
    for step in histories.steps_of(rng, START, events):
        expected = reference.append(step.batch, received_at=step.now)
        assert store.append(step.batch, received_at=step.now) == expected
        if step.reopen:
            monkeypatch.setattr(units, "PRUNE_ABOVE", rng.choice([512, 15]))
            store.close()
            store = DuckDBMetricStore(path)
        if step.phases:
            phases = tuple(step.now - timedelta(hours=7 * n) for n in reversed(range(step.phases)))
        asked = replace(frame, phases=phases, until=at(50) if step.until else None)
        as_of = None if step.back is None else max(0, reference.watermark() - step.back)
        answer = reference.snapshot(asked, now=step.now, as_of=as_of)
        assert store.snapshot(asked, now=step.now, as_of=as_of) == answer
    store.close()
    rebuilt = DuckDBMetricStore(path)
    assert rebuilt.snapshot(asked, now=step.now) == answer
    rebuilt.close()
    return len(events), sum(cell.sums.n for cells in answer.cells.values() for cell in cells)


@pytest.mark.parametrize("block", range(6))
def test_random_histories_give_the_integers_of_the_specification(block, tmp_path, monkeypatch):
    counted = [replay(seed, tmp_path, monkeypatch) for seed in range(10 * block, 10 * block + 10)]
    assert sum(values for _, values in counted) > 1000  # the histories are not empty


@pytest.mark.acceptance
@pytest.mark.parametrize("block", range(50))
def test_many_random_histories_give_the_integers_of_the_specification(block, tmp_path, monkeypatch):
    for seed in range(1000 + 10 * block, 1010 + 10 * block):
        replay(seed, tmp_path, monkeypatch)


# --- one process, crashes -------------------------------------------------------------------


def test_a_store_opened_twice_in_one_process_says_so(tmp_path):
    first = open_store(tmp_path / "s.duckdb")
    with pytest.raises(StoreLockedError, match="this process"):
        open_store(tmp_path / "s.duckdb")
    first.close()
    open_store(tmp_path / "s.duckdb").close()


def test_a_store_held_by_another_process_names_it_and_says_what_to_do(tmp_path):
    path = tmp_path / "s.duckdb"
    with writer(path) as child:
        child.stdout.readline()
        with pytest.raises(StoreLockedError, match=rf"PID {child.pid}(?s:.)*Stop that process"):
            open_store(path)


def test_an_unknown_engine_is_an_error_that_lists_the_known_ones():
    with pytest.raises(StoreError, match=r"unknown store engine .spark..*known: memory, duckdb"):
        open_store("spark:somewhere")


WRITER = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
from datetime import UTC, datetime, timedelta
from metrics.events import Event
from metrics.stores import open_store

start = datetime(2026, 3, 2, tzinfo=UTC)
store = open_store(Path(sys.argv[1]))
batch = store.watermark() + 1
while True:
    names = [f"{batch}-{n}" for n in range(20)]
    store.append(
        [Event(n, "page_viewed", start, {"order_id": n}, {}) for n in names], received_at=start
    )
    sys.stdout.write(" ".join(names) + "\\n")
    sys.stdout.flush()
    batch += 1
"""


class writer:  # noqa: N801 - reads as a function
    """A process that appends and prints what was acknowledged; killed on the way out."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        self.child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(self.path), str(HERE.parents[1])],
            stdout=subprocess.PIPE,
            text=True,
        )
        return self.child

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()
        self.child.stdout.close()


def test_after_kill_9_every_acknowledged_event_is_there_once(tmp_path):
    path = tmp_path / "s.duckdb"
    rng = random.Random(9)
    acknowledged = []
    for _ in range(3):
        with writer(path) as child:
            acknowledged += [
                name
                for _ in range(rng.randrange(5, 60))
                for name in child.stdout.readline().split()
            ]
            child.kill()
            acknowledged += [name for line in child.stdout for name in line.split()]
        store = DuckDBMetricStore(path)
        stored = [event_id for event_id, _ in store._log.ids()]
        assert len(stored) == len(set(stored)) == store.watermark()
        assert set(acknowledged) <= set(stored)
        assert len(stored) - len(acknowledged) <= 3 * 20  # at most the batch in flight, each time
        store.close()
