"""Other people's numbers through the real store: events in, their results out.

The users and results are of tea-tasting 2.0.0 (``tea_tasting_users.csv``,
``tea_tasting_reference.json``): Welch's test of means, the delta method for ratios, ddof 1.
"""

import csv
import json
import math
from statistics import NormalDist

import numpy as np
import pytest

from metrics.catalogue import Kind, parse_kpi
from metrics.cells import Sums
from metrics.stats import moments
from metrics.stats.comparison import compare
from metrics.stats.contrasts import Null, unpooled_variance
from metrics.stores import STORES
from tests.support import LATE, event, exposed, frame_of, golden_dir

ARMS = {"0": "control", "1": "treatment"}
SESSIONS = {"sessions": {"event": "session_started"}}
ORDERS = {"orders": {"event": "order_placed"}}
REVENUE = {"revenue": {"event": "order_placed", "sum": "amount"}}


def kpi(key, kind, measures, value, over=None):
    given = {"kind": kind, "better": "higher", "windows": ["14d"], "measures": measures}
    given |= {"value": value} | ({} if over is None else {"over": over})
    return parse_kpi(key, given)


KPIS = {
    "sessions_mean": kpi("a", "mean", SESSIONS, "sessions"),
    "revenue_mean": kpi("b", "mean", REVENUE, "revenue"),
    "orders_per_session_ratio": kpi("c", "ratio", ORDERS | SESSIONS, "orders", "sessions"),
    "revenue_per_order_ratio": kpi("d", "ratio", ORDERS | REVENUE, "revenue", "orders"),
    "proportion_has_order": kpi("e", "proportion", ORDERS, "orders > 0"),
}


def history(user):
    """Return what a user did as events: sessions, and orders whose amounts are the revenue."""
    unit, arm = f"u{user['user']}", ARMS[user["variant"]]
    yield exposed(0, unit, arm)
    for number in range(int(user["sessions"])):
        yield event(f"s{unit}-{number}", "session_started", 1 + number, unit)
    orders, cents = int(user["orders"]), round(float(user["revenue"]) * 100)
    assert cents == 0 or orders > 0
    for number in range(orders):
        # the first order takes what does not divide evenly
        amount = cents // orders + (cents % orders if number == 0 else 0)
        yield event(f"o{unit}-{number}", "order_placed", 2 + number, unit, amount=amount / 100)


@pytest.fixture(scope="module")
def reference():
    return json.loads((golden_dir() / "tea_tasting_reference.json").read_text())


@pytest.fixture(scope="module", params=sorted(STORES))
def snapshot(request, tmp_path_factory):
    with (golden_dir() / "tea_tasting_users.csv").open() as file:
        users = list(csv.DictReader(file))
    assert len(users) == 2000
    store = STORES[request.param](str(tmp_path_factory.mktemp("golden") / "store.duckdb"))
    events = [each for user in users for each in history(user)]
    # late and out of order, in three batches: the integers must not care
    for batch in (events[1::2], events[0::4], events[2::4]):
        store.append(batch, received_at=LATE)
    yield store.snapshot(frame_of(*KPIS.values()), now=LATE)
    store.close()


def arms_of(snapshot, kpi):
    """Return (value, standard error) of control and of the treatment."""
    found = []
    for name in ("control", "treatment"):
        cells = [c for c in snapshot.cells[kpi.key, kpi.windows[0].length] if c.variant == name]
        whole = moments.total(cells)
        arm = moments.arm(cells, whole, cohorts=1, phases=1, ratio=kpi.kind is Kind.RATIO).row(0)
        variance = float(np.sum(unpooled_variance(arm)))
        found.append((whole, whole.y / whole.x, math.sqrt(variance)))
    return found


@pytest.mark.parametrize("name", sorted(KPIS))
def test_values_and_effects_are_those_of_tea_tasting(snapshot, reference, name):
    (_, control, _), (_, treatment, _) = arms_of(snapshot, KPIS[name])
    expected = reference["results"][f"{name}|two-sided"]
    assert control == pytest.approx(expected["control"], abs=1e-9)
    assert treatment == pytest.approx(expected["treatment"], abs=1e-9)
    assert treatment - control == pytest.approx(expected["effect_size"], abs=1e-9)
    assert treatment / control - 1 == pytest.approx(expected["rel_effect_size"], abs=1e-9)


@pytest.mark.parametrize("name", ["sessions_mean", "revenue_mean", "orders_per_session_ratio"])
def test_statistics_of_means_and_ratios_are_those_of_tea_tasting(snapshot, reference, name):
    (_, control, se_c), (_, treatment, se_t) = arms_of(snapshot, KPIS[name])
    z = (treatment - control) / math.hypot(se_c, se_t)
    expected = reference["results"][f"{name}|two-sided"]
    assert z == pytest.approx(expected["statistic"], abs=1e-9)


def test_p_value_and_interval_of_a_mean_are_those_of_tea_tastings_z_test(snapshot, reference):
    (_, control, se_c), (_, treatment, se_t) = arms_of(snapshot, KPIS["revenue_mean"])
    effect, error = treatment - control, math.hypot(se_c, se_t)
    expected = reference["results"]["revenue_mean_z|two-sided"]
    normal = NormalDist()
    assert 2 * normal.cdf(-abs(effect / error)) == pytest.approx(expected["pvalue"], abs=1e-9)
    half = normal.inv_cdf(0.975) * error
    assert effect - half == pytest.approx(expected["effect_size_ci_lower"], abs=1e-9)
    assert effect + half == pytest.approx(expected["effect_size_ci_upper"], abs=1e-9)


def test_p_value_and_interval_of_a_rate_are_tea_tastings(snapshot, reference):
    """Its test corrects for continuity; ours does not, so the correction is put in here."""
    kpi, normal = KPIS["proportion_has_order"], NormalDist()
    cells = snapshot.cells[kpi.key, kpi.windows[0].length]
    arms = [[c for c in cells if c.variant == name] for name in ("control", "treatment")]
    found = compare(*arms, kind=kpi.kind, null=Null(1.0, 0.0, -1.0), rows=1)
    (control, low, _), (treatment, high, _) = arms_of(snapshot, kpi)
    continuity = (1 / control.n + 1 / treatment.n) / 2
    expected = reference["results"]["proportion_norm"]

    # undo the skew correction, z = z0 - kappa (z0^2 - 1) / 6, and find the pooled error again
    z, kappa = float(found.statistic.z[0]), float(found.statistic.kappa[0])
    roots = np.roots([-kappa / 6, 1.0, kappa / 6 - z])
    z0 = min((float(root) for root in roots), key=lambda root: abs(root - z))
    pooled = (low - high) / z0
    p_value = 2 * normal.cdf(-(abs(high - low) - continuity) / pooled)
    assert p_value == pytest.approx(expected["pvalue"], abs=1e-9)

    half = normal.inv_cdf(0.975) * pooled + continuity
    assert high - low - half == pytest.approx(expected["effect_size_ci_lower"], abs=1e-9)
    assert high - low + half == pytest.approx(expected["effect_size_ci_upper"], abs=1e-9)


def test_variances_and_covariances_are_those_of_tea_tasting(snapshot, reference):
    for arm, stats in reference["sufficient_statistics_ddof1"].items():
        place = list(ARMS).index(arm)
        whole, _, error = arms_of(snapshot, KPIS["revenue_mean"])[place]
        assert whole.n == stats["n"]
        assert error**2 * whole.n == pytest.approx(stats["var"]["revenue"], rel=1e-9)
        both, _, _ = arms_of(snapshot, KPIS["orders_per_session_ratio"])[place]
        n, scale = both.n, 10**12
        covariance = (n * both.xy - both.x * both.y) / (n * (n - 1) * scale)
        assert covariance == pytest.approx(stats["cov"]["sessions|orders"], rel=1e-9)


def spread(count):
    """Return values around a million with a standard deviation of one, as 1e-6."""
    drawn = np.random.default_rng(11).normal(1e6, 1.0, count)
    return [round(float(value) * 1_000_000) for value in drawn]


@pytest.mark.parametrize(
    ("engine", "count"),
    [
        pytest.param("memory", 5_000, id="memory"),
        pytest.param("duckdb", 20_000, id="duckdb"),
        pytest.param("duckdb", 200_000, id="full size", marks=pytest.mark.acceptance),
    ],
)
def test_a_mean_of_a_million_keeps_six_digits_of_a_variance_of_one(
    tmp_path, engine, count, record_property
):
    values = spread(count)
    measured = kpi("spent", "mean", {"spent": {"event": "paid", "sum": "amount"}}, "spent")
    store = STORES[engine](str(tmp_path / "store.duckdb"))
    try:
        for start in range(0, count, 10_000):
            chosen = range(start, min(start + 10_000, count))
            store.append([exposed(0, f"u{n}") for n in chosen], received_at=LATE)
            paid = [
                event(f"p{n}", "paid", 1, f"u{n}", amount=values[n] / 1_000_000) for n in chosen
            ]
            store.append(paid, received_at=LATE)
        cells = store.snapshot(frame_of(measured), now=LATE).cells[
            "spent", measured.windows[0].length
        ]
    finally:
        store.close()
    whole = moments.total([cell for cell in cells if cell.variant == "control"])
    assert (whole.n, whole.y) == (count, sum(values))
    arm = moments.arm(cells, whole, cohorts=1, phases=1, ratio=False).row(0)
    ours = float(unpooled_variance(arm)[0]) * count
    exact = exact_variance(values)
    assert ours == pytest.approx(exact, rel=1e-9)
    naive = naive_variance(whole)
    record_property("numbers", f"variance {ours:.9f}, exact {exact:.9f}, raw floats {naive:.6f}")
    assert abs(naive - exact) > 1e-6, "raw float sums would have kept six digits too"


def exact_variance(values):
    """Return the sample variance of integers of 1e-6, without any rounding before the end."""
    n, total = len(values), sum(values)
    return (n * sum(v * v for v in values) - total * total) / (n * (n - 1)) / 1e12


def naive_variance(whole: Sums) -> float:
    """Return what sums kept as floats give, as most warehouses do it."""
    n, y, yy = whole.n, float(whole.y) / 1e6, float(whole.yy) / 1e12
    return (yy - y * y / n) / (n - 1)


def test_the_reference_is_read_from_where_it_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("TURNBACK_GOLDEN", str(tmp_path / "nowhere"))
    with pytest.raises(pytest.skip.Exception, match="set TURNBACK_GOLDEN to their folder"):
        golden_dir()
