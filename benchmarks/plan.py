"""What a plan costs: each guardrail of an example from 4,000 paths, and the whole command."""

import itertools
import subprocess
import sys
import time
from pathlib import Path

from guardrails.planning.calendar import Traffic
from guardrails.planning.plan import PATHS, plan
from guardrails.spec_file import load_spec_file

ROOT = Path(__file__).parents[1]
EXAMPLES = ("three-step-cancel.yaml", "personal-offers.yaml")
UNITS_PER_DAY = 2000.0
LIMIT = 2.0


def main() -> None:
    for name in EXAMPLES:
        spec = load_spec_file(ROOT / "examples" / name)
        told: list[tuple[float, str]] = []

        def note(_number: int, _of: int, what: str) -> None:
            told.append((time.perf_counter(), what))  # noqa: B023 - called within this round

        done = plan(spec, Traffic(UNITS_PER_DAY), paths=PATHS, progress=note)
        told.append((time.perf_counter(), ""))
        spent = [(b - a, what) for (a, what), (b, _) in itertools.pairwise(told)]
        print(f"{name}: {done.units:,} units, {PATHS:,} paths a guardrail")
        for seconds, what in spent:
            print(f"  {what:42} {seconds:5.2f} s, {seconds / LIMIT:4.0%} of the limit")
    command = [sys.executable, "-m", "console.cli", "plan", str(ROOT / "examples" / EXAMPLES[0])]
    begun = time.perf_counter()
    subprocess.run(
        [*command, "--units-per-day", "2000", "--json"], check=True, capture_output=True, cwd=ROOT
    )
    print(f"turnback plan {EXAMPLES[0]}: {time.perf_counter() - begun:.1f} s")


if __name__ == "__main__":
    main()
