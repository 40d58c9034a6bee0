"""Judging the rule ``regression``: one window of a guardrail and treatment. Pure.

Whole run: a group-sequential boundary that spends two thirds of the level. Since a restart:
one e-process over all restarts with the last third. The margin is inside the tests.

Source: STATISTICS 0a; DESIGN 9.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from guardrails.arms import (
    ALMOST,
    FIRST_INFORMATION,
    TOO_FEW,
    ArmCells,
    blank,
    display_rho,
    effect_of,
    shown,
    without_values,
)
from guardrails.levels import Comparison, WindowPlan
from guardrails.outcome import Code, Outcome, WindowFinding, WindowState
from metrics.catalogue import Kind
from metrics.stats.comparison import MIN_UNITS, Compared, Estimate, Flags, Pair
from metrics.stats.contrasts import Null
from metrics.stats.group_sequential import Progress, look
from metrics.stats.mixtures import average_log_e, normal_log_mixture, tuned_rho
from metrics.stats.relative import RelativeEffect
from metrics.stats.spending import reserve

Array = npt.NDArray[np.float64]

LOOK_GROWTH = 1.02
"""A check is a look when information has grown by this factor since the last one."""

RESTART_INFORMATION = 250.0
"""Information at which the e-process of restarts is sharpest, for harm since one of them."""

_ROUNDING = 1e-9  # of a value: a standard error below it is none


@dataclass(frozen=True, slots=True)
class _Evidence:
    """Both tests of one window at one check, before anything is decided.

    ``z``, ``information`` and ``gate`` are "since cohort j", row 0 the whole run; ``safe_z`` is
    the whole run against the full margin, harm positive.
    """

    z: Array
    information: Array
    gate: Flags
    kappa: float
    safe_z: float
    safe_gate: bool
    effect: RelativeEffect


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """One window of the rule ``regression`` at a check, before its arms are compared.

    ``empty`` is what there is to say where no statistic exists, ``None`` where one does.
    """

    comparison: Comparison
    plan: WindowPlan
    state: WindowState
    control: ArmCells
    treatment: ArmCells
    empty: tuple[Outcome, Code] | None

    @property
    def pair(self) -> Pair:
        """What is to be compared."""
        return Pair(
            self.control.cells,
            self.treatment.cells,
            self.comparison.kind,
            _null(self.comparison),
            self.plan.restarts + 1,
            (self.control.sums, self.treatment.sums),
        )


def opened(
    comparison: Comparison,
    plan: WindowPlan,
    state: WindowState,
    control: ArmCells,
    treatment: ArmCells,
) -> OpenWindow:
    """Return a window before its arms are compared."""
    empty = _without_values(comparison, control, treatment)
    return OpenWindow(comparison, plan, state, control, treatment, empty)


def judge_window(
    window: OpenWindow, found: Compared | None, *, blind: bool
) -> tuple[WindowFinding, WindowState]:
    """Judge a window; return what was found and the next state.

    Args:
        window: The window.
        found: Its arms compared, ``None`` where they cannot be.
        blind: Events no longer arrive: no data, whatever the cells say.
    """
    plan, state = window.plan, window.state
    finding = blank(plan, state, window.control, window.treatment)
    if found is not None:
        evidence = _evidence(found, plan)
        finding, new = _weigh(finding, evidence, plan, state, may_look=not blind)
        if not blind:
            return finding, new
    outcome, code = (Outcome.NO_DATA, Code.EVENTS_STOPPED) if blind else (window.empty or TOO_FEW)
    return replace(
        finding, outcome=outcome, code=code, evidence=min(finding.evidence, ALMOST)
    ), state


def _without_values(
    comparison: Comparison, control: ArmCells, treatment: ArmCells
) -> tuple[Outcome, Code] | None:
    """Return what there is to say where no statistic exists, ``None`` where one does."""
    empty = without_values(control, treatment)
    if empty is not None or _comparable(comparison, control, treatment):
        return empty
    if min(control.sums.n, treatment.sums.n) < MIN_UNITS:
        return TOO_FEW
    return Outcome.INCONCLUSIVE, Code.CONTROL_NOT_POSITIVE


def _comparable(comparison: Comparison, control: ArmCells, treatment: ArmCells) -> bool:
    """Tell whether the margin means anything for these values.

    A percentage of a negative quantity has no meaning, nor of 0, unless the treatment is
    above it: any rise from nothing is past every margin.
    """
    if comparison.absolute or comparison.margin == 0.0 or comparison.kind is Kind.PROPORTION:
        return True
    return control.sums.y > 0 or (control.sums.y == 0 and treatment.sums.y > 0)


def _null(comparison: Comparison) -> Null:
    """Return both null hypotheses: harm of prove_past x margin, and of the whole margin."""
    sign = 1.0 if comparison.side == "rise" else -1.0
    harms = np.array([comparison.prove_past, 1.0]).reshape(2, 1, 1) * comparison.margin * sign
    if comparison.absolute:
        return Null(np.ones_like(harms), harms, sign)
    return Null(1.0 + harms, np.zeros_like(harms), sign)


def _evidence(found: Compared, plan: WindowPlan) -> _Evidence:
    statistic, gate = found.statistic, found.gate
    return _Evidence(
        z=statistic.z[0],
        information=statistic.information,
        gate=gate[0],
        kappa=float(statistic.kappa[0, 0]) + 0.0,  # no negative zero
        safe_z=float(statistic.z[1, 0]),
        safe_gate=bool(gate[1, 0]) and _spread(found.estimate),
        effect=effect_of(found, plan),
    )


def _spread(estimate: Estimate | None) -> bool:
    """Tell whether values within an arm differ at all.

    Where none does the only spread is that between the arms. It may prove harm, which is then all
    there is to see; "no harm" it cannot prove, as units without events prove nothing of a rate.
    """
    if estimate is None:
        return False
    error = math.sqrt(max(estimate.var_control, estimate.var_treatment, 0.0))
    return error > _ROUNDING * max(abs(estimate.control), abs(estimate.treatment))


def _weigh(
    finding: WindowFinding,
    evidence: _Evidence,
    plan: WindowPlan,
    state: WindowState,
    *,
    may_look: bool,
) -> tuple[WindowFinding, WindowState]:
    """Compare the evidence with what it must reach; return finding and next state."""
    z, gate = float(evidence.z[0]), bool(evidence.gate[0])
    # it never decreases: corrected data may take units away, not looks
    information = max(float(evidence.information[0]), state.information)
    is_look = may_look and gate and information >= LOOK_GROWTH * state.information
    new = _after_look(state, plan, information) if is_look else state
    log_e, restart = _restarts(evidence, plan)
    needed = -math.log(plan.restart_level) if plan.restarts else math.inf
    breach = (is_look and z >= new.boundary) or log_e >= needed
    whole = z / new.boundary if gate and new.looks else 0.0
    strongest = max(whole, log_e / needed, 0.0)
    log_safe = _log_safe(evidence, plan, information)
    outcome, code = _verdict(evidence, breach=breach, safe=log_safe >= -math.log(plan.level))
    return replace(
        finding,
        outcome=outcome,
        code=code,
        effect=evidence.effect.effect,
        effect_low=evidence.effect.low,
        effect_high=evidence.effect.high,
        z=z,
        boundary=new.boundary if new.looks else math.nan,
        is_look=is_look,
        look=new.looks,
        information=information,
        spent=new.spent,
        e_value=shown(log_e) if plan.restarts else math.nan,
        restart=restart,
        safe_e_value=shown(log_safe) if evidence.safe_gate else math.nan,
        skewness=evidence.kappa,
        evidence=max(strongest, 1.0) if breach else min(strongest, ALMOST),
    ), replace(new, crossed=True) if breach else new


def _after_look(state: WindowState, plan: WindowPlan, information: float) -> WindowState:
    """Return the state after one look of the whole-run boundary."""
    before = Progress()
    if state.looks:
        before = Progress(
            state.information, state.spent, np.array(state.grid), np.array(state.mass)
        )
    horizon = max(plan.information_max, FIRST_INFORMATION)
    cumulative = reserve(information / horizon, plan.whole_level, tau=FIRST_INFORMATION / horizon)
    boundary, after = look(before, information, cumulative)
    return replace(
        state,
        looks=state.looks + 1,
        information=information,
        spent=after.spent,
        boundary=boundary,
        grid=tuple(after.grid.tolist()),
        mass=tuple(after.mass.tolist()),
    )


def _restarts(evidence: _Evidence, plan: WindowPlan) -> tuple[float, int | None]:
    """Return the log of the e-process of all restarts and the cohort of the strongest."""
    open_ = np.flatnonzero(evidence.gate[1:]) + 1
    if open_.size == 0:
        return 0.0, None
    information = evidence.information[open_]
    score = evidence.z[open_] * np.sqrt(information)
    rho = restart_rho(plan.restart_level, plan.restarts)
    log_m = normal_log_mixture(score, information, rho, one_sided=True)
    return average_log_e(log_m, plan.restarts), int(open_[int(np.argmax(log_m))])


def restart_rho(level: float, restarts: int) -> float:
    """Return the tuning: the mean of J restarts reaches 1 / level where one is J / level."""
    return tuned_rho(RESTART_INFORMATION, level / restarts, one_sided=True)


def _log_safe(evidence: _Evidence, plan: WindowPlan, information: float) -> float:
    """Return the log e-value against "the harm is the whole margin or more"."""
    if not evidence.safe_gate:
        return 0.0
    score = -evidence.safe_z * math.sqrt(information)
    rho = display_rho(plan)
    return float(normal_log_mixture(score, information, rho, one_sided=True))


def _verdict(evidence: _Evidence, *, breach: bool, safe: bool) -> tuple[Outcome, Code]:
    if breach:
        return Outcome.BREACH, Code.PROVEN_HARM
    if not evidence.gate[0]:
        return TOO_FEW
    if safe:
        return Outcome.PASS, Code.PROVEN_SAFE
    # the sign of the full-margin contrast says on which side of the margin the estimate is
    inside = evidence.safe_z <= 0.0
    return Outcome.INCONCLUSIVE, Code.INSIDE_MARGIN if inside else Code.UNDECIDED
