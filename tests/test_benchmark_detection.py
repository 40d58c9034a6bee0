"""The comparison with the rules of the field: its page, its peers, and that ours is the engine's."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from benchmarks.detection import draws, evidence, peers, rules, shipped, verdicts
from benchmarks.detection.__main__ import main
from benchmarks.detection.evidence import Setting
from benchmarks.detection.runner import outcome, quantile, run_case
from benchmarks.detection.scenarios import SCENARIOS
from guardrails.judge import judge
from guardrails.levels import Comparison, WindowPlan
from guardrails.outcome import Outcome
from metrics.catalogue import Kind
from metrics.cells import MICRO, Cell, Snapshot, Sums

BY_KEY = {s.key: s for s in SCENARIOS}
HOUR = timedelta(hours=1)


def written(folder, capsys, *more, seed=7, keep="keep"):
    """Run two scenarios in their smallest form; return the page and what was printed."""
    out = folder / "page.md"
    sizes = ["--repetitions", "20", "--seed", str(seed), "--keep", str(folder / keep)]
    main([*sizes, "--only", "equal", "--only", "outage", "--out", str(out), *more])
    return out.read_text(encoding="utf-8"), capsys.readouterr().out


def test_the_smallest_run_writes_every_rule_and_is_the_same_for_the_same_seed(tmp_path, capsys):
    page, told = written(tmp_path, capsys)
    for key in ("equal", "outage"):
        table = page.split(f"## {BY_KEY[key].title}\n")[1].split("\n## ")[0]
        rows = [line.split(" | ")[0].strip("| *") for line in table.splitlines() if "|" in line]
        assert rows[2:] == list(rules.NAMES)
    assert page.startswith("# Calibration")
    first = page.split("\n\n")[1]
    assert [line[:2] for line in first.splitlines()] == ["1.", "2.", "3.", "4.", "5."]
    assert "seed 7, 20 repetitions" in page
    assert "equal: -5%, 20 repetitions" in told
    again, told = written(tmp_path, capsys)
    assert again == page
    assert "equal: kept from before" in told  # an interrupted run goes on where it was
    assert "repetitions in" not in told
    assert written(tmp_path, capsys, keep="other")[0] == page
    assert written(tmp_path, capsys, seed=8)[0] != page


def test_scenarios_cover_what_goes_wrong():
    assert len(BY_KEY) == len(SCENARIOS)
    covered = {"equal", "canary", "shares", "late", "revenue", "ratings", "clustered", "delayed",
               "kpis", "horizon", "outage", "margin-0", "margin-3", "margin-5"}  # fmt: skip
    assert set(BY_KEY) == covered
    for scenario in SCENARIOS:
        names = [case.name for case in scenario.cases]
        assert len(set(names)) == len(names)


# name: false rollbacks, mean units of the treatment at a drop of 5% (rate .8, 200 checks, 20,000)
PUBLISHED = {
    "repeated z at 5%": (0.3501, 648),
    "GrowthBook, default tuning": (0.0136, 2060),
    "normal mixture for 500 an arm": (0.0264, 1721),
    "normal mixture for 2,000 an arm": (0.0281, 1728),
    "O'Brien-Fleming": (0.0506, 4089),
    "Pocock": (0.0508, 1839),
    "repeated z, Bonferroni over 12": (0.0559, 1486),
    # the reserve at its horizon spends nine tenths
    "Turnback without restarts": (0.045, 1585),
    "Turnback, as shipped": (None, 1758),
}


@pytest.mark.statistical
def test_the_peers_are_those_of_the_table_they_are_known_from():
    runs = 600
    null, drop = (run_case(case, (31337, i), runs) for i, case in enumerate(BY_KEY["equal"].cases))
    for name, (rate, mean) in PUBLISHED.items():
        assert abs(drop[name].mean_units - mean) <= 3 * drop[name].mean_se, name
        if rate is not None:
            error = math.sqrt(rate * (1 - rate) / runs)
            assert abs(null[name].turned - rate) <= 3 * error, name
    scenario = BY_KEY["equal"]
    results = {c.name: r for c, r in zip(scenario.cases, (null, drop), strict=True)}
    assert verdicts.excess(scenario, results, "repeated z at 5%")
    assert verdicts.excess(scenario, results, "one bad hour (Unleash)")
    assert not verdicts.excess(scenario, results, rules.OURS)
    assert "repeated z at 5%" not in {
        f.rule for f in verdicts.faster({"equal": (scenario, results)}, verdicts.PLAIN)
    }


def test_the_constant_of_statsig_is_that_of_its_mixing_parameter():
    z = peers.statsig(Setting(), np.ones(2), 0.05, 1.0)
    assert z == pytest.approx([3.0885] * 2, abs=1e-4)
    # a variance V and tau = 1.96^2 V: the likelihood ratio at that z is 1 / level
    v, tau = 1.0, 1.959964**2
    ratio = math.sqrt(v / (v + tau)) * math.exp(tau * z[0] ** 2 / (2 * (v + tau)))
    assert ratio == pytest.approx(20.0, rel=1e-4)


def test_failed_checks_are_counted_in_all_or_in_a_row():
    good, bad = 0.8, 0.7
    window = np.array([[bad, good], [bad, bad], [good, bad], [bad, bad], [bad, good]])
    setting = Setting(hours=5)

    def at(limit, **how):
        return peers.failed_checks(window, setting, limit=limit, **how).tolist()

    assert at(1) == [1, 2]
    assert at(3) == [4, 4]
    assert at(4) == [5, math.inf]
    assert at(2, in_a_row=True) == [2, 3]
    assert at(3, in_a_row=True) == [math.inf, 4]
    rise = peers.failed_checks(window, replace(setting, side="rise"), limit=1)
    assert rise.tolist() == [math.inf, math.inf]  # .8 is not above .84


def test_an_outcome_counts_from_the_onset_and_says_what_came_before():
    setting = Setting(hours=10, units=50, onset=4, harmful=True)
    got = outcome(np.array([2.0, 5.0, 6.0, 8.0, math.inf]), setting)
    assert (got.before, got.found, got.turned) == (0.2, 0.6, 0.8)
    assert got.hours == (2.0, None)
    assert got.mean_units == pytest.approx(50 * (1 + 2 + 4 + 6) / 4)
    assert quantile(np.arange(1.0, 101.0), 0.5) == (50.0, 5.0)
    assert quantile(np.array([]), 0.5) == (None, None)


def rate_sums(n, x):
    return Sums(n, x * MICRO, n * MICRO, x * MICRO**2, x * MICRO**2, n * MICRO**2,
                x * 10**9, x * 10**9, x * 10**9, n * 10**9)  # fmt: skip


def cells_at(draw, check, run):
    """Return the cells a store would give at one check: a row less the next is one cohort."""
    for variant, arm in (("control", draw.ours.control), ("t", draw.ours.treatment)):
        since = arm[:, :, check, run]
        cohorts = since - np.append(since[:, 1:], np.zeros_like(since[:, :1]), axis=1)
        for cohort in range(since.shape[1]):
            for phase in range(since.shape[2]):
                n, y = (int(value) for value in cohorts[:, cohort, phase])
                if n:
                    yield Cell(variant, phase, cohort, n, rate_sums(n, y))


def judged(draw, setting, run, information):
    """Return the hour at which the engine turns a repetition back, and all it found at the end."""
    plan = WindowPlan(HOUR, setting.level, information, len(setting.starts) - 1)
    comparison = Comparison("g", "k", Kind.PROPORTION, setting.side, setting.margin, False,
                            setting.prove_past, "control", "t", True, (plan,))  # fmt: skip
    states, hour = {}, math.inf
    for check in range(setting.hours):
        cells = {("k", HOUR): tuple(cells_at(draw, check, run))}
        at = datetime(2026, 1, 1, tzinfo=UTC) + check * HOUR
        finding = judge(Snapshot(at, check, cells, {}), comparison, states)
        states = dict(finding.states)
        if finding.outcome is Outcome.BREACH:
            hour = min(hour, check + 1.0)
    return hour, finding.windows[0]


DRAWN = {
    "a drop within phases": lambda rng, s: draws.shifting(rng, s, 2),
    "a rare rise in a canary": lambda rng, s: draws.rates(
        rng, s, 3, np.full(s.hours, 0.03), np.full(s.hours, 0.02), ratio=19
    ),
    "a late drop past a margin": lambda rng, s: draws.rates(
        rng, s, 2, draws.after(s, 0.8, 0.72), np.full(s.hours, 0.8)
    ),
}
SETTINGS = {
    "a drop within phases": Setting(hours=40, level=0.9, cohort=7),
    "a rare rise in a canary": Setting(hours=40, side="rise", baseline=0.02, horizon=0.3),
    "a late drop past a margin": Setting(hours=64, margin=0.03, onset=40),
}


@pytest.mark.parametrize("name", DRAWN)
def test_the_rule_over_all_repetitions_is_the_engines(name):
    setting = SETTINGS[name]
    draw = DRAWN[name](np.random.default_rng(11), setting)
    seen = evidence.ours(draw.ours, setting)
    found = shipped.shipped(setting, seen)
    whole, since = shipped.parts(setting.level, seen.z.shape[0] - 1)
    log_e = shipped.restarts_log_e(seen, since)
    planned = setting.horizon * float(seen.information[0, -1])
    for run, hour in enumerate(found.tolist()):
        own, last = judged(draw, setting, run, planned)
        assert hour == own
        bound = shipped.boundary(seen.information[0], seen.gate[0, :, run], whole, planned)
        looks = bound[np.isfinite(bound)]
        assert last.look == looks.size
        assert last.boundary == pytest.approx(looks[-1], rel=1e-6)
        assert last.z == pytest.approx(seen.z[0, -1, run], rel=1e-9)
        assert last.e_value == pytest.approx(math.exp(log_e[-1, run]), rel=1e-9)
    assert np.isfinite(found).any()


def test_a_setting_that_makes_no_sense_is_refused(capsys):
    for given in (["--repetitions", "0"], ["--only", "nonsense"], ["--seed", "-1"]):
        with pytest.raises(SystemExit):
            main(given)
    assert "must be 0 or more" in capsys.readouterr().err
