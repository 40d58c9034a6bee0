"""Where the effect differs: from the cells of levels to what is said of them. Pure.

Every KPI that the file's goal or guardrails name, every treatment and every level of every
declared attribute is one family. Its estimates weigh allocation phases as those of guardrails do,
so a change of shares between arms cannot pass for an effect.

Source: STATISTICS 1(k).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from experiments.lifecycle import State
from guardrails.extending import ends_at
from guardrails.lifts import has_percent
from guardrails.loaded import Loaded
from guardrails.outcome import Outcome
from guardrails.views import AttributeView, ExperimentView, KpiView, SegmentsView, SegmentView
from metrics.catalogue import Kind, KpiDefinition
from metrics.catalogue_words import title_of
from metrics.cells import MICRO, Cell
from metrics.segments import MOST_LEVELS, Asked, Dimension, Level, Part
from metrics.stats.comparison import Estimate, Pair, compare_all
from metrics.stats.contrasts import Null
from metrics.stats.segments import RATE, Finding, Segment, scan
from metrics.stats.values import Sample

_LEVELS = MOST_LEVELS + 1
_NO_HARM = Null(1.0, 0.0, 1.0)
_NOBODY = Sample(0.0, math.nan, math.nan)


def shown_window(
    windows: Mapping[timedelta, Mapping[str, KpiView]],
    variants: Sequence[str],
    *,
    decided: timedelta | None = None,
) -> timedelta | None:
    """Return the window over which a KPI is shown, ``None`` without any.

    That over which harm was proven, if any; else the longest for which every variant has a value;
    where no window has, the shortest.

    Args:
        windows: The KPI by window and variant.
        variants: All arms.
        decided: The window over which a guardrail proved harm (`deciding_window`).
    """
    if decided in windows:
        return decided
    full = [
        window
        for window, cells in windows.items()
        if all(name in cells and cells[name].value is not None for name in variants)
    ]
    return max(full) if full else min(windows, default=None)


def deciding_window(view: ExperimentView, kpi: str) -> timedelta | None:
    """Return the window over which a guardrail proved harm of a KPI, ``None`` where none did."""
    proven = [
        window
        for guardrail in view.guardrails
        if guardrail.kpi == kpi and guardrail.outcome is Outcome.BREACH
        for window in guardrail.windows
        if window.outcome is Outcome.BREACH
    ]
    found = max(proven, key=lambda w: w.evidence, default=None)
    return None if found is None else found.window


def asked_of(view: ExperimentView, loaded: Loaded) -> Asked:
    """Return the KPIs that are scanned, each over the window of the table of KPIs.

    They are those of the goal and of guardrails that compare arms; without any, the core ones.
    What was last measured under an earlier revision is left out until the next check.
    """
    measured = {(kpi.key, window) for kpi, windows in loaded.measured for window in windows}
    named = {c.kpi for c in loaded.comparisons}
    named |= {view.goal["kpi"]} if view.goal is not None else set()
    by_kpi: dict[str, dict[timedelta, dict[str, KpiView]]] = {}
    for kpi in view.kpis:
        if (kpi.kpi in named or not named) and (kpi.kpi, kpi.window) in measured:
            by_kpi.setdefault(kpi.kpi, {}).setdefault(kpi.window, {})[kpi.variant] = kpi
    names = [variant.name for variant in view.variants]
    chosen = {
        key: shown_window(windows, names, decided=deciding_window(view, key))
        for key, windows in by_kpi.items()
    }
    return [(key, window) for key, window in chosen.items() if window is not None]


def read_once(view: ExperimentView) -> bool:
    """Return whether it is over as it was planned: nobody turned back, extended or stopped it."""
    planned = not any(t.variant or ends_at(t.after) for t in view.transitions)
    return view.state == State.FINISHED and planned


@dataclass(frozen=True, slots=True)
class _Place:
    """One comparison: what is compared and where."""

    kpi: KpiDefinition
    window: timedelta
    treatment: str
    attribute: str
    level: Level
    control: tuple[Cell, ...]
    treated: tuple[Cell, ...]


def segments_view(
    loaded: Loaded,
    dimensions: Sequence[Dimension],
    *,
    asked: Asked,
    first_phases: Mapping[str, int],
    repeated: bool,
    at: datetime,
) -> SegmentsView:
    """Return what is said of the segments of an experiment.

    Args:
        loaded: Its newest revision.
        dimensions: Its units by each attribute.
        asked: KPIs and windows that were counted.
        first_phases: Of each treatment the allocation phase from which on its units count.
        repeated: Whether it may be looked at again.
        at: When it was counted.
    """
    places = _places(loaded, dimensions, asked, first_phases)
    estimates = _estimates(places)
    scanned = [n for n, place in enumerate(places) if place.level.part is not Part.UNKNOWN]
    treatments, names = loaded.spec.experiment.treatments, loaded.spec.experiment.segments
    found = scan(
        [_segment(places[n], estimates[n]) for n in scanned],
        rate=RATE,
        repeated=repeated,
        tuned_for=len(asked) * len(treatments) * len(names) * _LEVELS,
    )
    by_place = dict(zip(scanned, found, strict=True))
    return SegmentsView(
        declared=names,
        at=at,
        rate=RATE,
        repeated=repeated,
        attributes=tuple(_attribute(each) for each in dimensions),
        found=tuple(_view(place, estimates[n], by_place.get(n)) for n, place in enumerate(places)),
    )


def _places(
    loaded: Loaded,
    dimensions: Sequence[Dimension],
    asked: Asked,
    first_phases: Mapping[str, int],
) -> list[_Place]:
    spec = loaded.spec.experiment
    places: list[_Place] = []
    for key, window in asked:
        for treatment in spec.treatments:
            for dimension in dimensions:
                for level in dimension.levels:
                    cells = [
                        cell
                        for cell in dimension.cells[key, window, level]
                        if cell.phase >= first_phases.get(treatment, 0)
                    ]
                    control, treated = (
                        tuple(cell for cell in cells if cell.variant == arm)
                        for arm in (spec.control, treatment)
                    )
                    kpi = loaded.kpis[key]
                    places.append(
                        _Place(kpi, window, treatment, dimension.name, level, control, treated)
                    )
    return places


def _estimates(places: Sequence[_Place]) -> list[Estimate | None]:
    asked = [
        (n, Pair(place.control, place.treated, place.kpi.kind, _NO_HARM, 1))
        for n, place in enumerate(places)
        if place.control and place.treated
    ]
    compared = compare_all([pair for _, pair in asked])
    found = {n: each.estimate for (n, _), each in zip(asked, compared, strict=True)}
    return [found.get(n) for n in range(len(places))]


def _units(cells: Sequence[Cell]) -> int:
    return sum(cell.sums.n for cell in cells)


def _segment(place: _Place, e: Estimate | None) -> Segment:
    n_c, n_t = _units(place.control), _units(place.treated)
    events = sum(cell.sums.y for cell in (*place.control, *place.treated)) / MICRO
    return Segment(
        kpi=place.kpi.key,
        arm=place.treatment,
        dimension=place.attribute,
        level=f"{place.level.part} {place.level.name}",
        control=_NOBODY if e is None else Sample(n_c, e.control, e.var_control * n_c),
        treatment=_NOBODY if e is None else Sample(n_t, e.treatment, e.var_treatment * n_t),
        events=events if place.kpi.kind is Kind.PROPORTION else math.inf,
    )


def _view(place: _Place, e: Estimate | None, found: Finding | None) -> SegmentView:
    base = math.nan if e is None or not has_percent(e.control) else e.control
    return SegmentView(
        kpi=place.kpi.key,
        title=title_of(place.kpi),
        better=place.kpi.better.value,
        window=place.window,
        treatment=place.treatment,
        attribute=place.attribute,
        part=place.level.part.value,
        level=place.level.name,
        units=(_units(place.control), _units(place.treated)),
        control=None if e is None else e.control,
        value=None if e is None else e.treatment,
        effect=None if e is None else _known((e.treatment - e.control) / base),
        shrunken=None if found is None else _known(found.shrunken / base),
        outcome="unknown" if found is None else found.outcome.value,
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _attribute(dimension: Dimension) -> AttributeView:
    levels = tuple((lv.part.value, lv.name, units) for lv, units in dimension.levels.items())
    return AttributeView(dimension.name, dimension.values, levels)
