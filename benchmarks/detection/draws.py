"""Drawing repetitions: sums per hour, arm and phase, straight from their distributions."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from benchmarks.detection.evidence import Array, Draw, Setting, Sides, since, since_cohort

Generator = np.random.Generator


def _sides(
    treatment: Array,
    control: Array,
    setting: Setting,
    *,
    y: tuple[float, float] = (0.0, 0.0),
    x: float = 1.0,
) -> Sides:
    starts = setting.starts
    return Sides(since(treatment, starts), since(control, starts), y, x)


def after(setting: Setting, before: float, later: float) -> Array:
    """Return a value per hour that changes at the onset."""
    return np.where(np.arange(setting.hours) < setting.onset, before, later)


def rates(
    rng: Generator, setting: Setting, runs: int, p: Array, control: Array, *, ratio: int = 1
) -> Draw:
    """Draw a proportion; control has ``ratio`` times the treatment's units."""
    shape = (setting.hours, runs)
    sums = []
    for units, chance in ((setting.units, p), (setting.units * ratio, control)):
        y = rng.binomial(units, chance[:, None], shape).astype(np.float64)
        sums.append(np.stack([np.full(shape, float(units)), y])[..., None])
    return Draw(_sides(sums[0], sums[1], setting), sums[0][1, ..., 0] / setting.units)


def shifting(rng: Generator, setting: Setting, runs: int) -> Draw:
    """Draw equal arms, 19:1 at a rate of .1, then 1:1 at .3 from the middle on."""
    shape, half = (setting.hours, runs), setting.hours // 2
    both = setting.units * 2
    sums = []
    for early in (both // 20, both - both // 20):
        table = np.zeros((2, *shape, 2))
        for phase, (units, p, hours) in enumerate(
            ((early, 0.1, slice(0, half)), (both // 2, 0.3, slice(half, None)))
        ):
            count = table[0, hours, :, phase].shape
            table[0, hours, :, phase] = units
            table[1, hours, :, phase] = rng.binomial(units, p, count)
        sums.append(table)
    n, y = sums[0].sum(axis=-1)
    return Draw(_sides(sums[0], sums[1], setting), y / n)


@dataclass(frozen=True, slots=True)
class Pool:
    """Units to draw from in runs of neighbours, with running sums of what is needed of them.

    Attributes:
        running: (moments, units + 1), about the references.
        y: Reference of the numerator.
        x: Reference of the denominator.
    """

    running: Array
    y: float
    x: float = 1.0

    def sums(self, rng: Generator, units: int, shape: tuple[int, ...]) -> Array:
        """Return moments of so many units, (moments, *shape, 1)."""
        start = rng.integers(0, self.running.shape[1] - units, shape)
        return (self.running[:, start + units] - self.running[:, start])[..., None]


def pool_of(y: Array, x: Array | None = None) -> Pool:
    """Return a pool of units with numerators and, for a ratio, denominators."""
    y0, x0 = float(y.mean()), 1.0 if x is None else float(x.mean())
    u = y - y0
    rows = [np.ones_like(u), u, u * u, u**3]
    if x is not None:
        v = x - x0
        rows += [v, u * v, v * v, u * u * v, u * v * v, v**3]
    running = np.zeros((len(rows), u.size + 1))
    np.cumsum(np.array(rows), axis=1, out=running[:, 1:])
    return Pool(running, y0, x0)


_POOL = 1_000_000


@lru_cache(maxsize=8)
def revenue(effect: float) -> Pool:
    """5% buy, for a lognormal amount (median 40, sigma 1) that is capped at 1,000."""
    rng = np.random.default_rng(101)
    amount = np.minimum(40.0 * np.exp(rng.normal(size=_POOL)), 1_000.0)
    return pool_of(np.where(rng.random(_POOL) < 0.05, amount, 0.0) * (1.0 + effect))


@lru_cache(maxsize=8)
def ratings(effect: float) -> Pool:
    """A unit rates 1 to 4 things; its scores share half of their variance."""
    rng = np.random.default_rng(102)
    x = rng.integers(1, 5, _POOL).astype(np.float64)
    shared, own = rng.normal(size=(2, _POOL))
    y = 4.2 * (1.0 + effect) * x + 0.7 * (shared * x + own * np.sqrt(x))
    return pool_of(y, x)


@lru_cache(maxsize=8)
def sessions(effect: float) -> tuple[Pool, Pool]:
    """A unit has 1 to 9 sessions whose successes hang together (correlation .3).

    Returns:
        Units for a ratio of sums, and their sessions as rows of their own (mean 5 a unit).
    """
    rng = np.random.default_rng(103)
    x = rng.integers(1, 10, _POOL).astype(np.float64)
    share = 0.8 * (1.0 + effect)
    again = 1.0 / 0.3 - 1.0
    chance = rng.beta(share * again, (1.0 - share) * again, _POOL)
    return pool_of(rng.binomial(x.astype(np.int64), chance).astype(np.float64), x), pool_of(x)


def amounts(
    rng: Generator, setting: Setting, runs: int, pools: tuple[Pool, Pool], *, ratio: int = 1
) -> Draw:
    """Draw a mean or a ratio of sums from the pools of treatment and control."""
    shape = (setting.hours, runs)
    t = pools[0].sums(rng, setting.units, shape)
    c = pools[1].sums(rng, setting.units * ratio, shape)
    y = t[1, ..., 0] + setting.units * pools[0].y
    x = t[4, ..., 0] + setting.units * pools[0].x if t.shape[0] > 4 else float(setting.units)
    sides = _sides(t, c, setting, y=(pools[0].y, pools[1].y), x=pools[0].x)
    return Draw(sides, y / x)


def clustered(rng: Generator, setting: Setting, runs: int, effect: float) -> Draw:
    """Draw sessions of units; who takes rows for independent sees sessions, not units.

    The number of rows is taken as its mean, so that it is the same in all repetitions.
    """
    pools = sessions(effect)[0], sessions(0.0)[0]
    draw = amounts(rng, setting, runs, pools)
    rows = []
    for arm, pool in ((draw.ours.treatment, pools[0]), (draw.ours.control, pools[1])):
        n, u, v = arm[0], arm[1], arm[4]
        x, y = v + n * pool.x, u + n * pool.y
        seen = n * pool.x
        share = np.where(n > 0, y / np.where(x > 0, x, 1.0), 0.0)
        # successes among rows, about 0
        rows.append(np.stack([seen, share * seen, share * seen, share * seen]))
    return Draw(draw.ours, draw.window, events=Sides(rows[0], rows[1]))


def delayed(
    rng: Generator, setting: Setting, runs: int, *, early: float, chance: tuple[float, float]
) -> Draw:
    """Draw complaints that come within 24 hours; ours waits for those, others count so far.

    Args:
        rng: Source of all randomness.
        setting: Of the run.
        runs: Repetitions.
        early: Share of the treatment's complaints that come within three hours (an eighth of
            the day otherwise): the same complaints, only sooner.
        chance: Of a complaint within the day, of treatment and control.
    """
    wait, cohorts = 24, len(setting.starts)
    closed, so_far, window = [], [], np.zeros((setting.hours, runs))
    for arm, p in enumerate(chance):
        head = early if arm == 0 else 3 / wait
        delay = np.concatenate([np.full(3, head / 3), np.full(wait - 3, (1 - head) / (wait - 3))])
        counts = rng.multinomial(setting.units, [*(p * delay), 1 - p], (setting.hours, runs))
        table = np.zeros((2, cohorts, setting.hours, runs, 1))
        entered = np.zeros((2, cohorts, setting.hours, runs, 1))
        for hour in range(setting.hours):
            row, last = hour // setting.cohort, min(hour + wait, setting.hours)
            table[0, row, hour, :, 0] += setting.units
            come = counts[hour, :, : last - hour].T
            table[1, row, hour:last, :, 0] += come
            if hour + wait < setting.hours:
                entered[0, row, hour + wait, :, 0] += setting.units
                entered[1, row, hour + wait, :, 0] += counts[hour, :, :wait].sum(axis=1)
            if arm == 0:
                window[hour:last] += come / setting.units
        closed.append(since_cohort(entered))
        so_far.append(since_cohort(table))
    return Draw(Sides(*closed), window, theirs=Sides(*so_far))


def correlated(
    rng: Generator, setting: Setting, runs: int, *, effect: float, rho: float = 0.5
) -> list[Draw]:
    """Draw twelve normal KPIs (mean 10, sd 5) of the same units; the first may be harmed."""
    count, shape = setting.family, (setting.hours, runs)
    n = float(setting.units)
    arms = []
    for _ in range(2):
        shared = rng.standard_normal(shape)
        own = rng.standard_normal((count, *shape))
        mean = 5.0 / np.sqrt(n) * (np.sqrt(rho) * shared + np.sqrt(1.0 - rho) * own)
        within = 25.0 * rng.chisquare(n - 1.0, (count, *shape))
        arms.append((mean, within))
    draws = []
    for kpi in range(count):
        moved = 10.0 * effect if kpi == 0 else 0.0
        sums = []
        for (mean, within), shift in zip(arms, (moved, 0.0), strict=True):
            m = mean[kpi] + shift
            # no third moments: with equal arms the skewness cancels
            moments = [np.full(shape, n), n * m, within[kpi] + n * m * m, np.zeros(shape)]
            sums.append(np.stack(moments)[..., None])
        window = sums[0][1, ..., 0] / n + 10.0
        draws.append(Draw(_sides(sums[0], sums[1], setting, y=(10.0, 10.0)), window))
    return draws
