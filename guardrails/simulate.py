"""Simulated ratings, judged hour by hour: what a guardrail will find, and when. Pure, seeded.

No event log: the exact integer cells of every hour are drawn directly, then the real
``judge`` looks at them, so thousands of experiments take minutes.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from guardrails.judge import judge
from guardrails.levels import Comparison
from guardrails.outcome import Finding, Outcome, WindowState
from metrics.cells import MICRO, MILLI, Cell, Snapshot, Sums

Counts = npt.NDArray[np.int64]

SCORES = (1, 2, 3, 4, 5)
HOUR = timedelta(hours=1)

_ORIGIN = datetime(2026, 1, 1, tzinfo=UTC)
_NEWTON_STEPS = 60


@dataclass(frozen=True, slots=True)
class Ratings:
    """An experiment on a five-point score, the same number of units in both arms.

    Attributes:
        units_per_hour: Mean number of units first exposed per arm and hour (Poisson).
        answering: Share of units that ever answer.
        prompt: Share of the answers that come within the first hour; the rest within a day.
        mean: Mean score of control.
        sd: Standard deviation of the scores, in both arms whatever the effect.
        effect: Relative effect on the treatment's mean, -0.05 is 5% lower.
        onset: Hour of first exposure from which the effect holds.
        hours: Length of the experiment; a check at the end of every hour.
        cohort: Hours of first exposure in one cohort.
    """

    units_per_hour: float = 2000 / 24
    answering: float = 0.3
    prompt: float = 0.5
    mean: float = 4.2
    sd: float = 1.0
    effect: float = 0.0
    onset: int = 0
    hours: int = 14 * 24
    cohort: int = 12


def score_shares(mean: float, sd: float) -> npt.NDArray[np.float64]:
    """Return shares of the scores 1 to 5 with a given mean and sd (the most even ones).

    Raises:
        ValueError: No such distribution was found.
    """
    s = np.array(SCORES, dtype=np.float64) - mean
    features = np.stack([s, s * s - sd * sd])
    weights = np.zeros(2)
    for _ in range(_NEWTON_STEPS):  # maximum entropy: minimise ln sum exp(w . features)
        p = np.exp(weights @ features)
        p /= p.sum()
        gradient = features @ p
        if float(np.abs(gradient).max()) < 1e-13:  # noqa: PLR2004 - rounding
            return p
        centred = features - gradient[:, None]
        weights = weights - np.linalg.solve((centred * p) @ centred.T, gradient)
    raise ValueError(f"no distribution on 1 to 5 found with mean {mean!r} and sd {sd!r}")


def _draw(ratings: Ratings, rng: np.random.Generator, effect: float) -> dict[bool, Counts]:
    """Draw one arm: per hour of exposure units and scores, by "answers of the whole day"."""
    units = rng.poisson(ratings.units_per_hour, ratings.hours)
    answers = rng.binomial(units, ratings.answering)
    prompt = rng.binomial(answers, ratings.prompt)
    before = score_shares(ratings.mean, ratings.sd)
    after = score_shares(ratings.mean * (1.0 + effect), ratings.sd)
    shares = np.where(np.arange(ratings.hours)[:, None] < ratings.onset, before, after)
    first = rng.multinomial(prompt, shares)
    rest = rng.multinomial(answers - prompt, shares)
    return {
        False: np.column_stack([units, first]),
        True: np.column_stack([units, first + rest]),
    }


def score_sums(scores: Sequence[int]) -> Sums:
    """Return the exact sums of so many units with one rating of 1, 2, 3, 4 and 5 each."""
    n, y, yy, yyy = (
        sum(count * score**power for count, score in zip(scores, SCORES, strict=True))
        for power in range(4)
    )
    square, cube = MICRO**2, MILLI**3
    return Sums(
        n, y * MICRO, n * MICRO, yy * square, y * square, n * square,
        yyy * cube, yy * cube, y * cube, n * cube,
    )  # fmt: skip


class _Arm:
    """The cells of one arm and window, growing hour by hour."""

    def __init__(self, variant: str, hourly: Counts, cohort: int) -> None:
        self.variant = variant
        self.hourly = hourly
        self.cohort = cohort
        self.cells: list[Cell] = []
        self._running = np.zeros(1 + len(SCORES), dtype=np.int64)

    def enter(self, hour: int) -> None:
        """Let the units first exposed in an hour enter."""
        index = hour // self.cohort
        if index == len(self.cells):
            self._running[:] = 0
            self.cells.append(Cell(self.variant, 0, index, 0, Sums()))
        self._running += self.hourly[hour]
        entered, *scores = self._running.tolist()
        self.cells[index] = Cell(self.variant, 0, index, entered, score_sums(scores))


def simulated_findings(
    ratings: Ratings, comparison: Comparison, rng: np.random.Generator
) -> Iterator[tuple[int, Finding]]:
    """Yield (hours since the start, finding) of every hourly check; states go on regardless."""
    arms = {
        comparison.control: _draw(ratings, rng, 0.0),
        comparison.treatment: _draw(ratings, rng, ratings.effect),
    }
    windows = {
        plan.length: [
            _Arm(variant, drawn[plan.length > HOUR], ratings.cohort)
            for variant, drawn in arms.items()
        ]
        for plan in comparison.windows
    }
    states: dict[str, WindowState] = {}
    for now in range(1, ratings.hours + 1):
        for length, pair in windows.items():
            exposed_in = now - 1 - math.ceil(length / HOUR)
            if exposed_in >= 0:
                for arm in pair:
                    arm.enter(exposed_in)
        cells = {
            (comparison.kpi, length): (*pair[0].cells, *pair[1].cells)
            for length, pair in windows.items()
        }
        finding = judge(Snapshot(_ORIGIN + now * HOUR, now, cells, {}), comparison, states)
        states = dict(finding.states)
        yield now, finding


def hours_to_breach(ratings: Ratings, comparison: Comparison, seed: Sequence[int]) -> int | None:
    """Return after how many hours a simulated experiment is turned back, ``None`` if never."""
    rng = np.random.default_rng(seed)
    for now, finding in simulated_findings(ratings, comparison, rng):
        if finding.outcome is Outcome.BREACH:
            return now
    return None
