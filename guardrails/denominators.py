"""Whether the denominators of ratios differ between arms. Pure.

A mean score can rise because unhappy people no longer answer. So whatever a KPI divides by
(ratings, cases, refunds asked for) is compared between the arms, per unit that has entered, and a
shift is told to people. It decides nothing: it is no part of any guardrail's promise.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from experiments.repository import TreatmentRecord
from guardrails.loaded import Loaded
from guardrails.plain_words import duration
from guardrails.views import DenominatorView
from metrics.catalogue import Kind, KpiDefinition
from metrics.catalogue_words import title_of
from metrics.cells import MICRO
from metrics.stats.comparison import MIN_UNITS
from metrics.stats.mixtures import normal_mixture_bound, tuned_rho
from metrics.wording import gettext as _

LEVEL: Final = 0.001
"""Probability that any shift is told where there is none, over a whole run and all its KPIs."""

TUNED_FOR: Final = 2_000.0
"""Information at which a shift is found soonest: 4,000 units in each of two equal arms."""

Rows = Mapping[tuple[str, int, str], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class _Sums:
    """Units that have entered, and the sums of their denominators and squares; 0 without one."""

    entered: int = 0
    having: int = 0
    x: float = 0.0
    xx: float = 0.0

    @property
    def mean(self) -> float:
        return self.x / self.entered

    @property
    def variance(self) -> float:
        """Variance of the mean."""
        return max(self.xx / self.entered - self.mean**2, 0.0) / self.entered


def shifts(
    loaded: Loaded, body: Mapping[str, Any], treatments: Mapping[str, TreatmentRecord]
) -> tuple[DenominatorView, ...]:
    """Return every proven shift of a denominator between control and a live treatment.

    Args:
        loaded: The run.
        body: What the newest check saw (``snapshot_to_json``).
        treatments: Those that are turned back have no say: control went on without them.

    Returns:
        Of each KPI and treatment the clearest window; the bound holds at every look.
    """
    rows: Rows = {(r["kpi"], r["window"], r["variant"]): r for r in body.get("kpis", ())}
    live = [t for t in treatments.values() if t.state == "live"]
    watched = [kpi for kpi in loaded.spec.kpis.values() if _varies(kpi)]
    windows = {kpi.key: ws for kpi, ws in loaded.measured}
    pairs = [(kpi, t) for kpi in watched for t in live]
    level = LEVEL / max(1, sum(len(windows.get(kpi.key, ())) for kpi, _ in pairs))
    found: list[DenominatorView] = []
    for kpi, treatment in pairs:
        seen = [
            shift
            for window in windows.get(kpi.key, ())
            if (shift := _shift(loaded, rows, kpi, window, treatment, level)) is not None
        ]
        found += sorted(seen, key=lambda shift: -shift.evidence)[:1]
    return tuple(found)


def _varies(kpi: KpiDefinition) -> bool:
    return kpi.kind is not Kind.MEAN and kpi.over is not None


def _shift(  # noqa: PLR0917 - one comparison has these parts
    loaded: Loaded,
    rows: Rows,
    kpi: KpiDefinition,
    window: timedelta,
    treatment: TreatmentRecord,
    level: float,
) -> DenominatorView | None:
    seconds = int(window.total_seconds())
    control = _by_phase(rows.get((kpi.key, seconds, loaded.spec.experiment.control)))
    treated = _by_phase(rows.get((kpi.key, seconds, treatment.variant)))
    phases = [
        (control[phase], treated[phase])
        for phase in sorted(control.keys() & treated.keys())
        if phase >= treatment.first_phase
    ]
    evidence = _evidence(phases, level)
    if evidence is None or evidence < 1.0:
        return None
    a, b = _total([c for c, _ in phases]), _total([t for _, t in phases])
    return DenominatorView(
        kpi=kpi.key,
        title=title_of(kpi),
        variant=treatment.variant,
        window=window,
        control=a.mean,
        treatment=b.mean,
        control_having=a.having / a.entered,
        treatment_having=b.having / b.entered,
        evidence=evidence,
        words=_words(kpi, window, treatment.variant, a, b),
    )


def _evidence(phases: Sequence[tuple[_Sums, _Sums]], level: float) -> float | None:
    """Return the difference of mean denominators over its bound; ``None`` where none is known."""
    if min((sum(c.entered for c, _ in phases), sum(t.entered for _, t in phases))) < MIN_UNITS:
        return None
    harm = variance = information = 0.0
    for control, treated in phases:
        if not control.entered or not treated.entered:
            continue
        m = control.entered * treated.entered / (control.entered + treated.entered)
        harm += m * (treated.mean - control.mean)
        variance += m * m * (treated.variance + control.variance)
        information += m
    if variance <= 0.0:
        return None
    rho = tuned_rho(TUNED_FOR, level, one_sided=False)
    bound = normal_mixture_bound(information, level, rho, one_sided=False)
    return abs(harm) / math.sqrt(variance) * math.sqrt(information) / bound


def _by_phase(row: Mapping[str, Any] | None) -> dict[int, _Sums]:
    if row is None:
        return {}
    told: Mapping[str, Sequence[Any]] = row.get("denominators", {})
    return {
        int(phase): _Sums(int(entered), int(n), int(x) / MICRO, int(xx) / MICRO**2)
        for phase, (entered, n, x, xx) in told.items()
    }


def _total(parts: Sequence[_Sums]) -> _Sums:
    return _Sums(
        sum(part.entered for part in parts),
        sum(part.having for part in parts),
        math.fsum(part.x for part in parts),
        math.fsum(part.xx for part in parts),
    )


def _words(kpi: KpiDefinition, window: timedelta, variant: str, a: _Sums, b: _Sums) -> str:
    told = {
        "title": title_of(kpi),
        "window": duration(window),
        "over": kpi.over,
        "having": f"{a.having / a.entered:.1%}",
        "treated": f"{b.having / b.entered:.1%}",
        "variant": variant,
    }
    if kpi.kind is Kind.PROPORTION:
        return _(
            "{title} over {window}: the units it is about ({over}) differ between arms: {having} "
            "of units have one in control, {treated} in {variant}. Its values are of different "
            "people or cases, so a better one may hide harm",
            **told,
        )
    return _(
        "{title} over {window}: what it divides by ({over}) differs between arms: {mean} per unit "
        "in control, {other} in {variant}; {having} of units have one in control, {treated} in "
        "{variant}. Its values are of different people or cases, so a better one may hide harm",
        mean=f"{a.mean:.3g}",
        other=f"{b.mean:.3g}",
        **told,
    )
