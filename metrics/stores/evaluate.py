"""Values of many units at once, from columns: the same integers as `metrics.values`. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrics.catalogue import PER_UNIT_CAP
from metrics.cells import MICRO
from metrics.formula import Formula, Scale
from metrics.kinds import KINDS
from metrics.stores.columns import Gathered, IdsOf, Ints
from metrics.stores.plan import KpiPlan, MeasurePlan

Array = NDArray[Any]
_SAFE = 2**62

Values = tuple[Array, Array, NDArray[np.bool_]]


def total_values(plan: KpiPlan, totals: Mapping[str, Ints], count: int) -> Values:
    """Return (y, x, defined) of units for one KPI and window from their running totals."""
    hours = np.full(count, plan.hours, np.int64)
    measured: dict[str, Array] = {"window": hours, **totals}
    bounds = {
        name: max(int(each.max(initial=0)), -int(each.min(initial=0)))
        for name, each in measured.items()
    }
    dtype = np.int64 if _safe(plan, bounds) else np.object_
    measured = {name: each.astype(dtype, copy=False) for name, each in measured.items()}
    return _of_kind(plan, measured, count, dtype)


def unit_values(plan: KpiPlan, events: Gathered, ends: Ints, ids_of: IdsOf) -> Values | None:
    """Return (y, x, defined) of units for one KPI and window from their events.

    Args:
        plan: The KPI and window.
        events: Events of the units inside the window.
        ends: When each unit's window closes, microseconds.
        ids_of: For ties at the per-unit cap.

    Returns:
        ``None`` when no unit has any event of the KPI: every one has ``plan.default``.
    """
    picked = {code: _counted(code, mask, events, ids_of) for code, mask in plan.masks.items()}
    if not any(rows.size for rows in picked.values()):
        return None
    units = ends.shape[0]
    dtype = np.int64 if _fits(plan, events, picked) else np.object_
    totals = _totals(plan, events, picked, ends, groups=events.owner, count=units, dtype=dtype)
    if plan.case_column is not None:
        totals |= _cases(plan, events, picked, ends, dtype)
    return _of_kind(plan, totals, units, dtype)


def _of_kind(plan: KpiPlan, totals: Mapping[str, Array], units: int, dtype: Any) -> Values:
    value = _spread(plan.formulas.value, totals, units, dtype)
    over = plan.formulas.over
    return KINDS[plan.kpi.kind].unit_values(
        value, None if over is None else _spread(over, totals, units, dtype)
    )


def _counted(code: int, mask: int, events: Gathered, ids_of: IdsOf) -> Ints:
    """Return the events of one name that count: those that match, the earliest 20 per unit."""
    rows = events.of_name(code)
    rows = rows[(events.flags[rows] & mask) != 0]
    if rows.size <= PER_UNIT_CAP:
        return rows
    per_unit = np.bincount(events.owner[rows])
    for owner in np.flatnonzero(per_unit > PER_UNIT_CAP):
        mine = events.owner[rows] == owner
        rows = np.concatenate([rows[~mine], _earliest(rows[mine], events, ids_of)])
    return rows


def may_count(
    events: Gathered, start: int, selections: Sequence[tuple[int, int]]
) -> NDArray[np.bool_]:
    """Return which events of one unit may still count for some KPI and window.

    An event with 20 earlier ones of its name and KPI after ``start`` never will: the first
    exposure can only move to an earlier instant, which brings more events before it.

    Args:
        events: All events of the unit.
        start: First exposure minus the clock tolerance; earlier events are all kept.
        selections: (name code, bits) of every KPI.
    """
    after = events.at >= start
    keep = ~after
    for code, mask in selections:
        rows = np.flatnonzero(after & (events.name == code) & ((events.flags & mask) != 0))
        if rows.size > PER_UNIT_CAP:
            at = events.at[rows]
            rows = rows[at <= np.partition(at, PER_UNIT_CAP - 1)[PER_UNIT_CAP - 1]]
        keep[rows] = True
    return keep


def _earliest(rows: Ints, events: Gathered, ids_of: IdsOf) -> Ints:
    at = events.at[rows]
    last = np.sort(at)[PER_UNIT_CAP - 1]
    before, tied = rows[at < last], rows[at == last]
    room = PER_UNIT_CAP - before.size
    if tied.size > room:
        seqs = events.seqs(tied).tolist()
        ids = ids_of(seqs)
        order = sorted(range(len(seqs)), key=lambda position: ids[seqs[position]])
        tied = tied[order[:room]]
    return np.concatenate([before, tied])


def _totals(
    plan: KpiPlan,
    events: Gathered,
    picked: Mapping[int, Ints],
    ends: Ints,
    *,
    groups: Ints,
    count: int,
    dtype: Any,
) -> dict[str, Array]:
    """Return every measure, added up by ``groups`` (one group number per event)."""
    totals: dict[str, Array] = {"window": np.full(count, plan.hours, dtype)}
    for measure in plan.measures:
        rows = _matching(measure, events, picked)
        if measure.after is not None:
            first = _first(plan.measures[measure.after], events, picked, groups, count)
            rows = rows[events.at[rows] > first[groups[rows]]]
        if measure.before_close is not None:
            rows = rows[events.at[rows] <= ends[events.owner[rows]] - measure.before_close]
        if measure.column is None:
            counts: Array = np.bincount(groups[rows], minlength=count)
            totals[measure.name] = counts.astype(dtype, copy=False)
        else:
            sums = np.zeros(count, dtype)
            np.add.at(sums, groups[rows], _numbers(measure, plan, events, rows).astype(dtype))
            totals[measure.name] = sums
    return totals


def _matching(measure: MeasurePlan, events: Gathered, picked: Mapping[int, Ints]) -> Ints:
    rows = picked[measure.code]
    return rows[(events.flags[rows] & measure.bit) != 0]


def _first(
    measure: MeasurePlan, events: Gathered, picked: Mapping[int, Ints], groups: Ints, count: int
) -> Ints:
    """Return when the first event of a measure happened, by group; later than all without one."""
    rows = _matching(measure, events, picked)
    first = np.full(count, np.iinfo(np.int64).max, np.int64)
    np.minimum.at(first, groups[rows], events.at[rows])
    return first


def _numbers(measure: MeasurePlan, plan: KpiPlan, events: Gathered, rows: Ints) -> Ints:
    numbers = events.number(measure.column or 0, rows)
    if measure.cap is not None:
        numbers = np.minimum(numbers, measure.cap)
    return np.minimum(numbers, plan.hours) if measure.cap_window else numbers


def _cases(
    plan: KpiPlan, events: Gathered, picked: Mapping[int, Ints], ends: Ints, dtype: Any
) -> dict[str, Array]:
    """Return the numbers formed per case, added up by unit."""
    rows = np.concatenate(list(picked.values()))
    cases = events.case(plan.case_column or 0, rows)
    width = int(cases.max(initial=0)) + 1
    keys, group = np.unique(events.owner[rows] * width + cases, return_inverse=True)
    owner = keys // width
    groups = np.zeros(events.owner.shape[0], np.int64)
    groups[rows] = group
    by_case = _totals(plan, events, picked, ends, groups=groups, count=keys.shape[0], dtype=dtype)
    totals: dict[str, Array] = {}
    for name, formula in plan.formulas.each.items():
        sums = np.zeros(ends.shape[0], dtype)
        np.add.at(sums, owner, np.broadcast_to(formula.compute(by_case), keys.shape))
        totals[name] = sums
    return totals


def _spread(formula: Formula, totals: Mapping[str, Array], units: int, dtype: Any) -> Array:
    result: Any = formula.micros(totals)
    return result if isinstance(result, np.ndarray) else np.full(units, result, dtype)


def _fits(plan: KpiPlan, events: Gathered, picked: Mapping[int, Ints]) -> bool:
    """Return whether nothing can exceed 64 bits, given the largest number there is."""
    bounds: dict[str, int] = {"window": plan.hours}
    for measure in plan.measures:
        largest = 1
        if measure.column is not None:
            numbers = events.number(measure.column, picked[measure.code])
            largest = max(int(numbers.max(initial=0)), -int(numbers.min(initial=0)))
        bounds[measure.name] = PER_UNIT_CAP * largest
    return _safe(plan, bounds)


def _safe(plan: KpiPlan, bounds: dict[str, int]) -> bool:
    """Return whether no formula exceeds 64 bits when no measure exceeds its bound."""
    cases = PER_UNIT_CAP * len(plan.masks)
    formulas = [plan.formulas.value]
    if plan.formulas.over is not None:
        formulas.append(plan.formulas.over)
    for name, formula in plan.formulas.each.items():
        bounds[name] = cases * max(formula.bound(bounds), 1)
    scaled = [
        formula.bound(bounds) * (MICRO if formula.scale is Scale.COUNT else 1)
        for formula in formulas
    ]
    return max(*scaled, *bounds.values()) < _SAFE
