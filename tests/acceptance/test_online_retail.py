"""A year of real orders through the backtest: a true A/A, and a planted effect.

Each replay's numbers are kept as a line of ``build/acceptance/online-retail-*.jsonl``; a test
that was interrupted goes on where it stopped, as long as the code is the same.
"""

import gc
import hashlib
import json
import os
import re
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest

from console.commands.backtesting import load_events
from guardrails.backtest import backtest
from metrics.importers.files import write_events
from metrics.importers.online_retail import read
from metrics.plant import Plant

pytestmark = pytest.mark.acceptance(cores=2)

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("TURNBACK_REAL_DATA", ROOT.parent / "shared" / "data")) / "online_retail"
KEPT = ROOT / "build" / "acceptance"
SPEC = (ROOT / "examples" / "online-retail.yaml").read_text()
PLANTED = "refund_hours*2.5@treatment"

_events = ()


def no_harm_at_all(text):
    """Every guardrail of the file at ``max_drop: 0%, prove_past: 0``: any harm counts."""
    text, count = re.subn(r"(max_(?:drop|rise)): *[\d.]+%", r"\1: 0%\n    prove_past: 0", text)
    assert count == 4
    return text


def code():
    """What the numbers depend on."""
    digest = hashlib.sha256()
    for folder in ("metrics", "experiments", "guardrails", "examples"):
        for path in sorted((ROOT / folder).rglob("*.*")):
            if path.suffix in {".py", ".yaml"}:
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def load(path):
    global _events  # one copy per worker process
    _events, rejected = load_events(path)
    assert not rejected
    gc.freeze()  # a year of events and all modules, which no replay changes
    gc.set_threshold(50_000, 10, 50)


def replay(job):
    text, seed, plant = job
    result = backtest(
        text,
        _events,
        every=timedelta(days=1),
        seed=seed,
        plant=None if plant is None else Plant.parse(plant),
    )
    return {
        "seed": seed,
        "planted": result.planted,
        "rolled_back": result.rolled_back,
        "kpi": result.kpi,
        "at": result.at and result.at.isoformat(),
        "looks": result.looks,
        "checks": result.checks,
    }


def results(name, text, seeds, plant, tmp_path):
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is absent: set TURNBACK_REAL_DATA to the folder of real data")
    KEPT.mkdir(parents=True, exist_ok=True)
    version, path = code(), KEPT / f"online-retail-{name}.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    known = {r["seed"]: r for r in map(json.loads, lines) if r["code"] == version}
    jobs = [(text, seed, plant) for seed in seeds if seed not in known]
    if jobs:
        events = tmp_path / "events.parquet"
        write_events(read(DATA).events, events)
        pool = ProcessPoolExecutor(
            2, mp_context=get_context("spawn"), initializer=load, initargs=(events,)
        )
        with pool, path.open("a") as out:
            for result in pool.map(replay, jobs):
                known[result["seed"]] = result | {"code": version}
                out.write(json.dumps(known[result["seed"]]) + "\n")
                out.flush()
    return [known[seed] for seed in seeds]


def test_a_true_a_a_is_crossed_as_often_as_promised(tmp_path, record_property):
    found = results("aa", no_harm_at_all(SPEC), range(1, 201), None, tmp_path)
    crossed = [r["seed"] for r in found if r["rolled_back"]]
    record_property("assignment seeds", len(found))
    record_property("evidence crossed (at least 1, at most 16)", len(crossed))
    record_property("seeds that crossed", ", ".join(map(str, crossed)))
    record_property("checks of each", found[0]["checks"])
    assert 1 <= len(crossed) <= 16, crossed


def test_slower_refunds_trip_nineteen_of_twenty_seeds(tmp_path, record_property):
    found = results("planted", SPEC, range(1, 21), PLANTED, tmp_path)
    assert all("PLANTED" in r["planted"] for r in found)
    tripped = [r["seed"] for r in found if r["rolled_back"] and r["kpi"] == "refund_hours"]
    record_property(f"planted {PLANTED}: tripped", f"{len(tripped)} of {len(found)}")
    assert len(tripped) >= 19, tripped
