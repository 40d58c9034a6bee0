"""The rule ``limit``: fixed values, proven at every look."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import beta, norm

import guardrails.judge_limit
from guardrails.judge import judge
from guardrails.levels import Comparison, LimitComparison, WindowPlan, plan_comparisons
from guardrails.outcome import Code, Outcome
from guardrails.spec_file import load_spec
from guardrails.words import breach_words, limit_words, outcome_words
from metrics.catalogue import Kind
from metrics.cells import MICRO, Cell, Snapshot, Sums
from metrics.stats.mixtures import tuned_rho
from metrics.stats.one_sample import rate_bound, rate_evidence, rate_log_e

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AT = datetime(2026, 3, 2, tzinfo=UTC)
LEVEL = 0.05


def comparison(kind=Kind.PROPORTION, *, windows=(HOUR,), level=LEVEL, **changes):
    plan = LimitComparison(
        guardrail="g",
        kpi="k",
        kind=kind,
        side="rise",
        limit=0.05,
        share=kind is Kind.PROPORTION,
        control="control",
        treatment="t",
        acts=True,
        windows=tuple(WindowPlan(w, level / len(windows), 1e4, 3) for w in windows),
    )
    return replace(plan, **changes)


def rate(variant, n, x, *, phase=0, cohort=0):
    third = x * 10**9
    sums = Sums(n, x * MICRO, n * MICRO, x * MICRO**2, x * MICRO**2, n * MICRO**2,
                third, third, third, n * 10**9)  # fmt: skip
    return Cell(variant, phase, cohort, n, sums)


def values(variant, numbers, denominators=None):
    whole = Sums()
    for index, y in enumerate(numbers):
        x = MICRO if denominators is None else round(denominators[index] * MICRO)
        whole += Sums.of(round(float(y) * MICRO), x)
    return Cell(variant, 0, 0, whole.n, whole)


def snapshot(*cells, window=HOUR):
    return Snapshot(AT, 1, {("k", window): cells}, {})


def judged(plan, *cells, states=None, **options):
    return judge(snapshot(*cells), plan, states or {}, **options)


def test_a_value_proven_to_be_beyond_the_limit_is_a_breach_with_its_evidence():
    finding = judged(comparison(), rate("control", 1000, 30), rate("t", 1000, 100))
    (window,) = finding.windows
    assert (finding.outcome, finding.code) == (Outcome.BREACH, Code.PROVEN_HARM)
    assert finding.evidence >= 1
    assert window.e_value >= 1 / LEVEL
    assert 0.05 < window.bound < 0.1
    assert (window.control_value, window.treatment_value) == (0.03, 0.1)
    assert window.effect == pytest.approx(0.1 / 0.03 - 1)
    assert finding.states["3600"].crossed


def test_a_rate_is_judged_from_the_first_event_on():
    # 12 failures in 12 units: no gate of 100 units delays a total failure
    finding = judged(comparison(), rate("control", 12, 0), rate("t", 12, 12))
    assert finding.outcome is Outcome.BREACH
    one = judged(comparison(), rate("control", 12, 0), rate("t", 12, 1))
    assert (one.outcome, one.code) == (Outcome.INCONCLUSIVE, Code.UNDECIDED)


def test_a_value_proven_to_be_within_the_limit_passes():
    finding = judged(comparison(), rate("control", 5000, 100), rate("t", 5000, 100))
    assert (finding.outcome, finding.code) == (Outcome.PASS, Code.PROVEN_SAFE)
    near = judged(comparison(), rate("control", 500, 20), rate("t", 500, 22))
    assert (near.outcome, near.code) == (Outcome.INCONCLUSIVE, Code.INSIDE_MARGIN)


def test_where_control_is_beyond_the_limit_too_the_treatment_is_not_the_reason():
    both = judged(comparison(), rate("control", 1000, 120), rate("t", 1000, 130))
    assert (both.outcome, both.code) == (Outcome.INCONCLUSIVE, Code.CONTROL_BEYOND)
    assert both.evidence < 1
    assert not both.states["3600"].crossed
    words = outcome_words(both, comparison(), "Failures")
    assert words == (
        "Failures is 13%, and 12% in control: control is beyond the limit too, so the treatment "
        "is not the reason"
    )


@pytest.mark.statistical
def test_a_bad_day_for_both_arms_seldom_looks_like_the_treatments_fault(monkeypatch):
    # both at 1.4 times the limit: chance decides whose proof comes first
    def turned_back():
        rng = np.random.default_rng(11)
        found = 0
        for _ in range(40):
            t, c = (rng.binomial(100, 0.07, 30).cumsum() for _ in range(2))
            cells = (
                (rate("control", 100 * (k + 1), int(c[k])), rate("t", 100 * (k + 1), int(t[k])))
                for k in range(30)
            )
            found += any(judged(comparison(), *pair).outcome is Outcome.BREACH for pair in cells)
        return found / 40

    assert turned_back() <= 0.2
    monkeypatch.setattr(guardrails.judge_limit, "WORSE", -math.inf)
    assert turned_back() > 0.4, "without the look at control"


def test_beyond_the_limit_like_control_is_said_as_such():
    plan = comparison()
    near = judged(plan, rate("control", 1000, 60), rate("t", 1000, 75))
    assert (near.outcome, near.code) == (Outcome.INCONCLUSIVE, Code.LIKE_CONTROL)
    assert "not clearly worse than control" in outcome_words(near, plan, "Failures")


def test_a_minimum_is_the_mirror_of_a_maximum():
    low = judged(
        comparison(side="drop", limit=0.95), rate("control", 1000, 970), rate("t", 1000, 900)
    )
    high = judged(comparison(), rate("control", 1000, 30), rate("t", 1000, 100))
    assert (low.outcome, low.evidence) == (high.outcome, pytest.approx(high.evidence))
    assert low.windows[0].bound == pytest.approx(1 - high.windows[0].bound)


def test_means_and_ratios_have_limits_in_their_own_unit():
    rng = np.random.default_rng(3)
    hours, fast = rng.gamma(2.0, 35.0, 1500), rng.gamma(2.0, 20.0, 1500)
    plan = comparison(Kind.MEAN, limit=48.0)
    finding = judged(plan, values("control", fast), values("t", hours))
    assert finding.outcome is Outcome.BREACH
    assert 48 < finding.windows[0].bound < finding.windows[0].treatment_value
    assert judged(plan, values("control", fast), values("t", fast)).outcome is Outcome.PASS
    ratio = comparison(Kind.RATIO, limit=48.0)
    paid = rng.integers(1, 4, 1500)
    spread = judged(ratio, values("control", fast * paid, paid), values("t", hours * paid, paid))
    assert spread.outcome is Outcome.BREACH


def test_values_that_are_all_alike_prove_nothing():
    # 120 units without a purchase: one buyer in a hundred may still make up a mean at the limit
    low = comparison(Kind.MEAN, side="drop", limit=5.0)
    bought = values("control", [0.0, 18.0] * 1000)
    for alike in (0.0, 4.0, 6.0):
        for n in (120, 5000):
            none = judged(low, bought, values("t", [alike] * n))
            assert (none.outcome, none.code) == (Outcome.INCONCLUSIVE, Code.TOO_FEW)
            assert none.evidence == 0.0
            assert math.isnan(none.windows[0].bound)
    assert outcome_words(none, low, "Revenue") == (
        "Revenue is 6; not enough units yet for a decision"
    )
    few = judged(low, bought, values("t", [500.0] * 30 + [0.0] * 8000))
    assert few.code is Code.TOO_FEW
    many = judged(low, bought, values("t", [20.0] * 500 + [0.0] * 4500))
    assert many.outcome is Outcome.BREACH


def test_an_arm_nearly_all_of_whose_values_are_beyond_the_limit_is_found():
    # refunds unpaid count as the whole window
    plan = comparison(Kind.MEAN, limit=48.0)
    late = [72.0, 72.0, 70.0, 72.0, 74.0] * 100
    assert judged(plan, values("control", [20.0, 24.0] * 250), values("t", late)).outcome is (
        Outcome.BREACH
    )


def test_where_third_powers_tell_nothing_more_units_are_needed():
    plan = comparison(Kind.MEAN, limit=0.4)
    quick, slow = [0.3, 0.300123] * 2000, [0.5000007, 0.5200003, 0.4800001, 0.5] * 1000
    found = [
        judged(plan, values("control", quick[:n]), values("t", slow[:n])).code for n in (3000, 4000)
    ]
    assert found == [Code.TOO_FEW, Code.PROVEN_HARM]


def test_a_mean_is_not_judged_below_a_hundred_units_nor_while_it_is_too_skewed():
    plan = comparison(Kind.MEAN, limit=48.0)
    late = [30.0, 90.0, 90.0, 90.0, 90.0] * 20
    few = judged(plan, values("control", [20.0] * 99), values("t", late[:99]))
    assert (few.outcome, few.code, few.evidence) == (Outcome.INCONCLUSIVE, Code.TOO_FEW, 0.0)
    skewed = [1.0] * 499 + [50_000.0]
    lone = judged(plan, values("control", skewed), values("t", skewed))
    assert (lone.outcome, lone.code) == (Outcome.INCONCLUSIVE, Code.TOO_FEW)


def test_a_resumed_attempt_counts_its_own_units_alone():
    cells = (
        rate("control", 1000, 30),
        rate("t", 1000, 200),
        rate("control", 400, 12, phase=1),
        rate("t", 400, 12, phase=1),
    )
    assert judged(comparison(), *cells).outcome is Outcome.BREACH
    resumed = judged(comparison(), *cells, first_phase=1)
    assert resumed.outcome is not Outcome.BREACH
    assert resumed.windows[0].units == (400, 400)


def test_events_that_stopped_are_no_data_whatever_the_cells_say():
    harm = (rate("control", 1000, 30), rate("t", 1000, 200))
    blind = judged(comparison(), *harm, events_stopped=True)
    assert (blind.outcome, blind.code) == (Outcome.NO_DATA, Code.EVENTS_STOPPED)
    assert blind.evidence < 1
    assert blind.states == {}


def test_once_beyond_the_limit_is_remembered_where_nobody_acts():
    first = judged(comparison(), rate("control", 100, 3), rate("t", 100, 20))
    assert first.outcome is Outcome.BREACH
    later = judged(
        comparison(), rate("control", 9000, 300), rate("t", 9000, 300), states=first.states
    )
    assert later.outcome is Outcome.PASS
    assert later.states["3600"].crossed


def test_the_words_of_a_breach_say_value_limit_bound_units_and_level():
    plan = comparison(level=0.003125)
    finding = judged(plan, rate("control", 900, 27), rate("t", 1000, 120))
    text = breach_words(finding, plan, "Flow failure rate")
    for part in (
        "Flow failure rate of t is 12% (1,000 units whose window of 1 h has closed)",
        "The file tolerates at most 5%; more than 5% is proven",
        "evidence more than a million to 1, needed 320 to 1",
        "a level of 0.312%",
        "control is at 3% (900 units)",
    ):
        assert part in text, text
    assert limit_words(plan, "Flow failure rate") == "Flow failure rate may not be above 5%"
    low = comparison(Kind.MEAN, side="drop", limit=3.5)
    assert limit_words(low, "Satisfaction") == "Satisfaction may not be below 3.5"
    passed = judged(comparison(), rate("control", 5000, 100), rate("t", 5000, 100))
    assert outcome_words(passed, comparison(), "Failures") == (
        "Failures is 2%; proven to be within the limit"
    )


SPEC = """\
experiment: limits
unit: order_id
variants:
  control: {weight: 50%}
  t: {weight: 25%}
  u: {weight: 25%}
guardrails:
  - {kpi: satisfaction, max_drop: 3%, weight: 3}
  - {rule: limit, kpi: flow_failure_rate, max: 5%}
  - {rule: limit, kpi: refund_hours, max: 48, action: alert}
  - {rule: promql, query: refund_p99, max: 0.8}
ends: {after: 14d}
"""


def test_a_limit_takes_its_share_of_the_alpha_and_a_query_takes_none():
    plans = plan_comparisons(load_spec(SPEC))
    assert [(type(c), c.guardrail, c.treatment) for c in plans] == [
        (Comparison, "satisfaction", "t"),
        (Comparison, "satisfaction", "u"),
        (LimitComparison, "flow_failure_rate-limit", "t"),
        (LimitComparison, "flow_failure_rate-limit", "u"),
        (LimitComparison, "refund_hours-limit", "t"),
        (LimitComparison, "refund_hours-limit", "u"),
    ]
    assert math.fsum(w.level for c in plans if c.acts for w in c.windows) == pytest.approx(0.05)
    limit = plans[2]
    assert isinstance(limit, LimitComparison)
    assert (limit.side, limit.limit, limit.share) == ("rise", 0.05, True)
    assert [w.level for w in limit.windows] == pytest.approx([0.05 / 4 / 2 / 2] * 2)


@pytest.mark.parametrize(("events", "units", "limit"), [(7, 60, 0.05), (0, 40, 0.05), (9, 9, 0.9)])
def test_the_evidence_of_a_rate_is_the_mixture_of_likelihood_ratios(events, units, limit):
    rho = max(tuned_rho(40.0 / min(limit, 1 - limit), LEVEL, one_sided=True), 1.0)
    prior = beta(rho * limit, rho * (1 - limit))

    def ratio(p):
        return (
            math.exp(
                events * math.log(p / limit)
                + (units - events) * (math.log1p(-p) - math.log1p(-limit))
            )
            * prior.pdf(p)
            / prior.sf(limit)
        )

    expected, _ = quad(ratio, limit, 1.0, epsabs=1e-12, limit=200)
    assert math.exp(rate_log_e(events, units, limit, LEVEL)) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(p=st.floats(0.001, 1.0), limit=st.floats(0.01, 0.99), n=st.integers(0, 60))
def test_the_evidence_of_a_rate_within_the_limit_has_mean_one_at_most(p, limit, n):
    # the whole distribution, no simulation: the expectation over all outcomes
    rate_ = min(p, 1.0) * limit
    logs = [
        math.lgamma(n + 1)
        - math.lgamma(x + 1)
        - math.lgamma(n - x + 1)
        + x * math.log(rate_)
        + (n - x) * math.log1p(-rate_)
        + rate_log_e(x, n, limit, LEVEL)
        for x in range(n + 1)
    ]
    assert math.fsum(math.exp(v) for v in logs if v > -700) <= 1 + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.floats(0, 1), st.floats(0.01, 0.99))
def test_never_is_both_proven(units, share, limit):
    events = round(units * share)
    sums = Sums(units, events * MICRO, units * MICRO)
    found = rate_evidence(sums, limit, 1.0, LEVEL)
    needed = -math.log(LEVEL)
    assert not (found.log_beyond >= needed and found.log_within >= needed)
    if found.bound > limit:
        assert found.log_beyond >= needed - 1e-6
    assert 0 <= rate_bound(events, units, LEVEL) <= events / units


def crossing(p, limit, level, rng, *, looks, batch, naive=False):
    """Return the units at which a rate of ``p`` is first found beyond the limit, or ``None``."""
    events = rng.binomial(batch, p, looks).cumsum()
    for k in range(looks):
        n = float((k + 1) * batch)
        if naive:
            z = (events[k] / n - limit) / math.sqrt(limit * (1 - limit) / n)
            if z >= norm.isf(level):
                return n
        elif events[k] > limit * n and rate_log_e(float(events[k]), n, limit, level) >= -math.log(
            level
        ):
            return n
    return None


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("runs", "limit"),
    [
        pytest.param(400, 0.05, id="reduced"),
        pytest.param(4_000, 0.05, id="full", marks=pytest.mark.acceptance),
        pytest.param(2_000, 0.5, id="full, a half", marks=pytest.mark.acceptance),
    ],
)
def test_a_rate_at_the_limit_trips_no_more_often_than_its_level(runs, limit, record_property):
    allowed = LEVEL + 3 * math.sqrt(LEVEL * (1 - LEVEL) / runs)

    def trips(*, naive):
        rng = np.random.default_rng((1, runs))
        found = (
            crossing(limit, limit, LEVEL, rng, looks=200, batch=50, naive=naive)
            for _ in range(runs)
        )
        return sum(n is not None for n in found) / runs

    rate_ = trips(naive=False)
    record_property(
        f"false trips at a limit of {limit:.0%}, level .05, {runs} runs", f"{rate_:.4f}"
    )
    assert rate_ <= allowed
    assert rate_ >= 0.0025, "it is not just blind"
    assert trips(naive=True) > allowed, "an engine that knows nothing of looks fails this test"


@pytest.mark.statistical
def test_twice_the_limit_is_found_soon_and_half_above_it_surely():
    rng = np.random.default_rng(2)
    for level, p, within in ((0.05, 0.10, 400), (0.00625, 0.10, 600), (0.00625, 0.075, 1500)):
        found = [crossing(p, 0.05, level, rng, looks=200, batch=50) for _ in range(200)]
        assert None not in found
        assert float(np.median([n for n in found if n is not None])) <= within
