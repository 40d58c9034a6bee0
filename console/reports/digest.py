"""What happened over some days in all experiments, for the people who meet about it. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from console.i18n import instant
from console.quoted import advised, reason
from console.reports.opening import turned_back_effects
from console.views.experiment import experiment_page
from console.views.lines import KpiText
from experiments.lifecycle import State
from guardrails.advice import Recommended
from guardrails.consequences import ENGINE
from guardrails.extending import extension_words
from guardrails.views import ExperimentView, TransitionView
from metrics.wording import gettext as _
from metrics.wording import ngettext

NOBODY: Final = "-"
"""Owner of an experiment whose file names none."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One experiment in one section: when it happened, what, and what it rests on."""

    key: str
    title: str
    owner: str
    at: datetime | None
    at_words: str
    what: str
    because: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Contribution:
    """What the experiments of one owner did in these days; ``running`` is now."""

    owner: str
    started: int
    running: int
    shipped: int
    turned_back: int
    ended: int


@dataclass(frozen=True, slots=True)
class Digest:
    """All experiments over some days.

    ``shipped`` and ``turned_back`` are what happened to treatments; ``learned`` is what ended,
    with effects and intervals; ``running`` how the others stand now; ``waiting`` what a person
    has to do.
    """

    since: datetime
    until: datetime
    since_words: str
    until_words: str
    headline: str
    shipped: tuple[Entry, ...]
    turned_back: tuple[Entry, ...]
    learned: tuple[Entry, ...]
    running: tuple[Entry, ...]
    waiting: tuple[Entry, ...]
    owners: tuple[Contribution, ...]


def digest_of(
    views: Sequence[ExperimentView],
    texts: Mapping[str, KpiText],
    *,
    since: datetime,
    until: datetime,
) -> Digest:
    """Return what happened in ``since <= at < until``, and how things stand.

    Args:
        views: Every experiment.
        texts: How KPIs are shown, by key.
        since: Begin.
        until: End; usually now.
    """
    span = (since, until)
    shipped = [entry for view in views for entry in _shipped(view, span)]
    turned = [entry for view in views for entry in _turned_back(view, span)]
    learned = [entry for view in views for entry in _learned(view, texts, span)]
    running = [_standing(view, texts) for view in views if view.state in _GOES_ON]
    waiting = [_entry(v, None, said) for v in views for said in v.attention]
    started = sum(_started(view, span) for view in views)
    return Digest(
        since=since,
        until=until,
        since_words=instant(since),
        until_words=instant(until),
        headline=_headline(started, shipped, turned, learned, running),
        shipped=_newest_first(shipped),
        turned_back=_newest_first(turned),
        learned=_newest_first(learned),
        running=tuple(running),
        waiting=tuple(waiting),
        owners=_owners(views, span),
    )


_GOES_ON = frozenset({State.RUNNING, State.PAUSED, State.OBSERVING})
_OVER = frozenset({State.FINISHED, State.STOPPED})
_Span = tuple[datetime, datetime]


def _headline(
    started: int,
    shipped: Sequence[Entry],
    turned: Sequence[Entry],
    learned: Sequence[Entry],
    running: Sequence[Entry],
) -> str:
    return _(
        "{started} started, {running} going on, {ended} ended; {shipped} shipped, "
        "{turned} turned back.",
        started=ngettext("{n} experiment", "{n} experiments", started),
        running=len(running),
        ended=len(learned),
        shipped=ngettext("{n} treatment", "{n} treatments", len(shipped)),
        turned=len(turned),
    )


def _entry(
    view: ExperimentView, at: datetime | None, what: str, because: tuple[str, ...] = ()
) -> Entry:
    said = "" if at is None else instant(at)
    return Entry(view.key, view.title, view.owner or NOBODY, at, said, what, because)


def _newest_first(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=_when, reverse=True))


def _when(entry: Entry) -> float:
    return -math.inf if entry.at is None else entry.at.timestamp()


def _within(
    view: ExperimentView, span: _Span, *, after: str, of_a_treatment: bool
) -> list[TransitionView]:
    return [
        t
        for t in view.transitions
        if t.after == after
        and (t.variant is not None) is of_a_treatment
        and span[0] <= t.at < span[1]
    ]


def _turned_back(view: ExperimentView, span: _Span) -> list[Entry]:
    return [
        _entry(
            view,
            t.at,
            _("{variant} was turned back by the engine", variant=t.variant)
            if t.actor == ENGINE
            else _("{variant} was turned back by {actor}", variant=t.variant, actor=t.actor),
            (reason(t.reason, t.actor),),
        )
        for t in _within(view, span, after="rolled_back", of_a_treatment=True)
    ]


def _ends(view: ExperimentView, span: _Span) -> list[TransitionView]:
    return [
        t
        for state in (State.FINISHED, State.STOPPED)
        for t in _within(view, span, after=state.value, of_a_treatment=False)
    ]


def _shipped(view: ExperimentView, span: _Span) -> list[Entry]:
    """Return what was shipped by `auto_ship`, or is recommended to be, when it ended."""
    ends, advice = _ends(view, span), advised(view.advice) or {}
    if not ends or view.state not in _OVER:
        return []
    if view.shipped is not None:
        what = _("{variant} was shipped", variant=view.shipped)
        return [_entry(view, ends[-1].at, what, _reasons(view))]
    if advice.get("recommended") == Recommended.SHIP:
        return [_entry(view, ends[-1].at, str(advice["words"]), _reasons(view))]
    return []


def _reasons(view: ExperimentView) -> tuple[str, ...]:
    return tuple(map(str, (advised(view.advice) or {}).get("reasons") or ()))


def _learned(view: ExperimentView, texts: Mapping[str, KpiText], span: _Span) -> list[Entry]:
    """Return what an experiment that ended found: advice with effects and their intervals."""
    ends = _ends(view, span)
    if not ends or view.state not in _OVER:
        return []
    advice, page = advised(view.advice) or {}, experiment_page(view, texts)
    because = _reasons(view) or tuple(
        g.words for g in page.guardrails if g.interval_words and g.words
    )
    what = str(advice.get("words") or page.headline)
    because = because or (reason(ends[-1].reason, ends[-1].actor),)
    return [_entry(view, ends[-1].at, what, (*turned_back_effects(view, texts), *because))]


def _standing(view: ExperimentView, texts: Mapping[str, KpiText]) -> Entry:
    page = experiment_page(view, texts)
    moved = [extension_words(t.before, t.after, t.actor, t.reason) for t in view.transitions]
    return _entry(view, view.started_at, page.headline, tuple(filter(None, moved))[-1:])


def _started(view: ExperimentView, span: _Span) -> bool:
    return view.started_at is not None and span[0] <= view.started_at < span[1]


def _owners(views: Sequence[ExperimentView], span: _Span) -> tuple[Contribution, ...]:
    by_owner: dict[str, list[ExperimentView]] = {}
    for view in views:
        by_owner.setdefault(view.owner or NOBODY, []).append(view)
    every = (_contribution(owner, theirs, span) for owner, theirs in sorted(by_owner.items()))
    return tuple(
        each
        for each in every
        if any((each.started, each.running, each.shipped, each.turned_back, each.ended))
    )


def _contribution(owner: str, views: Sequence[ExperimentView], span: _Span) -> Contribution:
    return Contribution(
        owner=owner,
        started=sum(_started(view, span) for view in views),
        running=sum(view.state in _GOES_ON for view in views),
        shipped=sum(len(_shipped(view, span)) for view in views),
        turned_back=sum(len(_turned_back(view, span)) for view in views),
        ended=sum(bool(_ends(view, span)) and view.state in _OVER for view in views),
    )
