"""Judging the rule ``limit``: is a treatment's value proven to be beyond a fixed one? Pure.

Breach when the treatment's e-process reaches ``1 / level``, control's has not, and the treatment
is visibly worse than control. Where both are beyond the limit, whatever broke them is not the
treatment, and which arm's proof comes first is chance: with both at 7%, a limit of 5% and without
the last condition, 63% of treatments would be turned back, with it 6%. Where the treatment alone
is beyond the limit it costs next to nothing. It makes breaches rarer only, so the guarantee holds.

Source: STATISTICS 1(a), 1(j); DESIGN 9.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from guardrails.arms import (
    ALMOST,
    ArmCells,
    effect_of,
    shown,
)
from guardrails.judge_every_check import judge_every_check
from guardrails.levels import LimitComparison, WindowPlan
from guardrails.outcome import Code, Outcome, WindowFinding, WindowState
from metrics.catalogue import Kind
from metrics.cells import Cell
from metrics.stats.comparison import MAX_DENOMINATOR_CV, MAX_SKEWNESS, MIN_UNITS, compare
from metrics.stats.contrasts import Null
from metrics.stats.one_sample import OneSample, mean_evidence, rate_evidence

WORSE = 2.0
"""Standard errors by which a treatment must be worse than control to be the reason."""


def judge_limit(
    cells: Sequence[Cell],
    comparison: LimitComparison,
    plan: WindowPlan,
    state: WindowState,
    *,
    first_phase: int,
    blind: bool,
) -> tuple[WindowFinding, WindowState]:
    """Judge one window; return what was found and the next state.

    Every check may be a look: the e-process allows it and costs nothing. A breach is found at
    the check where it stands; ``crossed`` keeps that it ever did, for where nobody acts.

    Args:
        cells: Of the window, all arms.
        comparison: What is compared with which limit.
        plan: The window and its level.
        state: State of the last check.
        first_phase: Cells of earlier allocation phases do not count (a resumed attempt).
        blind: Events no longer arrive: no data, whatever the cells say.
    """
    return judge_every_check(
        cells, comparison, plan, state, _weigh, first_phase=first_phase, blind=blind
    )


def _evidence(comparison: LimitComparison, plan: WindowPlan, arm: ArmCells) -> OneSample:
    sign = _sign(comparison)
    if comparison.kind is Kind.PROPORTION:
        return rate_evidence(arm.sums, comparison.limit, sign, plan.level)
    return mean_evidence(
        arm.sums,
        comparison.limit,
        sign,
        plan.level,
        ratio=comparison.kind is Kind.RATIO,
        min_units=MIN_UNITS,
        max_skewness=MAX_SKEWNESS,
        max_cv=MAX_DENOMINATOR_CV,
    )


def _weigh(
    finding: WindowFinding,
    comparison: LimitComparison,
    plan: WindowPlan,
    control: ArmCells,
    treatment: ArmCells,
) -> WindowFinding:
    found = _evidence(comparison, plan, treatment)
    beside = _evidence(comparison, plan, control)
    null = Null(np.ones((1, 1, 1)), np.zeros((1, 1, 1)), _sign(comparison))
    compared = compare(control.cells, treatment.cells, kind=comparison.kind, null=null, rows=1)
    needed = -math.log(plan.level)
    z = float(compared.statistic.z[0, 0])
    outcome, code = _verdict(
        found,
        needed=needed,
        excused=beside.usable and beside.log_beyond >= needed,
        worse=z >= WORSE,
        inside=_sign(comparison) * (finding.treatment_value - comparison.limit) <= 0.0,
    )
    breach = outcome is Outcome.BREACH
    evidence = max(found.log_beyond / needed, 0.0) if found.usable else 0.0
    # the effect is for display, phases weighed alike; the limit itself concerns the arm as it is
    effect = effect_of(compared, plan)
    return replace(
        finding,
        outcome=outcome,
        code=code,
        effect=effect.effect,
        effect_low=effect.low,
        effect_high=effect.high,
        z=z,
        information=float(treatment.sums.n),
        e_value=shown(found.log_beyond) if found.usable else math.nan,
        safe_e_value=shown(found.log_within) if found.usable else math.nan,
        evidence=max(evidence, 1.0) if breach else min(evidence, ALMOST),
        bound=found.bound,
    )


def _sign(comparison: LimitComparison) -> float:
    return 1.0 if comparison.side == "rise" else -1.0


def _verdict(
    found: OneSample, *, needed: float, excused: bool, worse: bool, inside: bool
) -> tuple[Outcome, Code]:
    if not found.usable:
        return Outcome.INCONCLUSIVE, Code.TOO_FEW
    if found.log_beyond >= needed:
        if excused:
            return Outcome.INCONCLUSIVE, Code.CONTROL_BEYOND
        if not worse:
            return Outcome.INCONCLUSIVE, Code.LIKE_CONTROL
        return Outcome.BREACH, Code.PROVEN_HARM
    if found.log_within >= needed:
        return Outcome.PASS, Code.PROVEN_SAFE
    return Outcome.INCONCLUSIVE, Code.INSIDE_MARGIN if inside else Code.UNDECIDED
