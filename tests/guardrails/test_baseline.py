"""The rule ``baseline``: what is not as it was lately is told, and nothing else."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from experiments.errors import SpecError
from guardrails.judge_baseline import BaselineWatch, judge_baseline, plan_baselines
from guardrails.loaded import prepare
from guardrails.outcome import Code, Outcome
from guardrails.spec_file import load_spec
from guardrails.words import limit_words, outcome_words
from metrics.catalogue import load_catalogue
from metrics.cells import MICRO, Cell, Snapshot, Sums
from tests.engine_world import HOUR, SPEC, World

AT = datetime(2026, 3, 8, tzinfo=UTC)
RULE = "  - {kpi: flow_failure_rate, max_rise: 10%}\n"
WATCHED = SPEC.replace(RULE, RULE + "  - {rule: baseline, kpi: flow_failure_rate, sd: 3}\n")
WATCH = BaselineWatch("slow", "k", HOUR, "rise", 2.0, 14, False, "control", "treatment")
PAST = (10.0, 11.0, 9.0, 10.5, 9.5, 10.0)


def cohort(arm, index, value, units=100, phase=0):
    y, x = round(value * MICRO) * units, MICRO * units
    return Cell(arm, phase, index, units, Sums(units, y, x))


def judged(now, *, watch=WATCH, past=PAST, units=100, first_phase=0, phase=0, beside=()):
    cells = [cohort("control", i, value) for i, value in enumerate(past)]
    cells += [cohort("control", len(past), value) for value in beside]
    cells.append(cohort("treatment", len(past), now, units, phase))
    seen = Snapshot(AT, 1, {("k", HOUR): tuple(cells)}, {})
    return judge_baseline(watch, seen, first_phase=first_phase)


def test_beyond_the_usual_band_is_told_and_within_it_passes():
    # mean 10, standard deviation .71
    assert (judged(11.5).outcome, judged(11.5).code) == (Outcome.BREACH, Code.UNLIKE_BEFORE)
    assert (judged(11.3).outcome, judged(11.3).code) == (Outcome.PASS, Code.AS_BEFORE)
    assert judged(5.0).outcome is Outcome.PASS, "a drop of what should be low is no harm"
    assert judged(5.0, watch=replace(WATCH, side="drop")).outcome is Outcome.BREACH
    assert judged(5.0, watch=replace(WATCH, side=None)).outcome is Outcome.BREACH


def test_fewer_units_than_usual_have_a_wider_band():
    assert judged(12.0).outcome is Outcome.BREACH
    assert judged(12.0, units=25).outcome is Outcome.PASS
    assert judged(14.0, units=25).outcome is Outcome.BREACH


@pytest.mark.parametrize(
    "seen",
    [
        judged(99.0, past=PAST[:3]),
        judged(99.0, past=(10.0,) * 6),
        judged(99.0, units=19),
        judged(99.0, first_phase=1),
    ],
    ids=["a short past", "a past without any spread", "few units", "an earlier attempt"],
)
def test_where_there_is_nothing_to_compare_with_nothing_is_said(seen):
    assert (seen.outcome, seen.code) == (Outcome.INCONCLUSIVE, Code.SHORT_PAST)
    assert outcome_words(seen, WATCH, "Time") == "too little of a past yet to compare with"


def test_only_the_recent_past_counts():
    long_ago = (50.0, 60.0, 55.0, 58.0)
    recent = replace(WATCH, cohorts=len(PAST))
    assert judged(12.0, past=(*long_ago, *PAST), watch=recent).outcome is Outcome.BREACH
    assert judged(12.0, past=(*long_ago, *PAST)).outcome is Outcome.PASS


def test_it_says_what_is_and_what_was():
    assert limit_words(WATCH, "Time to prepare") == (
        "Time to prepare of treatment may not be more than 2 standard deviations above control's "
        "recent past (a comparison with the past, outside the guarantee)"
    )
    assert outcome_words(judged(12.0, beside=(10.1,)), WATCH, "Time to prepare") == (
        "Time to prepare of treatment is 12 in the newest cohort (100 units), after 10 in the 6 "
        "before of control, where up to 11.41 was usual (2 standard deviations). control is at 10.1 "
        "now. This compares with the past, so nothing is proven about the treatment. Nobody is "
        "turned back by it."
    )
    assert outcome_words(judged(10.2), WATCH, "Time to prepare").endswith(
        "after 10 in the 6 before of control, where up to 11.41 was usual"
    )


def test_what_is_stored_is_enough_to_recompute_it():
    detail = judged(12.0, units=50).detail
    mean = sum(value for value, _ in detail["past"]) / len(detail["past"])
    spread = (sum((v - mean) ** 2 for v, _ in detail["past"]) / (len(detail["past"]) - 1)) ** 0.5
    assert detail["mean"] == pytest.approx(mean)
    assert detail["usual"] == pytest.approx(2.0 * spread * (100 / 50) ** 0.5)


@pytest.mark.parametrize("action", ["rollback", "hold", "stop"])
def test_anything_but_an_alert_is_refused_with_the_reason(action):
    with pytest.raises(SpecError) as caught:
        load_spec(WATCHED.replace("sd: 3", f"sd: 3, action: {action}"))
    (problem,) = caught.value.problems
    assert problem.message == (
        f"`{action}` is not for this rule: it compares with the past, not with control, so it "
        "proves no harm of the treatment"
    )
    assert problem.hint == "use alert"


def test_its_window_is_measured_though_no_other_guardrail_asks_for_it():
    text = WATCHED.replace("max_rise: 10%", "max_rise: 10%, windows: {1d: 100%}")
    loaded = prepare(load_spec(text), load_catalogue(), show_core=False)
    measured = {kpi.key: windows for kpi, windows in loaded.measured}
    assert measured["flow_failure_rate"] == (HOUR, timedelta(days=1))
    (watch,) = plan_baselines(loaded.spec)
    assert (watch.window, watch.side, watch.cohorts) == (HOUR, "rise", 14)


@pytest.fixture
def world():
    worlds = []

    def build(*args, **kwargs):
        worlds.append(World(*args, **kwargs))
        return worlds[-1]

    yield build
    for made in worlds:
        made.control.close()


def by_cohort(w, *, late):
    """Let the store tell cohorts of 12 hours; from the tenth on the treatment fails ``late``."""

    def snapshot(frame, *, now, as_of=None):
        found = type(w.store).snapshot(w.store, frame, now=now, as_of=as_of)
        count = int((now - frame.origin) / timedelta(hours=12))
        cells = {}
        for (kpi, window), old in found.cells.items():
            whole = []
            for index in range(count):
                share = 0.1 + 0.002 * (index % 3)
                for variant in frame.variants:
                    bad = late if variant == "treatment" and index >= 10 else share
                    whole.append(cohort(variant, index, bad, 1000))
            cells[kpi, window] = tuple(whole) if window == HOUR else old
        return replace(found, cells=cells)

    w.store.snapshot = snapshot


def told(w):
    w.engine.deliver()
    return [m for m in w.channel.told if "baseline" in m.title]


def alone(text):
    """The file without the other guardrail acting: only the baseline speaks."""
    return text.replace("max_rise: 10%", "max_rise: 10%, action: alert, windows: {1d: 100%}")


def test_the_engine_tells_people_once_and_does_nothing_else(world):
    w = world(spec=alone(WATCHED))
    by_cohort(w, late=0.2)
    w.hours(12 * 10)
    assert told(w) == []
    w.hours(20)
    (message,) = told(w)
    assert "is 20% in the newest cohort" in message.text
    assert w.rollbacks() == []
    assert w.state_of("treatment") == "live"
    (view,) = [g for g in w.view().guardrails if g.rule == "baseline"]
    assert (view.outcome, view.kpi, view.level) == (Outcome.BREACH, "flow_failure_rate", None)
    paragraphs = w.engine.explain("cancel-page").paragraphs
    assert any(
        "What watches the data (flow_failure_rate-baseline, sample_ratio)" in p for p in paragraphs
    )


def test_the_engine_says_nothing_while_all_is_as_before(world):
    w = world(spec=alone(WATCHED))
    by_cohort(w, late=0.102)
    w.hours(12 * 12)
    assert told(w) == []
    (view,) = [g for g in w.view().guardrails if g.rule == "baseline"]
    assert view.outcome is Outcome.PASS
