"""Run every full-size acceptance test, resumably, and write ``docs/acceptance.md``.

Each test is run on its own; its result is kept under ``build/acceptance`` for the commit it was
run on, so a run that was cut short goes on where it stopped. Tests report their numbers through
pytest's ``record_property``; they stand in the page beside the verdict.

As many tests run side by side as the cores allow, the longest first by the page's last seconds.
A test says how many cores it keeps busy: ``@pytest.mark.acceptance(cores=2)``, or 0.5 where it
mostly waits for processes; 1 is meant without. Those that need all cores come last: the long ones
keep what they have done, so one that the time limit cuts goes on next time.

Usage: ``python tests/acceptance/run.py [--only WORD] [--again] [--cores N]``
"""

import argparse
import contextlib
import io
import json
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "acceptance"
PAGE = ROOT / "docs" / "acceptance.md"
LIMIT_SECONDS = 75 * 60
CORES = 2.0
UNKNOWN_SECONDS = 300.0  # expected of a test that the page does not know yet


@dataclass(frozen=True, slots=True)
class Planned:
    """A test, the cores it keeps busy and the seconds that are expected of it."""

    node: str
    cores: float
    seconds: float


def git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def commit() -> str:
    """Return the newest commit that changed the program or its tests; prose does not count."""
    prose = (":!docs", ":!*.md")
    dirty = git("status", "--porcelain", "--", ".", *prose)
    return git("log", "-1", "--format=%h", "--", ".", *prose) + ("+changes" if dirty else "")


def forget_other_commits(at: str) -> None:
    """Drop what tests kept of single runs when it was measured on other code."""
    mark = KEPT / "commit"
    if not mark.exists() or mark.read_text() != at:
        for file in KEPT.glob("*.jsonl"):
            file.unlink()
    mark.write_text(at)


class _Collector:
    """Notes what pytest collects: by test function, its parameters share a process."""

    def __init__(self) -> None:
        self.cores: dict[str, float] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            mark = item.get_closest_marker("acceptance")
            cores = mark.kwargs.get("cores", 1) if mark is not None else 1
            self.cores[item.nodeid.partition("[")[0]] = float(cores)


def collect() -> list[Planned]:
    found, said = _Collector(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.chdir(ROOT):
        code = pytest.main(["--collect-only", "-q", "-m", "acceptance"], plugins=[found])
    if code != pytest.ExitCode.OK:
        print(said.getvalue()[-1500:], file=sys.stderr)
        return []
    known = last_seconds(PAGE.read_text() if PAGE.exists() else "")
    return [
        Planned(node, cores, known.get(node, UNKNOWN_SECONDS))
        for node, cores in found.cores.items()
    ]


def last_seconds(text: str) -> dict[str, float]:
    """Return what each test took, by the page of an earlier run."""
    lines = re.findall(r"^`(\S+)`: \*\*passed\*\*, ([\d.]+) s$", text, re.MULTILINE)
    return {node: float(seconds) for node, seconds in lines}


def in_order(tests: list[Planned], cores: float) -> list[Planned]:
    """Return tests as they are to be started: the longest first, those for all cores last."""
    return sorted(tests, key=lambda test: (test.cores >= cores, -test.seconds))


def next_of(waiting: list[Planned], running: list[Planned], cores: float) -> Planned | None:
    """Return the first test for which there are cores left; any test may run alone."""
    free = cores - sum(test.cores for test in running)
    return next((test for test in waiting if test.cores <= free or not running), None)


def seconds_left(tests: list[Planned], cores: float) -> float:
    """Return how long so many cores need for tests, at best."""
    whole = sum(test.seconds * min(test.cores, cores) for test in tests) / cores
    return max([whole, *(test.seconds for test in tests)])


def end(process: subprocess.Popen) -> None:
    """Kill a test with every process it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def run_one(
    node: str, *, timeout: float, started: set[subprocess.Popen] | None = None
) -> dict[str, object]:
    """Return what became of a test; its process is in ``started`` meanwhile."""
    report = KEPT / f"report-{threading.get_ident()}.xml"
    report.unlink(missing_ok=True)
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-m", "acceptance", node, f"--junitxml={report}", "-q"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    started = set() if started is None else started
    started.add(process)
    try:
        output, _ = process.communicate(timeout=max(timeout, 0.0))
        verdict = {0: "passed", 5: "skipped"}.get(process.returncode, "failed")
    except subprocess.TimeoutExpired:
        end(process)
        process.communicate()
        output, verdict = "the time for all tests is over: run again, it goes on", "cut"
    started.discard(process)
    result = {
        "node": node,
        "verdict": verdict,
        "seconds": round(time.monotonic() - begun, 1),
        "numbers": {},
        "output": "" if verdict == "passed" else output[-1500:],
    }
    if report.exists():
        for case in ET.parse(report).iter("testcase"):
            if case.find("skipped") is not None:
                result["verdict"] = "skipped"
            result["numbers"] |= {p.get("name"): p.get("value") for p in case.iter("property")}
        report.unlink()
    return result


class Run:
    """Some tests on some cores, until all have run or the time is over."""

    def __init__(self, tests: list[Planned], results: dict[str, dict], kept: Path, cores: float):
        self._waiting = in_order(tests, cores)
        self._running: dict[Planned, float] = {}
        self._results, self._kept, self._cores = results, kept, cores
        self._count, self._done = len(tests), 0
        self._begun, self._changed = time.monotonic(), threading.Condition()
        self._started: set[subprocess.Popen] = set()

    def all(self) -> None:
        try:
            self._all()
        except BaseException:
            for process in tuple(self._started):
                end(process)
            raise

    def _all(self) -> None:
        threads: list[threading.Thread] = []
        with self._changed:
            while self._waiting and self._time_left() > 0:
                test = next_of(self._waiting, list(self._running), self._cores)
                if test is None:
                    self._changed.wait()
                    continue
                self._waiting.remove(test)
                self._running[test] = time.monotonic()
                threads.append(threading.Thread(target=self._one, args=(test,), daemon=True))
                threads[-1].start()
        for thread in threads:
            thread.join()

    def _time_left(self) -> float:
        return LIMIT_SECONDS - (time.monotonic() - self._begun)

    def _one(self, test: Planned) -> None:
        print(f"      {test.node} (last time {test.seconds:.0f} s)", flush=True)
        found = run_one(test.node, timeout=self._time_left(), started=self._started)
        with self._changed:
            del self._running[test]
            self._done += 1
            if found["verdict"] != "cut":
                self._results[test.node] = found
                self._kept.write_text(json.dumps(self._results, indent=1))
            self._tell(test, found)
            self._changed.notify()

    def _tell(self, test: Planned, found: dict) -> None:
        now = time.monotonic()
        going = [
            Planned(each.node, each.cores, max(0.0, each.seconds - (now - since)))
            for each, since in self._running.items()
        ]
        left = seconds_left([*self._waiting, *going], self._cores) / 60
        print(
            f"[{self._done}/{self._count}] {test.node}: {found['verdict']} in "
            f"{found['seconds']} s; about {left:.0f} minutes left",
            flush=True,
        )
        if found["output"]:
            print(found["output"], flush=True)


def page(results: list[dict], at: str, cores: float) -> str:
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    lines = [
        "# Acceptance",
        "",
        (
            f"Written by `make acceptance` on {when}, commit `{at}`, Python "
            f"{platform.python_version()}, {platform.machine()}. Every number comes from the run."
        ),
        "",
        (
            f"{sum(r['verdict'] == 'passed' for r in results)} passed, "
            f"{sum(r['verdict'] == 'failed' for r in results)} failed, "
            f"{sum(r['verdict'] == 'skipped' for r in results)} skipped, "
            f"{sum(r['seconds'] for r in results) / 60:.0f} minutes of tests on {cores:g} cores."
        ),
        "",
    ]
    for r in results:
        name = r["node"].split("::")[-1].removeprefix("test_").replace("_", " ")
        lines += [f"## {name}", "", f"`{r['node']}`: **{r['verdict']}**, {r['seconds']} s", ""]
        if r["numbers"]:
            lines += ["| what | measured |", "|---|---|"]
            lines += [f"| {key} | {value} |" for key, value in r["numbers"].items()]
            lines.append("")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="run only tests whose name has this word")
    parser.add_argument("--again", action="store_true", help="forget results of this commit")
    parser.add_argument("--cores", type=float, default=CORES, help="cores to keep busy")
    chosen = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    at = commit()
    forget_other_commits(at)
    kept = KEPT / f"results-{at}.json"
    results = json.loads(kept.read_text()) if kept.exists() and not chosen.again else {}
    tests = collect()
    if not tests:
        print("no acceptance test was collected", file=sys.stderr)
        return 1
    missing = [
        test
        for test in tests
        if chosen.only in test.node and results.get(test.node, {}).get("verdict") != "passed"
    ]
    left = seconds_left(missing, chosen.cores) / 60
    print(f"{len(missing)} of {len(tests)} tests to run, about {left:.0f} minutes", flush=True)
    Run(missing, results, kept, chosen.cores).all()
    ordered = [results[test.node] for test in tests if test.node in results]
    PAGE.write_text(page(ordered, at, chosen.cores) + "\n")
    failed = [r["node"] for r in ordered if r["verdict"] == "failed"]
    absent = [test.node for test in tests if test.node not in results]
    print(f"{len(ordered) - len(failed)} passed, {len(failed)} failed, {len(absent)} not run")
    return 1 if failed or absent else 0


if __name__ == "__main__":
    sys.exit(main())
