"""What leaves a store leaves it for good, what was counted stays counted, and all can be checked."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from metrics.catalogue import load_catalogue
from metrics.catalogue_file import catalogue_of
from metrics.cells import MICRO, Sums
from metrics.events import EventLimits, Rejection, parse_event
from metrics.store import EventsGoneError
from metrics.upkeep import Erasure, ErasureKind, gone_before
from tests.support import DAY, ENGINES, LATE, START, at, event, exposed, frame_of, put, value_of


@pytest.fixture(params=sorted(ENGINES))
def store(request, tmp_path):
    opened = ENGINES[request.param](str(tmp_path / "store.duckdb"))
    yield opened
    opened.close()


FRAME = frame_of("flow_failure_rate", "satisfaction")


def two_days(store):
    """Put an order and its trouble on the first day, another on the second."""
    put(store, exposed(1), event("f1", "flow_failed", 1.5), exposed(26, "o2"))
    put(store, event("f2", "flow_failed", 26.5, "o2"))


# --- retention ------------------------------------------------------------------------------


def test_what_a_running_experiment_has_counted_stays_counted(store):
    two_days(store)
    before = store.snapshot(FRAME, now=LATE)
    erased = store.retain(at(24), running=[FRAME], now=LATE)
    assert (erased.kind, erased.before, erased.events) == (ErasureKind.RETENTION, at(24), 2)
    assert (erased.first_seq, erased.last_seq) == (1, 2)
    assert store.snapshot(FRAME, now=LATE) == before
    assert store.erasures() == (erased,)
    put(store, exposed(30, "o3"), event("f3", "flow_failed", 30.5, "o3"))
    assert value_of(store, "flow_failure_rate", frame=FRAME) == (3, 3, 3, 3)


def test_numbers_of_events_that_left_never_return(store):
    put(store, exposed(1), exposed(2, "o2"))
    store.retain(at(3), running=[], now=LATE)
    assert store.watermark() == 2
    assert put(store, exposed(4, "o3")).watermark == 3


def test_an_experiment_that_was_not_carried_over_says_what_is_gone(store):
    two_days(store)
    store.snapshot(FRAME, now=LATE)
    store.retain(at(24), running=[], now=LATE)
    with pytest.raises(
        EventsGoneError, match="removed the events before 2026-03-03T00:00:00"
    ) as it:
        store.snapshot(FRAME, now=LATE)
    assert "TURNBACK_RETAIN" in str(it.value)


def test_an_experiment_that_began_later_needs_nothing_of_what_left(store):
    two_days(store)
    later = replace(FRAME, origin=at(25))
    store.retain(at(24), running=[], now=LATE)
    assert value_of(store, "flow_failure_rate", frame=later) == (1, 1, 1, 1)


def test_events_from_before_the_retention_are_refused_as_too_late(store):
    two_days(store)
    store.retain(at(24), running=[FRAME], now=LATE)
    answer = put(store, event("f1", "flow_failed", 1.5), event("new", "flow_failed", 25, "o2"))
    assert (answer.accepted, answer.duplicates) == (1, 0)
    assert [(r.index, r.id, r.field, r.code) for r in answer.rejected] == [
        (0, "f1", "happened_at", "too_late")
    ]
    assert "no longer kept" in answer.rejected[0].reason
    assert value_of(store, "flow_failure_rate", frame=FRAME)[0] == 2


def test_a_retention_that_finds_nothing_changes_nothing_but_what_is_refused(store):
    two_days(store)
    before = store.snapshot(FRAME, now=LATE)
    erased = store.retain(START, running=[], now=LATE)
    assert (erased.events, store.erasures()) == (0, ())
    assert store.snapshot(FRAME, now=LATE) == before
    assert put(store, exposed(-1, "o9")).rejected[0].code == "too_late"


def test_the_past_can_be_read_back_to_the_retention_and_no_further(store):
    two_days(store)
    store.retain(at(24), running=[FRAME], now=LATE)
    whole = store.snapshot(FRAME, now=LATE)
    put(store, exposed(30, "o3"))
    store.snapshot(FRAME, now=LATE)
    assert store.snapshot(FRAME, now=LATE, as_of=4) == whole
    with pytest.raises(EventsGoneError, match="as of event 3: the retention has removed"):
        store.snapshot(FRAME, now=LATE, as_of=3)
    assert store.snapshot(FRAME, now=LATE, as_of=0).reach["control"].exposed == 0


def test_an_experiment_that_is_carried_over_may_change_phases_but_not_what_it_measures(store):
    two_days(store)
    store.retain(at(24), running=[FRAME], now=LATE)
    phased = store.snapshot(replace(FRAME, phases=(at(20),)), now=LATE)
    cells = phased.cells["flow_failure_rate", DAY]
    assert [(cell.phase, cell.sums) for cell in cells] == [(0, Sums.of(MICRO)), (1, Sums.of(MICRO))]
    with pytest.raises(EventsGoneError):
        store.snapshot(frame_of("flow_failure_rate", "net_revenue"), now=LATE)


def test_an_end_that_is_put_off_is_followed_unless_exposures_after_it_left(store):
    ends = replace(FRAME, until=at(25))
    put(store, exposed(1))
    put(store, exposed(26, "o2"))  # after the end: not counted
    store.retain(at(2), running=[ends], now=LATE)
    assert store.snapshot(ends, now=LATE).reach["control"].exposed == 1
    with pytest.raises(EventsGoneError):
        store.snapshot(replace(ends, until=at(48)), now=LATE)


def test_an_end_that_is_put_off_in_time_is_followed(store):
    put(store, exposed(1))
    store.retain(at(2), running=[replace(FRAME, until=at(25))], now=LATE)
    put(store, exposed(26, "o2"))
    longer = store.snapshot(replace(FRAME, until=at(48)), now=LATE)
    assert longer.reach["control"].exposed == 2


def test_a_retention_that_comes_again_goes_on_from_what_was_carried_over(store):
    for day in range(6):
        put(
            store,
            exposed(24 * day + 1, f"o{day}"),
            event(f"f{day}", "flow_failed", 24 * day + 1.5, f"o{day}"),
        )
        store.retain(at(24 * day), running=[FRAME], now=LATE)
        assert value_of(store, "flow_failure_rate", frame=FRAME) == (
            day + 1,
            day + 1,
            day + 1,
            day + 1,
        )
    assert [each.events for each in store.erasures()] == [2] * 5


def test_ties_among_more_than_twenty_events_stay_decided_after_they_left(store):
    scores = [
        event(f"r{n:02}", "satisfaction_rated", 0.5, score=1 if n < 20 else 5) for n in range(40)
    ]
    put(store, exposed(0), *reversed(scores))
    frame = frame_of("satisfaction")
    store.retain(at(12), running=[frame], now=LATE)
    assert value_of(store, "satisfaction", frame=frame) == (1, 1, 20, 20)
    moved = replace(frame, phases=(at(20),))  # all of it is counted anew
    assert value_of(store, "satisfaction", frame=moved) == (1, 1, 20, 20)


# --- forgetting -----------------------------------------------------------------------------


def test_a_forgotten_unit_leaves_the_totals(store):
    two_days(store)
    store.snapshot(FRAME, now=LATE)
    erased = store.forget("o1", now=LATE)
    assert (erased.kind, erased.before, erased.events) == (ErasureKind.FORGOTTEN, None, 2)
    assert value_of(store, "flow_failure_rate", frame=FRAME) == (1, 1, 1, 1)
    assert store.exposed_units("x", 1) == {"o2": "control"}
    assert "o1" not in repr(store.erasures())


def test_a_unit_nobody_knows_leaves_no_record(store):
    two_days(store)
    before = store.snapshot(FRAME, now=LATE)
    erased = store.forget("o3", now=LATE)
    assert (erased.events, erased.quarantined, store.erasures()) == (0, 0, ())
    assert store.snapshot(FRAME, now=LATE) == before


def test_a_unit_is_forgotten_whatever_its_type(store):
    paid = event("p", "order_placed", 1.2, amount=10)
    put(store, exposed(1), replace(paid, units={"order_id": "o1", "user_id": "ann"}))
    assert store.forget("ann", now=LATE).events == 1
    assert value_of(store, "net_revenue") == (1, 1, 0, 1)


@pytest.mark.parametrize(
    "kept",
    [
        '{"id": "r", "units": {"user_id": "ann"}}',
        '{"id": "r", "unit": "ann"}',
        '{"id": "r", "units": "ann"}',
        '{"id": "r", "units": {"user_id": "ann"}, "fields": {"te',
        '"ann"',
    ],
)
def test_what_was_refused_of_a_unit_is_forgotten_too(store, kept):
    other = Rejection(0, "s", "fields", "why", "wrong_type", '{"id": "ann", "unit": "bob"}')
    store.quarantine(
        [Rejection(0, "r", "fields", "why", "wrong_type", kept), other], received_at=LATE
    )
    assert store.forget("ann", now=LATE).quarantined == 1
    assert [each.id for each in store.quarantined()] == ["s"]


def test_a_number_sent_as_a_unit_is_forgotten_by_its_digits(store):
    store.quarantine(
        [Rejection(0, "r", "unit", "why", "wrong_type", '{"id": "r", "unit": 17}')],
        received_at=LATE,
    )
    assert store.forget("17", now=LATE).quarantined == 1


def test_a_unit_is_forgotten_in_totals_whose_events_have_left(store):
    two_days(store)
    store.retain(at(24), running=[FRAME], now=LATE)
    assert store.forget("o1", now=LATE).events == 0  # all it did had left
    assert value_of(store, "flow_failure_rate", frame=FRAME) == (1, 1, 1, 1)
    put(store, exposed(40), event("back", "flow_failed", 40.5))
    assert value_of(store, "flow_failure_rate", frame=FRAME) == (2, 2, 2, 2)


def test_a_unit_seen_in_two_variants_is_forgotten_in_totals_whose_events_have_left(store):
    put(store, exposed(1), exposed(2, "o1", "treatment"), exposed(3, "o2"))
    store.retain(at(24), running=[FRAME], now=LATE)
    assert store.snapshot(FRAME, now=LATE).conflicted == 1
    store.forget("o1", now=LATE)
    answer = store.snapshot(FRAME, now=LATE)
    assert (answer.conflicted, answer.reach["control"].exposed) == (0, 1)


def test_totals_that_were_carried_over_keep_what_another_unit_did_with_the_forgotten(store):
    paid = replace(
        event("p", "order_placed", 26, amount=10), units={"order_id": "o1", "user_id": "ann"}
    )
    put(store, exposed(1), paid)
    frame = frame_of("net_revenue")
    store.retain(at(24), running=[frame], now=LATE)
    store.forget("ann", now=LATE)
    assert value_of(store, "net_revenue", frame=frame) == (1, 1, 10, 1)


def test_the_end_of_a_running_experiment_is_kept_when_a_unit_is_forgotten(store):
    two_days(store)
    early = replace(FRAME, until=at(30))
    store.retain(at(24), running=[early], now=LATE)
    longer = replace(FRAME, until=at(60))
    put(store, exposed(40, "o3"))
    assert store.snapshot(longer, now=LATE).reach["control"].exposed == 3
    store.forget("o1", now=LATE, running=[longer])
    assert store.snapshot(longer, now=LATE).reach["control"].exposed == 2


# --- recounting and checking ----------------------------------------------------------------


def test_a_recount_says_that_all_is_equal_and_how_much_it_read(store):
    two_days(store)
    store.snapshot(FRAME, now=LATE)
    told = []
    (again,) = store.rebuild([FRAME], now=LATE, progress=lambda *line: told.append(line))
    assert (again.experiment, again.seed, again.events) == ("x", 1, 4)
    assert (again.whole, again.differences, again.failure) == (True, (), "")
    assert told


def test_a_recount_of_what_was_carried_over_says_so(store):
    two_days(store)
    store.retain(at(24), running=[FRAME], now=LATE)
    (carried, gone) = store.rebuild([FRAME, frame_of("net_revenue")], now=LATE)
    assert (carried.whole, carried.differences, carried.failure) == (False, (), "")
    assert "removed the events before" in gone.failure


def test_a_store_in_order_has_no_findings(store):
    two_days(store)
    store.quarantine([Rejection(0, "r", "", "why", "malformed", "{")], received_at=LATE)
    store.snapshot(FRAME, now=LATE)
    store.retain(at(24), running=[FRAME], now=at(25))
    store.forget("o2", now=LATE)
    found = store.verify(now=LATE)
    assert (found.events, found.quarantined, found.findings) == (0, 1, ())


# --- pure -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("earliest", "upto", "after", "gone"),
    [
        pytest.param(0, 9, 0, True, id="it began before what left"),
        pytest.param(24, 9, 0, False, id="it began when the kept part begins"),
        pytest.param(0, 2, 0, False, id="what left came later than what is asked"),
        pytest.param(0, 9, 6, False, id="it has counted what left already"),
        pytest.param(0, 9, 5, True, id="it has counted a part of what left"),
    ],
)
def test_what_is_gone_depends_on_what_is_needed(earliest, upto, after, gone):
    left = Erasure(LATE, ErasureKind.RETENTION, START + timedelta(hours=24), 2, 3, 6)
    forgotten = replace(left, kind=ErasureKind.FORGOTTEN, before=None, first_seq=1)
    found = gone_before([left, forgotten], at(earliest), upto, after=after)
    assert found == (at(24) if gone else None)


# --- what is refused, in words that can be read again ---------------------------------------


@pytest.mark.parametrize("code", ["too_late", "id_reused"])
def test_what_a_store_refuses_is_kept_as_it_was_sent_whatever_the_catalogue(store, code):
    """A store does not know the catalogue of its service; whole numbers are built-in fields only."""
    given = {"events": {"parcel_sent": {"weight": "number", "pieces": "number"}}}
    schema = catalogue_of(given, onto=load_catalogue()).events
    limits = EventLimits(clock_skew=DAY, retention=90 * DAY, schema=schema)
    sent = {
        "name": "parcel_sent",
        "units": {"order_id": "o1"},
        "fields": {"weight": 2.5, "pieces": 3, "seed": 7, "express": True, "to": "x"},
    }

    def read(text, when):
        raw = {**text, "id": "p", "happened_at": when.isoformat()}
        return parse_event(raw, index=0, now=LATE, limits=limits, trusted=True)

    if code == "too_late":
        store.retain(at(24), running=[], now=LATE)
    else:
        put(store, read(sent, at(1)))
    refused = read(sent, at(2))
    assert [each.code for each in put(store, refused).rejected] == [code]
    (kept,) = store.quarantined()
    assert json.loads(kept.event)["fields"] == sent["fields"]
    again = json.loads(kept.event)
    assert parse_event(again, index=0, now=LATE, limits=limits, trusted=True) == refused
