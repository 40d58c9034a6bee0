"""Single evaluations over HTTP a second: ours beside other flag servers and a bare route.

One run: every server is started, then ``wrk`` asks each in turn at 16 and at 64 connections, in
alternating order, about another unit every time (so ours records an exposure for every answer).
Medians over the rounds; ratios are taken within a round. Then evaluations come at a constant
rate while events are received over HTTP: an open loop, since ``wrk`` holds no rate.

Usage: ``python -m benchmarks.http [--quick] [--only NAME]``; `wrk` must be installed. A server
that cannot be had here is said to be missing, and the others are measured.
"""

import argparse
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks.http.peers import BARE, FAST, OURS, PEERS, ROOT, UNIT, Bench, Target
from benchmarks.http.peers import UnavailableError as Unavailable

CONNECTIONS = (16, 64)
ROUNDS, SECONDS, LOADED_SECONDS, WARM_SECONDS = 3, 4, 15, 1
FLOOR, GOAL, TIMES = 3_500, 7_000, 1.3
EVENTS, P99 = 5_000, 0.030
FULL = 0.85
"""Share of a core from which a process is said to have had it."""

BUSY = 1.0
"""Load of an idle machine at most: more, and others share the cores."""

SCRIPT = """
wrk.method = "POST"
local before, after, run, n = '%(before)s', '%(after)s', '%(run)s-', 0
%(headers)s
request = function()
  n = n + 1
  return wrk.format(nil, nil, nil, before .. run .. n .. after)
end
"""
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True)
class Measured:
    """One run of ``wrk``.

    Attributes:
        rate: Answers a second.
        p99: In seconds.
        server: Cores that the server kept busy.
        driver: The same of ``wrk``.
    """

    rate: float
    p99: float
    server: float
    driver: float


def wrk(target: Target, *, connections: int, seconds: float, run: str, folder: Path) -> Measured:
    before, after = target.body.split(UNIT)
    sent = {"Content-Type": "application/json", **target.headers}
    headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in sent.items())
    script = folder / "evaluate.lua"
    script.write_text(
        SCRIPT % {"before": before, "after": after, "run": run, "headers": headers},
        encoding="utf-8",
    )
    whole = max(1, round(seconds))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{whole}s", "--timeout", "30s", "--latency"]
    command += ["-s", str(script), target.url]
    spent, driven, begun = processor(target.pid), children(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    took = time.perf_counter() - begun
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise Unavailable(f"not everything was answered: {' '.join(done.stdout.split())}")
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s|m)\b", done.stdout).groups()
    return Measured(
        rate=float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1]),
        p99=float(number) * UNITS[unit],
        server=(processor(target.pid) - spent) / took,
        driver=(children() - driven) / took,
    )


def processor(pid: int) -> float:
    """Return the seconds of processor time a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# --- as many as it can -----------------------------------------------------------------------

Rounds = dict[tuple[str, int], list[Measured]]


def measure(
    peers: dict[str, Target], missing: dict[str, str], asked: argparse.Namespace, folder: Path
) -> Rounds:
    """Ask every server in turn; one that fails is missing from then on."""
    rounds: Rounds = {(name, c): [] for name in peers for c in CONNECTIONS}
    warm = [("warm", 16, WARM_SECONDS, list(peers))]
    plan = [
        (f"round-{n + 1}", c, asked.seconds, list(peers) if n % 2 == 0 else list(peers)[::-1])
        for n in range(asked.rounds)
        for c in CONNECTIONS
    ]
    for run, connections, seconds, names in warm + plan:
        for name in names:
            if name in missing:
                continue
            try:
                found = wrk(
                    peers[name],
                    connections=connections,
                    seconds=seconds,
                    run=f"{run}-{connections}",
                    folder=folder,
                )
            except (Unavailable, subprocess.CalledProcessError) as error:
                missing[name] = str(error)
            else:
                if run != "warm":
                    rounds[name, connections].append(found)
            say(f"{run}, {connections} connections: {name}")
    return {key: runs for key, runs in rounds.items() if key[0] not in missing}


def table(rounds: Rounds, missing: dict[str, str]) -> None:
    wide = max(map(len, PEERS))
    print(f"\n{'':{wide}}" + "".join(f"  {f'{c} connections':^42}" for c in CONNECTIONS))
    one = f"{'a second':>10}{'p99':>10}{'cores':>7}{'wrk':>6}{'a core':>9}"
    print(f"{'':{wide}}" + f"  {one}" * len(CONNECTIONS))
    for name in dict.fromkeys(name for name, _ in rounds):
        cells = ""
        for connections in CONNECTIONS:
            rate, p99, server, driver = medians(rounds[name, connections])
            each = rate / server if server else float("nan")
            p99 *= 1000
            cells += f"  {rate:10,.0f}{p99:7.1f} ms{server:7.2f}{driver:6.2f}{each:9,.0f}"
        print(f"{name:{wide}}{cells}")
    for name, why in missing.items():
        print(f"{name:{wide}}  not measured: {why}")
    print(
        "cores: of the two, what the server kept busy; wrk: what the driver did; a core: answers\n"
        "for each second that the server computed, which others on the machine change little"
    )


def medians(runs: list[Measured]) -> tuple[float, float, float, float]:
    columns = [(run.rate, run.p99, run.server, run.driver) for run in runs]
    rate, p99, server, driver = (median(column) for column in zip(*columns, strict=True))
    return rate, p99, server, driver


def verdicts(rounds: Rounds) -> None:
    print()
    for connections in CONNECTIONS:
        if (OURS, connections) not in rounds:
            return
        ours = rounds[OURS, connections]
        rate, _, server, driver = medians(ours)
        bound = bound_by(server, driver)
        print(f"{connections} connections: {rate:,.0f} a second, bound by {bound}")
        for what, least in (("floor", FLOOR), ("goal", GOAL)):
            print(f"  {what} {least:,}: {word(held=rate >= least)}")
        for name in dict.fromkeys(name for name, _ in rounds):
            if name == OURS:
                continue
            theirs = rounds[name, connections]
            ratios = [o.rate / t.rate for o, t in zip(ours, theirs, strict=True)]
            limit = (
                f", {TIMES} wanted: {word(held=median(ratios) >= TIMES)}" if name == FAST else ""
            )
            print(f"  {median(ratios):5.2f} times {name}{limit}")


def bound_by(server: float, driver: float) -> str:
    """Say what kept a server from answering more."""
    if server > FULL:
        return "its one process, which had a whole core"
    if driver > FULL:
        return "its driver, which had a whole core"
    return f"the machine: of its cores the server got {server:.2f} and its driver {driver:.2f}"


def word(*, held: bool) -> str:
    return "pass" if held else "MISS"


# --- at a constant rate, while events come ---------------------------------------------------


def loaded(target: Target, *, rate: float, seconds: float) -> None:
    command = [sys.executable, "-m", "benchmarks.http.driver", "--evaluate", target.url]
    command += ["--rate", str(rate), "--events", str(EVENTS), "--seconds", str(seconds)]
    spent, begun = processor(target.pid), time.perf_counter()
    done = subprocess.run(
        [*command, "--run", f"rate-{rate:.0f}"], cwd=ROOT, capture_output=True, check=True
    )
    found = json.loads(done.stdout)
    cores = (processor(target.pid) - spent) / (time.perf_counter() - begun)
    asked, sent = found["evaluations"], found["events"]
    print(
        f"{rate:,.0f} evaluations a second ({seconds:.0f} s, open loop, 64 connections) while "
        f"{EVENTS:,} events a second come:"
    )
    for what, one in (("evaluations", asked), ("batches of 100 events", sent)):
        print(
            f"  {what}: {one['answered'] / found['seconds']:,.0f} answered a second, "
            f"p50 {one['p50'] * 1000:.1f} ms, p99 {one['p99'] * 1000:.1f} ms, "
            f"longest {one['longest'] * 1000:.0f} ms; {one['refused']} refused, "
            f"{one['sent'] - one['answered']} unanswered"
        )
    whole = asked["answered"] == asked["sent"] and not asked["refused"] and not sent["refused"]
    kept = sent["accepted"] / found["seconds"]
    print(
        f"  {kept:,.0f} events a second acknowledged, written and fsynced; service "
        f"{cores:.2f} cores, driver {found['cores']:.2f} cores, its sends late by "
        f"{asked['late_p99'] * 1000:.1f} ms at p99"
    )
    held = whole and asked["p99"] <= P99 and kept > 0.95 * EVENTS
    print(f"  p99 under {P99 * 1000:.0f} ms: {word(held=held)}")
    if not held:
        print(f"  bound by {bound_by(cores, found['cores'])}")


def say(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.http",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of one measurement")
    parser.add_argument("--only", action="append", choices=list(PEERS), help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="ours and the bare route, seconds")
    asked = parser.parse_args()
    asked.loaded = LOADED_SECONDS
    if asked.quick:
        asked.rounds, asked.seconds, asked.loaded = 1, 1, 1
        asked.only = asked.only or [OURS, BARE]
    return asked


def main() -> None:
    asked = arguments()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed (Debian: apt-get install wrk)")
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, uvicorn "
        f"{version('uvicorn')}; {asked.rounds} rounds of {asked.seconds:.0f} s, medians"
    )
    if (load := os.getloadavg()[0]) > BUSY:
        print(f"the machine is not idle (load {load:.1f}): these figures are too low")
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name, Bench(Path(name)) as bench:
        peers: dict[str, Target] = {}
        for known, start in PEERS.items():
            # GrowthBook's evaluation reads the payload that ours serves
            if asked.only is None or known in asked.only or known == OURS:
                try:
                    peers[known] = start(bench, peers)
                except Unavailable as error:
                    if known == OURS:
                        raise SystemExit(f"{OURS}: {error}") from None
                    missing[known] = str(error)
        rounds = measure(peers, missing, asked, Path(name))
        table(rounds, missing)
        verdicts(rounds)
        for rate in (FLOOR / 2, GOAL / 2):
            print()
            loaded(peers[OURS], rate=rate, seconds=asked.loaded)


if __name__ == "__main__":
    main()
