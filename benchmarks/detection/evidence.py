"""From drawn sums to statistics of all repetitions at once: ours, and the field's.

Ours is the engine's: its contrasts, its gates, phases kept apart. The field's is what its
documentation describes: the difference against its unpooled standard error, phases together.

Arrays are (rows, checks, repetitions); row 0 is the whole run, row j "since restart j".
"""

# pyright: reportPrivateUsage=false

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from metrics.catalogue import Kind
from metrics.stats import comparison as gates
from metrics.stats.contrasts import (
    Null,
    denominator_cv,
    linear_statistic,
    proportion_statistic,
    unpooled_variance,
)
from metrics.stats.moments import Arm

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Setting:
    """What a rule is told, and what is true.

    Attributes:
        kind: How the KPI summarises units.
        side: ``drop`` or ``rise``: the movement that is harm.
        hours: Length of the run, a check at the end of each hour.
        units: Treatment's units first exposed per hour (of the last phase).
        baseline: Control's true value, known to rules with a fixed threshold.
        margin: Tolerated relative harm; ours must be past ``prove_past`` of it.
        level: Chance of turning back without such harm.
        horizon: Planned information / information at the end.
        cohort: Hours between two restarts.
        onset: Hours after which the harm begins.
        harmful: Whether there is harm beyond what is tolerated.
        family: How many KPIs are watched.
    """

    kind: Kind = Kind.PROPORTION
    side: str = "drop"
    hours: int = 168
    units: int = 100
    baseline: float = 0.8
    margin: float = 0.0
    prove_past: float = 0.5
    level: float = 0.05
    horizon: float = 1.0
    cohort: int = 12
    onset: int = 0
    harmful: bool = False
    family: int = 1

    @property
    def starts(self) -> tuple[int, ...]:
        """First hour of each row: the whole run, then each restart."""
        return tuple(range(0, self.hours, self.cohort))

    @property
    def sign(self) -> float:
        """Harm is a rise (+1) or a drop (-1)."""
        return 1.0 if self.side == "rise" else -1.0

    @property
    def tolerance(self) -> float:
        """Of a fixed threshold: the margin, 5% where there is none."""
        return self.margin or 0.05


@dataclass(frozen=True, slots=True)
class Sides:
    """Sums of both arms, (moments, rows, checks, repetitions, phases).

    Moments are n, y of a proportion; n, u, uu, uuu of a mean; and v, uv, vv, uuv, uvv, vvv of a
    ratio, all about the references ``y`` (treatment, control) and ``x``.
    """

    treatment: Array
    control: Array
    y: tuple[float, float] = (0.0, 0.0)
    x: float = 1.0


@dataclass(frozen=True, slots=True)
class Draw:
    """One KPI of some repetitions.

    Attributes:
        ours: What the engine counts: units whose window has closed.
        theirs: What the field counts, where that differs.
        events: Rows taken for independent, where units have several.
        window: Value of the treatment within each hour, (checks, repetitions).
    """

    ours: Sides
    window: Array
    theirs: Sides | None = None
    events: Sides | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """A statistic at every check.

    Attributes:
        z: Harm positive, 0 where it may not be used.
        gate: Where it may.
        information: ``sum nT nC / (nT + nC)``, (rows, checks), the same in all repetitions.
        units: Of both arms, (rows, checks).
    """

    z: Array
    gate: Flags
    information: Array
    units: Array

    def whole(self) -> "Evidence":
        """Return the whole run alone."""
        return Evidence(self.z[:1], self.gate[:1], self.information[:1], self.units[:1])


def since(increments: Array, starts: tuple[int, ...]) -> Array:
    """Return sums since each start from (moments, hours, repetitions, phases)."""
    total = np.cumsum(increments, axis=1)
    rows = np.repeat(total[:, None], len(starts), axis=1)
    for row, start in enumerate(starts):
        if start:
            rows[:, row] -= total[:, start - 1 : start]
            rows[:, row, :start] = 0.0
    return rows


def since_cohort(increments: Array) -> Array:
    """Return sums since each cohort from (moments, cohorts, hours, repetitions, phases)."""
    return np.cumsum(np.cumsum(increments, axis=2)[:, ::-1], axis=1)[:, ::-1]


def _arms(sides: Sides) -> tuple[Arm, Arm]:
    return (
        Arm(sides.y[0], sides.x, *sides.treatment),
        Arm(sides.y[1], sides.x, *sides.control),
    )


def _same_in_all(values: Array) -> Array:
    if not np.array_equal(values.min(axis=-1), values.max(axis=-1)):
        raise ValueError("the units of a repetition may not depend on chance")
    return values[..., 0]


def ours(sides: Sides, setting: Setting) -> Evidence:
    """Return the engine's statistic against ``prove_past`` of the margin, and its gates."""
    harm = setting.sign * setting.prove_past * setting.margin
    null = Null(1.0 + harm, 0.0, setting.sign)
    n_t, n_c = sides.treatment[0], sides.control[0]
    # the engine's own gates, no copies; its comparison applies them to one experiment at a time
    gate = gates._units_gate(n_t, n_c)  # noqa: SLF001
    if setting.kind is Kind.PROPORTION:
        t, c = (n_t, sides.treatment[1]), (n_c, sides.control[1])
        found = proportion_statistic(t, c, null)
        gate = gate & gates._events_gate(*t, *c)  # noqa: SLF001
    else:
        treatment, control = _arms(sides)
        found = linear_statistic(treatment, control, null)
        if setting.kind is Kind.RATIO:
            cv = np.maximum(denominator_cv(treatment), denominator_cv(control))
            gate = gate & (cv < gates.MAX_DENOMINATOR_CV)
    gate = gate & (np.abs(found.kappa) < gates.MAX_SKEWNESS)
    return Evidence(
        np.where(gate, found.z, 0.0),
        gate,
        _same_in_all(found.information),
        _same_in_all((n_t + n_c).sum(axis=-1)),
    )


def theirs(sides: Sides, setting: Setting) -> Evidence:
    """Return the unpooled z against no harm at all, all phases together.

    It gets the engine's least number of units too, so that nobody is judged by ten units.
    """
    t, c = sides.treatment.sum(axis=-1, keepdims=True), sides.control.sum(axis=-1, keepdims=True)
    together = replace(sides, treatment=t, control=c)
    n_t, n_c = t[0, ..., 0], c[0, ..., 0]
    if setting.kind is Kind.PROPORTION:
        one_t, one_c = np.maximum(n_t, 1.0), np.maximum(n_c, 1.0)
        r_t, r_c = t[1, ..., 0] / one_t, c[1, ..., 0] / one_c
        v_t, v_c = r_t * (1.0 - r_t) / one_t, r_c * (1.0 - r_c) / one_c
    else:
        arm_t, arm_c = _arms(together)
        r_t, r_c = ((a.y / np.where(a.x > 0.0, a.x, 1.0))[..., 0] for a in (arm_t, arm_c))
        v_t, v_c = unpooled_variance(arm_t)[..., 0], unpooled_variance(arm_c)[..., 0]
    variance = v_t + v_c
    gate = (np.minimum(n_t, n_c) >= gates.MIN_UNITS) & (variance > 0.0)
    z = setting.sign * (r_t - r_c) / np.sqrt(np.where(gate, variance, 1.0))
    effective = n_t * n_c / np.maximum(n_t + n_c, 1.0)
    return Evidence(np.where(gate, z, 0.0), gate, _same_in_all(effective), _same_in_all(n_t + n_c))


def both_vary(evidence: Evidence, sides: Sides, setting: Setting) -> Evidence:
    """Return the evidence without checks at which an arm has no variance of its own."""
    if setting.kind is not Kind.PROPORTION:
        return evidence
    vary = np.ones_like(evidence.gate)
    for arm in (sides.treatment, sides.control):
        n, y = arm[0].sum(axis=-1), arm[1].sum(axis=-1)
        vary &= (y > 0.0) & (y < n)
    gate = evidence.gate & vary
    return replace(evidence, gate=gate, z=np.where(gate, evidence.z, 0.0))
