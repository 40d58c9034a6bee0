"""Judging the rule ``baseline``: is the newest half day like those before? Pure, no proof.

Source: DESIGN 9; Shewhart (1931), control charts.
"""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from guardrails.arms import ALMOST
from guardrails.levels import cohort_length
from guardrails.outcome import Code, Finding, Outcome
from guardrails.rules import Baseline
from guardrails.spec_file import SpecFile
from metrics.cells import Snapshot, Sums

LEAST_UNITS = 20
"""Units with a value that a cohort needs to be looked at."""

LEAST_PAST = 4
"""Cohorts that the recent past needs."""


@dataclass(frozen=True, slots=True)
class BaselineWatch:
    """One guardrail of rule ``baseline`` and treatment, ready to be judged.

    Attributes:
        guardrail: Id of the guardrail.
        kpi: KPI key.
        window: Window of the values.
        side: ``rise``, ``drop``, or ``None`` where both are told.
        sd: Standard deviations that are usual.
        cohorts: Cohorts that the recent past reaches back.
        share: Whether the KPI is a share, for words.
        control: Arm whose past is the baseline.
        treatment: Arm judged.
    """

    guardrail: str
    kpi: str
    window: timedelta
    side: str | None
    sd: float
    cohorts: int
    share: bool
    control: str
    treatment: str


def plan_baselines(spec: SpecFile) -> tuple[BaselineWatch, ...]:
    """Return every treatment that a file wants held against the past, in the file's order."""
    cohort = cohort_length(spec.experiment.ends.after)
    return tuple(
        BaselineWatch(
            guardrail=guardrail.id,
            kpi=guardrail.kpi,
            window=guardrail.window,
            side=guardrail.side.value if guardrail.side is not None else None,
            sd=guardrail.sd,
            cohorts=max(LEAST_PAST, math.ceil(guardrail.past / cohort)),
            share=spec.kpis[guardrail.kpi].unit == "share",
            control=spec.experiment.control,
            treatment=treatment,
        )
        for guardrail in spec.guardrails
        if isinstance(guardrail, Baseline)
        for treatment in spec.experiment.treatments
    )


def judge_baseline(watch: BaselineWatch, snapshot: Snapshot, *, first_phase: int) -> Finding:
    """Judge the newest cohort of a treatment.

    Args:
        watch: What is watched.
        snapshot: The cells.
        first_phase: The treatment's units of earlier phases are of an earlier attempt.
    """
    newest = max(_cohorts(watch, snapshot, watch.treatment, first_phase).items(), default=None)
    if newest is None:
        return _finding(watch, Outcome.INCONCLUSIVE, Code.SHORT_PAST)
    cohort, now = newest
    control = _cohorts(watch, snapshot, watch.control, 0)
    past = [s for c, s in control.items() if cohort - watch.cohorts <= c < cohort]
    values = [_value(sums) for sums in past]
    spread = statistics.stdev(values) if len(values) >= LEAST_PAST else 0.0
    if not spread > 0.0:
        return _finding(watch, Outcome.INCONCLUSIVE, Code.SHORT_PAST)
    mean = statistics.fmean(values)
    fewer = max(1.0, statistics.median(sums.n for sums in past) / now.n)
    usual = watch.sd * spread * math.sqrt(fewer)
    off = _off(watch, _value(now) - mean) / usual
    beyond = off > 1.0
    return _finding(
        watch,
        Outcome.BREACH if beyond else Outcome.PASS,
        Code.UNLIKE_BEFORE if beyond else Code.AS_BEFORE,
        evidence=max(off, 1.0) if beyond else min(max(off, 0.0), ALMOST),
        detail={
            "cohort": cohort,
            "value": _value(now),
            "units": now.n,
            "control_now": _value(control[cohort]) if cohort in control else None,
            "mean": mean,
            "spread": spread,
            "usual": usual,
            "past": [[_value(sums), sums.n] for sums in past],
        },
    )


def _off(watch: BaselineWatch, difference: float) -> float:
    if watch.side is None:
        return abs(difference)
    return difference if watch.side == "rise" else -difference


def _cohorts(
    watch: BaselineWatch, snapshot: Snapshot, arm: str, first_phase: int
) -> Mapping[int, Sums]:
    """Return the sums of an arm's cohorts that have enough values to be looked at."""
    found: dict[int, Sums] = {}
    for cell in snapshot.cells.get((watch.kpi, watch.window), ()):
        if cell.variant == arm and cell.phase >= first_phase:
            found[cell.cohort] = found.get(cell.cohort, Sums()) + cell.sums
    return {c: sums for c, sums in found.items() if sums.n >= LEAST_UNITS and sums.x > 0}


def _value(sums: Sums) -> float:
    return sums.y / sums.x


def _finding(
    watch: BaselineWatch,
    outcome: Outcome,
    code: Code,
    *,
    evidence: float = 0.0,
    detail: Mapping[str, Any] | None = None,
) -> Finding:
    return Finding(
        guardrail=watch.guardrail,
        kpi=watch.kpi,
        treatment=watch.treatment,
        outcome=outcome,
        code=code,
        evidence=evidence,
        detail=dict(detail or {}),
    )
