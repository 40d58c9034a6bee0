"""Many repetitions of one monitored comparison at once, judged by the engine's own functions.

The boundaries of a schedule of looks are the same for all repetitions, so they are computed
once; statistics, gates and mixtures are the engine's, on arrays. ``turned_back`` is the whole
rule for two rates in this form, and ``test_speed_of_detection.py`` holds it against ``judge``.

A gate at full size is kept as it is written; a reduced run of it may miss by three binomial
errors of its own size.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from guardrails.arms import FIRST_INFORMATION
from guardrails.judge_regression import LOOK_GROWTH, restart_rho
from guardrails.levels import WHOLE_RUN
from metrics.stats import comparison as gates
from metrics.stats import spending
from metrics.stats.contrasts import Null, proportion_statistic, unpooled_variance
from metrics.stats.group_sequential import boundaries
from metrics.stats.mixtures import normal_log_mixture
from metrics.stats.moments import Arm

ALPHA = 0.05
REDUCED, FULL = 4_000, 60_000
TIERS = [
    pytest.param(REDUCED, id="reduced"),
    pytest.param(FULL, id="full", marks=pytest.mark.acceptance),
]
AT_ONCE = 4_000  # repetitions in memory together


def error(rate, runs):
    """Return the binomial standard error of a rate seen in so many repetitions."""
    return math.sqrt(max(rate * (1.0 - rate), 0.0) / runs)


@dataclass(frozen=True)
class Gate:
    """Where a rate of false alarms must lie."""

    high: float
    low: float = 0.0

    def holds(self, rate, runs):
        wide = 0.0 if runs >= FULL else 3.0
        above = self.high + wide * error(self.high, runs)
        return self.low - wide * error(self.low, runs) <= rate <= above

    def __str__(self):
        return f"{self.low} to {self.high}" if self.low else f"at most {self.high}"


def said(rate, runs):
    """Return a rate with three binomial errors."""
    return f"{rate:.4f} +- {3.0 * error(rate, runs):.4f} ({runs:,} repetitions)"


def in_parts(runs):
    """Return sizes that sum to ``runs`` and fit into memory."""
    return [AT_ONCE] * (runs // AT_ONCE) + ([runs % AT_ONCE] if runs % AT_ONCE else [])


def looks_of(information, *, first=0):
    """Return which checks are looks: by the growth rule of the engine, from ``first`` on."""
    taken, last = [], 0.0
    for k, now in enumerate(information):
        if k >= first and now >= LOOK_GROWTH * last:
            taken.append(k)
            last = now
    return taken


def bounds_of(information, alpha, *, curve=spending.log_time, planned=None, first=None):
    """Return the boundaries of a schedule; by default the log-time curve up to its end."""
    seen = [float(i) for i in information]
    planned = seen[-1] if planned is None else planned
    tau = (FIRST_INFORMATION if first is None else first) / planned
    timed = {"tau": tau} if curve in (spending.log_time, spending.reserve) else {}
    return np.array(boundaries(seen, [curve(i / planned, alpha, **timed) for i in seen]))


def crossed(z, information, *, alpha=ALPHA, usable=None):
    """Return which runs ever cross the plain log-time boundary, every check being a look.

    ``z`` is (looks, runs), ``information`` (looks). A run's looks begin when its gates first
    open, as in the engine, so runs are taken together by their first look; a look whose gate
    has closed again is skipped.
    """
    usable = np.isfinite(z) if usable is None else usable & np.isfinite(z)
    found = np.zeros(z.shape[1], dtype=bool)
    opened = np.where(usable.any(axis=0), usable.argmax(axis=0), len(z))
    for first in np.unique(opened[opened < len(z)]):
        runs = np.flatnonzero(opened == first)
        planned = float(information[-1])
        bound = bounds_of(information[first:], alpha, planned=planned)[:, None]
        over = z[first:, runs] >= bound
        found[runs] = (over & usable[first:, runs]).any(axis=0)
    return found


def rate_of(z, information, *, alpha=ALPHA, usable=None):
    return float(crossed(z, information, alpha=alpha, usable=usable).mean())


def usable_rates(t, c, kappa):
    """Return where the engine's gates for two rates are open; arms are (units, events)."""
    open_ = gates._units_gate(t[0], c[0]) & gates._events_gate(*t, *c)
    return open_ & (np.abs(kappa) < gates.MAX_SKEWNESS)


def usable_values(t, c, kappa):
    """Return where the engine's gates for two means or ratios are open."""
    known = np.maximum(gates.denominator_cv(t), gates.denominator_cv(c)) < gates.MAX_DENOMINATOR_CV
    return known & gates._units_gate(t.n, c.n) & (np.abs(kappa) < gates.MAX_SKEWNESS)


POWERS = ((1, 0), (2, 0), (3, 0), (0, 1), (1, 1), (0, 2), (2, 1), (1, 2), (0, 3))
"""Of y and x, in the order of ``Arm``'s moments; the first three are all a mean needs."""


class Pool:
    """Units drawn once; a batch is a stretch of them, so its sums are one subtraction.

    ``x`` are denominators of a ratio; ``times`` says how often each value counts.
    """

    def __init__(self, y, x=None, times=None):
        self.size = y.size
        self.others = None  # the same stretches, counted in another way
        powers = POWERS[:3] if x is None else POWERS
        x = np.ones_like(y) if x is None else x
        times = np.ones_like(y) if times is None else times
        # about their means, as the engine's moments are: sums of powers stay exact enough
        self.y0, self.x0 = float(y.mean()), float(x.mean())
        u, v = y - self.y0, x - self.x0
        self.running = np.zeros((y.size + 1, 1 + len(powers)))
        np.cumsum(times, out=self.running[1:, 0])
        for column, (a, b) in enumerate(powers, 1):
            np.cumsum(times * u**a * v**b, out=self.running[1:, column])

    def stretches(self, rng, units, runs):
        """Return where a batch of so many units begins in every run."""
        return rng.integers(0, self.size - units, runs)

    def batch(self, starts, units):
        """Return sums (runs, 1 + powers) of a batch in every run."""
        return self.running[starts + units] - self.running[starts]

    def arm(self, sums):
        """Return sums of batches as the engine's moments, one phase."""
        moments = (sums[:, i, None] for i in range(sums.shape[1]))
        return Arm(self.y0, self.x0 if sums.shape[1] > 4 else 1.0, *moments)


def welch_z(t, c, sign):
    """Return what an engine without pooled variance and skewness would decide by."""
    harm = sign * (t.y / t.x - c.y / c.x)
    variance = unpooled_variance(t) + unpooled_variance(c)
    known = variance > 0.0
    return np.where(known, harm / np.sqrt(np.where(known, variance, 1.0)), 0.0)[:, 0]


@dataclass(frozen=True)
class Rule:
    """The shipped rule for two rates with equal arms, unless it is said otherwise.

    Attributes:
        level: Of the comparison.
        checks: Number of checks.
        batch: New units per arm and check.
        restarts: Cohorts but the first, of ``checks / (restarts + 1)`` checks each.
        margin: Relative; a drop is harm.
        prove_past: Part of the margin the harm must be past.
        whole: Part of the level that is spent on the whole run; the restarts have the rest.
            Without restarts it is all of it.
        curve: Of the whole run.
        first: Information at which spending begins.
        horizon: Planned information in multiples of what comes.
        growing: Whether a check is a look only when information has grown.
    """

    level: float
    checks: int = 200
    batch: int = 100
    restarts: int = 27
    margin: float = 0.0
    prove_past: float = 0.5
    whole: float = WHOLE_RUN
    curve: Callable[..., float] = spending.reserve
    first: float = FIRST_INFORMATION
    horizon: float = 1.0
    growing: bool = True

    @property
    def information(self):
        return 0.5 * self.batch * np.arange(1.0, self.checks + 1)

    @property
    def planned(self):
        return self.horizon * self.information[-1]

    @property
    def bounds(self):
        """Boundary of every check, infinite where it is no look."""
        taken = looks_of(self.information) if self.growing else np.arange(self.checks)
        bound = np.full(self.checks, np.inf)
        bound[taken] = bounds_of(
            self.information[taken],
            self.whole_level,
            curve=self.curve,
            planned=self.planned,
            first=self.first,
        )
        return bound

    @property
    def whole_level(self):
        return self.whole * self.level if self.restarts else self.level

    @property
    def restart_level(self):
        return self.level - self.whole_level

    @property
    def starts(self):
        """First checks of the cohorts."""
        return [k for k in range(self.checks) if k == 0 or self.cohort(k) > self.cohort(k - 1)]

    def cohort(self, check):
        return check * (self.restarts + 1) // self.checks


def single(level, **changes):
    """Return the plain log-time monitor: no reserve, no restarts, every check a look."""
    plain = Rule(level, restarts=0, curve=spending.log_time, first=200.0, growing=False)
    return replace(plain, **changes)


def turned_back(rng, rule, rates, runs):
    """Return the check at which each run is turned back, ``rule.checks`` where it never is.

    ``rates`` are those of control and of the treatment.
    """
    bound = rule.bounds
    parts = [first_breach(events(rng, rule, rates, n), rule, bound) for n in in_parts(runs)]
    return np.concatenate(parts)


def events(rng, rule, rates, runs):
    """Return events (checks, runs) of control and of the treatment."""
    return tuple(rng.binomial(rule.batch, p, (rule.checks, runs)) for p in rates)


def first_breach(drawn, rule, bound):
    """Return the check at which each run of these events is turned back."""
    totals = [np.cumsum(x, axis=0, dtype=np.float64) for x in drawn]
    null = Null(1.0 - rule.prove_past * rule.margin, 0.0, -1.0)
    found = np.full(totals[0].shape[1], rule.checks)
    running = np.arange(found.size)
    for k in range(rule.checks):
        begun = [s for s in rule.starts if s <= k]
        control, treatment = (_since(x, begun, k, running) for x in totals)
        units = np.array([[rule.batch * (k + 1.0 - s)] for s in begun])
        units = np.broadcast_to(units, control.shape)
        seen = proportion_statistic((units, treatment), (units, control), null)
        usable = usable_rates((units, treatment), (units, control), seen.kappa)
        over = usable[:, 0] & (seen.z[:, 0] >= bound[k])
        if len(begun) > 1:
            over |= _since_a_restart(seen, usable, rule)
        found[running[over]] = k
        running = running[~over]
        if not running.size:
            break
    return found


def _since(total, begun, k, running):
    """Return events (running, begun, 1) since the first check of each cohort."""
    before = np.array([total[s - 1, running] if s else np.zeros(running.size) for s in begun])
    return (total[k, running] - before).T[:, :, None]


def _since_a_restart(seen, usable, rule):
    """Return which runs the e-process of all restarts turns back."""
    rho = restart_rho(rule.restart_level, rule.restarts)
    information = seen.information[:, 1:]
    score = np.nan_to_num(seen.z[:, 1:]) * np.sqrt(information)
    log_m = normal_log_mixture(score, information, rho, one_sided=True)
    log_m = np.where(usable[:, 1:], np.minimum(log_m, 600.0), 0.0)
    waiting = rule.restarts - log_m.shape[1]  # each of them counts as 1
    return (np.exp(log_m).sum(axis=1) + waiting) / rule.restarts >= 1.0 / rule.restart_level
