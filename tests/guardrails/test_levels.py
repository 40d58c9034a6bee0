import math
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.spec import Ends, ExperimentSpec, RampStep, VariantSpec
from guardrails.levels import (
    WHOLE_RUN,
    Comparison,
    WindowPlan,
    cohort_length,
    expected_information,
    exposed_by,
    kept_windows,
    plan_comparisons,
    restarts,
    split_alpha,
)
from guardrails.rules import Action, Regression, Side
from guardrails.spec_file import SpecFile
from metrics.catalogue import Kind, Window, load_catalogue

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Entry:
    id: str
    weight: float = 1.0
    acts: bool = True


def experiment(**changes):
    spec = ExperimentSpec(
        key="x",
        title="X",
        owner="",
        hypothesis="",
        unit="order_id",
        variants=(VariantSpec("control", 0.5, None), VariantSpec("t", 0.5, None)),
        ramp=(RampStep(),),
        goal=None,
        watch=(),
        ends=Ends(14 * DAY, 14 * DAY),
        lag=timedelta(0),
    )
    return replace(spec, **changes)


def regression(kpi="satisfaction", **changes):
    windows = load_catalogue().get(kpi).windows
    one = Regression(id=kpi, kpi=kpi, side=Side.DROP, margin=0.05, absolute=False, windows=windows)
    return replace(one, **changes)


def plan(*guardrails, **changes) -> tuple[Comparison, ...]:
    catalogue = load_catalogue()
    kpis = {g.kpi: catalogue.get(g.kpi) for g in guardrails}
    return plan_comparisons(SpecFile(experiment(**changes), tuple(guardrails), kpis, "", ""))


@given(
    weights=st.lists(st.floats(0.1, 10.0), min_size=1, max_size=8),
    treatments=st.integers(1, 5),
    alpha=st.floats(0.001, 0.2),
)
def test_levels_of_acting_guardrails_sum_to_the_budget(weights, treatments, alpha):
    levels = split_alpha(alpha, [Entry(str(i), w) for i, w in enumerate(weights)], treatments)
    assert math.fsum(levels.values()) * treatments == pytest.approx(alpha)
    assert levels["0"] * sum(weights) == pytest.approx(alpha * weights[0] / treatments)


def test_guardrails_that_cannot_act_take_nothing_and_get_the_level_they_would_have():
    acting = [Entry("a"), Entry("b", 3.0)]
    alone = split_alpha(0.04, acting, 1)
    both = split_alpha(0.04, [*acting, Entry("quiet", acts=False)], 1)
    assert (both["a"], both["b"]) == (alone["a"], alone["b"]) == pytest.approx((0.01, 0.03))
    assert both["quiet"] == split_alpha(0.04, [*acting, Entry("quiet")], 1)["quiet"]
    assert split_alpha(0.04, [Entry("only", acts=False)], 2)["only"] == pytest.approx(0.02)


def test_a_plan_shares_alpha_over_guardrails_treatments_and_windows():
    variants = tuple(VariantSpec(n, 1 / 3, None) for n in ("control", "t1", "t2"))
    guardrails = (
        regression(),
        regression("repeat_complaint_rate", side=Side.RISE),
        regression("agent_efficiency", action=Action.ALERT),
        regression("net_revenue", dry_run=True),
    )
    comparisons = plan(*guardrails, variants=variants, alpha=0.05)
    assert [(c.guardrail, c.treatment) for c in comparisons][:2] == [
        ("satisfaction", "t1"),
        ("satisfaction", "t2"),
    ]
    spent = sum(w.level for c in comparisons if c.acts for w in c.windows)
    assert spent == pytest.approx(0.05)
    satisfaction = comparisons[0]
    assert [w.level for w in satisfaction.windows] == pytest.approx(
        [0.0125 * share for share in (0.5, 0.3, 0.2)]
    )
    assert (satisfaction.kind, satisfaction.side) == (Kind.RATIO, "drop")
    quiet = [c for c in comparisons if not c.acts]
    assert {c.guardrail for c in quiet} == {"agent_efficiency", "net_revenue"}
    assert sum(w.level for w in quiet[0].windows) == pytest.approx(0.05 / 3 / 2)


def test_windows_that_cannot_close_in_time_leave_their_alpha_to_the_others():
    windows = regression("repurchase_rate").windows  # 7 d and 30 d
    kept = plan(regression("repurchase_rate"), ends=Ends(14 * DAY, 14 * DAY))[0].windows
    assert [w.length for w in windows] == [7 * DAY, 30 * DAY]
    assert [(w.length, w.level) for w in kept] == [(7 * DAY, pytest.approx(0.05))]


def test_the_shortest_window_is_kept_when_none_can_close():
    kept = plan(regression("repurchase_rate"), ends=Ends(2 * DAY, 1 * DAY))[0].windows
    assert [(w.length, w.level) for w in kept] == [(7 * DAY, pytest.approx(0.05))]


@pytest.mark.parametrize(("observe", "kept"), [(DAY * 2.7, 1), (DAY * 2.9, 2)])
def test_a_window_is_kept_from_a_fifth_of_the_units_on(observe, kept):
    # a window of 14 d over 14 d of even traffic closes for 20% when observed for 2.8 d
    windows = (Window(DAY, 0.5), Window(14 * DAY, 0.5))
    guardrail = regression(windows=windows)
    assert len(plan(guardrail, ends=Ends(14 * DAY, observe))[0].windows) == kept


def test_weights_of_kept_windows_keep_their_proportions():
    windows = (Window(HOUR, 0.5), Window(DAY, 0.3), Window(30 * DAY, 0.2))
    kept = kept_windows(windows, lambda length: 0.0 if length > DAY else 1.0)
    assert [w.weight for w in kept] == pytest.approx([0.625, 0.375])


def test_a_ramp_delays_the_units_that_a_window_needs():
    ramp = (RampStep(0.05, hold=6 * HOUR), RampStep(0.25, hold=24 * HOUR), RampStep(1.0))
    ends = 14 * DAY
    full = 0.05 * 6 + 0.25 * 24 + 1.0 * (14 * 24 - 30)
    assert exposed_by(ramp, ends, 6 * HOUR) == pytest.approx(0.05 * 6 / full)
    assert exposed_by(ramp, ends, 40 * HOUR) == pytest.approx((0.3 + 6 + 10) / full)
    assert exposed_by(ramp, ends, 99 * DAY) == 1.0
    assert exposed_by(ramp, ends, -HOUR) == 0.0
    assert exposed_by((RampStep(1.0, hold=30 * DAY), RampStep(1.0)), ends, ends) == 1.0


def test_the_planned_information_is_that_of_the_two_arms_compared():
    variants = (VariantSpec("control", 0.9, None), VariantSpec("t", 0.1, None))
    spec = experiment(variants=variants, expect_units=10_000)
    assert expected_information(spec, "t") == pytest.approx(9000 * 1000 / 10_000)
    assert expected_information(experiment(), "t") == 1e5


@pytest.mark.parametrize(
    ("ends", "length", "count"),
    [
        (14 * DAY, 12 * HOUR, 27),
        (28 * DAY, DAY, 27),
        (2 * DAY, 12 * HOUR, 3),
        (13 * HOUR, 12 * HOUR, 1),
        (6 * HOUR, 12 * HOUR, 0),
        (timedelta(days=17, hours=5), timedelta(days=17, hours=5) / 28, 27),
    ],
)
def test_cohorts_and_restarts_follow_from_the_planned_end(ends, length, count):
    assert cohort_length(ends) == length
    assert restarts(ends) == count
    assert plan(regression(), ends=Ends(ends, DAY))[0].windows[0].restarts == count


@pytest.mark.parametrize("watched", [0, 1, 27])
@pytest.mark.parametrize("level", [0.05, 0.0125])
def test_the_whole_run_and_the_restarts_share_a_level_and_nothing_is_left(watched, level):
    plan = WindowPlan(HOUR, level, 1e4, watched)
    assert plan.whole_level + plan.restart_level == pytest.approx(level)
    assert plan.whole_level == pytest.approx(level * (WHOLE_RUN if watched else 1.0))
    assert (plan.restart_level > 0.0) == (watched > 0)
