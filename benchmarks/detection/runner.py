"""Running scenarios in blocks, summing up, and keeping what is done for the next attempt."""

import hashlib
import math
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.detection.evidence import Array, Setting
from benchmarks.detection.rules import found_by
from benchmarks.detection.scenarios import Case, Scenario

ROOT = Path(__file__).parents[2]
BLOCK = 100
"""Repetitions drawn at once: a block's randomness depends on seed, scenario and its number."""

LEAST = 20

DECIDING = (
    *(
        f"benchmarks/detection/{name}.py"
        for name in ("draws", "evidence", "peers", "rules", "runner", "scenarios", "shipped")
    ),
    "metrics/stats/*.py",
    "guardrails/judge.py",
    "guardrails/judge_regression.py",
    "guardrails/levels.py",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one rule did in one case; a time is ``None`` where fewer were ever found.

    Attributes:
        runs: Repetitions.
        before: Share turned back before the onset, wrongly.
        found: Share turned back after it.
        hours: Median and 90% of the hours from the onset to the rollback, of all repetitions
            not turned back before.
        hours_se: Their standard errors.
        mean_units: Mean units of the treatment from the onset until the rollback, or the end;
            ``None`` where all were turned back before.
        mean_se: Its standard error.
    """

    runs: int
    before: float
    found: float
    hours: tuple[float | None, float | None]
    hours_se: tuple[float | None, float | None]
    mean_units: float | None
    mean_se: float | None

    @property
    def turned(self) -> float:
        """Share turned back at all."""
        return self.before + self.found

    @property
    def turned_se(self) -> float:
        """Its standard error; of a share of 0 or 1 that of half a repetition."""
        return _share_error(self.turned, self.runs)


Results = dict[str, dict[str, Outcome]]
"""Outcome by case and rule."""


def _share_error(share: float, runs: int) -> float:
    inside = min(max(share, 0.5 / runs), 1.0 - 0.5 / runs)
    return math.sqrt(inside * (1.0 - inside) / runs)


def quantile(sorted_hours: Array, share: float) -> tuple[float | None, float | None]:
    """Return a quantile and its standard error from order statistics one error either way."""
    count = sorted_hours.size
    if not count:
        return None, None
    spread = math.sqrt(count * share * (1.0 - share))
    last = count - 1
    low, middle, high = (
        float(sorted_hours[min(max(math.ceil(count * share + step) - 1, 0), last)])
        for step in (-spread, 0.0, spread)
    )
    if not math.isfinite(middle):
        return None, None
    return middle, (high - low) / 2.0 if math.isfinite(high) else None


def outcome(found: Array, setting: Setting) -> Outcome:
    """Sum up the hours at which repetitions were turned back."""
    early = found <= setting.onset
    delay = np.sort(found[~early] - setting.onset)
    until = np.minimum(delay, setting.hours - setting.onset)
    middle, late = quantile(delay, 0.5), quantile(delay, 0.9)
    return Outcome(
        runs=found.size,
        before=float(early.mean()),
        found=float(np.isfinite(found[~early]).sum() / found.size),
        hours=(middle[0], late[0]),
        hours_se=(middle[1], late[1]),
        mean_units=float(until.mean() * setting.units) if until.size else None,
        mean_se=float(until.std() * setting.units / math.sqrt(until.size)) if until.size else None,
    )


def run_case(case: Case, seed: tuple[int, ...], repetitions: int) -> dict[str, Outcome]:
    """Draw a case in blocks and return each rule's outcome."""
    parts: dict[str, list[Array]] = {}
    for block in range(math.ceil(repetitions / BLOCK)):
        rng = np.random.default_rng((*seed, block))
        runs = min(BLOCK, repetitions - block * BLOCK)
        for name, hours in found_by(iter(case.draw(rng, case.setting, runs)), case.setting).items():
            parts.setdefault(name, []).append(hours)
    return {name: outcome(np.concatenate(all_), case.setting) for name, all_ in parts.items()}


def repetitions_of(scenario: Scenario, asked: int) -> int:
    """Return the repetitions of a scenario."""
    return max(min(LEAST, asked), round(asked * scenario.share))


@cache
def digest() -> str:
    """Return a digest of the code that draws and decides: what other code kept is not used."""
    found = hashlib.sha256()
    for name in DECIDING:
        for path in sorted(ROOT.glob(name)):
            found.update(path.read_bytes())
    return found.hexdigest()[:12]


def run(
    scenario: Scenario, *, seed: int, repetitions: int, keep: Path, say: Callable[[str], None]
) -> Results:
    """Return the results of a scenario, from an earlier attempt where there is one."""
    count = repetitions_of(scenario, repetitions)
    kept = keep / f"{scenario.key}-{seed}-{count}-{digest()}.json"
    if kept.exists():
        say(f"{scenario.key}: kept from before")
        return msgspec.json.decode(kept.read_bytes(), type=Results)
    results: Results = {}
    for number, case in enumerate(scenario.cases):
        begun = time.perf_counter()
        own = (seed, zlib.crc32(scenario.key.encode()), number)
        results[case.name] = run_case(case, own, count)
        took = time.perf_counter() - begun
        say(f"{scenario.key}: {case.name}, {count:,} repetitions in {took:.1f} s")
    keep.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(".part")
    part.write_bytes(msgspec.json.encode(results))
    part.replace(kept)
    return results
