"""The rows a page is made of: arms, guardrails, KPIs, changes, in words and plain values. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from console.dashboard import words
from guardrails.outcome import Outcome, WindowFinding
from guardrails.rules import WATCH_RULES, Alert, Catastrophe, Limit, PromQL
from guardrails.views import (
    ExperimentView,
    GuardrailView,
    KpiView,
    RollbackView,
    TransitionView,
    VariantView,
)

Point = tuple[datetime, float, float | None, float | None, float | None]
"""A stored look: when, evidence, effect and its interval."""

NOT_ENOUGH = "not enough yet"
BETTER = {
    "higher": "higher is better",
    "lower": "lower is better",
    "either": "either direction matters",
}


@dataclass(frozen=True, slots=True)
class VariantLine:
    """One arm: what its units get now. ``share`` is of all units; ``tone`` is for colour."""

    name: str
    state: str
    state_words: str
    tone: str
    share: float
    share_words: str
    weight_words: str
    exposed_words: str
    gets: str
    flow: str


@dataclass(frozen=True, slots=True)
class GuardrailLine:
    """One promise about one treatment, and how near it is to being broken.

    ``evidence`` is 1 at the proof of harm; ``meter`` the same cut to 0-100 for a bar.
    ``margin`` is relative to control, signed in the direction of harm, ``None`` unknown.
    ``decision`` is what ``turnback replay`` takes, empty before the first.
    ``proof`` says that evidence is statistical; else it is the share of samples beyond a limit.
    """

    guardrail: str
    treatment: str
    title: str
    limit: str
    outcome: str
    outcome_words: str
    tone: str
    evidence: float
    evidence_words: str
    meter: float
    effect_words: str
    interval_words: str
    words: str
    acts: str
    margin: float | None
    history: tuple[Point, ...]
    proof: bool = True
    decision: str = ""


@dataclass(frozen=True, slots=True)
class KpiCell:
    """A KPI of one variant: value, effect against control, and on how many units."""

    variant: str
    value: str
    effect: str
    tone: str
    units: str


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


@dataclass(frozen=True, slots=True)
class TransitionLine:
    """A change of state in one sentence, and its reason.

    ``decision`` is what ``turnback replay`` takes, empty where a person decided.
    """

    id: int
    experiment: str
    at: datetime
    at_words: str
    what: str
    tone: str
    actor: str
    reason: str
    decision: str = ""


@dataclass(frozen=True, slots=True)
class RollbackLine:
    """Whether clients follow a rollback, in words."""

    variant: str
    tone: str
    words: str


@dataclass(frozen=True, slots=True)
class KpiText:
    """How a KPI is shown: title, unit of its value, direction, definition, shortest window.

    ``core`` ones have a row in every experiment, without data too.
    """

    title: str
    unit: str
    better: str
    words: str
    window: timedelta
    core: bool


def variant_line(variant: VariantView, view: ExperimentView) -> VariantLine:
    """Return one arm in words."""
    tones = {"rolled_back": "bad", "live": "live", "control": "quiet"}
    if variant.state == "control":
        gets = "the control experience"
    elif variant.state == "rolled_back":
        gets = "control's experience, turned back"
    elif view.state == "running" or variant.name == view.shipped:
        gets = "its own experience"
    else:
        gets = f"control's experience, {view.state}"
    return VariantLine(
        name=variant.name,
        state=variant.state,
        state_words=words.state_words(variant.state),
        tone=tones.get(variant.state, "quiet"),
        share=variant.share,
        share_words=words.share(variant.share),
        weight_words=words.share(variant.weight),
        exposed_words=f"{variant.exposed:,}",
        gets=gets,
        flow=_short_json(variant.flow),
    )


def _short_json(flow: Any) -> str:
    text = msgspec.json.encode(flow).decode()
    return text if len(text) <= 160 else text[:157] + "…"  # noqa: PLR2004 - a line of the page


def guardrail_lines(view: ExperimentView) -> tuple[GuardrailLine, ...]:
    """Return every guardrail of every treatment, in the order of the file."""
    return tuple(guardrail_line(g) for g in view.guardrails)


def guardrail_line(view: GuardrailView) -> GuardrailLine:
    """Return one guardrail in words."""
    tones = {
        Outcome.BREACH: "bad",
        Outcome.PASS: "good",
        Outcome.INCONCLUSIVE: "quiet",
        Outcome.NO_DATA: "warn",
        Outcome.ERROR: "warn",
        None: "quiet",
    }
    window = main_window(view)
    effect = window.effect if window is not None else math.nan
    outcome = view.outcome.value if view.outcome is not None else "unchecked"
    return GuardrailLine(
        guardrail=view.guardrail,
        treatment=view.treatment,
        title=view.title,
        limit=view.limit,
        outcome=outcome,
        outcome_words=_outcome_words(view, outcome),
        tone=tones[view.outcome],
        evidence=view.evidence,
        evidence_words=_evidence_words(view),
        meter=round(100 * min(1.0, max(0.0, view.evidence)), 1),
        effect_words=words.effect(effect),
        interval_words=""
        if window is None
        else words.interval(window.effect_low, window.effect_high),
        words=view.words,
        acts=_acts(view),
        margin=_signed_margin(view, window),
        # an alert fires or does not: there is nothing to draw
        history=() if view.rule == Alert.rule else view.history,
        proof=is_proof(view),
        decision=view.decision or "",
    )


def is_proof(view: GuardrailView) -> bool:
    """Return whether a guardrail compares KPIs; others prove no harm."""
    return view.rule not in {PromQL.rule, Alert.rule, *WATCH_RULES}


def _outcome_words(view: GuardrailView, outcome: str) -> str:
    if view.rule in WATCH_RULES:
        return words.WATCH_WORDS.get(outcome, "Not checked yet")
    if view.rule == Alert.rule:
        return words.ALERT_WORDS.get(outcome, "Not checked yet")
    known = words.OUTCOME_WORDS if is_proof(view) else words.QUERY_WORDS
    return known.get(outcome, "Not checked yet")


def _evidence_words(view: GuardrailView) -> str:
    if view.outcome is None:
        return words.UNKNOWN
    if view.outcome in {Outcome.NO_DATA, Outcome.ERROR}:
        return "cannot be judged now"
    if not is_proof(view):
        return _unproven_words(view)
    if view.evidence >= 1:
        return "harm is proven"
    if not _measured(view):
        return NOT_ENOUGH
    share = percent_of_proof(view.evidence)
    return f"{share} of what would prove harm" if view.evidence > 0 else "no evidence of harm"


def _unproven_words(view: GuardrailView) -> str:
    """Return what there is in the place of evidence: samples, or what the data show."""
    if view.rule == PromQL.rule:
        return f"{words.share(view.evidence)} of its samples are beyond the limit"
    if view.rule == Alert.rule:
        return "an alert fires" if view.evidence >= 1 else "no alert counts now"
    return "nothing is amiss" if view.evidence < 1 else "the data need a look"


_EXACT = {Limit.rule, Catastrophe.rule}


def _measured(view: GuardrailView) -> bool:
    """Return whether there is a statistic; some need no effect against control."""
    window = main_window(view)
    if window is None:
        return False
    return math.isfinite(window.e_value if view.rule in _EXACT else window.effect)


def percent_of_proof(evidence: float) -> str:
    """Return how much of the needed evidence there is; all only when harm is proven."""
    return f"{min(99, math.floor(100 * evidence))}%" if evidence < 1 else "all"


def _acts(view: GuardrailView) -> str:
    if view.dry_run:
        return "dry run: shown, never acts"
    return words.ACTION_WORDS.get(view.action, view.action)


def _signed_margin(view: GuardrailView, window: WindowFinding | None) -> float | None:
    """Return the margin as an effect relative to control, negative where a drop is the harm."""
    if view.margin is None:
        return None
    size = view.margin
    if view.absolute:
        if window is None or not math.isfinite(window.control_value) or not window.control_value:
            return None
        size /= abs(window.control_value)
    return -size if view.side == "drop" else size


def main_window(view: GuardrailView) -> WindowFinding | None:
    """Return the window with the strongest evidence that has a measured effect, if any."""
    return max(view.windows, key=lambda w: (math.isfinite(w.effect), w.evidence), default=None)


def kpi_rows(view: ExperimentView, texts: Mapping[str, KpiText]) -> tuple[KpiRow, ...]:
    """Return one row per KPI, over the longest window for which every variant has a value.

    Where no window has, the shortest one is shown, with words instead of numbers.
    """
    by_kpi: dict[str, dict[timedelta, dict[str, KpiView]]] = {
        key: {} for key, text in texts.items() if text.core
    }
    for kpi in view.kpis:
        by_kpi.setdefault(kpi.kpi, {}).setdefault(kpi.window, {})[kpi.variant] = kpi
    names = tuple(v.name for v in view.variants)
    return tuple(_kpi_row(key, windows, names, texts.get(key)) for key, windows in by_kpi.items())


def _kpi_row(
    key: str,
    windows: Mapping[timedelta, Mapping[str, KpiView]],
    names: tuple[str, ...],
    text: KpiText | None,
) -> KpiRow:
    full = [
        w
        for w, cells in windows.items()
        if all(n in cells and cells[n].value is not None for n in names)
    ]
    window = max(full) if full else min(windows, default=None)
    cells = windows[window] if window is not None else {}
    sample = next(iter(cells.values()), None)
    if window is None and text is not None:
        window = text.window
    title, better = (text.title, text.better) if text is not None else (key, "")
    if sample is not None:
        title, better = sample.title, sample.better
    unit = text.unit if text is not None else ""
    shown = tuple(_kpi_cell(cells.get(n), n, unit) for n in names)
    reasons = {cell.units for cell in shown}
    return KpiRow(
        kpi=key,
        title=title,
        words=text.words if text is not None else "",
        better=BETTER.get(better, better),
        window=words.duration(window) if window is not None else words.UNKNOWN,
        cells=shown,
        empty=f"{NOT_ENOUGH}: {reasons.pop()}"
        if len(reasons) == 1 and all(cell.value == NOT_ENOUGH for cell in shown)
        else "",
    )


def _kpi_cell(kpi: KpiView | None, variant: str, unit: str) -> KpiCell:
    if kpi is None:
        return KpiCell(variant, NOT_ENOUGH, "", "quiet", "no window has closed")
    if kpi.value is None:
        said = "no window has closed" if not kpi.entered else "no unit has a value"
        return KpiCell(variant, NOT_ENOUGH, "", "quiet", said)
    tone = "quiet"
    if kpi.effect is not None and abs(kpi.effect) >= words.SMALLEST_EFFECT:
        worse = (kpi.effect < 0) == (kpi.better == "higher")
        tone = "quiet" if kpi.better == "either" else "worse" if worse else "better"
    return KpiCell(
        variant=variant,
        value=words.value(kpi.value, unit),
        effect="" if kpi.effect is None else words.effect(kpi.effect),
        tone=tone,
        units=words.count(kpi.units, "unit"),
    )


def transition_line(view: TransitionView) -> TransitionLine:
    """Return a change of state in one sentence."""
    if view.after == "rolled_back":
        what, tone = f"{view.variant or 'The experiment'} was turned back", "bad"
    elif view.before == "rolled_back" and view.after == "live":
        what, tone = f"{view.variant or 'The experiment'} was resumed", "warn"
    elif view.variant is None and view.after == "running":
        what = f"The experiment {'went on' if view.before == 'paused' else 'started'}"
        tone = "good"
    else:
        what, tone = words.happened(view.variant, view.before, view.after), "quiet"
    return TransitionLine(
        id=view.id,
        experiment=view.experiment,
        at=view.at,
        at_words=words.instant(view.at),
        what=what,
        tone=tone,
        actor=view.actor,
        reason=view.reason,
        decision=f"t{view.id}" if view.evaluation is not None else "",
    )


def rollback_line(view: RollbackView) -> RollbackLine:
    """Return whether clients follow a rollback."""
    if view.effective is None:
        said = f"Whether clients follow is verified after {words.instant(view.verify_after)}."
        return RollbackLine(view.variant, "quiet", said)
    before, after = words.rate(view.rate_before), words.rate(view.rate_after)
    rates = f"units an hour meeting {view.variant}: {before} before, {after} since"
    if view.effective:
        return RollbackLine(view.variant, "good", f"Verified: clients follow ({rates}).")
    return RollbackLine(
        view.variant, "bad", f"NOT effective: {view.variant} is still being shown ({rates})."
    )
