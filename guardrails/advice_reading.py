"""Reading what advice needs from the cells of the last check. Pure."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from scipy.special import ndtri

from experiments.repository import ExperimentRecord, TreatmentRecord
from guardrails.arms import FIRST_INFORMATION, arm_cells, display_rho
from guardrails.levels import Comparison, WindowPlan, cohort_length
from guardrails.loaded import Loaded
from metrics.catalogue import Better, KpiDefinition
from metrics.cells import Cell, Snapshot
from metrics.stats.comparison import Compared, compare
from metrics.stats.confidence import always_valid_p, log_e_value, radius
from metrics.stats.contrasts import Null
from metrics.stats.difference import Comparison as Difference
from metrics.stats.difference import welch
from metrics.stats.ship import Role
from metrics.stats.values import Sample, Side

WEEK = timedelta(days=7)
POWER = 0.8
"""Probability with which an extension proves what is missing, if the estimates are true."""

_NAN = math.nan


@dataclass(frozen=True, slots=True)
class Span:
    """The units that whole weeks at full traffic hold.

    Attributes:
        full_for: How long traffic was full.
        weeks: Whole weeks in it, up to the last exposure.
        first_cohort: The first cohort of first exposures within them.
    """

    full_for: timedelta
    weeks: int
    first_cohort: int

    @classmethod
    def of(cls, loaded: Loaded, record: ExperimentRecord, treatment: TreatmentRecord) -> "Span":
        """Return the weeks of a treatment: its newest attempt, the last step of the ramp."""
        began = max(record.started_at, record.step_since, treatment.since)
        full = record.step + 1 >= len(loaded.steps)
        full_for = max(record.ends_at - began, timedelta(0)) if full else timedelta(0)
        weeks = full_for // WEEK
        cohort = cohort_length(loaded.spec.experiment.ends.after)
        since = record.ends_at - weeks * WEEK - record.started_at
        return cls(full_for, weeks, max(0, math.ceil(since / cohort)))


@dataclass(frozen=True, slots=True)
class Question:
    """One metric: a KPI, which movement is harm, and how much of it is tolerated."""

    name: str
    role: Role
    kpi: KpiDefinition
    windows: tuple[WindowPlan, ...]
    harm: float  # +1.0 where a rise is harm, -1.0 where a drop is
    margin: float = 0.0
    absolute: bool = False


@dataclass(frozen=True, slots=True)
class MetricRead:
    """What one metric says of a treatment; ``nan`` where it says nothing.

    Attributes:
        name: Of the metric: the guardrail's id, or the KPI's key.
        role: What it is for.
        kpi: Key.
        window: Since the first exposure; the longest one that enough units have closed.
        units: With a value, of whole weeks, by (control, treatment).
        effect: Relative; its interval holds at this one look.
        worse: One-sided p-values, see ``metrics.stats.ship``.
        gain: Effect in the good direction.
        more: How many times as many weeks would prove what is missing; ``inf`` where the
            estimate is on the wrong side, ``None`` where nobody can say.
        difference: In the KPI's unit, where control is not positive and ``effect`` unknown.
    """

    name: str
    role: Role
    kpi: str
    window: timedelta
    units: tuple[int, int]
    effect: float
    low: float
    high: float
    worse: float
    better: float = _NAN
    within_margin: float = _NAN
    gain: float = _NAN
    more: float | None = None
    difference: float = _NAN

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON; what is no finite number is ``None``."""
        numbers = ("effect", "low", "high", "worse", "better", "within_margin", "more")
        return {
            "name": self.name,
            "role": self.role.value,
            "kpi": self.kpi,
            "window": int(self.window.total_seconds()),
            "units": list(self.units),
            **{name: _finite(getattr(self, name)) for name in numbers},
        }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def questions(loaded: Loaded, treatment: str, *, level: float) -> tuple[Question, ...]:
    """Return the goal where it has a direction, every margin, and the KPIs watched with one."""
    return tuple(_questions(loaded, treatment, level))


def _questions(loaded: Loaded, treatment: str, level: float) -> Iterator[Question]:
    spec = loaded.spec.experiment
    margins = [
        c for c in loaded.comparisons if isinstance(c, Comparison) and c.treatment == treatment
    ]
    expected = max((w.information_max for c in margins for w in c.windows), default=1e5)

    def plain(kpi: KpiDefinition) -> tuple[WindowPlan, ...]:
        most = max(expected, FIRST_INFORMATION)
        return tuple(WindowPlan(w.length, level, most, 0) for w in kpi.windows)

    goal = spec.goal
    if goal is not None:
        kpi = loaded.kpis[goal.kpi]
        harm = _harm_of(kpi) or (0.0 if goal.expect is None else -math.copysign(1.0, goal.expect))
        if harm:
            yield Question(f"goal {kpi.key}", Role.SUCCESS, kpi, plain(kpi), harm)
    for each in margins:
        if not loaded.rules[each.guardrail].dry_run:
            yield Question(
                each.guardrail,
                Role.GUARDRAIL,
                loaded.kpis[each.kpi],
                each.windows,
                1.0 if each.side == "rise" else -1.0,
                each.margin,
                each.absolute,
            )
    for key in spec.watch:
        kpi = loaded.kpis[key]
        if harm := _harm_of(kpi):
            yield Question(f"watched {key}", Role.WATCHED, kpi, plain(kpi), harm)


def _harm_of(kpi: KpiDefinition) -> float:
    """Return the sign of harm, 0 where either direction may be good."""
    return {Better.HIGHER: -1.0, Better.LOWER: 1.0}.get(kpi.better, 0.0)


def advised_windows(loaded: Loaded) -> tuple[tuple[str, timedelta], ...]:
    """Return the (KPI, window) pairs that only advice reads."""
    spec = loaded.spec.experiment
    keys = ([spec.goal.kpi] if spec.goal is not None else []) + list(spec.watch)
    return tuple((key, w.length) for key in dict.fromkeys(keys) for w in loaded.kpis[key].windows)


def read_metrics(
    loaded: Loaded, treatment: TreatmentRecord, snapshot: Snapshot, span: Span, *, level: float
) -> tuple[MetricRead, ...]:
    """Return what every metric says of one treatment."""
    control = loaded.spec.experiment.control
    return tuple(
        _read(question, control, treatment, snapshot, span, level=level)
        for question in questions(loaded, treatment.variant, level=level)
    )


def _read(
    asked: Question,
    control: str,
    treatment: TreatmentRecord,
    snapshot: Snapshot,
    span: Span,
    *,
    level: float,
) -> MetricRead:
    longest = asked.windows[-1]
    answer: MetricRead | None = None
    for plan in sorted(asked.windows, key=lambda w: w.length, reverse=True):
        cells = snapshot.cells.get((asked.kpi.key, plan.length), ())
        arms = [
            arm_cells(cells, arm, treatment.first_phase).cells
            for arm in (control, treatment.variant)
        ]
        weeks = [tuple(c for c in own if c.cohort >= span.first_cohort) for own in arms]
        units = (sum(c.sums.n for c in weeks[0]), sum(c.sums.n for c in weeks[1]))
        if not all(units):
            continue
        found = _weighed(asked, plan, arms, weeks, units, level=level)
        if math.isfinite(found.worse):
            return found
        answer = answer or found
    nothing = MetricRead(
        asked.name, asked.role, asked.kpi.key, longest.length, (0, 0), _NAN, _NAN, _NAN, _NAN
    )
    return answer or nothing


def _weighed(
    asked: Question,
    plan: WindowPlan,
    whole: Sequence[tuple[Cell, ...]],
    weeks: Sequence[tuple[Cell, ...]],
    units: tuple[int, int],
    *,
    level: float,
) -> MetricRead:
    rho = display_rho(plan)
    ever, now = (_compared(asked, cells) for cells in (whole, weeks))
    worse = _p_of(ever, 0, rho, Side.GREATER)
    difference = _difference(now, units, level=level, harm=asked.harm)
    relative = difference.relative
    better = within = _NAN
    more: float | None = None
    if asked.role is Role.SUCCESS and bool(now.gate[0, 0]):
        better = difference.p_value
        z = -asked.harm * difference.statistic
        more = _times(float(-ndtri(level)), z)
    if asked.role is Role.GUARDRAIL:
        within = _p_of(now, 1, rho, Side.LESS)
        information = float(now.statistic.information[0])
        bound = radius(information, alpha=level, rho=rho, side=Side.LESS)
        more = _times(bound, -float(now.statistic.z[1, 0])) if bool(now.gate[1, 0]) else None
    return MetricRead(
        asked.name,
        asked.role,
        asked.kpi.key,
        plan.length,
        units,
        relative.effect,
        relative.low,
        relative.high,
        worse,
        better,
        within,
        -asked.harm * difference.effect.estimate,
        more,
        _NAN if math.isfinite(relative.effect) else difference.effect.estimate,
    )


def _compared(asked: Question, cells: Sequence[tuple[Cell, ...]]) -> Compared:
    """Compare both arms under "not worse" and under "just past the margin"."""
    harms = np.array([0.0, asked.margin]).reshape(2, 1, 1) * asked.harm
    null = Null(1.0 + harms, np.zeros_like(harms), asked.harm)
    if asked.absolute:
        null = Null(np.ones_like(harms), harms, asked.harm)
    return compare(cells[0], cells[1], kind=asked.kpi.kind, null=null, rows=1)


def _p_of(found: Compared, null: int, rho: float, side: Side) -> float:
    if not found.gate[null, 0]:
        return _NAN
    z, information = found.statistic.z[null, 0], found.statistic.information[0]
    return float(always_valid_p([float(log_e_value(z, information, rho=rho, side=side))])[-1])


def _difference(
    found: Compared, units: tuple[int, int], *, level: float, harm: float
) -> Difference:
    """Return Welch's test of the good direction, and the two-sided interval for display."""
    e = found.estimate
    if e is None:
        nothing = Sample(0.0, _NAN, _NAN)
        return welch(nothing, nothing)
    control = Sample(units[0], e.control, e.var_control * units[0])
    treatment = Sample(units[1], e.treatment, e.var_treatment * units[1])
    side = Side.LESS if harm > 0.0 else Side.GREATER
    test = welch(control, treatment, alpha=level, side=side)
    shown = welch(control, treatment, alpha=2.0 * level)
    return Difference(shown.effect, shown.relative, test.statistic, test.df, test.p_value)


def _times(needed: float, z: float) -> float | None:
    """Return how many times the units would bring a statistic of z past what it needs."""
    if not math.isfinite(z):
        return None
    if z <= 0.0:
        return math.inf
    return max(1.0, ((needed + float(ndtri(POWER))) / z) ** 2)
