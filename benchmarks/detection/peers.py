"""The rules of the field, each a small function after the page that documents it.

Every rule of a boundary comes twice: plain, and with our protection against late harm: as much of
its level as ours for the whole run, the rest spread over the restarts, by Bonferroni where it is a
boundary and by averaging where it is an e-process.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy.special import ndtri

from benchmarks.detection.evidence import Array, Evidence, Setting
from benchmarks.detection.shipped import average, first, parts
from metrics.stats.group_sequential import boundaries
from metrics.stats.mixtures import normal_log_mixture, tuned_rho
from metrics.stats.spending import obrien_fleming, pocock

Find = Callable[[Setting, Evidence], Array]
"""Hour of the rollback per repetition, ``inf`` without one."""

Bound = Callable[[Setting, Array, float, float], Array]
"""``(setting, information, level, planned) -> z`` at every check of one row."""

LogE = Callable[[Evidence, float], Array]
"""``(evidence, level) -> log e-process`` of all rows."""


def repeated_z(setting: Setting, information: Array, level: float, planned: float) -> Array:
    """Compare z with the quantile of one test at every check."""
    del setting, planned
    return np.full(information.size, -ndtri(level))


def statsig(setting: Setting, information: Array, level: float, planned: float) -> Array:
    """Statsig's sequential testing: the mSPRT of Zhao, Liu & Deb with tau = Z^2 V.

    Interval ``+- sqrt(V (V + tau) / tau (-2 ln level - ln(V / (V + tau))))``, two-sided, only
    its harmful side acts. tau follows V, so as a z it is one constant, 3.09 at 5%.

    Source: https://docs.statsig.com/experiments/advanced-setup/sequential-testing (its formulas
    are pictures; read with https://arxiv.org/abs/1905.10493, formula 3 and appendix).
    """
    del setting, planned
    share = float(ndtri(1.0 - level / 2.0)) ** 2
    z = math.sqrt((1.0 + 1.0 / share) * (-2.0 * math.log(level) + math.log1p(share)))
    return np.full(information.size, z)


def group_sequential(curve: Callable[[float, float], float]) -> Bound:
    """Spend along a Lan-DeMets curve, a look at every check (Jennison & Turnbull, ch. 7, 19)."""

    @lru_cache(maxsize=2_000)
    def solved(looks: tuple[float, ...], level: float, planned: float) -> tuple[float, ...]:
        return boundaries(looks, [curve(i / planned, level) for i in looks])

    def bound(setting: Setting, information: Array, level: float, planned: float) -> Array:
        del setting
        z = np.full(information.size, np.inf)
        enough = np.flatnonzero(information > 0.0)
        if enough.size:
            z[enough] = solved(tuple(information[enough].tolist()), level, planned)
        return z

    return bound


def by_bound(bound: Bound, *, protected: bool = False, level: float | None = None) -> Find:
    """Turn back where z reaches a boundary, in the whole run or (Bonferroni) since a restart."""

    def find(setting: Setting, evidence: Evidence) -> Array:
        total = level or setting.level
        restarts = evidence.z.shape[0] - 1 if protected else 0
        found = np.full(evidence.z.shape[2], np.inf)
        whole, since = parts(total, restarts)
        for row in range(restarts + 1):
            own = since / restarts if row else whole
            planned = setting.horizon * float(evidence.information[row, -1])
            # a check at which no repetition has enough units is no look
            may = evidence.gate[row].any(axis=1)
            information = np.where(may, evidence.information[row], 0.0)
            needed = bound(setting, information, own, planned)
            crossed = (evidence.z[row] >= needed[:, None]) & evidence.gate[row]
            np.minimum(found, first(crossed), out=found)
        return found

    return find


def growthbook(evidence: Evidence, level: float) -> Array:
    """GrowthBook's asymptotic confidence sequence as the e-process it inverts.

    Two-sided, only its harmful side acts; N counts units of both arms, tuned to S = 5,000:
    ``rho = S / (2 ln(1/level) + ln(1 + 2 ln(1/level)))``.

    Source: https://docs.growthbook.io/statistics/sequential, its default tuning.
    """
    n = np.maximum(evidence.units, 1.0)[..., None]
    doubled = -2.0 * math.log(level)
    rho = 5_000.0 / (doubled + math.log1p(doubled))
    log_e = 0.5 * (np.log(rho / (n + rho)) + evidence.z**2 * n / (n + rho))
    return np.where(evidence.z > 0.0, log_e, 0.0)


def mixture(units: float) -> LogE:
    """One-sided normal mixture, sharpest at so many units an arm (Howard et al. 2021)."""

    def log_e(evidence: Evidence, level: float) -> Array:
        information = evidence.information[..., None]
        rho = tuned_rho(units / 2.0, level, one_sided=True)
        return normal_log_mixture(
            evidence.z * np.sqrt(information), information, rho, one_sided=True
        )

    return log_e


def by_e_process(log_e: LogE, *, protected: bool = False) -> Find:
    """Turn back where an e-process, or the average of those since restarts, is large enough."""

    def find(setting: Setting, evidence: Evidence) -> Array:
        whole, since = parts(setting.level, evidence.z.shape[0] - 1 if protected else 0)
        alone = evidence.whole()
        values = np.where(alone.gate, log_e(alone, whole), 0.0)
        found = first(values[0] >= -math.log(whole))
        if protected and since:
            values = np.where(evidence.gate, log_e(evidence, since), 0.0)[1:]
            np.minimum(found, first(average(values) >= -math.log(since)), out=found)
        return found

    return find


CURVES = {"O'Brien-Fleming": obrien_fleming, "Pocock": pocock}


def failed_checks(window: Array, setting: Setting, *, limit: int, in_a_row: bool = False) -> Array:
    """Turn back when the last hour was past a fixed threshold so many times.

    The threshold is control's true value less the margin (5% where there is none). Sources:
    - Unleash, impact metrics, safeguards: one window past the threshold pauses.
      https://docs.getunleash.io/concepts/impact-metrics
    - Argo Rollouts, analysis: "if there are three such measurements, the analysis is failed".
      https://argo-rollouts.readthedocs.io/en/stable/features/analysis/
    - Flagger, how it works: ``threshold: 10``, the number of failed checks before rollback.
      https://docs.flagger.app/usage/how-it-works

    Args:
        window: Value of the treatment within each hour, (checks, repetitions).
        setting: With ``baseline`` and tolerance.
        limit: Failed checks that turn back.
        in_a_row: A passed check forgets those before.
    """
    threshold = setting.baseline * (1.0 + setting.sign * setting.tolerance)
    failed = setting.sign * (window - threshold) > 0.0
    count = np.cumsum(failed, axis=0)
    if in_a_row:
        passed = np.maximum.accumulate(np.where(failed, 0, count), axis=0)
        count = count - passed
    return first(count >= limit)
