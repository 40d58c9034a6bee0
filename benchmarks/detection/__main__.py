"""``python -m benchmarks.detection``: run the comparison and write its page."""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.detection import chart
from benchmarks.detection.page import About, page
from benchmarks.detection.runner import ROOT, run
from benchmarks.detection.scenarios import SCENARIOS

OUT = ROOT / "docs" / "calibration.md"
PICTURE = "margin-5"


def commit() -> str:
    """Return the commit of the working tree, marked where it is not that commit."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, check=False)
    if head.returncode:
        return "unknown"
    code = ["status", "--porcelain", "--", "benchmarks/detection", "metrics", "guardrails"]
    changed = subprocess.run([*git, *code], capture_output=True, check=False).stdout.strip()
    return head.stdout.decode().strip() + (" with changes" if changed else "")


def arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5_000, help="of most scenarios")
    parser.add_argument("--seed", type=int, default=20260302)
    parser.add_argument(
        "--only", action="append", choices=[s.key for s in SCENARIOS], help="may be repeated"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="the page")
    parser.add_argument(
        "--keep",
        type=Path,
        default=ROOT / "build" / "detection",
        help="results per scenario, so that an interrupted run goes on where it was",
    )
    found = parser.parse_args(given)
    if found.repetitions < 1:
        parser.error("--repetitions: must be 1 or more")
    if found.seed < 0:
        parser.error("--seed: must be 0 or more")
    return found


def main(given: list[str]) -> None:
    """Run what was asked for and write the page."""
    asked = arguments(given)
    begun = time.perf_counter()

    def say(line: str) -> None:
        print(f"{time.perf_counter() - begun:6.0f} s  {line}", flush=True)

    done = {
        s.key: (s, run(s, seed=asked.seed, repetitions=asked.repetitions, keep=asked.keep, say=say))
        for s in SCENARIOS
        if not asked.only or s.key in asked.only
    }
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    picture = None
    if PICTURE in done:
        picture = f"images/{asked.out.stem}.svg"
        chart.write(done[PICTURE][1], asked.out.parent / picture)
    command = (
        f"python -m benchmarks.detection --repetitions {asked.repetitions} --seed {asked.seed}"
    )
    command += "".join(f" --only {key}" for key in asked.only or ())
    about = About(asked.seed, asked.repetitions, commit(), command, picture)
    asked.out.write_text(page(done, about), encoding="utf-8")
    say(f"wrote {asked.out}")


if __name__ == "__main__":
    main(sys.argv[1:])
