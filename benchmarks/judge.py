"""What one judgement costs: a look, a check between looks, and 24 looks due at once."""

import statistics
import time
from datetime import UTC, datetime, timedelta

import numpy as np

from guardrails.judge import judge
from guardrails.levels import Comparison, WindowPlan
from metrics.catalogue import Kind
from metrics.cells import MICRO, Cell, Snapshot, Sums

HOUR = timedelta(hours=1)
LIMIT_24_LOOKS = 0.060
COMPARISON = Comparison(
    guardrail="g",
    kpi="k",
    kind=Kind.PROPORTION,
    side="drop",
    margin=0.05,
    absolute=False,
    prove_past=0.5,
    control="control",
    treatment="treatment",
    acts=True,
    windows=(WindowPlan(HOUR, 0.00625, 1e5, 27),),
)


def snapshot(hour: int, rng: np.random.Generator, held: dict) -> Snapshot:
    for arm in ("control", "treatment"):
        key = arm, hour // 12
        hits = int(rng.binomial(100, 0.8))
        one, none = Sums.of(MICRO), Sums.of(0)
        sums = held.get(key, Sums())
        for _ in range(hits):
            sums += one
        for _ in range(100 - hits):
            sums += none
        held[key] = sums
    cells = tuple(Cell(arm, 0, cohort, s.n, s) for (arm, cohort), s in sorted(held.items()))
    return Snapshot(datetime(2026, 1, 1, tzinfo=UTC), hour, {("k", HOUR): cells}, {})


def main() -> None:
    rng, held, states = np.random.default_rng(1), {}, {}
    looks, checks = [], []
    for hour in range(336):
        seen = snapshot(hour, rng, held)
        begun = time.perf_counter()
        finding = judge(seen, COMPARISON, states)
        spent = time.perf_counter() - begun
        (looks if finding.windows[0].is_look else checks).append(spent)
        states = finding.states
    look, check = statistics.median(looks), statistics.median(checks)
    print(
        f"{len(looks)} looks, median {1000 * look:.2f} ms; {len(checks)} checks between, "
        f"median {1000 * check:.2f} ms ({check / look:.0%} of a look)"
    )
    share = 24 * look / LIMIT_24_LOOKS
    print(
        f"24 looks due at once: {24000 * look:.1f} ms (limit {1000 * LIMIT_24_LOOKS:.0f} ms, "
        f"{share:.0%} of it)"
    )


if __name__ == "__main__":
    main()
