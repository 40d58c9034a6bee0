"""Our rule over all repetitions at once, from the engine's own parts.

``tests/test_benchmark_detection.py`` holds it against ``guardrails.judge`` itself, check by check.
"""

import math
from datetime import timedelta
from functools import lru_cache

import numpy as np

from benchmarks.detection.evidence import Array, Evidence, Flags, Setting
from guardrails.arms import FIRST_INFORMATION
from guardrails.judge_regression import LOOK_GROWTH, restart_rho
from guardrails.levels import WindowPlan
from metrics.stats.group_sequential import boundaries
from metrics.stats.mixtures import normal_log_mixture
from metrics.stats.spending import reserve


def first(crossed: Flags) -> Array:
    """Return the hour of the first crossing per repetition, from (checks, repetitions)."""
    at = crossed.argmax(axis=0)
    return np.where(crossed[at, np.arange(crossed.shape[1])], at + 1.0, np.inf)


@lru_cache(maxsize=20_000)
def _boundary(looks: tuple[float, ...], level: float, planned: float) -> tuple[float, ...]:
    horizon = max(planned, FIRST_INFORMATION)
    tau = FIRST_INFORMATION / horizon
    return boundaries(looks, [reserve(i / horizon, level, tau=tau) for i in looks])


def looks_of(information: Array, may: Flags) -> list[int]:
    """Return which checks are looks: those that may be, once information has grown by 2%."""
    found, last = list[int](), 0.0
    for index, now in enumerate(information):
        if may[index] and now >= LOOK_GROWTH * last:
            found.append(index)
            last = float(now)
    return found


def boundary(information: Array, may: Flags, level: float, planned: float) -> Array:
    """Return the spending boundary at every check of the whole run, ``inf`` between looks."""
    bound = np.full(information.size, np.inf)
    looks = looks_of(information, may)
    if looks:
        bound[looks] = _boundary(tuple(information[looks].tolist()), level, planned)
    return bound


def whole_run(evidence: Evidence, setting: Setting, level: float) -> Array:
    """Return the hour at which the whole run crosses its spending boundary."""
    z, information = evidence.z[0], evidence.information[0]
    planned = setting.horizon * float(information[-1])
    found = np.full(z.shape[1], np.inf)
    # repetitions whose gate opens at the same checks have the same looks
    patterns, which = np.unique(evidence.gate[0], axis=1, return_inverse=True)
    for number in range(patterns.shape[1]):
        runs = np.flatnonzero(which.reshape(-1) == number)
        bound = boundary(information, patterns[:, number], level, planned)
        found[runs] = first(z[:, runs] >= bound[:, None])
    return found


def average(log_e: Array) -> Array:
    """Return the log of the mean of e-processes over the first axis; what waits counts as 1."""
    top = np.maximum(log_e.max(axis=0), 0.0)
    return top + np.log(np.exp(log_e - top).mean(axis=0))


def restarts_log_e(evidence: Evidence, level: float) -> Array:
    """Return the log of the e-process of all restarts, (checks, repetitions)."""
    information = evidence.information[1:, :, None]
    rho = restart_rho(level, information.shape[0])
    score = evidence.z[1:] * np.sqrt(information)
    log_m = normal_log_mixture(score, information, rho, one_sided=True)
    return average(np.where(evidence.gate[1:], log_m, 0.0))


def since_restarts(evidence: Evidence, level: float) -> Array:
    """Return the hour at which the e-process of all restarts reaches ``1 / level``."""
    return first(restarts_log_e(evidence, level) >= -math.log(level))


def parts(level: float, restarts: int) -> tuple[float, float]:
    """Return what the whole run has of a level, and what all restarts have."""
    plan = WindowPlan(timedelta(0), level, 0.0, restarts)
    return plan.whole_level, plan.restart_level


def shipped(setting: Setting, evidence: Evidence) -> Array:
    """Turn back at the earlier of the whole run and the restarts, each at its part of the level."""
    whole, since = parts(setting.level, evidence.z.shape[0] - 1)
    return np.minimum(whole_run(evidence, setting, whole), since_restarts(evidence, since))


def without_restarts(setting: Setting, evidence: Evidence) -> Array:
    """Give the whole level to the whole run: what the protection costs."""
    return whole_run(evidence, setting, setting.level)
