"""What every comparison of two arms begins with: their cells, and where there is nothing yet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from guardrails.levels import WindowPlan
from guardrails.outcome import Code, Outcome, WindowFinding, WindowState
from metrics.cells import Cell, Sums
from metrics.stats import moments
from metrics.stats.comparison import MIN_UNITS, Compared
from metrics.stats.mixtures import tuned_rho, z_bound
from metrics.stats.relative import RelativeEffect, fieller

FIRST_INFORMATION = 50.0
"""Information at which log-time spending begins: 100 units in each of two equal arms."""

ALMOST = 0.999
"""Evidence of what is not (yet) a breach: past the boundary between two looks, for instance."""

TOO_FEW = (Outcome.INCONCLUSIVE, Code.TOO_FEW)

_LARGEST_LOG = 690.0  # e-values are shown up to 1e299, then they stay there
_TUNABLE = 0.4  # tuning has no meaning at higher levels


@dataclass(frozen=True, slots=True)
class ArmCells:
    """One arm's cells of a window."""

    cells: tuple[Cell, ...]
    entered: int
    sums: Sums

    @property
    def value(self) -> float:
        """KPI over all of them, ``nan`` without a denominator."""
        return self.sums.y / self.sums.x if self.sums.x > 0 else math.nan


def arm_cells(cells: Sequence[Cell], variant: str, first_phase: int) -> ArmCells:
    """Return the cells of one arm from an allocation phase on."""
    own = tuple(c for c in cells if c.variant == variant and c.phase >= first_phase)
    return ArmCells(own, sum(c.entered for c in own), moments.total(own))


def blank(
    plan: WindowPlan, state: WindowState, control: ArmCells, treatment: ArmCells
) -> WindowFinding:
    """Return a finding that says how much there is, and decides nothing."""
    return WindowFinding(
        window=plan.length,
        level=plan.level,
        outcome=Outcome.INCONCLUSIVE,
        code=Code.TOO_FEW,
        entered=(control.entered, treatment.entered),
        units=(control.sums.n, treatment.sums.n),
        control_value=control.value,
        treatment_value=treatment.value,
        boundary=state.boundary if state.looks else math.nan,
        look=state.looks,
        information=state.information,
        spent=state.spent,
    )


def without_values(control: ArmCells, treatment: ArmCells) -> tuple[Outcome, Code] | None:
    """Return what there is to say where an arm has no value, ``None`` where both have."""
    if min(control.entered, treatment.entered) == 0:
        return Outcome.INCONCLUSIVE, Code.WINDOW_OPEN
    if min(control.sums.n, treatment.sums.n) > 0:
        return None
    if min(control.entered, treatment.entered) >= MIN_UNITS:
        return Outcome.NO_DATA, Code.NO_VALUES
    return TOO_FEW


def effect_of(found: Compared, plan: WindowPlan) -> RelativeEffect:
    """Return the relative effect and, once the gate holds, its interval, for display."""
    e = found.estimate
    if e is None:
        return RelativeEffect(math.nan, math.nan, math.nan)
    if not found.gate[0, 0]:
        plain = fieller(e.control, e.treatment, 0.0, 0.0, 0.0)
        return RelativeEffect(plain.effect, math.nan, math.nan)
    z = z_bound(float(found.statistic.information[0]), plan.level, display_rho(plan))
    return fieller(e.control, e.treatment, e.var_control, e.var_treatment, z)


def display_rho(plan: WindowPlan) -> float:
    """Return the tuning of pass and interval: sharpest half way (in e-folds) through the plan."""
    half_way = math.sqrt(FIRST_INFORMATION * max(plan.information_max, FIRST_INFORMATION))
    return tuned_rho(half_way, min(plan.level, _TUNABLE), one_sided=True)


def shown(log_e: float) -> float:
    """Return an e-value for display."""
    return math.exp(min(log_e, _LARGEST_LOG))
