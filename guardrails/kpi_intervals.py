"""Intervals of the effects on KPIs, for information: nothing is decided by them. Pure.

A guardrail has an interval of its own, at its part of the file's level. Every other KPI gets one
here, at one level for each by itself, valid at every look: a confidence sequence. Among many KPIs
some may miss the truth, so none of them proves anything.
"""

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple

from guardrails.arms import arm_cells
from guardrails.lifts import has_percent
from guardrails.loaded import Loaded
from metrics.catalogue import Kind
from metrics.cells import Snapshot
from metrics.stats.comparison import Compared, Estimate, Pair, compare_all
from metrics.stats.confidence import radius
from metrics.stats.contrasts import Null
from metrics.stats.mixtures import tuned_rho
from metrics.stats.relative import fieller

LEVEL: Final = 0.05
"""Probability that one interval ever misses the truth, over all looks."""

TUNED_FOR: Final = 2_000.0
"""Information at which an interval is sharpest: 4,000 units in each of two equal arms."""

_RHO: Final = tuned_rho(TUNED_FOR, LEVEL, one_sided=False)
_NOTHING: Final = Null(1.0, 0.0, 1.0)


class Ends(NamedTuple):
    """An effect, phases weighed alike, and the two ends of its interval.

    Relative to control; in the KPI's own unit where control is not positive (``absolute``).
    """

    effect: float
    low: float
    high: float
    absolute: bool = False


def kpi_intervals(loaded: Loaded, snapshot: Snapshot) -> Mapping[tuple[str, timedelta, str], Ends]:
    """Return effect and interval per KPI, window and treatment, over the whole run.

    Guarantee: each contains the true effect at every look with probability ``1 - LEVEL``,
    asymptotically. Not valid for all of them together.

    Returns:
        Only those whose arms have enough units and events for it, and whose ends are finite.
    """
    control = loaded.spec.experiment.control
    asked: dict[tuple[str, timedelta, str], Pair] = {}
    for (kpi, window), cells in snapshot.cells.items():
        definition = loaded.kpis.get(kpi)
        beside = arm_cells(cells, control, 0)
        if definition is None or not beside.sums.n:
            continue
        for variant in {cell.variant for cell in cells} - {control}:
            arm = arm_cells(cells, variant, 0)
            if arm.sums.n:
                asked[kpi, window, variant] = Pair(
                    beside.cells,
                    arm.cells,
                    definition.kind,
                    _NOTHING,
                    1,
                    wholes=(beside.sums, arm.sums),
                )
    found = zip(asked, compare_all(list(asked.values())), strict=True)
    known = (
        (key, ends_of(compared, share=asked[key].kind is Kind.PROPORTION))
        for key, compared in found
    )
    return {key: ends for key, ends in known if ends is not None}


def add_intervals(
    body: Mapping[str, Any], intervals: Mapping[tuple[str, timedelta, str], Ends]
) -> None:
    """Put intervals beside the totals they belong to (``snapshot_to_json``)."""
    for row in body["kpis"]:
        key = row["kpi"], timedelta(seconds=row["window"]), row["variant"]
        if key in intervals:
            *ends, absolute = intervals[key]
            row["difference" if absolute else "interval"] = ends


def ends_of(found: Compared, *, share: bool) -> Ends | None:
    """Return effect and interval of one comparison; ``None`` where there is not enough for it.

    Args:
        found: Against the null of no difference, one row.
        share: Whether values are shares, which are never more than 100% lower.
    """
    e = found.estimate
    if e is None or not found.gate[0] or not e.var_control + e.var_treatment > 0.0:
        return None
    z = radius(float(found.statistic.information[0]), alpha=LEVEL, rho=_RHO)
    if not has_percent(e.control):
        return _difference(e, z)
    effect = fieller(e.control, e.treatment, e.var_control, e.var_treatment, z)
    low = max(effect.low, -1.0) if share else effect.low
    ends = (effect.effect, low, effect.high)
    return Ends(*ends) if all(map(math.isfinite, ends)) else None


def _difference(e: Estimate, z: float) -> Ends | None:
    """Return the difference of both values, where a percentage of control has no meaning."""
    between = e.treatment - e.control
    reach = z * math.sqrt(e.var_control + e.var_treatment)
    ends = (between, between - reach, between + reach)
    return Ends(*ends, absolute=True) if all(map(math.isfinite, ends)) else None
