"""Run every full-size acceptance test, resumably, and write ``docs/acceptance.md``.

Each test is run on its own; its result is kept under ``build/acceptance`` for the commit it was
run on, so a run that was cut short goes on where it stopped. Tests report their numbers through
pytest's ``record_property``; they stand in the page beside the verdict. Two tests run side by
side, except those that keep both cores busy by themselves.

Usage: ``python tests/acceptance/run.py [--only WORD] [--again]``
"""

import argparse
import json
import platform
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "acceptance"
PAGE = ROOT / "docs" / "acceptance.md"
LIMIT_SECONDS = 75 * 60
LANES = 2
ALONE = ("test_clients", "test_crash", "test_demo_scenarios", "test_online_retail")
"""Two processes or more, or a clock that tells."""


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


def collect() -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "acceptance"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    # one run per test function: its parameters share a process
    nodes = (line.partition("[")[0] for line in done.stdout.splitlines() if "::" in line)
    return list(dict.fromkeys(nodes))


def run_one(node: str, *, timeout: float) -> dict[str, object]:
    report = KEPT / f"report-{threading.get_ident()}.xml"
    report.unlink(missing_ok=True)
    begun = time.monotonic()
    try:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-m",
                "acceptance",
                node,
                f"--junitxml={report}",
                "-q",
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        output, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired:
        output, code = "the time for all tests is over", -1
    result = {
        "node": node,
        "verdict": {0: "passed", 5: "skipped"}.get(code, "failed"),
        "seconds": round(time.monotonic() - begun, 1),
        "numbers": {},
        "output": "" if code == 0 else output[-1500:],
    }
    if report.exists():
        for case in ET.parse(report).iter("testcase"):
            if case.find("skipped") is not None:
                result["verdict"] = "skipped"
            result["numbers"] |= {p.get("name"): p.get("value") for p in case.iter("property")}
    return result


def run_all(nodes: list[str], results: dict[str, dict], kept: Path) -> None:
    """Run tests, those of ``ALONE`` first and one by one; keep every result as it comes."""
    begun, saving = time.monotonic(), threading.Lock()

    def run(node: str) -> None:
        print(f"[{nodes.index(node) + 1}/{len(nodes)}] {node}", flush=True)
        found = run_one(node, timeout=LIMIT_SECONDS - (time.monotonic() - begun))
        with saving:
            results[node] = found
            kept.write_text(json.dumps(results, indent=1))
            print(f"    {node}: {found['verdict']} in {found['seconds']} s", flush=True)
            if found["output"]:
                print(found["output"], flush=True)

    alone = [node for node in nodes if any(word in node for word in ALONE)]
    for node in alone:
        run(node)
    with ThreadPoolExecutor(LANES) as lanes:
        list(lanes.map(run, [node for node in nodes if node not in alone]))


def page(results: list[dict], at: str) -> str:
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
            f"{sum(r['seconds'] for r in results) / 60:.0f} minutes of tests, {LANES} at a time."
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
    chosen = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    at = commit()
    forget_other_commits(at)
    kept = KEPT / f"results-{at}.json"
    results = json.loads(kept.read_text()) if kept.exists() and not chosen.again else {}
    nodes = collect()
    if not nodes:
        print("no acceptance test was collected", file=sys.stderr)
        return 1
    missing = [
        node
        for node in nodes
        if chosen.only in node and results.get(node, {}).get("verdict") != "passed"
    ]
    run_all(missing, results, kept)
    ordered = [results[node] for node in nodes if node in results]
    PAGE.write_text(page(ordered, at) + "\n")
    failed = [r["node"] for r in ordered if r["verdict"] == "failed"]
    missing = [node for node in nodes if node not in results]
    print(f"{len(ordered) - len(failed)} passed, {len(failed)} failed, {len(missing)} not run")
    return 1 if failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
