"""Every store engine keeps the same promises: each event once, each unit where it belongs."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from metrics.catalogue import Trust, load_catalogue
from metrics.cells import MICRO, Sums
from metrics.events import Rejection, exposure
from metrics.store import StoreError
from tests.support import DAY, ENGINES, LATE, at, event, exposed, frame_of, put, value_of


@pytest.fixture(params=sorted(ENGINES))
def store(request, tmp_path):
    opened = ENGINES[request.param](str(tmp_path / "store.duckdb"))
    yield opened
    opened.close()


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
    assert store.quarantined() == [replace(answer.rejected[0], number=1)]
    assert value_of(store, "satisfaction") == (1, 1, 4, 1)


def test_what_an_untrusted_sender_sent_keeps_no_trusted_event_out(store):
    put(store, exposed(0))
    real = event("r", "satisfaction_rated", 0.1, score=4)
    forged = event("g", "satisfaction_rated", 0.1, score=1, trusted=False)
    first = put(store, replace(real, trusted=False), forged)
    assert first.accepted == 2
    guessed = event("g", "satisfaction_rated", 0.2, score=5)
    told = put(store, real, guessed, real)
    assert (told.accepted, told.duplicates, told.rejected) == (2, 1, ())
    assert value_of(store, "satisfaction") == (1, 1, 9, 2)
    again = put(store, real, replace(real, trusted=False), guessed)
    assert (again.accepted, again.duplicates) == (0, 3)


def test_an_untrusted_event_does_not_repeat_a_trusted_one(store):
    real = event("r", "satisfaction_rated", 0.1, score=4)
    put(store, exposed(0), real)
    other = event("r", "satisfaction_rated", 0.2, score=1, trusted=False)
    told = put(store, replace(real, trusted=False), other)
    assert (told.accepted, told.duplicates) == (0, 1)
    assert [each.code for each in told.rejected] == ["id_reused"]


def test_a_derived_exposure_is_one_whoever_sends_it(store):
    real = exposure("x", 1, "order_id", "o1", "control", at(0))
    told = put(store, replace(real, trusted=False), real)
    assert (told.accepted, told.duplicates) == (1, 1)


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
    kept = [replace(each, number=number) for number, each in enumerate(many, 1)]
    assert list(store.quarantined(limit=3)) == [kept[4], kept[3], kept[2]]
    assert list(store.quarantined(before=3)) == [kept[1], kept[0]]
    assert list(store.held([4, 2, 99])) == [kept[1], kept[3]]
    assert list(store.held([])) == []
    assert list(store.held(ids=[kept[2].id or "", "nobody's"])) == [
        each for each in kept if each.id == kept[2].id
    ]


def test_quarantine_is_counted_and_listed_by_reason(store):
    codes = ["wrong_type", "too_late", "wrong_type"]
    given = [
        Rejection(n, f"id{n}", "", "why", code, "{}", trusted=n == 2)
        for n, code in enumerate(codes)
    ]
    store.quarantine(given, received_at=LATE)
    assert store.quarantine_counts() == {"wrong_type": 2, "too_late": 1}
    found = store.quarantined(code="wrong_type")
    assert [(each.id, each.trusted) for each in found] == [("id2", True), ("id0", False)]


def test_what_left_the_quarantine_is_gone_and_its_number_never_returns(store):
    given = [Rejection(n, f"id{n}", "", "why", "too_late", "{}") for n in range(3)]
    store.quarantine(given, received_at=LATE)
    assert store.release([3, 2, 77]) == 2
    assert store.release([]) == 0
    store.quarantine(given[:1], received_at=LATE)
    assert [each.number for each in store.quarantined()] == [4, 1]


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
        pytest.param(11, True, id="when the window closes: within an hour"),
        pytest.param(11 + 1 / 3600, False, id="a second later"),
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


def test_exposures_are_told_apart_by_who_says_so(store):
    public = replace(exposed(2, "o2", "treatment"), trusted=False)
    recorded = exposure("x", 1, "order_id", "o4", "control", at(3))
    put(store, exposed(1), public, recorded, exposed(9, "o5"))
    assert store.exposure_kinds("x", 1, since=at(0), until=at(9)) == {
        ("control", "server"): 1,
        ("treatment", "client"): 1,
        ("control", "evaluated"): 1,
    }
    assert store.exposure_kinds("x", 2, since=at(0), until=at(9)) == {}


def test_exposed_units_fill_the_first_seen_set(store):
    put(store, exposed(1), exposed(2, "o2", "treatment"), exposed(3, "o3", seed=2))
    assert store.exposed_units("x", 1) == {"o1": "control", "o2": "treatment"}


@pytest.mark.parametrize("key", ["x", "xy", 'x"', "x\\", "%", "ü\u2028", 'a","experiment":"x'])
def test_exposures_of_a_name_are_not_those_of_another_that_looks_like_it(store, key):
    names = ["x", "xy", 'x"', "x\\", "%", "_", "ü\u2028", 'a","experiment":"x']
    put(store, *(exposed(1, f"o{n}", experiment=name) for n, name in enumerate(names)))
    assert store.exposed_units(key, 1) == {f"o{names.index(key)}": "control"}
    assert store.exposure_counts(key, 1, since=at(0), until=at(9)) == {"control": 1}


def test_as_of_answers_as_if_later_events_were_unknown(store):
    put(store, exposed(0))
    put(store, event("f", "flow_failed", 0.5))
    frame = frame_of("flow_failure_rate")
    before = store.snapshot(frame, now=LATE, as_of=1)
    assert before.watermark == 1
    assert before.cells["flow_failure_rate", DAY][0].sums == Sums.of(0)
    assert store.snapshot(frame, now=LATE).cells["flow_failure_rate", DAY][0].sums == Sums.of(MICRO)
