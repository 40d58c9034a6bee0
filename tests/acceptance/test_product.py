"""The whole product, 500 times over: services with the clock of the demo, four guardrails, a ramp,
restarts of the statistics and of the service.

Each run's numbers are kept as a line of ``build/acceptance/product-*.jsonl``; a test that was
interrupted goes on where it stopped, as long as the code is the same.
"""

import json
import os
import statistics
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from tests.acceptance.test_online_retail import code
from tests.product import MARGIN, Job, planned, played, quietly, spec_of

pytestmark = [pytest.mark.acceptance(cores=2), pytest.mark.statistical]

KEPT = Path(__file__).parents[2] / "build" / "acceptance"
TIMES = 5 / 3


def results(name, jobs):
    """Return how every run ended; those that are kept are not played again."""
    KEPT.mkdir(parents=True, exist_ok=True)
    version, path = code(), KEPT / f"product-{name}.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    known = {r["seed"]: r for r in map(json.loads, lines) if r["code"] == version}
    todo = [job for job in jobs if job.seed not in known]
    cores = min(2, os.cpu_count() or 1)
    pool = ProcessPoolExecutor(cores, mp_context=get_context("spawn"), initializer=quietly)
    with pool, path.open("a") as out:
        for result in pool.map(played, todo):
            known[result["seed"]] = result | {"code": version}
            out.write(json.dumps(known[result["seed"]]) + "\n")
            out.flush()
    return [known[job.seed] for job in jobs]


def back(found):
    return [r for r in found if r["rolled_back"]]


def test_a_true_a_a_is_turned_back_as_often_as_the_file_allows(record_property):
    text = spec_of(margin=0, prove_past=0)
    found = results("aa", [Job(seed, 0.0, text) for seed in range(1, 301)])
    crossed = back(found)
    record_property("A/A runs at margin 0 and prove_past 0", len(found))
    record_property("evidence crossed (at least 1, at most 21)", len(crossed))
    record_property("by", ", ".join(sorted({r["kpi"] for r in crossed})))
    record_property("looks of each (median)", statistics.median(r["looks"] for r in found))
    assert {r["state"] for r in found if not r["rolled_back"]} == {"finished"}
    assert 1 <= len(crossed) <= 21, [r["seed"] for r in crossed]


def test_harm_past_the_margin_is_turned_back_when_the_plan_said(record_property):
    found = results("harm", [Job(seed, TIMES * MARGIN, spec_of()) for seed in range(1001, 1101)])
    announced = planned(TIMES).median.after.total_seconds() / 3600
    turned = [r for r in back(found) if r["kpi"] == "satisfaction"]
    hours = sorted(r["hours"] if r in turned else float("inf") for r in found)
    median = statistics.median(hours)
    record_property("runs with a drop of 5/3 of the margin", len(found))
    record_property("turned back before the end (at least 95)", len(turned))
    record_property(
        "median hours until then, as planned (within 20%)",
        f"{median:.1f}, {announced:.1f} ({median / announced - 1:+.0%})",
    )
    assert len(turned) >= 95
    assert median == pytest.approx(announced, rel=0.2)


def test_harm_of_half_the_margin_is_left_alone(record_property):
    found = results("tolerated", [Job(seed, MARGIN / 2, spec_of()) for seed in range(2001, 2101)])
    turned = back(found)
    record_property("runs with a drop of half the margin", len(found))
    record_property("turned back (at most 3)", len(turned))
    assert len(turned) <= 3, [r["seed"] for r in turned]
