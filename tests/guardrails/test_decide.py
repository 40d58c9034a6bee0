from datetime import UTC, datetime, timedelta

import pytest

from guardrails.decide import (
    Rule,
    Standing,
    Step,
    decide,
    events_stopped,
)
from guardrails.effective import verify_rollback
from guardrails.outcome import Code, Finding, Outcome
from guardrails.schedule import Frozen

T = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
LETTERS = {
    "p": (Outcome.PASS, Code.PROVEN_SAFE),
    "b": (Outcome.BREACH, Code.PROVEN_HARM),
    "?": (Outcome.INCONCLUSIVE, Code.UNDECIDED),
    "_": (Outcome.NO_DATA, Code.EVENTS_STOPPED),
    "!": (Outcome.ERROR, Code.QUERY_FAILED),
}
RULES = {
    "a": Rule("a", "rollback", dry_run=False),
    "b": Rule("b", "rollback", dry_run=False),
    "told": Rule("told", "alert", dry_run=False),
    "dry": Rule("dry", "rollback", dry_run=True),
    "held": Rule("held", "hold", dry_run=False),
}


def finding(guardrail, letter, treatment="t", evidence=1.0):
    outcome, code = LETTERS[letter]
    return Finding(guardrail, "kpi", treatment, outcome, code, evidence=evidence)


def standing(**changes):
    values = {
        "state": "running",
        "live": frozenset({"t", "u"}),
        "acting": True,
        "rules": RULES,
        "ends_at": T + 100 * HOUR,
        "observe_until": T + 200 * HOUR,
        "steps": (Step(6 * HOUR, min_units=100), Step(24 * HOUR), Step(timedelta(0))),
        "step_since": T,
        "step_units": {"control": 500, "t": 500, "u": 500},
    }
    return Standing(**(values | changes))


def test_a_breach_turns_its_treatment_back_and_no_other():
    decision = decide([finding("a", "b"), finding("a", "?", "u")], standing(), now=T + HOUR)
    assert [f.treatment for f in decision.rollbacks] == ["t"]


def test_of_several_breaches_the_strongest_is_the_reason():
    found = [finding("a", "b", evidence=1.1), finding("b", "b", evidence=2.5)]
    decision = decide(found, standing(), now=T + HOUR)
    assert [f.guardrail for f in decision.rollbacks] == ["b"]


@pytest.mark.parametrize("letter", ["!", "_", "?", "p"])
def test_nothing_but_a_breach_rolls_back(letter):
    assert decide([finding("a", letter)], standing(), now=T + 50 * HOUR).rollbacks == ()


@pytest.mark.parametrize("letter", ["!", "_"])
def test_blindness_of_one_guardrail_does_not_mask_a_breach_of_another(letter):
    decision = decide([finding("b", letter), finding("a", "b")], standing(), now=T + HOUR)
    assert [f.guardrail for f in decision.rollbacks] == ["a"]


def test_the_latch_is_closed_a_treatment_that_is_back_is_not_turned_back_again():
    decision = decide([finding("a", "b")], standing(live=frozenset({"u"})), now=T + HOUR)
    assert decision.rollbacks == ()


@pytest.mark.parametrize(
    ("guardrail", "changes"),
    [
        pytest.param("told", {}, id="an alert only tells"),
        pytest.param("dry", {}, id="a dry run only tells"),
        pytest.param("held", {}, id="a hold only tells and holds"),
        pytest.param("a", {"acting": False}, id="shadow or suspended only tells"),
    ],
)
def test_a_breach_that_may_not_act_is_told_once(guardrail, changes):
    decision = decide([finding(guardrail, "b")], standing(**changes), now=T + HOUR)
    assert decision.rollbacks == ()
    assert [f.guardrail for f in decision.tell] == [guardrail]
    again = standing(told=frozenset({(guardrail, "t")}), **changes)
    assert decide([finding(guardrail, "b")], again, now=T + 2 * HOUR).tell == ()


@pytest.mark.parametrize(
    ("found", "hours", "changes", "advances"),
    [
        pytest.param("p", 6, {}, True, id="hold over, units in, nothing objects"),
        pytest.param("?", 6, {}, True, id="lack of proof alone does not block"),
        pytest.param("p", 5.9, {}, False, id="the hold is not over"),
        pytest.param("!", 6, {}, False, id="an error blocks"),
        pytest.param("_", 6, {}, False, id="no data blocks"),
        pytest.param("b", 6, {}, False, id="a breach blocks"),
        pytest.param("p", 6, {"step_units": {"control": 99, "t": 500}}, False, id="too few units"),
        pytest.param("p", 99, {"step": 2}, False, id="there is no step after the last"),
        pytest.param("p", 99, {"live": frozenset()}, False, id="nobody is left to ramp"),
        pytest.param(
            "?", 6, {"steps": (Step(HOUR, 0, proven=True), Step(HOUR))}, False, id="proof"
        ),
        pytest.param(
            "p", 6, {"steps": (Step(HOUR, 0, proven=True), Step(HOUR))}, True, id="proven"
        ),
    ],
)
def test_the_ramp_advances_only_when_everything_is_there(found, hours, changes, advances):
    decision = decide([finding("a", found)], standing(**changes), now=T + hours * HOUR)
    assert decision.advance is advances


ASKS = (Step(HOUR, min_units=100, proven=True, approval=True), Step(HOUR))
HOLIDAYS = Frozen(T + 9 * HOUR, "holidays")


@pytest.mark.parametrize(
    ("found", "hours", "changes", "words"),
    [
        pytest.param("!", 0, {}, "a of t is error", id="data quality first"),
        pytest.param(
            "?", 0, {}, "hold of 1 h is not over before 2026-03-01 01:00 UTC", id="then its hold"
        ),
        pytest.param("?", 1, {"step_units": {"control": 99, "t": 99}}, "99 of 100", id="its units"),
        pytest.param("?", 1, {"frozen": HOLIDAYS}, "not proven safe", id="the proof it wants"),
        pytest.param(
            "p",
            1,
            {"frozen": HOLIDAYS},
            "frozen until 2026-03-01 09:00 UTC (holidays)",
            id="then a freeze",
        ),
        pytest.param("p", 1, {}, "waits for approval: turnback approve x", id="then a person"),
    ],
)
def test_what_a_step_waits_for_is_said_in_this_order(found, hours, changes, words):
    where = standing(**({"steps": ASKS, "key": "x"} | changes))
    decision = decide([finding("a", found)], where, now=T + hours * HOUR)
    assert words in decision.words
    assert not decision.advance
    assert decision.ask is ("approval" in words)


def test_an_approved_step_is_left_and_an_approval_of_another_step_is_none():
    passed = [finding("a", "p")]
    approved = standing(steps=ASKS, approved=0)
    assert decide(passed, approved, now=T + HOUR).advance
    assert not decide(passed, approved, now=T).advance, "an approval ahead of time waits too"
    other = standing(steps=(ASKS[0], ASKS[0], Step(HOUR)), step=1, approved=0)
    assert not decide(passed, other, now=T + HOUR).advance


def test_a_freeze_stops_advances_and_nothing_else():
    where = standing(frozen=HOLIDAYS)
    decision = decide([finding("a", "b")], where, now=T + 6 * HOUR)
    assert [f.treatment for f in decision.rollbacks] == ["t"]
    assert not decide([finding("a", "p")], where, now=T + 6 * HOUR).advance
    assert decide([finding("a", "p")], standing(), now=T + 6 * HOUR).advance


def test_an_alert_only_guardrail_does_not_block_the_ramp():
    assert decide([finding("told", "!")], standing(), now=T + 6 * HOUR).advance


def test_the_end_comes_by_the_clock_and_a_breach_at_the_end_still_acts():
    over = decide([finding("a", "b")], standing(), now=T + 100 * HOUR)
    assert (over.become, len(over.rollbacks), over.advance) == ("observing", 1, False)
    done = decide([], standing(state="observing"), now=T + 200 * HOUR)
    assert done.become == "finished"
    assert decide([], standing(state="observing"), now=T + 199 * HOUR).become is None


@pytest.mark.parametrize(
    ("after", "others", "hours", "effective"),
    [
        pytest.param(0, 90, 1, True, id="the arm is gone while others go on"),
        pytest.param(0, 0, 1, None, id="silence of every arm proves nothing"),
        pytest.param(1, 90, 1, True, id="one percent of the rate before"),
        pytest.param(2, 90, 1, False, id="more than one percent"),
        pytest.param(0, 90, 0, None, id="no time has passed since the grace"),
    ],
)
def test_a_rollback_is_effective_when_its_exposures_fall_away(after, others, hours, effective):
    verdict = verify_rollback(
        before=2400, hours_before=24, after=after, others_after=others, hours_after=hours
    )
    assert verdict[2] is effective
    assert verdict[0] == 100


@pytest.mark.parametrize(
    ("since", "events", "exposed", "quiet", "stopped"),
    [
        pytest.param({"c": 100, "t": 100}, 1000, 2000, 3, True, id="100 events were due"),
        pytest.param({"c": 99, "t": 500}, 1000, 2000, 3, False, id="below the gate of one arm"),
        pytest.param({"c": 100, "t": 100}, 100, 2000, 3, False, id="only 10 events were due"),
        pytest.param({"c": 100, "t": 100}, 0, 200, 3, True, id="no event ever"),
        pytest.param({"c": 900, "t": 900}, 0, 1800, 2, False, id="none yet, it has only begun"),
        pytest.param({"c": 900, "t": 900}, 9000, 2000, 2, False, id="silence that is normal"),
        pytest.param({}, 0, 1, 3, False, id="nobody exposed"),
    ],
)
def test_events_have_stopped_only_when_they_were_due(since, events, exposed, quiet, stopped):
    assert stopped is events_stopped(
        since,
        events=events,
        exposed=exposed,
        quiet_for=quiet * HOUR,
        settle=2 * HOUR,
    )
