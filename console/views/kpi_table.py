"""KPIs and variants as a table: values, effects and their intervals. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from console.views import words
from console.views.bars import Bar, bar_of, free_bar
from console.views.comparisons import Comparison, Key, comparisons
from console.views.lines import NOT_ENOUGH, KpiText, guardrail_line, is_proof
from guardrails.segments import deciding_window, shown_window
from guardrails.views import ExperimentView, KpiView
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

    All numbers are of the same evidence (`comparisons`): the look of the guardrail of this KPI
    over the same window; where none judges it the totals, with an interval for information at a
    level of its own. Intervals are valid at every look, and empty where there is not enough for
    them. ``tone`` has a colour where the interval excludes "no difference"; ``note`` says of
    which look the numbers are and how they are weighed, where that is not plain.
    """

    variant: str
    value: str
    effect: str
    tone: str
    units: str
    interval: str = ""
    bar: Bar | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class KpiRow:
    """A KPI of every variant over one window; ``empty`` says why no variant has a value.

    ``watched`` says that the file names it under ``watch``, ``decided`` that a guardrail proved
    harm over this window.
    """

    kpi: str
    title: str
    words: str
    better: str
    window: str
    cells: tuple[KpiCell, ...]
    empty: str
    guarded: bool = False
    goal: bool = False
    watched: bool = False
    decided: bool = False


def kpi_rows(view: ExperimentView, texts: Mapping[str, KpiText]) -> tuple[KpiRow, ...]:
    """Return one row per KPI: over the window that decided, where a guardrail proved harm.

    Else over the longest window for which every variant has a value. Where no window has, the
    shortest one is shown, with words instead of numbers. The goal comes first, then what a
    guardrail judges, then what the file watches, then the others.
    """
    goal = view.goal["kpi"] if view.goal is not None else None
    guarded = {g.kpi for g in view.guardrails if is_proof(g)}
    by_kpi: dict[str, dict[timedelta, dict[str, KpiView]]] = {
        key: {}
        for key, text in texts.items()
        if text.core or key == goal or key in guarded or key in view.watched
    }
    for kpi in view.kpis:
        by_kpi.setdefault(kpi.kpi, {}).setdefault(kpi.window, {})[kpi.variant] = kpi
    told = comparisons(view)
    rows = [
        replace(
            _row(key, windows, view, texts.get(key), told),
            goal=key == goal,
            guarded=key in guarded,
            watched=key in view.watched,
        )
        for key, windows in by_kpi.items()
    ]
    return tuple(sorted(rows, key=lambda row: (not row.goal, not row.guarded, not row.watched)))


def _row(
    key: str,
    windows: Mapping[timedelta, Mapping[str, KpiView]],
    view: ExperimentView,
    text: KpiText | None,
    told: Mapping[Key, Comparison],
) -> KpiRow:
    names, decided = tuple(v.name for v in view.variants), deciding_window(view, key)
    window = shown_window(windows, names, decided=decided)
    cells = windows[window] if window is not None else {}
    sample = next(iter(cells.values()), None)
    beside: dict[str, Comparison] = {}
    if window is not None:
        beside = {name: told[key, window, name] for name in names if (key, window, name) in told}
    elif text is not None:
        window = text.window
    title, better = (text.title, text.better) if text is not None else (key, "")
    if sample is not None:
        title, better = sample.title, sample.better
    unit = text.unit if text is not None else ""
    first = next(iter(beside.values()), None)
    shown = tuple(
        _plain_cell(cells.get(name), name, unit, first if at == 0 else None)
        if name not in beside
        else _cell(beside[name], name, unit, first)
        for at, name in enumerate(names)
    )
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
        decided=window is not None and window == decided,
    )


def _plain_cell(kpi: KpiView | None, variant: str, unit: str, beside: Comparison | None) -> KpiCell:
    """Return a cell without a lift; control's (``beside``) is of the treatment's evidence."""
    if beside is not None:
        value, units = beside.values[0], beside.units[0]
    elif kpi is not None and kpi.value is not None:
        value, units = kpi.value, kpi.units
    else:
        closed = kpi is not None and kpi.entered
        said = _("no unit has a value") if closed else _("no window has closed")
        return KpiCell(variant, _(NOT_ENOUGH), "", "quiet", said)
    return KpiCell(variant, words.value(value, unit), "", "quiet", words.units(units))


def _cell(told: Comparison, variant: str, unit: str, first: Comparison | None) -> KpiCell:
    bar = None
    if told.guardrail is not None and told.finding is not None:
        if told.guardrail.margin is not None:
            line = guardrail_line(told.guardrail)
            bar = bar_of(told.finding, line.margin, line.past)
    elif told.ends is not None and (size := told.lift) is not None:
        said = told.lift_words(unit), told.interval_words(unit)
        bar = free_bar(size, *told.ends, effect_words=said[0], interval_words=said[1])
    note = [told.note]
    if first is not None and told.values[0] != first.values[0]:
        value, units = words.value(told.values[0], unit), words.units(told.units[0])
        note.append(_("Against control's {value} of {units}.", value=value, units=units))
    return KpiCell(
        variant=variant,
        value=words.value(told.values[1], unit),
        effect=told.lift_words(unit),
        tone=told.tone,
        units=words.units(told.units[1]),
        interval=told.interval_words(unit),
        bar=bar,
        note=" ".join(filter(None, note)),
    )
