"""The beta-binomial mixture and its intervals against confseq."""

import json
from pathlib import Path

import pytest

from metrics.stats.beta_binomial import log_e, rate_sequence, score_bound, tuned_concentration

CONFSEQ = json.loads((Path(__file__).parent / "confseq_reference.json").read_text())


def setting(row, level):
    """Return trials, limit and prior of confseq's score scale, ``v = trials p (1 - p)``."""
    per_trial = row["g"] * row["h"]
    concentration = tuned_concentration(row["v_opt"] / per_trial, level, one_sided=row["one_sided"])
    return row["v"] / per_trial, row["g"], concentration


def test_beta_binomial_mixtures_are_those_of_confseq():
    rows = CONFSEQ["beta_binomial_log_mixture"]
    assert len(rows) == 90
    for row in rows:
        trials, limit, concentration = setting(row, row["alpha_opt"])
        events = trials * limit + row["s"]
        ours = log_e(events, trials, limit, concentration, one_sided=row["one_sided"])
        assert ours == pytest.approx(row["log_mixture"], abs=1e-6), row


def test_beta_binomial_boundaries_are_those_of_confseq():
    rows = CONFSEQ["beta_binomial_mixture_bound"]
    assert len(rows) == 36
    for row in rows:
        trials, limit, concentration = setting(row, row["alpha"])
        ours = score_bound(trials, limit, row["alpha"], concentration, one_sided=row["one_sided"])
        assert ours == pytest.approx(row["bound"], abs=1e-6), row


@pytest.mark.parametrize(
    "row",
    CONFSEQ["bernoulli_confidence_interval"],
    ids=lambda r: f"{r['successes']} of {r['n']}, {r['alpha']}, {r['t_opt']}",
)
def test_exact_intervals_of_a_rate_are_those_of_confseq(row):
    found = rate_sequence(
        row["successes"],
        row["n"],
        alpha=row["alpha"],
        trials_opt=row["t_opt"],
        tuned_for=0.05,  # theirs unless asked for another
    )
    assert [found.low, found.high] == pytest.approx(row["ci"], abs=1e-6)
