"""Twenty seeds of every scenario of the demo, as real processes, two at a time.

The first is the command as it is typed; the others are forked from processes that are warm.
Each run's numbers are kept as a line of ``build/acceptance/demo-SCENARIO.jsonl``; a test that
was interrupted goes on where it stopped, as long as the code is the same.
"""

import hashlib
import json
import socket
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest

from console.demo import START
from metrics.simulate import LATE_HARM_HOUR, OUTAGE_HOUR
from tests.demos import played, warm

pytestmark = pytest.mark.acceptance(cores=2)

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "acceptance"
SEEDS = range(1, 21)


def code():
    """What the numbers depend on."""
    digest = hashlib.sha256()
    for folder in ("metrics", "experiments", "guardrails", "console", "examples"):
        for path in sorted((ROOT / folder).rglob("*.*")):
            if path.suffix in {".py", ".yaml"}:
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def typed(given, _folder):
    command = [sys.executable, "-m", "console.cli", "demo", *given]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    return done.returncode, done.stdout, done.stderr


def run(scenario, seed, version):
    with tempfile.TemporaryDirectory() as folder:
        given = ["--json", "--scenario", scenario, "--seed", str(seed)]
        given += ["--port", str(free_port()), "--data", f"{folder}/data"]
        play = typed if seed == SEEDS[0] else played
        code, said, words = play(given, Path(folder))
    assert code in {0, 1}, words
    result = json.loads(said)
    result |= {"code": version, "exit": code, "words": words.strip()}
    with (KEPT / f"demo-{scenario}.jsonl").open("a") as out:
        out.write(json.dumps(result) + "\n")
    return result


def results(scenario):
    KEPT.mkdir(parents=True, exist_ok=True)
    version, path = code(), KEPT / f"demo-{scenario}.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    known = {r["seed"]: r for r in map(json.loads, lines) if r["code"] == version}
    missing = [seed for seed in SEEDS if seed not in known]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), initializer=warm) as pool:
        jobs = [(scenario, seed, version) for seed in missing]
        known |= {r["seed"]: r for r in pool.map(run, *zip(*jobs, strict=True))} if jobs else {}
    return [known[seed] for seed in SEEDS]


def told(record_property, found):
    """Report what the page of acceptance shows: seeds, rollbacks, times."""
    back = sorted(hours(r) for r in found if r["rolled_back"])
    record_property("seeds", f"{SEEDS[0]} to {SEEDS[-1]}")
    record_property("turned back", f"{len(back)} of {len(found)}")
    if back:
        middle = statistics.median(back)
        record_property(
            "simulated hour of the rollback",
            f"median {middle:.0f}, from {back[0]:.0f} to {back[-1]:.0f}",
        )
    wall = statistics.median(r["wall_seconds"] for r in found)
    record_property("wall time of a run that is warm, two at a time", f"median {wall:.0f} s")


def hours(result):
    return (datetime.fromisoformat(result["at"]) - START) / timedelta(hours=1)


def test_a_drop_of_satisfaction_is_turned_back_by_every_seed_and_verified(record_property):
    found = results("satisfaction-drop")
    told(record_property, found)
    for result in found:
        assert result["exit"] == 0, result
        named = (result["variant"], result["kpi"], result["effective"])
        assert named == ("three_step", "satisfaction", True)


def test_an_outage_is_turned_back_within_three_hours_by_every_seed(record_property):
    found = results("outage")
    told(record_property, found)
    record_property("the outage begins at hour", OUTAGE_HOUR)
    for result in found:
        assert result["exit"] == 0, result
        assert OUTAGE_HOUR < hours(result) <= OUTAGE_HOUR + 3, result


def test_late_harm_is_turned_back_within_a_day_by_nineteen_of_twenty_seeds(record_property):
    all_found = results("late-harm")
    told(record_property, all_found)
    record_property("the harm begins at hour", LATE_HARM_HOUR)
    found = [
        r
        for r in all_found
        if r["rolled_back"] and LATE_HARM_HOUR < hours(r) <= LATE_HARM_HOUR + 24
    ]
    assert len(found) >= 19


@pytest.mark.parametrize("scenario", ["harmless", "tolerated"])
def test_what_does_no_harm_beyond_the_tolerated_is_left_alone(scenario, record_property):
    found = results(scenario)
    told(lambda name, value: record_property(f"{scenario}: {name}", value), found)
    assert sum(r["rolled_back"] for r in found) <= 1


def test_missing_data_turn_nothing_back_and_are_told(record_property):
    found = results("no-data")
    told(record_property, found)
    for result in found:
        assert result["exit"] == 0, result  # 0 only when a guardrail said no_data
        assert not result["rolled_back"]
