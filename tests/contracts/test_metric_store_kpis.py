"""What each KPI counts, over every engine: the harm a naive definition would miss."""

from datetime import timedelta

import pytest

from tests.support import DAY, ENGINES, event, exposed, put, value_of


@pytest.fixture(params=sorted(ENGINES))
def store(request, tmp_path):
    opened = ENGINES[request.param](str(tmp_path / "store.duckdb"))
    yield opened
    opened.close()


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


@pytest.mark.parametrize(
    ("last_step", "value"),
    [
        pytest.param(0.4, (1, 1, 700, 1), id="a step 36 minutes before the window closes"),
        pytest.param(0.6, (1, 0, 0, 0), id="a step 24 minutes before it closes: still going on"),
    ],
)
def test_a_flow_is_abandoned_half_an_hour_after_its_last_step(store, last_step, value):
    put(
        store,
        exposed(0),
        event("s1", "cancel_started", 0),
        event("l1", "cancel_step_left", 0.1, step="points_lost", seconds=300),
        event("l2", "cancel_step_left", last_step, step="coupon", seconds=400),
    )
    assert value_of(store, "flow_dwell_seconds", timedelta(hours=1)) == value


def test_a_second_flow_that_is_finished_leaves_the_first_abandoned(store):
    put(
        store,
        exposed(0),
        event("s1", "cancel_started", 0),
        event("l1", "cancel_step_left", 0.05, step="points_lost", seconds=100),
        event("s2", "cancel_started", 0.4),
        event("l2", "cancel_step_left", 0.6, step="points_lost", seconds=50),
        event("f2", "cancel_finished", 0.7, outcome="kept", seconds=80),
    )
    assert value_of(store, "flow_dwell_seconds", timedelta(hours=1)) == (1, 1, 80 + 70, 2)


@pytest.mark.parametrize(
    ("history", "value"),
    [
        pytest.param([("start", 0), ("kept", 1), ("start", 30)], (1, 1, 1, 1), id="came back"),
        pytest.param([("start", 0), ("start", 1), ("kept", 2)], (1, 1, 0, 1), id="kept at last"),
        pytest.param([("start", 0), ("kept", 1)], (1, 1, 0, 1), id="kept and stayed"),
        pytest.param([("start", 0), ("start", 9)], (1, 0, 0, 0), id="never kept"),
        pytest.param([("kept", 5), ("start", 5)], (1, 1, 0, 1), id="at the same instant"),
        pytest.param(
            [("kept", 9), ("start", 5), ("kept", 1)], (1, 1, 1, 1), id="whatever the order sent"
        ),
        pytest.param([("kept", 1), ("start", 169)], (1, 1, 0, 1), id="after the window"),
    ],
)
def test_an_attempt_after_keeping_the_order_is_a_reattempt(store, history, value):
    names = {"start": "cancel_started", "kept": "cancel_finished"}
    put(store, exposed(0))
    for number, (what, when) in enumerate(history):
        fields = {"outcome": "kept"} if what == "kept" else {}
        put(store, event(f"h{number}", names[what], when, **fields))
    assert value_of(store, "cancel_reattempt_rate") == value


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
