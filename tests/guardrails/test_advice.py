"""What is advised when a run is over."""

from dataclasses import replace
from datetime import timedelta

import pytest

from experiments.repository import ExperimentRecord, TreatmentRecord
from guardrails.advice import Recommended, advice_to_json, advise
from guardrails.loaded import load
from guardrails.outcome import Code, Finding, Outcome
from metrics.catalogue import load_catalogue
from metrics.cells import MICRO, Cell, Reach, Snapshot, Sums
from tests.engine_world import T

DAY = timedelta(days=1)
HEAD = """\
experiment: cancel-page
unit: order_id
variants:
  control: {weight: 50%}
  treatment: {weight: 50%}
goal: {kpi: save_rate, expect: +5%}
guardrails:
  - {kpi: flow_failure_rate, max_rise: 30%}
  - {kpi: cancel_success_rate, max_drop: 10%}
ends: {after: 14d, observe_for: 7d}
check_every: 1h
expect_units: 100000
"""
THREE = HEAD.replace("treatment: {weight: 50%}", "treatment: {weight: 25%}\n  other: {weight: 25%}")
RATES = {"save_rate": 0.4, "flow_failure_rate": 0.1, "cancel_success_rate": 0.8}
BETTER = {"save_rate": 0.46}


def loaded_of(text=HEAD):
    return load(text, source="test.yaml", catalogue=load_catalogue(), show_core=False)


def record_of(loaded, **changes):
    ends = loaded.spec.experiment.ends.after
    return replace(
        ExperimentRecord(
            key="cancel-page",
            version=1,
            state="observing",
            seed=1,
            revision=1,
            step=len(loaded.steps) - 1,
            step_since=T,
            step_exposed={},
            started_at=T,
            ends_at=T + ends,
            observe_until=T + ends + 7 * DAY,
            checks=9,
            last_tick_at=None,
            watermark=9,
        ),
        **changes,
    )


def treatment_of(name="treatment", **changes):
    known = TreatmentRecord(name, 1, 1, "live", 0, T, None, None, None, None, None)
    return replace(known, **changes)


def sums_of(units, share):
    hits = round(units * share)
    one, none = Sums.of(MICRO), Sums.of(0)

    def times(sums, count):
        return Sums(*(getattr(sums, name) * count for name in Sums.__dataclass_fields__))

    return times(one, hits) + times(none, units - hits)


def snapshot_of(loaded, units=20_000, **rates):
    """Return a snapshot of so many units of each arm, dealt evenly over the cohorts of the run."""
    shares = {arm: RATES | rates.get(arm, {}) for arm in ("control", "treatment", "other")}
    arms = {v.name: v.weight for v in loaded.spec.experiment.variants}
    cohorts = loaded.spec.experiment.ends.after // timedelta(hours=12)
    cells = {}
    for kpi, windows in loaded.measured:
        for window in windows:
            cells[kpi.key, window] = tuple(
                Cell(arm, 0, cohort, each, sums_of(each, shares[arm][kpi.key]))
                for arm, weight in arms.items()
                for cohort in range(cohorts)
                for each in [round(units * weight / 0.5 / cohorts)]
            )
    reach = {arm: Reach(round(units * weight / 0.5)) for arm, weight in arms.items()}
    return Snapshot(T + 21 * DAY, 9, cells, reach)


def advice_on(loaded, snapshot, *, findings=(), treatments=None, **changes):
    treatments = treatments or {v: treatment_of(v) for v in loaded.spec.experiment.treatments}
    return advise(loaded, record_of(loaded, **changes), treatments, snapshot, findings)


def test_a_better_goal_and_proven_guardrails_are_advised_to_ship():
    loaded = loaded_of()
    told = advice_on(loaded, snapshot_of(loaded, treatment=BETTER))
    assert (told.recommended, told.treatment) == (Recommended.SHIP, "treatment")
    assert "over 2 whole weeks at full traffic" in told.words
    (reasons,) = told.reasons
    assert "Save rate over 7 d: 14.7% higher (between 12.1% higher and 17.3% higher)" in reasons
    assert "the goal is proven better" in reasons
    assert reasons.count("within its margin, proven") == 2


def test_no_better_goal_is_extended_by_as_many_weeks_as_it_would_take():
    loaded = loaded_of()
    told = advice_on(loaded, snapshot_of(loaded, treatment={"save_rate": 0.408}))
    assert told.recommended is Recommended.EXTEND
    (one,) = told.treatments
    assert one.weeks is not None
    assert one.weeks > 2
    assert f"{one.weeks} whole weeks" in told.words
    assert "raise `seed`" in told.words
    assert "not proven better" in told.reasons[0]


def test_a_goal_that_got_worse_than_before_keeps_control():
    loaded = loaded_of()
    told = advice_on(loaded, snapshot_of(loaded, treatment={"save_rate": 0.399}))
    assert told.recommended is Recommended.KEEP_CONTROL
    assert "would not be proven within 26 weeks" in told.words


def test_proven_harm_keeps_control_however_good_the_goal_is():
    loaded = loaded_of()
    rates = BETTER | {"flow_failure_rate": 0.125}
    told = advice_on(loaded, snapshot_of(loaded, treatment=rates))
    assert told.recommended is Recommended.KEEP_CONTROL
    assert "something is worse" in told.words
    assert "Flow failure rate over 1 d: 25.4% higher" in told.reasons[0]
    assert "proven worse" in told.reasons[0]


def test_an_unproven_guardrail_is_not_shipped():
    loaded = loaded_of()
    told = advice_on(loaded, snapshot_of(loaded, units=1_500, treatment={"save_rate": 0.6}))
    assert told.recommended is Recommended.EXTEND
    assert "not proven to be within its margin" in told.reasons[0]


def test_of_several_treatments_the_best_is_shipped_and_one_turned_back_is_not():
    loaded = loaded_of(THREE)
    snapshot = snapshot_of(loaded, 60_000, treatment={"save_rate": 0.44}, other={"save_rate": 0.46})
    told = advice_on(loaded, snapshot)
    assert told.treatment == "other"
    assert [t.recommended.value for t in told.treatments] == ["ship", "ship"]
    back = treatment_of("other", state="rolled_back", rolled_back_at=T + DAY)
    told = advice_on(loaded, snapshot, treatments={"treatment": treatment_of(), "other": back})
    assert told.treatment == "treatment"
    assert "turned back on 2026-03-02" in told.reasons[1]


def test_the_level_is_shared_by_the_treatments():
    loaded, three = loaded_of(), loaded_of(THREE)
    alone = advice_on(loaded, snapshot_of(loaded, treatment={"save_rate": 0.4105}))
    back = treatment_of("other", state="rolled_back", rolled_back_at=T + DAY)
    both = advice_on(
        three,
        snapshot_of(three, 40_000, treatment={"save_rate": 0.4090}),
        treatments={"treatment": treatment_of(), "other": back},
    )
    told = [advice.treatments[0] for advice in (alone, both)]
    assert all(0.0125 < t.metrics[0].better < 0.025 for t in told)
    assert [t.recommended.value for t in told] == ["ship", "extend"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"step_since": T + 8 * DAY}, "needs a whole week at full traffic"),
        ({"step_since": T + 8 * DAY}, "it had 6 d"),
    ],
)
def test_less_than_a_week_at_full_traffic_gives_no_advice(changes, words):
    loaded = loaded_of()
    told = advice_on(loaded, snapshot_of(loaded, treatment=BETTER), **changes)
    assert told.recommended is Recommended.NOTHING
    assert words in told.words


def test_only_units_of_whole_weeks_say_whether_the_goal_is_better():
    loaded = loaded_of()
    snapshot = snapshot_of(loaded, treatment=BETTER)
    (one,) = advice_on(loaded, snapshot).treatments
    (half,) = advice_on(loaded, snapshot, step_since=T + 3 * DAY).treatments
    assert one.metrics[0].units == (20_000 // 28 * 28, 20_000 // 28 * 28)
    assert half.metrics[0].units == (20_000 // 28 * 14, 20_000 // 28 * 14)
    assert "a whole week" in half.words


def test_a_ramp_that_never_was_at_full_traffic_gives_no_advice():
    loaded = loaded_of(HEAD + "ramp: [{traffic: 10%, hold: 1d}, {traffic: 100%}]\n")
    told = advice_on(loaded, snapshot_of(loaded, treatment=BETTER), step=0)
    assert told.recommended is Recommended.NOTHING
    assert "it had no time" in told.words


def test_without_a_goal_there_is_no_advice_and_it_says_why():
    loaded = loaded_of(HEAD.replace("goal: {kpi: save_rate, expect: +5%}\n", ""))
    told = advice_on(loaded, snapshot_of(loaded))
    assert told.recommended is Recommended.NOTHING
    assert "names no goal" in told.words


def test_an_uneven_split_gives_no_advice():
    loaded = loaded_of()
    snapshot = snapshot_of(loaded, treatment=BETTER)
    reach = snapshot.reach | {"treatment": Reach(18_000)}
    told = advice_on(loaded, replace(snapshot, reach=reach))
    assert told.recommended is Recommended.NOTHING
    assert "not split as the file plans" in told.words


def test_blindness_gives_no_advice():
    loaded = loaded_of()
    blind = Finding("flow_failure_rate", None, "treatment", Outcome.ERROR, Code.SOURCE_FAILED)
    told = advice_on(loaded, snapshot_of(loaded, treatment=BETTER), findings=[blind])
    assert told.recommended is Recommended.NOTHING
    assert "flow_failure_rate could not be judged" in told.words
    assert advice_on(loaded, None).recommended is Recommended.NOTHING


def test_when_every_treatment_is_turned_back_control_stays():
    loaded = loaded_of()
    back = {"treatment": treatment_of(state="rolled_back", rolled_back_at=T + DAY)}
    told = advice_on(loaded, snapshot_of(loaded), treatments=back)
    assert told.recommended is Recommended.KEEP_CONTROL
    assert "every treatment was turned back" in told.words


def test_a_goal_in_either_direction_goes_where_the_file_hopes():
    text = HEAD.replace("save_rate, expect: +5%", "cancellation_rate, expect: -5%")
    loaded = loaded_of(text)
    rates = {"control": {"cancellation_rate": 0.5}, "treatment": {"cancellation_rate": 0.46}}
    told = advice_on(loaded, snapshot_of(loaded, **rates))
    assert told.recommended is Recommended.SHIP
    loaded = loaded_of(text.replace(", expect: -5%", ""))
    told = advice_on(loaded, snapshot_of(loaded, **rates))
    assert told.recommended is Recommended.NOTHING
    assert "which direction" in told.words


def test_advice_as_json_holds_no_number_that_is_none():
    loaded = loaded_of()
    told = advice_to_json(advice_on(loaded, snapshot_of(loaded, units=50)))
    goal = told["treatments"][0]["metrics"][0]
    assert goal["better"] is None
    assert told["recommended"] == "extend"
    assert told["treatments"][0]["weeks"] is None
