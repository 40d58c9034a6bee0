"""A few runs of the whole product: what its full size shows, and that a broken engine fails it."""

import pytest
from scipy.stats import binom

from guardrails import judge_regression
from tests.product import MARGIN, Job, played, spec_of

pytestmark = pytest.mark.statistical

RUNS = 6
MOST = int(binom.ppf(0.998, RUNS, 0.05))
"""Crossings of so many A/A runs that a level of 5% exceeds once in 500 times."""


def crossings():
    text = spec_of(margin=0, prove_past=0, days=2)
    found = [played(Job(seed, 0.0, text, days=2)) for seed in range(1, RUNS + 1)]
    assert all(r["state"] == "finished" for r in found if not r["rolled_back"])
    assert all(r["looks"] > 5 for r in found if not r["rolled_back"])
    return sum(r["rolled_back"] for r in found)


def test_the_whole_product_leaves_a_true_a_a_alone():
    assert crossings() <= MOST


def test_an_engine_that_repeats_a_plain_z_test_fails_that(monkeypatch):
    sound = judge_regression.look

    def repeated(*given):
        return 1.645, sound(*given)[1]

    monkeypatch.setattr(judge_regression, "look", repeated)
    assert crossings() > MOST


def test_the_whole_product_turns_back_harm_and_tolerates_half_the_margin():
    harmed = [played(Job(seed, 5 / 3 * MARGIN, spec_of())) for seed in range(1, 4)]
    assert [r["kpi"] for r in harmed if r["rolled_back"]] == ["satisfaction"] * 3
    tolerated = [played(Job(seed, MARGIN / 2, spec_of(days=2), days=2)) for seed in range(1, 4)]
    assert not any(r["rolled_back"] for r in tolerated)
