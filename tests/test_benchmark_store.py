"""The store's benchmark runs to its end in its small form, and what it counts is right."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_small_form_prints_every_row_and_counts_what_it_sent():
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "store.py", "--quick"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    assert done.stderr == ""
    rows = re.findall(r"^\((.)\)", done.stdout, re.MULTILINE)
    assert rows == ["a", "b", "c", "d", "e", "b", "c", "d", "e"]
    batches = re.search(r"; (\d+) batches of 500", done.stdout)
    kept = re.search(r"all of them kept ([\d,]+) \(with ([\d,]+) exposures", done.stdout)
    total, exposures = (int(each.replace(",", "")) for each in kept.groups())
    assert exposures > 0
    assert total == exposures + 500 * int(batches[1])
    checks = re.findall(
        r"; ([\d,]+) events before, ([\d,]+) units; .*counted ([\d,]+)", done.stdout
    )
    # 2,000 units, each exposed once, and two rounds of 600 events, ten of them first exposures
    assert checks == [("4,000", "2,010", "7,200"), ("12,000", "2,010", "15,200")]
    assert "from 4,000 to 12,000 events, as they come" in done.stdout
    assert "all late" in done.stdout
