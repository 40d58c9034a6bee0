"""What a running service knows of control and its traffic, for the plan of another run. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from experiments.repository import ExperimentRecord
from guardrails.loaded import Loaded
from guardrails.planning.baselines import (
    Baseline,
    Baselines,
    Number,
    Source,
    baseline_with,
    measured_baseline,
)
from guardrails.planning.calendar import layer_share
from metrics.cells import Snapshot
from metrics.stats import moments

_LEAST = 50
"""Units of control exposed in the current step, below which its traffic is not told."""

_NUMBERS = ("value", "sd", "answering", "skewness", "denominator_cv")


@dataclass(frozen=True, slots=True)
class MeasuredKpi:
    """Control's KPI over one window; a number is ``None`` where it has no meaning.

    Attributes:
        kpi: Key.
        window: Length.
        units: Control's units with a value.
        value: Of the KPI.
        answering: Share of the units whose window has closed that have a value.
        sd: Standard deviation of one unit's (linearised) value, of a mean or a ratio.
        skewness: Of one unit's value.
        denominator_cv: Standard deviation of a unit's denominator over its mean, of a ratio.
    """

    kpi: str
    window: timedelta
    units: int
    value: float
    answering: float
    sd: float | None
    skewness: float | None
    denominator_cv: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """What a running service knows.

    Attributes:
        experiment: Key of the run it was measured in.
        at: When.
        units_per_day: Units a day that fit its audience, before its layer and ramp took their
            share; ``None`` where too few came in the current step to say.
        kpis: Those with at least 100 units of control.
    """

    experiment: str
    at: datetime
    units_per_day: float | None
    kpis: tuple[MeasuredKpi, ...]


def measured_of(loaded: Loaded, record: ExperimentRecord, snapshot: Snapshot) -> Measured:
    """Return what one snapshot of an experiment says about control."""
    control = loaded.spec.experiment.control
    found: list[MeasuredKpi] = []
    for (kpi, window), cells in snapshot.cells.items():
        own = [cell for cell in cells if cell.variant == control]
        sums = moments.total(own)
        entered = sum(cell.entered for cell in own)
        known = measured_baseline(loaded.kpis[kpi].kind, entered, sums)
        if known is not None:
            numbers: dict[str, Any] = {name: _value(getattr(known, name)) for name in _NUMBERS}
            found.append(MeasuredKpi(kpi=kpi, window=window, units=sums.n, **numbers))
    return Measured(record.key, snapshot.at, _units_per_day(loaded, record, snapshot), tuple(found))


def _value(number: Number | None) -> float | None:
    return None if number is None else number.value


def _units_per_day(loaded: Loaded, record: ExperimentRecord, snapshot: Snapshot) -> float | None:
    """Reckon from control's exposures in the current step: a rolled back arm has none."""
    spec = loaded.spec.experiment
    reach = snapshot.reach.get(spec.control)
    if reach is None or record.state not in {"running", "observing"}:
        return None
    until = min(snapshot.at, record.ends_at)
    before = record.step_exposed.get(spec.control, 0)
    came = reach.exposed - before
    days = (until - record.step_since) / timedelta(days=1)
    if came < _LEAST or not days > 0.0:
        return None
    traffic = spec.ramp[min(record.step, len(spec.ramp) - 1)].traffic
    return came / days / (spec.variant(spec.control).weight * traffic * layer_share(spec))


def read_measured(body: object) -> tuple[float | None, Baselines]:
    """Return units a day and baselines from the JSON object of a ``Measured``.

    Raises:
        msgspec.ValidationError: It is none.
    """
    seen = msgspec.convert(body, Measured)
    known: dict[tuple[str, timedelta | None], Baseline] = {}
    for row in seen.kpis:
        numbers = {name: getattr(row, name) for name in _NUMBERS}
        known[row.kpi, row.window] = baseline_with(numbers, Source.MEASURED)
    return seen.units_per_day, known
