"""The benchmark of rollbacks runs to its end in its small form, and what it counts is right."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_small_form_turns_back_and_counts_every_check():
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "rollback.py", "--quick"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=110,
    )
    rows = re.findall(r"^\((.)\)", done.stdout, re.MULTILINE)
    assert rows == ["a", "b"]
    assert "12 guardrails each" in done.stdout
    way = re.search(r"([\d.]+) s median, ([\d.]+) s at most of 1 repetitions", done.stdout)
    assert 0 < float(way[1]) == float(way[2]) < 60
    # three experiments, two treatments: twelve guardrails and the split; 30 events, 3 exposures
    assert "2 rounds of 3 experiments, 78 guardrails of treatments" in done.stdout
    assert "each after 33 new events; 6 checks" in done.stdout
    outcomes = re.search(r"at the end: (.*?); running 3;", done.stdout)[1]
    assert sum(int(n) for n in re.findall(r"(\d+)", outcomes)) == 78
