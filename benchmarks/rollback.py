"""What protection costs: from proof to control, and a round of checks of many experiments.

(a) The real service over HTTP: from the acknowledgement of the events that complete the evidence
to control being served through OFREP, several times, beside its limit of one check interval and a
second. (b) The engine on the real files with 100 running experiments, each of twelve guardrails
and three variants: 60 rounds of checks, one a minute, each after new events.

Usage: ``python benchmarks/rollback.py [--quick] [--only latency|rounds]``
"""

import argparse
import platform
import random
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from rollback_rounds import GUARDRAILS, Size, World, memory, names
from store_load import service

from experiments.assignment import Serving, compile_experiment
from guardrails.spec_file import load_spec

INTERVAL = 5
LIMIT = INTERVAL + 1.0
MEDIAN, P99 = 2.0, 4.0
EARLIER = 56
"""Exposures are dated this many seconds before the start: as much is allowed for clocks that
differ, and windows of a minute close soon."""

UNITS = 1_200
SPEC = f"""\
experiment: KEY
unit: order_id
variants:
  control: {{weight: 50%, flow: {{steps: [confirm]}}}}
  treatment: {{weight: 50%, flow: {{steps: [why, confirm]}}}}
guardrails:
  - {{kpi: flow_failure_rate, max_rise: 20%, windows: {{1m: 100%}}}}
ends: {{after: 7d, observe_for: 1d}}
check_every: {INTERVAL}s
lag: 0s
expect_units: 5000
"""
PATIENCE = 60.0


# --- (a) from proof to control ---------------------------------------------------------------


def latencies(folder: Path, repetitions: int, rng: random.Random) -> list[float]:
    """Return the seconds of every repetition, each an experiment of its own in one service."""
    with service(folder) as (host, port, _), httpx.Client(base_url=f"http://{host}:{port}") as http:
        return [latency(http, f"bench-{number}", rng) for number in range(repetitions)]


def latency(http: httpx.Client, key: str, rng: random.Random) -> float:
    """Return the seconds from the last acknowledged event to control for the treatment's units."""
    text = SPEC.replace("KEY", key)
    http.post("/api/v1/experiments", content=text).raise_for_status()
    began = datetime.now(UTC) - timedelta(seconds=EARLIER)
    compiled = compile_experiment(load_spec(text).experiment, Serving("running"))
    units = [f"{key}-{number}" for number in range(UNITS)]
    arms = {unit: compiled.assign({"targetingKey": unit}).variant for unit in units}
    alike, harmed = units[: UNITS // 2], units[UNITS // 2 :]
    send(http, [exposed(key, unit, arms[unit], began) for unit in alike])
    send(http, [failed(unit, began) for unit in alike[:60]])
    # windows close, checks find both arms alike; then more units come whose windows have closed
    time.sleep(60 - EARLIER + INTERVAL * (1.0 + rng.random()))
    probe = next(unit for unit in alike if arms[unit] == "treatment")
    if served(http, key, probe) != "treatment":
        raise SystemExit(f"{key} was turned back before there was anything to prove")
    failing = [unit for unit in harmed if arms[unit] == "treatment"]
    send(
        http,
        [failed(unit, began) for unit in failing]
        + [exposed(key, unit, arms[unit], began) for unit in harmed],
    )
    acknowledged = time.perf_counter()
    while served(http, key, probe) != "control":
        if time.perf_counter() - acknowledged > PATIENCE:
            raise SystemExit(f"{key} was not turned back within {PATIENCE:.0f} s")
        time.sleep(0.01)
    return time.perf_counter() - acknowledged


def exposed(key: str, unit: str, arm: str, at: datetime) -> dict:
    return {
        "id": f"x-{unit}",
        "name": "exposure",
        "happened_at": at.isoformat(),
        "units": {"order_id": unit},
        "fields": {"experiment": key, "variant": arm},
    }


def failed(unit: str, at: datetime) -> dict:
    return {
        "id": f"f-{unit}",
        "name": "flow_failed",
        "happened_at": (at + timedelta(seconds=1)).isoformat(),
        "units": {"order_id": unit},
        "fields": {"code": "timeout"},
    }


def send(http: httpx.Client, events: list[dict]) -> None:
    answer = http.post("/api/v1/events", json=events, timeout=30).raise_for_status().json()
    if answer["accepted"] + answer["duplicates"] != len(events):
        raise SystemExit(f"not every event was taken: {answer}")


def served(http: httpx.Client, key: str, unit: str) -> str:
    body = {"context": {"targetingKey": unit}}
    return (
        http.post(f"/ofrep/v1/evaluate/flags/{key}", json=body).raise_for_status().json()["variant"]
    )


def measure_latency(folder: Path, repetitions: int) -> None:
    seconds = latencies(folder, repetitions, random.Random(4))
    median, longest = statistics.median(seconds), max(seconds)
    print(
        f"(a) proof to control {median:5.2f} s median, {longest:.2f} s at most of {len(seconds)} "
        f"repetitions, a check every {INTERVAL} s; {median / LIMIT:.0%} and {longest / LIMIT:.0%} "
        f"of the limit ({LIMIT:.0f} s)",
        flush=True,
    )


# --- (b) rounds of checks --------------------------------------------------------------------


def measure_rounds(folder: Path, size: Size) -> None:
    begun = time.perf_counter()
    world = World(folder, size)
    world.warm()
    ready = time.perf_counter() - begun
    seen = world.rounds()
    world.close()
    done = sum(report.result == "ok" for report in seen.reports)
    new = size.fresh + size.new * size.experiments
    print(
        f"(b) a round          {seen.median:5.2f} s median, {seen.p99:.2f} s p99 (processor "
        f"{statistics.median(seen.processor):.2f}); {seen.median / MEDIAN:.0%} and "
        f"{seen.p99 / P99:.0%} of the limits ({MEDIAN:.0f} s, {P99:.0f} s)"
    )
    print(
        f"    {len(seen.seconds)} rounds of {size.experiments} experiments, {seen.guardrails:,} "
        f"guardrails of treatments, each after {new:,} new events; {done:,} checks, "
        f"{1000 * sum(seen.seconds) / max(1, done):.1f} ms each"
    )
    print(
        f"    at the end: {names(sorted(seen.outcomes.items()))}; "
        f"{names(sorted(seen.states.items()))}; {memory():.1f} GiB, ready after {ready:.0f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small form, half a minute")
    parser.add_argument("--only", choices=["latency", "rounds"])
    parser.add_argument("--repetitions", type=int, default=10, help="of the way to control")
    parser.add_argument("--experiments", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=60)
    chosen = parser.parse_args()
    size = Size(experiments=chosen.experiments, rounds=chosen.rounds)
    repetitions = chosen.repetitions
    if chosen.quick:
        size = Size(experiments=3, units=300, events=4, new=1, fresh=30, rounds=2)
        repetitions = 1
    kpis = GUARDRAILS.count("kpi:")
    print(f"{platform.machine()}, Python {platform.python_version()}; {kpis} guardrails each")
    with tempfile.TemporaryDirectory() as name:
        if chosen.only != "rounds":
            measure_latency(Path(name) / "data", repetitions)
        if chosen.only != "latency":
            measure_rounds(Path(name), size)


if __name__ == "__main__":
    main()
