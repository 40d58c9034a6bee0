"""Judging the rule ``catastrophe``: whose units are harmed, counted one by one? Pure.

Every unit with the harm is the treatment's with its planned share if the treatment is harmless,
whatever the rate does meanwhile. Breach when the exact e-process of the counts against "at most
``max_times`` as likely as in control" reaches ``1 / level``; pass when the mirrored one does.
Phases have e-processes of their own, and their product is one.

Source: STATISTICS 1(a), exact alternatives; Lindon & Malek (2022); DESIGN 9.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from guardrails.arms import ALMOST, ArmCells, arm_cells, effect_of, shown
from guardrails.judge_every_check import judge_every_check
from guardrails.levels import CatastropheComparison, WindowPlan
from guardrails.outcome import Code, Outcome, WindowFinding, WindowState
from metrics.cells import MICRO, Cell, Snapshot, Sums
from metrics.stats.beta_binomial import catastrophe_log_e_of_phases
from metrics.stats.comparison import compare
from metrics.stats.contrasts import Null

Counts = Sequence[tuple[int, int, int]]
"""(Number of a phase, units harmed in treatment, units harmed in control)."""


def judge_catastrophe(
    cells: Sequence[Cell],
    comparison: CatastropheComparison,
    plan: WindowPlan,
    state: WindowState,
    *,
    first_phase: int,
    blind: bool,
) -> tuple[WindowFinding, WindowState]:
    """Judge one window; return what was found and the next state.

    Every check may be a look: the e-process allows it and costs nothing.

    Args:
        cells: Of the window, all arms.
        comparison: What is compared with what.
        plan: The window and its level.
        state: State of the last check.
        first_phase: Cells of earlier allocation phases do not count (a resumed attempt).
        blind: Events no longer arrive: no data, whatever the cells say.
    """
    return judge_every_check(
        cells, comparison, plan, state, _weigh, first_phase=first_phase, blind=blind
    )


def counts_of(
    snapshot: Snapshot, comparison: CatastropheComparison, *, first_phase: int
) -> dict[str, Any]:
    """Return what the evidence is made of, to be stored with it.

    The log e-value of a window is ``catastrophe_log_e_of_phases`` of its (treatment, control)
    counts, each with ``part``, at the window's level and ``worse=max_times``.
    """
    counted: dict[str, list[list[int]]] = {}
    for plan in comparison.windows:
        cells = snapshot.cells.get((comparison.kpi, plan.length), ())
        treatment = arm_cells(cells, comparison.treatment, first_phase)
        control = arm_cells(cells, comparison.control, first_phase)
        counts = _harmed(treatment, control, comparison.side)
        counted[str(int(plan.length.total_seconds()))] = [list(each) for each in counts]
    return {"max_times": comparison.max_times, "part": comparison.part, "harmed": counted}


def _harmed(treatment: ArmCells, control: ArmCells, side: str) -> Counts:
    """Return (phase, treatment, control) of every phase that counts."""
    found: dict[int, list[int]] = {}
    for position, arm in enumerate((treatment, control)):
        for cell in arm.cells:
            found.setdefault(cell.phase, [0, 0])[position] += harmed(cell.sums, side)
    return [(phase, treated, beside) for phase, (treated, beside) in sorted(found.items())]


def harmed(sums: Sums, side: str) -> int:
    """Return how many of the units with a value are harmed."""
    events = sums.y // MICRO
    return events if side == "rise" else sums.n - events


def _are_units(arm: ArmCells) -> bool:
    """Return whether every unit has or has not the event, as those of a proportion."""
    return all(
        c.sums.x == c.sums.n * MICRO and 0 <= c.sums.y <= c.sums.n * MICRO for c in arm.cells
    )


def _weigh(
    finding: WindowFinding,
    comparison: CatastropheComparison,
    plan: WindowPlan,
    control: ArmCells,
    treatment: ArmCells,
) -> WindowFinding:
    if not (_are_units(control) and _are_units(treatment)):
        return finding
    counts = _harmed(treatment, control, comparison.side)
    part, times = comparison.part, comparison.max_times
    log_e = catastrophe_log_e_of_phases(
        ((t, c, part) for _, t, c in counts), alpha=plan.level, worse=times
    )
    log_safe = catastrophe_log_e_of_phases(
        ((c, t, 1.0 - part) for _, t, c in counts), alpha=plan.level, worse=1.0 / times
    )
    needed = -math.log(plan.level)
    events = sum(t + c for _, t, c in counts)
    outcome, code = _verdict(log_e, log_safe, needed, inside=_inside(counts, part, times))
    # against control, phases weighed alike: for display
    sign = 1.0 if comparison.side == "rise" else -1.0
    null = Null(np.ones((1, 1, 1)), np.zeros((1, 1, 1)), sign)
    compared = compare(control.cells, treatment.cells, kind=comparison.kind, null=null, rows=1)
    effect = effect_of(compared, plan)
    evidence = max(log_e / needed, 0.0)
    return replace(
        finding,
        outcome=outcome,
        code=code,
        effect=effect.effect,
        effect_low=effect.low,
        effect_high=effect.high,
        z=float(compared.statistic.z[0, 0]),
        information=float(events),
        e_value=shown(log_e),
        safe_e_value=shown(log_safe),
        evidence=max(evidence, 1.0) if outcome is Outcome.BREACH else min(evidence, ALMOST),
    )


def _inside(counts: Counts, part: float, times: float) -> bool:
    """Return whether the treatment has at most ``max_times`` its share of the harm."""
    treated, beside = sum(t for _, t, _ in counts), sum(c for _, _, c in counts)
    return treated * (1.0 - part) <= times * beside * part


def _verdict(log_e: float, log_safe: float, needed: float, *, inside: bool) -> tuple[Outcome, Code]:
    if log_e >= needed:
        return Outcome.BREACH, Code.PROVEN_HARM
    if log_safe >= needed:
        return Outcome.PASS, Code.PROVEN_SAFE
    return Outcome.INCONCLUSIVE, Code.INSIDE_MARGIN if inside else Code.UNDECIDED
