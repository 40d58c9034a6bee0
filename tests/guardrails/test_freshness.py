"""The rule ``freshness``: silence is told, of one arm or of all."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from experiments.errors import SpecError
from guardrails.judge_freshness import SilenceWatch, judge_silence
from guardrails.outcome import Code, Outcome
from guardrails.spec_file import load_spec
from guardrails.words import limit_words, outcome_words
from metrics.cells import Reach, Snapshot
from tests.engine_world import HOUR, SPEC, World

AT = datetime(2026, 3, 2, tzinfo=UTC)
RULE = "  - {kpi: flow_failure_rate, max_rise: 10%}\n"
WATCHED = SPEC.replace(RULE, RULE + "  - {rule: freshness, max_age: 4h}\n")
RAMPED = WATCHED + "ramp:\n  - {traffic: 20%, hold: 20h}\n  - {traffic: 100%}\n"
WATCH = SilenceWatch("freshness", 4 * HOUR, "control", "treatment")


def judged(treatment=None, control=None, *, since=50, states=None, running=True):
    """Judge with the newest event of each arm so many hours ago, ``None`` for none ever."""
    reach = {
        variant: Reach(100, 10, AT, None if hours is None else AT - hours * HOUR)
        for variant, hours in (("treatment", treatment), ("control", control))
    }
    return judge_silence(
        WATCH, Snapshot(AT, 1, {}, reach), states or {}, since=AT - since * HOUR, running=running
    )


@pytest.mark.parametrize(
    ("treatment", "control", "outcome", "code"),
    [
        (1, 2, Outcome.PASS, Code.EVENTS_ARRIVE),
        (4, 4, Outcome.PASS, Code.EVENTS_ARRIVE),
        (5, 1, Outcome.BREACH, Code.ARM_SILENT),
        (1, 5, Outcome.BREACH, Code.ARM_SILENT),
        (6, 5, Outcome.BREACH, Code.ALL_SILENT),
        (None, 1, Outcome.BREACH, Code.ARM_SILENT),
        (None, None, Outcome.BREACH, Code.ALL_SILENT),
    ],
)
def test_what_is_older_than_tolerated_is_a_breach(treatment, control, outcome, code):
    found = judged(treatment, control)
    assert (found.outcome, found.code) == (outcome, code)
    assert (found.evidence >= 1) == (outcome is Outcome.BREACH)


def test_silence_counts_from_when_the_treatment_is_served():
    assert judged(None, None, since=3).outcome is Outcome.PASS
    assert judged(None, None, since=5).outcome is Outcome.BREACH


def test_silence_while_nobody_is_served_does_not_count():
    paused = judged(30, 30, running=False)
    assert (paused.outcome, paused.code) == (Outcome.INCONCLUSIVE, Code.NOT_SERVED_YET)
    again = judged(30, 30, states=paused.states)
    assert again.outcome is Outcome.PASS


def test_it_says_who_is_silent_for_how_long():
    assert limit_words(WATCH, "") == (
        "Events of treatment and of control may not stay away for more than 4 h (a watch of the "
        "data, outside the guarantee)"
    )
    one = outcome_words(judged(5, 1), WATCH, "")
    assert one.startswith(
        "no events of treatment since 5 h, while those of control go on arriving; the file "
        "tolerates 4 h."
    )
    assert outcome_words(judged(6, 5), WATCH, "").startswith(
        "no events of treatment or control since 5 h; the file tolerates 4 h. Is their source"
    )
    assert outcome_words(judged(1, 2), WATCH, "") == (
        "events of both arms arrive, the newest of each in the last 2 h"
    )
    paused = judged(30, 30, running=False)
    assert outcome_words(paused, WATCH, "") == "nobody is served now, so nobody is missed"


def test_it_needs_a_length_and_turns_nobody_back():
    with pytest.raises(SpecError, match="max_age"):
        load_spec(WATCHED.replace(", max_age: 4h", ""))
    with pytest.raises(SpecError, match="data that are missing prove no harm; use hold or alert"):
        load_spec(WATCHED.replace("max_age: 4h", "max_age: 4h, action: rollback"))


@pytest.fixture
def world():
    worlds = []

    def build(*args, **kwargs):
        worlds.append(World(*args, **kwargs))
        return worlds[-1]

    yield build
    for made in worlds:
        made.control.close()


def silence(w, *variants, after=timedelta(hours=10)):
    """Let the store hear nothing of these arms after the first hours."""

    def snapshot(frame, *, now, as_of=None):
        found = type(w.store).snapshot(w.store, frame, now=now, as_of=as_of)
        last = min(now, frame.origin + after)
        quiet = {
            v: replace(r, last_event_at=last if v in variants else r.last_event_at)
            for v, r in found.reach.items()
        }
        return replace(found, reach=quiet)

    w.store.snapshot = snapshot


def freshness_of(w):
    (found,) = [g for g in w.view().guardrails if g.rule == "freshness"]
    return found


def test_the_engine_holds_the_ramp_while_one_arm_is_silent_and_tells_once(world):
    w = world(spec=RAMPED)
    silence(w, "treatment")
    w.hours(40)
    assert w.view().step == 0
    assert freshness_of(w).outcome is Outcome.BREACH
    assert freshness_of(w).code is Code.ARM_SILENT
    assert w.rollbacks() == []
    assert any("no events of treatment since" in words for words in w.view().attention)
    w.engine.deliver()
    told = [m for m in w.channel.told if "freshness" in m.title]
    assert len(told) == 1
    assert "no events of treatment since" in told[0].text
    del w.store.snapshot
    w.hours(3)
    assert freshness_of(w).outcome is Outcome.PASS
    assert w.view().step == 1, "silence that is over holds nothing"


def test_the_engine_holds_still_while_events_arrive_and_through_a_pause(world):
    w = world(spec=RAMPED)
    w.hours(5)
    silence(w, "treatment", "control", after=5 * HOUR)
    w.engine.pause("cancel-page", reason="a look", actor="ann")
    w.hours(10)
    assert freshness_of(w).outcome is Outcome.INCONCLUSIVE
    del w.store.snapshot
    w.engine.move("cancel-page", "continue", reason="on", actor="ann")
    w.hours(2)
    assert freshness_of(w).outcome is Outcome.PASS
    w.hours(40)
    assert w.view().step == 1
    w.engine.deliver()
    assert [m for m in w.channel.told if "freshness" in m.title] == []
