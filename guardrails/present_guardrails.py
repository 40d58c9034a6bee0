"""From guardrails and their newest findings to what people are shown. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from guardrails.judge_alert import AlertWatch
from guardrails.judge_baseline import BaselineWatch
from guardrails.judge_query import QueryWatch
from guardrails.judge_sample_ratio import SplitWatch
from guardrails.levels import Comparison
from guardrails.loaded import Loaded
from guardrails.outcome import Finding
from guardrails.repository import Monitor
from guardrails.views import GuardrailView
from guardrails.watches import Watch
from guardrails.words import Judged, limit_words, main_window, outcome_words
from guardrails.words_watches import watch_title
from metrics.wording import gettext as _

HISTORY = 500
"""Stored findings shown in one chart."""

Point = tuple[datetime, float, float | None, float | None, float | None]
Stored = Sequence[tuple[datetime, int, Finding]]
"""Stored evidence: (at, attempt, finding), oldest first."""


def guardrail_views(
    loaded: Loaded,
    monitors: Sequence[Monitor],
    findings: Stored,
    kept: Mapping[tuple[str, str, int], int],
) -> tuple[GuardrailView, ...]:
    """Return every guardrail of every treatment, in the file's order; what is unasked comes last.

    Args:
        loaded: The revision.
        monitors: Where each stands.
        findings: Stored evidence.
        kept: Number of the newest stored finding by (guardrail, treatment, attempt).
    """
    newest = {(m.guardrail, m.treatment): m for m in sorted(monitors, key=_attempt)}
    order = {g.id: index for index, g in enumerate(loaded.spec.guardrails)}
    # what is watched unasked comes last
    judged = sorted(loaded.judged, key=lambda j: order.get(j.guardrail, len(order)))
    history = _by_guardrail(findings)
    views: list[GuardrailView] = []
    for each in judged:
        monitor = newest.get((each.guardrail, each.treatment))
        number = None
        if monitor is not None:
            number = kept.get((monitor.guardrail, monitor.treatment, monitor.attempt))
        view = _view(loaded, each, monitor, history)
        views.append(view if number is None else replace(view, decision=f"f{number}"))
    return tuple(views)


@dataclass(frozen=True, slots=True)
class Guarding:
    """A guardrail of an experiment that is not over, by the KPI it watches."""

    experiment: str
    title: str
    kpi: str
    limit: str
    action: str


def guarding(running: Sequence[Loaded]) -> tuple[Guarding, ...]:
    """Return what every experiment guards by, each guardrail once.

    Args:
        running: Newest revisions of experiments that are not over.
    """
    found: list[Guarding] = []
    for loaded in running:
        once = {judged.guardrail: judged for judged in loaded.judged}
        for judged in once.values():
            kpi, title, _ = _known_of(loaded, judged)
            if kpi is not None:
                action = loaded.rules[judged.guardrail].action
                spec = loaded.spec.experiment
                words = limit_words(judged, title)
                found.append(Guarding(spec.key, spec.title, kpi, words, action))
    return tuple(found)


def _attempt(monitor: Monitor) -> int:
    return monitor.attempt


_History = Mapping[tuple[str, str, int], Sequence[tuple[datetime, Finding]]]


def _by_guardrail(findings: Stored) -> _History:
    found: dict[tuple[str, str, int], list[tuple[datetime, Finding]]] = {}
    for at, attempt, finding in findings:
        key = (finding.guardrail, finding.treatment, attempt)
        found.setdefault(key, []).append((at, finding))
    return found


def _view(
    loaded: Loaded, judged: Judged, monitor: Monitor | None, history: _History
) -> GuardrailView:
    kpi, title, level = _known_of(loaded, judged)
    rule = loaded.rules[judged.guardrail]
    margin = judged if isinstance(judged, Comparison) else None
    finding = monitor.finding if monitor is not None else None
    return GuardrailView(
        guardrail=judged.guardrail,
        rule=rule.rule,
        kpi=kpi,
        title=title,
        treatment=judged.treatment,
        limit=limit_words(judged, title),
        side=None if isinstance(judged, Watch | AlertWatch) else str(judged.side),
        margin=margin.margin if margin is not None else None,
        absolute=margin.absolute if margin is not None else True,
        prove_past=margin.prove_past if margin is not None else None,
        action=rule.action,
        dry_run=rule.dry_run,
        level=level,
        outcome=finding.outcome if finding is not None else None,
        code=finding.code if finding is not None else None,
        words=outcome_words(finding, judged, title)
        if finding is not None
        else _("not checked yet"),
        evidence=finding.evidence if finding is not None else 0.0,
        checked_at=monitor.checked_at if monitor is not None else None,
        windows=finding.windows if finding is not None else (),
        history=_points(history, monitor) if monitor is not None else (),
        blind_since=monitor.blind_since if monitor is not None else None,
    )


def _known_of(loaded: Loaded, judged: Judged) -> tuple[str | None, str, float | None]:
    """Return the KPI, the title and the level, ``None`` where there is none."""
    if isinstance(judged, QueryWatch):
        return None, judged.query, None
    if isinstance(judged, AlertWatch):
        return None, judged.name, None
    if isinstance(judged, BaselineWatch):
        return judged.kpi, loaded.title(judged.kpi), None
    if isinstance(judged, Watch):
        return None, watch_title(judged), judged.level if isinstance(judged, SplitWatch) else None
    return judged.kpi, loaded.title(judged.kpi), math.fsum(w.level for w in judged.windows)


def _points(history: _History, monitor: Monitor) -> tuple[Point, ...]:
    """Return stored looks; the effect is that of the window which says most now, all along."""
    shown = main_window(monitor.finding)
    key = (monitor.guardrail, monitor.treatment, monitor.attempt)
    points: list[Point] = []
    for at, finding in history.get(key, ())[-HISTORY:]:
        window = next(
            (w for w in finding.windows if shown is not None and w.window == shown.window), None
        )
        if window is None:
            points.append((at, finding.evidence, None, None, None))
            continue
        low, high = _known(window.effect_low), _known(window.effect_high)
        points.append((at, finding.evidence, _known(window.effect), low, high))
    return tuple(points)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
