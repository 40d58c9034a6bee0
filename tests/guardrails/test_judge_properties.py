"""What holds of every decision: which side harm is on, in what unit, and whether it was stored."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.judge import judge
from guardrails.levels import Comparison, WindowPlan
from guardrails.repository import state_from_json, state_to_json
from metrics.catalogue import Kind
from metrics.cells import MICRO, Cell, Snapshot, Sums

HOUR = timedelta(hours=1)
AT = datetime(2026, 3, 2, tzinfo=UTC)
PLAN = Comparison(
    guardrail="g",
    kpi="k",
    kind=Kind.PROPORTION,
    side="rise",
    margin=0.02,
    absolute=True,
    prove_past=0.5,
    control="control",
    treatment="t",
    acts=True,
    windows=(WindowPlan(HOUR, 0.05, 1e4, 2),),
)

GROWN = st.lists(
    st.tuples(
        st.integers(1, 600), st.integers(1, 600), st.floats(0.02, 0.98), st.floats(0.02, 0.98)
    ),
    min_size=1,
    max_size=8,
)
"""Units and event rates that come in between two checks, of control and of the treatment."""


def checks(grown, *, mirrored=False):
    """Yield snapshots of a rate that grows as drawn, or of its complement."""
    totals = {"control": [0, 0], "t": [0, 0]}
    for mark, (n_c, n_t, p_c, p_t) in enumerate(grown):
        for variant, n, p in (("control", n_c, p_c), ("t", n_t, p_t)):
            events = round(n * p)
            totals[variant][0] += n
            totals[variant][1] += n - events if mirrored else events
        cells = tuple(
            Cell(variant, 0, 0, n, Sums(n, x * MICRO, n * MICRO))
            for variant, (n, x) in totals.items()
        )
        yield Snapshot(AT, mark, {("k", HOUR): cells}, {})


def run(snapshots, plan, *, store=lambda state: state):
    """Return every check's finding, each state having gone through ``store``."""
    states, found = {}, []
    for seen in snapshots:
        finding = judge(seen, plan, states)
        found.append(finding)
        states = {key: store(state) for key, state in finding.states.items()}
    return found


def through_json(state):
    """Return a state as the next process reads it: through the text that the database holds."""
    return state_from_json(json.loads(json.dumps(state_to_json(state))))


@settings(max_examples=40, deadline=None)
@given(grown=GROWN)
def test_a_state_that_is_stored_after_every_check_changes_no_boundary_and_no_decision(grown):
    plain = run(checks(grown), PLAN)
    stored = run(checks(grown), PLAN, store=through_json)
    for a, b in zip(plain, stored, strict=True):
        assert a.outcome is b.outcome
        assert a.states == b.states  # bit for bit
        (one,), (other,) = a.windows, b.windows
        assert one.boundary == other.boundary or one.look == other.look == 0


@settings(max_examples=40, deadline=None)
@given(grown=GROWN)
def test_a_drop_of_successes_is_the_rise_of_failures(grown):
    rise = run(checks(grown), PLAN)
    drop = run(checks(grown, mirrored=True), replace(PLAN, side="drop"))
    for a, b in zip(rise, drop, strict=True):
        assert a.outcome is b.outcome
        assert a.code is b.code
        (one,), (other,) = a.windows, b.windows
        assert one.z == pytest.approx(other.z, abs=1e-9, nan_ok=True)
        assert one.is_look == other.is_look
        assert one.boundary == pytest.approx(other.boundary, abs=1e-9, nan_ok=True)
        assert one.e_value == pytest.approx(other.e_value, rel=1e-6, nan_ok=True)


VALUES = st.lists(st.integers(0, 50), min_size=120, max_size=200)


@settings(max_examples=20, deadline=None)
@given(control=VALUES, treatment=VALUES, scale=st.sampled_from([2, 60, 1000]))
def test_seconds_or_milliseconds_lead_to_the_same_decision(control, treatment, scale):
    found = []
    for factor in (1, scale):
        cells = []
        for variant, numbers in (("control", control), ("t", treatment)):
            whole = Sums()
            for number in numbers:
                whole += Sums.of(number * factor * MICRO)
            cells.append(Cell(variant, 0, 0, whole.n, whole))
        seen = Snapshot(AT, 1, {("k", HOUR): tuple(cells)}, {})
        plan = replace(PLAN, kind=Kind.MEAN, absolute=False, margin=0.05)
        found.append(judge(seen, plan, {}))
    small, large = found
    assert (small.outcome, small.code) == (large.outcome, large.code)
    (one,), (other,) = small.windows, large.windows
    assert one.z == pytest.approx(other.z, abs=1e-7, nan_ok=True)
    assert one.boundary == pytest.approx(other.boundary, nan_ok=True)
    assert one.effect == pytest.approx(other.effect, abs=1e-9, nan_ok=True)


@settings(max_examples=20, deadline=None)
@given(grown=GROWN)
def test_a_smaller_level_never_turns_back_what_a_larger_one_does_not(grown):
    strict = replace(PLAN, windows=(replace(PLAN.windows[0], level=0.01),))
    loose = run(checks(grown), PLAN)
    for a, b in zip(loose, run(checks(grown), strict), strict=True):
        (one,), (other,) = a.windows, b.windows
        assert one.evidence >= other.evidence or other.evidence < 1
        if one.look:
            assert other.boundary > one.boundary
