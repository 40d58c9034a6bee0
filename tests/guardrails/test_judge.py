import itertools
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.judge import judge
from guardrails.judge_regression import RESTART_INFORMATION, restart_rho
from guardrails.levels import Comparison, WindowPlan
from guardrails.outcome import Code, Outcome, WindowState
from metrics.catalogue import Kind
from metrics.cells import MICRO, Cell, Snapshot, Sums
from metrics.stats.mixtures import normal_mixture_bound

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AT = datetime(2026, 3, 2, tzinfo=UTC)


def comparison(kind=Kind.PROPORTION, *, windows=(HOUR,), restarts=3, level=0.05, **changes):
    plan = Comparison(
        guardrail="g",
        kpi="k",
        kind=kind,
        side="rise",
        margin=0.1,
        absolute=False,
        prove_past=0.5,
        control="control",
        treatment="t",
        acts=True,
        windows=tuple(WindowPlan(w, level / len(windows), 1e4, restarts) for w in windows),
    )
    return replace(plan, **changes)


def rate_sums(n, x):
    return Sums(n, x * MICRO, n * MICRO, x * MICRO**2, x * MICRO**2, n * MICRO**2,
                x * 10**9, x * 10**9, x * 10**9, n * 10**9)  # fmt: skip


def rate(variant, n, x, *, phase=0, cohort=0, entered=None):
    return Cell(variant, phase, cohort, n if entered is None else entered, rate_sums(n, x))


def values(variant, numbers, *, denominators=None, phase=0, cohort=0, entered=None):
    whole = Sums()
    for index, y in enumerate(numbers):
        x = MICRO if denominators is None else round(denominators[index] * MICRO)
        whole += Sums.of(round(float(y) * MICRO), x)
    return Cell(variant, phase, cohort, whole.n if entered is None else entered, whole)


def snapshot(*cells, window=HOUR, watermark=1, **more):
    return Snapshot(AT, watermark, {("k", window): cells, **more}, {})


def only(finding):
    assert len(finding.windows) == 1
    return finding.windows[0]


def test_a_harm_far_past_the_margin_is_a_breach_with_its_evidence():
    seen = snapshot(rate("control", 1000, 100), rate("t", 1000, 200))
    finding = judge(seen, comparison(), {})
    window = only(finding)
    assert (finding.outcome, finding.code) == (Outcome.BREACH, Code.PROVEN_HARM)
    assert window.z > window.boundary
    assert finding.evidence == window.evidence >= 1
    assert (window.control_value, window.treatment_value) == (0.1, 0.2)
    assert window.effect == pytest.approx(1.0)
    assert 0.1 < window.effect_low < 1.0 < window.effect_high
    assert (window.is_look, window.look, window.information) == (True, 1, 500.0)
    assert finding.states["3600"].crossed


def test_the_same_rate_with_much_data_is_proven_safe():
    seen = snapshot(rate("control", 60_000, 6000), rate("t", 60_000, 6000))
    finding = judge(seen, comparison(), {})
    assert (finding.outcome, finding.code) == (Outcome.PASS, Code.PROVEN_SAFE)
    assert only(finding).safe_e_value >= 20
    assert only(finding).effect_high < 0.1


def test_an_improvement_is_never_harm_whatever_its_size():
    seen = snapshot(rate("control", 5000, 2000), rate("t", 5000, 100))
    assert judge(seen, comparison(), {}).outcome is Outcome.PASS
    mirrored = judge(seen, comparison(side="drop"), {})
    assert mirrored.outcome is Outcome.BREACH


@pytest.mark.parametrize(("treated", "code"), [(520, Code.INSIDE_MARGIN), (560, Code.UNDECIDED)])
def test_without_proof_the_code_says_on_which_side_of_the_margin_the_estimate_is(treated, code):
    seen = snapshot(rate("control", 2000, 500), rate("t", 2000, treated))
    finding = judge(seen, comparison(), {})
    assert (finding.outcome, finding.code) == (Outcome.INCONCLUSIVE, code)
    assert 0 <= finding.evidence < 1


@pytest.mark.parametrize(
    ("cells", "outcome", "code"),
    [
        pytest.param((), Outcome.INCONCLUSIVE, Code.WINDOW_OPEN, id="nothing"),
        pytest.param(
            (rate("control", 500, 50),), Outcome.INCONCLUSIVE, Code.WINDOW_OPEN, id="an empty arm"
        ),
        pytest.param(
            (rate("control", 500, 50), rate("t", 1, 1)),
            Outcome.INCONCLUSIVE,
            Code.TOO_FEW,
            id="one unit",
        ),
        pytest.param(
            (rate("control", 500, 250), rate("t", 99, 99)),
            Outcome.INCONCLUSIVE,
            Code.TOO_FEW,
            id="99 units",
        ),
        pytest.param(
            (rate("control", 9000, 0), rate("t", 9000, 0)),
            Outcome.INCONCLUSIVE,
            Code.TOO_FEW,
            id="no events at all",
        ),
        pytest.param(
            (rate("control", 9000, 9000), rate("t", 9000, 8990)),
            Outcome.INCONCLUSIVE,
            Code.TOO_FEW,
            id="hardly any failures of 99.9%",
        ),
        pytest.param(
            (values("control", [], entered=100), values("t", [], entered=150)),
            Outcome.NO_DATA,
            Code.NO_VALUES,
            id="no values",
        ),
        pytest.param(
            (values("control", [1.0] * 50, entered=100), values("t", [], entered=100)),
            Outcome.NO_DATA,
            Code.NO_VALUES,
            id="one arm without values",
        ),
        pytest.param(
            (values("control", [1.0] * 50, entered=100), values("t", [], entered=99)),
            Outcome.INCONCLUSIVE,
            Code.TOO_FEW,
            id="one arm without values, not yet 100 entered",
        ),
    ],
)
def test_what_cannot_be_decided_says_why(cells, outcome, code):
    finding = judge(snapshot(*cells), comparison(), {})
    assert (finding.outcome, finding.code) == (outcome, code)
    assert not only(finding).is_look
    assert finding.states["3600"].looks == 0


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize(
    ("side", "control", "treated"),
    [
        pytest.param("drop", 120, 0, id="12% to nothing"),
        pytest.param("rise", 0, 120, id="nothing to 12%"),
        pytest.param("drop", 1000, 0, id="100% to nothing"),
        pytest.param("rise", 0, 1000, id="nothing to 100%"),
    ],
)
def test_total_failure_is_seen_at_once_whatever_the_kind(kind, side, control, treated):
    seen = snapshot(rate("control", 1000, control), rate("t", 1000, treated))
    finding = judge(seen, comparison(kind, side=side), {})
    assert finding.outcome is Outcome.BREACH
    assert only(finding).evidence > 2


@pytest.mark.parametrize(
    ("events", "needed"),
    [
        pytest.param(12_000, 100, id="12% to nothing"),
        # 10 failures are expected under the pooled rate only once 1,000 have happened
        pytest.param(100_000, 1100, id="100% to nothing"),
    ],
)
def test_total_failure_of_a_canary_of_one_in_a_thousand_is_seen(events, needed):
    seen = snapshot(rate("control", 100_000, events), rate("t", needed, 0))
    assert judge(seen, comparison(side="drop"), {}).outcome is Outcome.BREACH


def test_values_without_any_variance_are_undecidable_when_equal_and_harm_when_not():
    drop = comparison(Kind.MEAN, side="drop", margin=0.0)
    same = snapshot(values("control", [4.0] * 200), values("t", [4.0] * 200))
    finding = judge(same, drop, {})
    assert (finding.outcome, finding.code) == (Outcome.INCONCLUSIVE, Code.TOO_FEW)
    assert math.isnan(only(finding).z)
    lower = snapshot(values("control", [4.0] * 200), values("t", [3.9] * 200))
    assert judge(lower, drop, {}).outcome is Outcome.BREACH


def test_a_percentage_of_a_negative_control_has_no_meaning():
    rng = np.random.default_rng(1)
    control, treated = rng.normal(-5, 1, 300), rng.normal(-9, 1, 300)
    seen = snapshot(values("control", control), values("t", treated))
    finding = judge(seen, comparison(Kind.MEAN, side="drop"), {})
    assert (finding.outcome, finding.code) == (Outcome.INCONCLUSIVE, Code.CONTROL_NOT_POSITIVE)
    assert math.isnan(only(finding).effect)
    absolute = comparison(Kind.MEAN, side="drop", margin=1.0, absolute=True)
    assert judge(seen, absolute, {}).outcome is Outcome.BREACH
    any_harm = comparison(Kind.MEAN, side="drop", margin=0.0)
    assert judge(seen, any_harm, {}).outcome is Outcome.BREACH


def test_a_treatment_that_loses_money_against_a_control_that_earns_some_is_harm():
    rng = np.random.default_rng(2)
    seen = snapshot(values("control", rng.normal(5, 2, 300)), values("t", rng.normal(-9, 2, 300)))
    assert judge(seen, comparison(Kind.MEAN, side="drop"), {}).outcome is Outcome.BREACH


def test_a_mean_of_1e8_with_sd_1_is_judged_like_one_of_0():
    rng = np.random.default_rng(3)
    noise = np.round(rng.normal(size=(2, 400)), 6)
    noise[1] += 0.5
    results = []
    for level in (0, 100_000_000):
        seen = snapshot(
            values("control", [0] * 0),
            *(Cell(v, 0, 1, 400, sum_of(level, noise[i])) for i, v in enumerate(("control", "t"))),
        )
        margin = comparison(Kind.MEAN, margin=0.0, absolute=True)
        results.append(only(judge(seen, margin, {})))
    assert results[0].z == pytest.approx(results[1].z, rel=1e-4)
    assert results[0].z == pytest.approx(0.5 * math.sqrt(200), rel=0.2)


def sum_of(level, noise):
    whole = Sums()
    for value in noise:
        whole += Sums.of(level * MICRO + round(float(value) * MICRO))
    return whole


def test_an_absolute_margin_is_in_the_kpis_own_unit():
    five_points = comparison(margin=0.05, absolute=True)
    inside = snapshot(rate("control", 20_000, 2000), rate("t", 20_000, 2400))
    assert judge(inside, five_points, {}).outcome is not Outcome.BREACH
    beyond = snapshot(rate("control", 20_000, 2000), rate("t", 20_000, 3200))
    assert judge(beyond, five_points, {}).outcome is Outcome.BREACH


def test_a_ratio_waits_until_its_denominator_is_known_to_5_percent():
    rng = np.random.default_rng(4)
    wild = rng.lognormal(0, 1.5, 150).round(3)
    cells = [
        values(v, (wild * ratio).round(6), denominators=wild)
        for v, ratio in (("control", 1.0), ("t", 2.0))
    ]
    finding = judge(snapshot(*cells), comparison(Kind.RATIO), {})
    assert finding.code is Code.TOO_FEW
    steady = [1.0, 2.0] * 75
    cells = [
        values(v, [x * ratio for x in steady], denominators=steady)
        for v, ratio in (("control", 1.0), ("t", 2.0))
    ]
    assert judge(snapshot(*cells), comparison(Kind.RATIO), {}).outcome is Outcome.BREACH


def growing(hours, rate_t=0.1, per_hour=40):
    """Yield snapshots of an experiment that grows hour by hour, in cohorts of 12."""
    for hour in range(1, hours + 1):
        full, rest = divmod(hour, 12)
        sizes = [12] * full + ([rest] if rest else [])
        yield snapshot(
            *(
                rate(v, n * per_hour, round(n * per_hour * p), cohort=c)
                for v, p in (("control", 0.1), ("t", rate_t))
                for c, n in enumerate(sizes)
            ),
            watermark=hour,
        )


def test_only_growth_of_two_percent_makes_a_check_a_look():
    states, looks = {}, []
    for seen in growing(80):
        finding = judge(seen, comparison(), states)
        states = finding.states
        looks.append((only(finding).is_look, only(finding).information))
    taken = [information for look, information in looks if look]
    assert taken[0] >= 50
    assert all(b >= 1.02 * a for a, b in itertools.pairwise(taken))
    assert 0 < len(taken) < len(looks)
    assert states["3600"].looks == len(taken)
    assert states["3600"].watermark == 80


def test_the_same_watermark_again_is_no_new_look_and_changes_nothing():
    seen = list(growing(30))[-1]
    first = judge(seen, comparison(), {})
    again = judge(seen, comparison(), first.states)
    assert only(first).is_look
    assert not only(again).is_look
    assert again.states == first.states
    assert only(again).boundary == only(first).boundary
    assert only(again).spent == only(first).spent


def test_states_that_went_through_json_give_the_same_boundaries():
    plain, stored = {}, {}
    for seen in growing(60, rate_t=0.11):
        a, b = judge(seen, comparison(), plain), judge(seen, comparison(), stored)
        plain = a.states
        stored = {
            key: msgspec.json.decode(msgspec.json.encode(state), type=WindowState)
            if state.looks and math.isfinite(state.boundary)
            else state
            for key, state in b.states.items()
        }
        assert only(a) == only(b) or math.isnan(only(a).z)


def test_between_two_looks_z_past_the_boundary_is_not_yet_a_breach():
    first = judge(snapshot(rate("control", 5000, 500), rate("t", 5000, 500)), comparison(), {})
    worse = snapshot(rate("control", 5010, 500), rate("t", 5010, 2000), watermark=2)
    finding = judge(worse, comparison(restarts=0), first.states)
    window = only(finding)
    assert not window.is_look
    assert window.z > window.boundary
    assert finding.outcome is not Outcome.BREACH
    assert window.evidence < 1


def test_information_never_decreases_when_late_corrections_take_units_away():
    first = judge(snapshot(rate("control", 1000, 100), rate("t", 1000, 100)), comparison(), {})
    fewer = judge(
        snapshot(rate("control", 900, 90), rate("t", 900, 90), watermark=2),
        comparison(),
        first.states,
    )
    assert only(fewer).information == only(first).information
    assert not only(fewer).is_look
    more = judge(
        snapshot(rate("control", 1100, 110), rate("t", 1100, 110), watermark=3),
        comparison(),
        fewer.states,
    )
    assert only(more).is_look


def test_late_harm_is_found_by_the_restarts_when_the_whole_run_does_not_see_it():
    quiet = [rate(v, 6000, 600, cohort=c) for v in ("control", "t") for c in range(4)]
    late = [rate("control", 700, 70, cohort=4), rate("t", 700, 154, cohort=4)]
    seen = snapshot(*quiet, *late)
    window = only(judge(seen, comparison(restarts=6), {}))
    assert window.outcome is Outcome.BREACH
    assert window.restart == 4
    assert window.z < window.boundary
    assert window.e_value >= 3 / window.level
    without = only(judge(seen, comparison(restarts=0), {}))
    assert without.outcome is not Outcome.BREACH
    assert math.isnan(without.e_value)


def test_a_restart_that_is_not_planned_is_not_watched():
    quiet = [rate(v, 6000, 600, cohort=c) for v in ("control", "t") for c in range(4)]
    late = [rate("control", 700, 70, cohort=4), rate("t", 700, 154, cohort=4)]
    window = only(judge(snapshot(*quiet, *late), comparison(restarts=2), {}))
    assert window.outcome is not Outcome.BREACH
    assert window.units == (24_700, 24_700)


def test_after_a_crossing_the_states_go_on_as_if_nobody_had_acted():
    states, outcomes = {}, []
    for seen in growing(60, rate_t=0.25):
        finding = judge(seen, comparison(restarts=0), states)
        states = finding.states
        outcomes.append(finding.outcome)
    first = outcomes.index(Outcome.BREACH)
    assert states["3600"].crossed
    assert states["3600"].looks > first
    assert outcomes[first:].count(Outcome.BREACH) > 5


def test_units_of_earlier_phases_do_not_count_for_a_resumed_attempt():
    seen = snapshot(
        rate("control", 2000, 200, phase=0),
        rate("t", 2000, 600, phase=0),
        rate("control", 2000, 200, phase=1, cohort=1),
        rate("t", 2000, 200, phase=1, cohort=1),
    )
    assert judge(seen, comparison(), {}).outcome is Outcome.BREACH
    resumed = judge(seen, comparison(), {}, first_phase=1)
    assert resumed.outcome is not Outcome.BREACH
    assert only(resumed).units == (2000, 2000)
    assert only(resumed).control_value == only(resumed).treatment_value == 0.1


def test_a_change_of_shares_between_arms_is_no_effect():
    cells = [
        rate("control", 9000, 900, phase=0),
        rate("t", 1000, 100, phase=0),
        rate("control", 1000, 300, phase=1, cohort=1),
        rate("t", 9000, 2700, phase=1, cohort=1),
    ]
    window = only(judge(snapshot(*cells), comparison(), {}))
    assert window.effect == pytest.approx(0.0, abs=1e-12)
    assert window.outcome is not Outcome.BREACH
    one_phase = [replace(c, phase=0) for c in cells]
    assert judge(snapshot(*one_phase), comparison(), {}).outcome is Outcome.BREACH


def test_events_that_stopped_are_no_data_and_leave_the_states_alone():
    before = judge(snapshot(rate("control", 500, 50), rate("t", 500, 50)), comparison(), {})
    harm = snapshot(rate("control", 5000, 500), rate("t", 5000, 2500), watermark=9)
    finding = judge(harm, comparison(), before.states, events_stopped=True)
    assert (finding.outcome, finding.code) == (Outcome.NO_DATA, Code.EVENTS_STOPPED)
    assert finding.states == before.states
    assert finding.evidence < 1
    assert not only(finding).is_look
    assert judge(harm, comparison(), before.states).outcome is Outcome.BREACH
    nothing = judge(snapshot(), comparison(), {}, events_stopped=True)
    assert (nothing.outcome, nothing.states) == (Outcome.NO_DATA, {})


SAFE = (rate("control", 60_000, 6000), rate("t", 60_000, 6000))
HARM = (rate("control", 1000, 100), rate("t", 1000, 300))
EMPTY = (values("control", [], entered=200), values("t", [], entered=200))


@pytest.mark.parametrize(
    ("hour", "day", "outcome", "code"),
    [
        pytest.param(HARM, EMPTY, Outcome.BREACH, Code.PROVEN_HARM, id="breach before no data"),
        pytest.param(SAFE, HARM, Outcome.BREACH, Code.PROVEN_HARM, id="breach before pass"),
        pytest.param(SAFE, EMPTY, Outcome.NO_DATA, Code.NO_VALUES, id="no data before pass"),
        pytest.param((), EMPTY, Outcome.NO_DATA, Code.NO_VALUES, id="no data before open"),
        pytest.param(SAFE, (), Outcome.INCONCLUSIVE, Code.WINDOW_OPEN, id="pass needs all"),
        pytest.param(SAFE, SAFE, Outcome.PASS, Code.PROVEN_SAFE, id="all pass"),
    ],
)
def test_of_several_windows_the_first_in_precedence_is_the_outcome(hour, day, outcome, code):
    seen = Snapshot(AT, 1, {("k", HOUR): hour, ("k", DAY): day}, {})
    finding = judge(seen, comparison(windows=(HOUR, DAY)), {})
    assert (finding.outcome, finding.code) == (outcome, code)
    assert [w.window for w in finding.windows] == [HOUR, DAY]
    assert set(finding.states) == {"3600", "86400"}


def test_windows_keep_their_states_apart():
    seen = Snapshot(AT, 1, {("k", HOUR): SAFE, ("k", DAY): HARM}, {})
    finding = judge(seen, comparison(windows=(HOUR, DAY)), {})
    assert finding.states["3600"].information == 30_000
    assert finding.states["86400"].information == 500
    assert not finding.states["3600"].crossed
    assert finding.states["86400"].crossed


def test_other_variants_and_kpis_play_no_part():
    cells = (*HARM, rate("other", 5000, 5000))
    alone = judge(snapshot(*HARM), comparison(), {})
    among = judge(snapshot(*cells), comparison(), {})
    assert only(alone) == only(among)


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(list(Kind)),
    side=st.sampled_from(["drop", "rise"]),
    absolute=st.booleans(),
    cells=st.lists(
        st.tuples(
            st.sampled_from(["control", "t"]),
            st.integers(0, 2),
            st.integers(0, 5),
            st.integers(0, 3000),
            st.floats(0.0, 1.0),
        ),
        max_size=12,
        unique_by=lambda cell: cell[:3],
    ),
)
def test_no_cells_whatever_make_it_fail_or_invent_a_number(kind, side, absolute, cells):
    seen = snapshot(*(rate(v, n, int(n * p), phase=h, cohort=c) for v, h, c, n, p in cells))
    plan = comparison(kind, side=side, absolute=absolute)
    finding = judge(seen, plan, {})
    again = judge(seen, plan, finding.states)
    window = only(finding)
    assert (finding.outcome is Outcome.BREACH) == (finding.evidence >= 1)
    assert not only(again).is_look
    if min(window.units) == 0:
        assert math.isnan(window.z)
        assert finding.outcome in {Outcome.INCONCLUSIVE, Outcome.NO_DATA}
    if finding.outcome in {Outcome.PASS, Outcome.BREACH}:
        assert min(window.units) >= 100


def test_the_e_process_of_all_restarts_is_sharpest_at_its_information():
    level, watched = 0.05 / 3, 27
    at_best = normal_mixture_bound(
        RESTART_INFORMATION, level / watched, restart_rho(level, watched), one_sided=True
    )
    for other in (restart_rho(level, 1), restart_rho(level, 5000)):
        assert at_best < normal_mixture_bound(
            RESTART_INFORMATION, level / watched, other, one_sided=True
        )
