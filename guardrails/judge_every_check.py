"""Judging by an e-process: every check may be a look. One frame for all such rules. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from guardrails.arms import ALMOST, ArmCells, arm_cells, blank, without_values
from guardrails.levels import WindowPlan
from guardrails.outcome import Code, Outcome, WindowFinding, WindowState
from metrics.cells import Cell


class Arms(Protocol):
    """What is compared with what."""

    @property
    def control(self) -> str:
        """Arm compared with."""
        ...

    @property
    def treatment(self) -> str:
        """Arm judged."""
        ...


C = TypeVar("C", bound=Arms)

Weigh = Callable[[WindowFinding, C, WindowPlan, ArmCells, ArmCells], WindowFinding]
"""(Finding so far, comparison, window, control, treatment) to the finding with its evidence."""


def judge_every_check(
    cells: Sequence[Cell],
    comparison: C,
    plan: WindowPlan,
    state: WindowState,
    weigh: Weigh[C],
    *,
    first_phase: int,
    blind: bool,
) -> tuple[WindowFinding, WindowState]:
    """Judge one window; return what was found and the next state.

    Args:
        cells: Of the window, all arms.
        comparison: What is compared with what.
        plan: The window and its level.
        state: State of the last check.
        weigh: What the rule makes of arms that have values.
        first_phase: Cells of earlier allocation phases do not count (a resumed attempt).
        blind: Events no longer arrive: no data, whatever the cells say.
    """
    control = arm_cells(cells, comparison.control, first_phase)
    treatment = arm_cells(cells, comparison.treatment, first_phase)
    finding = blank(plan, state, control, treatment)
    empty = without_values(control, treatment)
    if empty is None:
        finding = weigh(finding, comparison, plan, control, treatment)
    if blind or empty is not None:
        outcome, code = empty or (finding.outcome, finding.code)
        if blind:
            outcome, code = Outcome.NO_DATA, Code.EVENTS_STOPPED
        evidence = min(finding.evidence, ALMOST)
        return replace(finding, outcome=outcome, code=code, evidence=evidence), state
    breach = finding.outcome is Outcome.BREACH
    return finding, replace(state, information=finding.information, crossed=state.crossed or breach)
