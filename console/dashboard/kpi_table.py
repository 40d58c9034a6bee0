"""KPIs and variants as a table: values, effects and their intervals. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from console.dashboard import words
from console.dashboard.bars import Bar, bar_of, free_bar
from console.dashboard.lines import NOT_ENOUGH, KpiText, guardrail_line, is_proof
from guardrails.outcome import WindowFinding
from guardrails.segments import shown_window
from guardrails.views import ExperimentView, GuardrailView, KpiView
from metrics.wording import gettext as _
from metrics.wording import marked

BETTER: Final[Mapping[str, str]] = MappingProxyType(
    {
        "higher": marked("higher is better"),
        "lower": marked("lower is better"),
        "either": marked("either direction matters"),
    }
)


@dataclass(frozen=True, slots=True)
class KpiCell:
    """A KPI of one variant: value, effect against control, and on how many units.

    ``interval`` and ``bar`` are those of the guardrail of this KPI over the same window; where
    none judges it, for information at a level of its own. Both are valid at every look, and empty
    where there is not enough for them. ``tone`` has a colour where the interval excludes "no
    difference".
    """

    variant: str
    value: str
    effect: str
    tone: str
    units: str
    interval: str = ""
    bar: Bar | None = None


@dataclass(frozen=True, slots=True)
class KpiRow:
    """A KPI of every variant over one window; ``empty`` says why no variant has a value."""

    kpi: str
    title: str
    words: str
    better: str
    window: str
    cells: tuple[KpiCell, ...]
    empty: str
    guarded: bool = False
    goal: bool = False


_Judged = Mapping[tuple[str, str], tuple[GuardrailView, float | None, float | None]]


def kpi_rows(view: ExperimentView, texts: Mapping[str, KpiText]) -> tuple[KpiRow, ...]:
    """Return one row per KPI, over the longest window for which every variant has a value.

    Where no window has, the shortest one is shown, with words instead of numbers. The goal comes
    first, then what a guardrail judges, then the others.
    """
    by_kpi: dict[str, dict[timedelta, dict[str, KpiView]]] = {
        key: {} for key, text in texts.items() if text.core
    }
    for kpi in view.kpis:
        by_kpi.setdefault(kpi.kpi, {}).setdefault(kpi.window, {})[kpi.variant] = kpi
    judged = _judged(view)
    goal = view.goal["kpi"] if view.goal is not None else None
    guarded = {kpi for kpi, _treatment in judged}
    names = tuple(v.name for v in view.variants)
    rows = [
        replace(
            _row(key, windows, names, texts.get(key), judged),
            goal=key == goal,
            guarded=key in guarded,
        )
        for key, windows in by_kpi.items()
    ]
    return tuple(sorted(rows, key=lambda row: (not row.goal, not row.guarded)))


def _judged(view: ExperimentView) -> _Judged:
    """Return the guardrail of each KPI and treatment, its margin and what must be proven."""
    found: dict[tuple[str, str], tuple[GuardrailView, float | None, float | None]] = {}
    for guardrail in view.guardrails:
        if guardrail.kpi is None or not is_proof(guardrail) or guardrail.margin is None:
            continue
        line = guardrail_line(guardrail)
        found.setdefault((guardrail.kpi, guardrail.treatment), (guardrail, line.margin, line.past))
    return found


def _row(
    key: str,
    windows: Mapping[timedelta, Mapping[str, KpiView]],
    names: tuple[str, ...],
    text: KpiText | None,
    judged: _Judged,
) -> KpiRow:
    window = shown_window(windows, names)
    cells = windows[window] if window is not None else {}
    sample = next(iter(cells.values()), None)
    if window is None and text is not None:
        window = text.window
    title, better = (text.title, text.better) if text is not None else (key, "")
    if sample is not None:
        title, better = sample.title, sample.better
    unit = text.unit if text is not None else ""
    shown = tuple(_cell(cells.get(n), n, unit, judged.get((key, n)), window) for n in names)
    reasons = {cell.units for cell in shown}
    nothing = all(cell.value == _(NOT_ENOUGH) for cell in shown)
    return KpiRow(
        kpi=key,
        title=title,
        words=_(text.words) if text is not None else "",
        better=_(BETTER[better]) if better in BETTER else better,
        window=words.duration(window) if window is not None else words.unknown(),
        cells=shown,
        empty=_("not enough yet: {reason}", reason=reasons.pop())
        if len(reasons) == 1 and nothing
        else "",
    )


def _cell(
    kpi: KpiView | None,
    variant: str,
    unit: str,
    judged: tuple[GuardrailView, float | None, float | None] | None,
    window: timedelta | None,
) -> KpiCell:
    if kpi is None or kpi.value is None:
        closed = kpi is not None and kpi.entered
        said = _("no unit has a value") if closed else _("no window has closed")
        return KpiCell(variant, _(NOT_ENOUGH), "", "quiet", said)
    found = _finding(judged, window)
    low, high = kpi.effect_low, kpi.effect_high
    bar = None
    if judged is not None and found is not None:
        low, high = found.effect_low, found.effect_high
        bar = bar_of(found, judged[1], judged[2])
    elif kpi.effect is not None and low is not None and high is not None:
        bar = free_bar(kpi.effect, low, high)
    return KpiCell(
        variant=variant,
        value=words.value(kpi.value, unit),
        effect="" if kpi.effect is None else words.effect(kpi.effect),
        tone=tone_of_interval(low, high, kpi.better),
        units=words.units(kpi.units),
        interval="" if low is None or high is None else words.interval(low, high),
        bar=bar,
    )


def tone_of_interval(low: float | None, high: float | None, better: str) -> str:
    """Return the colour of a difference: what may be chance has none."""
    if better == "either" or low is None or high is None or not (low > 0 or high < 0):
        return "quiet"
    return "worse" if (high < 0) == (better == "higher") else "better"


def _finding(
    judged: tuple[GuardrailView, float | None, float | None] | None, window: timedelta | None
) -> WindowFinding | None:
    """Return what the guardrail found over the window that is shown."""
    if judged is None:
        return None
    return next((w for w in judged[0].windows if w.window == window), None)
