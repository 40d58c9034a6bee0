"""The one function that decides: cells and state in, a finding out. Pure.

What a rule makes of one window is in a module of its own.

Source: STATISTICS 0a; DESIGN 9.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from guardrails.arms import ArmCells, arm_cells
from guardrails.judge_catastrophe import counts_of, judge_catastrophe
from guardrails.judge_limit import judge_limit
from guardrails.judge_regression import judge_window, opened
from guardrails.levels import (
    AnyComparison,
    CatastropheComparison,
    Comparison,
    LimitComparison,
    WindowPlan,
)
from guardrails.outcome import (
    PRECEDENCE,
    Code,
    Finding,
    WindowFinding,
    WindowState,
)
from metrics.cells import Cell, Snapshot
from metrics.stats.comparison import compare_all


def judge(
    snapshot: Snapshot,
    comparison: AnyComparison,
    states: Mapping[str, WindowState],
    *,
    first_phase: int = 0,
    events_stopped: bool = False,
) -> Finding:
    """Judge one guardrail of statistics and treatment at one check.

    The outcome is the first in ``PRECEDENCE`` among its windows, so a breach in any of
    them is a breach and a pass needs all. The whole-run boundary is only compared with z
    at looks; the e-process of restarts at every check, which costs nothing (Ville). After
    a crossing the states go on as if nobody had acted (shadow, dry run).

    Args:
        snapshot: Cells by KPI and window. ``control_value`` and ``treatment_value`` are plain
            totals over phases; ``effect`` and its interval weigh phases by ``m_h``, so a change
            of shares between arms cannot pass for an effect.
        comparison: What is compared at which level.
        states: States of the last check by ``str(window seconds)``; missing means new.
        first_phase: Cells of earlier allocation phases do not count (a resumed attempt).
        events_stopped: Events no longer arrive: no data, whatever the cells say, and the
            states stay as they were.
    """
    return judge_each(
        snapshot, [Asked(comparison, states, first_phase)], events_stopped=events_stopped
    )[0]


@dataclass(frozen=True, slots=True)
class Asked:
    """One guardrail of statistics and treatment to be judged; see ``judge``."""

    comparison: AnyComparison
    states: Mapping[str, WindowState]
    first_phase: int = 0

    def state(self, plan: WindowPlan) -> WindowState:
        """Return the state of a window at the last check."""
        return self.states.get(_key(plan), WindowState())


def judge_each(
    snapshot: Snapshot, asked: Sequence[Asked], *, events_stopped: bool = False
) -> list[Finding]:
    """Judge several guardrails and treatments, each as ``judge`` does: arms are compared at once.

    Args:
        snapshot: Cells by KPI and window.
        asked: What is judged.
        events_stopped: Events no longer arrive, of any of them.
    """
    arms: dict[tuple[str, timedelta, str, int], ArmCells] = {}  # a control is there once

    def arm(asked: Asked, plan: WindowPlan, name: str) -> ArmCells:
        which = asked.comparison.kpi, plan.length, name, asked.first_phase
        if which not in arms:
            arms[which] = arm_cells(_cells(snapshot, asked, plan), name, asked.first_phase)
        return arms[which]

    open_ = {
        (place, plan.length): opened(
            each.comparison,
            plan,
            each.state(plan),
            arm(each, plan, each.comparison.control),
            arm(each, plan, each.comparison.treatment),
        )
        for place, each in enumerate(asked)
        if isinstance(each.comparison, Comparison)
        for plan in each.comparison.windows
    }
    pairs = {at: window.pair for at, window in open_.items() if window.empty is None}
    found = dict(zip(pairs, compare_all(list(pairs.values())), strict=True))
    findings: list[Finding] = []
    for place, each in enumerate(asked):
        judged: list[tuple[WindowFinding, WindowState]] = []
        for plan in each.comparison.windows:
            window, its = open_.get((place, plan.length)), found.get((place, plan.length))
            judged.append(
                _judge_by_rule(snapshot, each, plan, blind=events_stopped)
                if window is None
                else judge_window(window, its, blind=events_stopped)
            )
        findings.append(_finding(snapshot, each, judged, keep=events_stopped))
    return findings


def _cells(snapshot: Snapshot, asked: Asked, plan: WindowPlan) -> Sequence[Cell]:
    return snapshot.cells.get((asked.comparison.kpi, plan.length), ())


def _key(plan: WindowPlan) -> str:
    return str(int(plan.length.total_seconds()))


def _finding(
    snapshot: Snapshot,
    asked: Asked,
    judged: Sequence[tuple[WindowFinding, WindowState]],
    *,
    keep: bool,
) -> Finding:
    """Return the finding of all windows; with ``keep`` the states stay as they were."""
    comparison, findings = asked.comparison, [finding for finding, _ in judged]
    after = dict(asked.states)
    if not keep:
        for plan, (_, new) in zip(comparison.windows, judged, strict=True):
            after[_key(plan)] = replace(new, watermark=snapshot.watermark)
    main = min(findings, key=_rank)
    return Finding(
        guardrail=comparison.guardrail,
        kpi=comparison.kpi,
        treatment=comparison.treatment,
        outcome=main.outcome,
        code=main.code,
        windows=tuple(findings),
        states=after,
        evidence=max(f.evidence for f in findings),
        detail=counts_of(snapshot, comparison, first_phase=asked.first_phase)
        if isinstance(comparison, CatastropheComparison)
        else {},
    )


def _judge_by_rule(
    snapshot: Snapshot, asked: Asked, plan: WindowPlan, *, blind: bool
) -> tuple[WindowFinding, WindowState]:
    """Judge a window whose arms a rule of its own compares."""
    comparison, state, first = asked.comparison, asked.state(plan), asked.first_phase
    cells = _cells(snapshot, asked, plan)
    if isinstance(comparison, LimitComparison):
        return judge_limit(cells, comparison, plan, state, first_phase=first, blind=blind)
    if isinstance(comparison, CatastropheComparison):
        return judge_catastrophe(cells, comparison, plan, state, first_phase=first, blind=blind)
    raise TypeError(f"{type(comparison).__name__} is compared with others")


_TELLING = (
    Code.CONTROL_BEYOND,
    Code.LIKE_CONTROL,
    Code.UNDECIDED,
    Code.INSIDE_MARGIN,
    Code.CONTROL_NOT_POSITIVE,
    Code.TOO_FEW,
    Code.WINDOW_OPEN,
)
"""Of several inconclusive windows, the code that says most comes first."""


def _rank(finding: WindowFinding) -> tuple[int, int]:
    code = _TELLING.index(finding.code) if finding.code in _TELLING else 0
    return PRECEDENCE.index(finding.outcome), code
