"""What the metric store costs: events in over HTTP, one check as history grows, memory.

One run prints medians and ratios, beside peers measured in the same run: (a) acknowledged,
committed events a second, beside decoding alone and the database's own bulk append; (b) one
check of the twelve core KPIs and three arms after 60,000 new events, for every size of the
history; (c) the same from scratch, and as one SQL query per KPI over the log; (d) resident
memory. Everything is written to a temporary folder; 50 million events need 5 GB of it.

Usage: ``python benchmarks/store.py [--quick] [--sizes 1,10,50] [--only load|check]``
"""

import argparse
import json
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path

import store_load as http
from store_history import DAYS, START, frame, new_events, query_of, write_history

from metrics.catalogue import load_catalogue
from metrics.stores.duckdb import DuckDBMetricStore

FLOOR, GOAL, P99 = 30_000, 80_000, 0.250
CHECK_FLOOR, CHECK_GOAL, GROWTH = 0.500, 0.200, 1.5
TIMES, MEMORY = 10, 2.0
GROUP = 5_000
LIMIT_SECONDS = 3_600


# --- (a) events in ---------------------------------------------------------------------------


def measure_load(folder: Path, seconds: float) -> None:
    made = http.templates(random.Random(1))
    with http.service(folder / "data") as (host, port, pid):
        url = f"http://{host}:{port}"
        http.httpx.post(f"{url}/api/v1/experiments", content=http.SPEC).raise_for_status()
        exposed = http.drive(
            host, port, http.exposures(1 if seconds < 5 else http.ROUNDS), seconds=None
        )
        before, _ = http.checks_of(host, port)
        spent, driven = http.processor(pid), time.process_time()
        load = http.drive(host, port, (http.body_of(made, n) for n in count()), seconds=seconds)
        spent, driven = http.processor(pid) - spent, time.process_time() - driven
        checks, average = http.checks_of(host, port)
        memory = resident(pid)
    with_restart = time.perf_counter()
    store = DuckDBMetricStore(folder / "data" / "metrics.duckdb")
    kept = store.watermark()
    store.close()
    opened = time.perf_counter() - with_restart
    if kept != load.accepted + exposed.accepted:
        raise SystemExit(f"{kept} events are in the store, acknowledged were {load.accepted}")
    alone, events = http.decoding(made, 20 if seconds < 5 else 200)
    bulk = http.bulk_append(folder / "bulk.duckdb", events)
    print(
        f"(a) events in       {load.rate:9,.0f}/s  p99 {1000 * load.p99:4.0f} ms, median "
        f"{1000 * statistics.median(load.latencies):.0f} ms; {load.sent} batches of {http.BATCH}, "
        f"{http.CONNECTIONS} connections, {load.seconds:.0f} s; "
        f"{load.rate / FLOOR:.0%} of the floor, {load.rate / GOAL:.0%} of the goal, "
        f"p99 {load.p99 / P99:.0%} of its limit"
    )
    print(
        f"    all of them kept {kept:,} (with {exposed.accepted:,} exposures); {checks - before} "
        f"checks meanwhile, {1000 * average:.0f} ms each; {memory:.2f} GiB; opened again in "
        f"{opened:.1f} s"
    )
    print(
        f"    processor time  {1e6 * spent / load.accepted:9.1f} us an event in the service, "
        f"{1e6 * driven / load.accepted:.1f} in the generator; they had "
        f"{(spent + driven) / load.seconds:.2f} cores"
    )
    print(f"    decoding alone  {alone:9,.0f}/s  all of it is {load.rate / alone:.0%} of that")
    print(f"    bulk append     {bulk:9,.0f}/s  all of it is {load.rate / bulk:.0%} of that")


def resident(pid: int | str = "self") -> float:
    """Return resident memory in GiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 2**20


# --- (b) to (d) one check --------------------------------------------------------------------


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return seconds by the clock and of processor time: they differ where others run too."""
    begun, worked = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begun, time.process_time() - worked


def check_size(path: Path, units: int, new: int, rounds: int) -> dict:
    """Measure one history; runs in a process of its own."""
    asked, rng, end = frame(), random.Random(2), START + timedelta(days=DAYS)
    opening = time.perf_counter()
    store = DuckDBMetricStore(path)
    opened, events = time.perf_counter() - opening, store.watermark() - units
    scratch = timed(lambda: store.snapshot(asked, now=end))
    rss = resident()
    idle = timed(lambda: store.snapshot(asked, now=end))
    took: dict[str, list[tuple[float, float]]] = {"coming": [], "late": [], "append": []}
    for hour in range(2 * rounds):
        kind, now = ("coming", "late")[hour >= rounds], end + timedelta(hours=hour + 1)
        batch = new_events(new, units, hour, rng, all_late=kind == "late")
        took["append"].append(timed(lambda: append(store, batch, now)))  # noqa: B023 - called here
        took[kind].append(timed(lambda: store.snapshot(asked, now=now)))  # noqa: B023 - as above
    answer = store.snapshot(asked, now=now)
    queries = timed(lambda: plain_queries(store, end))
    after = resident()
    store.close()
    return {
        "events": events,
        "units": sum(reach.exposed for reach in answer.reach.values()),
        "counted": answer.watermark,
        "opened": opened,
        "scratch": scratch,
        "idle": idle,
        "queries": queries,
        "rss": rss,
        "rss_after": after,
        **{
            kind: [statistics.median(each) for each in zip(*of, strict=True)]
            for kind, of in took.items()
        },
    }


def append(store: DuckDBMetricStore, batch: list, now) -> None:
    for start in range(0, len(batch), GROUP):
        store.append(batch[start : start + GROUP], received_at=now)


def plain_queries(store: DuckDBMetricStore, now) -> None:
    with store._log.reader() as cursor:  # noqa: SLF001 - SQL over the log is the peer, no part of the store
        for kpi in load_catalogue().core:
            cursor.execute(query_of(kpi, now)).fetchall()


def child(*arguments: object) -> dict:
    command = [sys.executable, __file__, "--child", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=LIMIT_SECONDS)
    return json.loads(done.stdout)


def measure_checks(folder: Path, sizes: list[int], units: int, new: int, rounds: int) -> None:
    results = []
    for size in sizes:
        path = folder / f"{size}.duckdb"
        wrote = child("history", path, size, units)["seconds"]
        results.append(child("check", path, units, new, rounds))
        disk = sum(each.stat().st_size for each in folder.glob(f"{path.name}*") if each.is_file())
        path.unlink()
        show_size(results[-1], new, wrote)
        print(
            f"(e) disk            {disk / 2**20:,.0f} MiB, {disk / size * 1e6 / 2**20:,.0f} for a "
            "million events"
        )
    least, most = results[0], results[-1]
    for kind, label in (("coming", "as they come"), ("late", "all late")):
        wall, processor = (most[kind][n] / least[kind][n] for n in (0, 1))
        print(
            f"    from {least['events']:,} to {most['events']:,} events, {label}: {wall:.2f} times "
            f"(processor {processor:.2f}; at most {GROWTH})"
        )


def show_size(result: dict, new: int, wrote: float) -> None:
    events, coming, late = result["events"], result["coming"], result["late"]
    print(
        f"(b) one check       {of(coming)} after {new:,} new events as they come, {of(late)} when "
        f"all are late, {of(result['idle'])} without any; {events:,} events before, "
        f"{result['units']:,} units; floor {1000 * CHECK_FLOOR:.0f} ms, goal "
        f"{1000 * CHECK_GOAL:.0f} ms; counted {result['counted']:,}"
    )
    scratch, queries = result["scratch"], result["queries"]
    print(
        f"(c) from scratch    {of(scratch)}, {scratch[0] / coming[0]:.0f} times one check; one "
        f"query per KPI {of(queries)}, {queries[0] / coming[0]:.0f} times (goal {TIMES}; "
        f"{queries[0] / late[0]:.0f} when all are late)"
    )
    print(
        f"(d) resident        {result['rss']:.2f} GiB after counting, {result['rss_after']:.2f} at "
        f"the end (at most {MEMORY} at 10 million); {new / result['append'][0]:,.0f}/s appended, "
        f"opened in {result['opened']:.1f} s, written in bulk in {wrote:.0f} s",
        flush=True,
    )


def of(seconds: list[float]) -> str:
    """Return seconds in words: by the clock, and of processor time."""
    wall, processor = seconds
    if wall < 10:
        return f"{1000 * wall:.0f} ms (processor {1000 * processor:.0f})"
    return f"{wall:.1f} s (processor {processor:.1f})"


def run_child(arguments: list[str]) -> None:
    what, path, *numbers = arguments
    values = list(map(int, numbers))
    if what == "history":
        answer = {"seconds": write_history(Path(path), *values)}
    else:
        answer = check_size(Path(path), *values)
    print(json.dumps(answer))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small form, a few seconds")
    parser.add_argument("--sizes", default="1,10,50", help="millions of events in history")
    parser.add_argument("--units", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the load")
    parser.add_argument("--rounds", type=int, default=5, help="checks of each sort, the median")
    parser.add_argument("--only", choices=["load", "check"])
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        run_child(chosen.child)
        return
    sizes = [round(float(size) * 1_000_000) for size in chosen.sizes.split(",")]
    units, new, seconds, rounds = chosen.units, 60_000, chosen.seconds, chosen.rounds
    if chosen.quick:
        sizes, units, new, seconds, rounds = [4_000, 12_000], 2_000, 600, 1.0, 1
    print(f"{platform.machine()}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if chosen.only != "check":
            measure_load(folder, seconds)
        if chosen.only != "load":
            measure_checks(folder, sizes, units, new, rounds)


if __name__ == "__main__":
    main()
