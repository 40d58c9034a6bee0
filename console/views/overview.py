"""What the first page says: every experiment in a row, and what needs a person. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from console.quoted import said
from console.views import words
from console.views.headlines import blind_ones, headline, tone_of, traffic_words
from console.views.lines import (
    GuardrailLine,
    TransitionLine,
    VariantLine,
    guardrail_lines,
    transition_line,
    variant_line,
)
from experiments.lifecycle import CHECKED
from guardrails.views import ExperimentView, NeedKind
from guardrails.words_rollback import unverified_words
from metrics.wording import gettext as _
from metrics.wording import marked, ngettext

RECENT: Final = 12
_RANK: Final[Mapping[str, int]] = MappingProxyType({"bad": 0, "warn": 1, "ask": 2, "good": 3})
_LAST: Final = 4
UNVERIFIED: Final = "unverified"
CONFIG: Final = "config"

_KINDS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        NeedKind.INEFFECTIVE: ("bad", marked("Rollback not effective")),
        NeedKind.TROUBLE: ("bad", marked("Checks fail")),
        NeedKind.SUSPENDED: ("bad", marked("Suspended")),
        NeedKind.BLIND: ("warn", marked("Blind")),
        NeedKind.DATA: ("warn", marked("Data")),
        NeedKind.SERVICE: ("warn", marked("Service")),
        NeedKind.CHANNEL: ("warn", marked("Messages")),
        NeedKind.MEANING: ("warn", marked("KPI changed")),
        CONFIG: ("warn", marked("Configuration")),
        NeedKind.APPROVAL: ("ask", marked("Approval")),
        NeedKind.DRAFT: ("ask", marked("Draft")),
        NeedKind.ENDED: ("ask", marked("Decision")),
        NeedKind.UNASKED: ("ask", marked("Not asked for")),
        UNVERIFIED: ("quiet", marked("Not verified yet")),
    }
)
_EVERYBODY: Final = {NeedKind.SUSPENDED, NeedKind.SERVICE}
"""What is about the whole service, though every experiment tells of it."""


@dataclass(frozen=True, slots=True)
class Card:
    """One experiment on the overview.

    ``nearest`` is the guardrail nearest to its limit, without its history; ``blind`` names what
    cannot be judged now; ``age_words`` says since when it runs.
    """

    key: str
    title: str
    owner: str
    state: str
    state_words: str
    tone: str
    headline: str
    traffic_words: str
    exposed_words: str
    age_words: str
    last_check_words: str
    last_check_at: datetime | None
    variants: tuple[VariantLine, ...]
    nearest: GuardrailLine | None
    guardrails: int
    blind: tuple[str, ...]
    attention: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that waits for a person; ``experiment`` is empty where it is the service."""

    kind: str
    kind_words: str
    tone: str
    experiment: str
    title: str
    words: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What a visitor wants to see: empty fields leave nothing out.

    Attributes:
        state: A state of experiments, or ``rolled_back`` for those with a treatment turned back.
        owner: The owner, whole.
        q: Text in key, title, owner or hypothesis, whatever the case.
    """

    state: str = ""
    owner: str = ""
    q: str = ""


@dataclass(frozen=True, slots=True)
class Overview:
    """The first page; ``found`` of ``total`` experiments are shown."""

    at: datetime
    at_words: str
    headline: str
    tone: str
    needs: tuple[Need, ...]
    experiments: tuple[Card, ...]
    recent: tuple[TransitionLine, ...]
    asked: Asked = Asked()
    found: int = 0
    total: int = 0
    states: tuple[tuple[str, str, int], ...] = ()
    owners: tuple[str, ...] = ()


def overview(
    views: Sequence[ExperimentView],
    *,
    now: datetime,
    attention: tuple[str, ...] = (),
    asked: Asked | None = None,
) -> Overview:
    """Return the first page.

    Args:
        views: Every experiment.
        now: The present instant.
        attention: What is wrong about the configuration, in words.
        asked: Which experiments to show; all by default.
    """
    asked = asked or Asked()
    shown = [view for view in views if _matches(view, asked)]
    cards = sorted(
        (_card(v, now) for v in shown),
        key=lambda c: (_RANK.get(c.tone, _LAST), c.state != "running"),
    )
    recent = sorted(
        (t for v in shown for t in v.transitions), key=lambda t: (t.at, t.id), reverse=True
    )
    said, tone = _headline(views)
    return Overview(
        at=now,
        at_words=words.instant(now),
        headline=said,
        tone=tone,
        needs=_needs(views, attention),
        experiments=tuple(cards),
        recent=tuple(transition_line(t) for t in recent[:RECENT]),
        asked=asked,
        found=len(shown),
        total=len(views),
        states=_states(views),
        owners=tuple(sorted({v.owner for v in views if v.owner})),
    )


def _headline(views: Sequence[ExperimentView]) -> tuple[str, str]:
    if not views:
        return _("No experiment yet."), "quiet"
    turned = sum(v.state == "rolled_back" for view in views for v in view.variants)
    running = sum(v.state == "running" for v in views)
    count = ngettext("{n} experiment running", "{n} experiments running", running)
    if not turned:
        said = _("{experiments}, none turned back.", experiments=count)
        if any(tone_of(view) == "warn" for view in views if view.state in CHECKED):
            return said, "warn"
        return said, "good" if running else "quiet"
    back = ngettext("{n} variant turned back", "{n} variants turned back", turned)
    return _("{experiments}, {variants}.", experiments=count, variants=back), "bad"


def _states(views: Sequence[ExperimentView]) -> tuple[tuple[str, str, int], ...]:
    """Return state, its words and how many experiments have it, of those there are."""
    found = [
        (state, text, sum(_has(view, state) for view in views))
        for state, text in words.STATE_WORDS.items()
        if state not in {"live", "control"}
    ]
    return tuple((state, _(text), count) for state, text, count in found if count)


def _has(view: ExperimentView, state: str) -> bool:
    if state == "rolled_back":
        return any(v.state == state for v in view.variants)
    return view.state == state


def _matches(view: ExperimentView, asked: Asked) -> bool:
    text = f"{view.key} {view.title} {view.owner} {view.hypothesis}".casefold()
    return (
        (not asked.state or _has(view, asked.state))
        and (not asked.owner or view.owner == asked.owner)
        and asked.q.strip().casefold() in text
    )


def _card(view: ExperimentView, now: datetime) -> Card:
    lines = by_urgency(guardrail_lines(view))
    nearest = next((g for g in lines if g.outcome not in {"error", "no_data"}), None)
    blind = tuple(dict.fromkeys(g.title for g in blind_ones(view)))
    return Card(
        key=view.key,
        title=view.title,
        owner=view.owner,
        state=view.state,
        state_words=words.state_words(view.state),
        tone=tone_of(view),
        headline=headline(view),
        traffic_words=traffic_words(view),
        exposed_words=_exposed_words(view),
        age_words=_age(view, now),
        last_check_words=_last_check(view, now),
        last_check_at=view.last_check_at,
        variants=tuple(variant_line(v, view) for v in view.variants),
        nearest=None if nearest is None else replace(nearest, history=()),
        guardrails=len(lines),
        blind=blind,
        attention=tuple(said(n.words) for n in view.needs if n.kind not in _EVERYBODY),
    )


def _exposed_words(view: ExperimentView) -> str:
    """Return how many units take part, as the newest check counted them."""
    if view.state in CHECKED and view.last_check_at is None:
        return _("units are counted at the first check")
    return _("{units} exposed", units=words.units(sum(v.exposed for v in view.variants)))


def _age(view: ExperimentView, now: datetime) -> str:
    if view.started_at is None:
        return _("not started")
    return words.roughly(now - view.started_at)


def _last_check(view: ExperimentView, now: datetime) -> str:
    if view.last_check_at is None:
        return _("none yet")
    return _("{length} ago", length=words.roughly(now - view.last_check_at))


def by_urgency(lines: Sequence[GuardrailLine]) -> list[GuardrailLine]:
    """Return guardrails, those that are breached or blind first, then the nearest to a limit."""
    rank = {"bad": 0, "warn": 1}
    return sorted(lines, key=lambda g: (rank.get(g.tone, 2), -g.evidence))


def _needs(views: Sequence[ExperimentView], attention: Sequence[str]) -> tuple[Need, ...]:
    found = [_need(CONFIG, text) for text in attention]
    for view in views:
        for each in view.needs:
            whose = None if each.kind in _EVERYBODY else view
            found.append(_need(each.kind, each.words, whose))
        found += [
            _need(
                UNVERIFIED,
                unverified_words(r, at=words.instant(r.verify_after)),
                view,
            )
            for r in view.rollbacks
            if r.effective is None
        ]
    once = dict.fromkeys(found)
    return tuple(sorted(once, key=lambda need: _RANK.get(need.tone, _LAST)))


def _need(kind: str, text: str, view: ExperimentView | None = None) -> Need:
    tone, name = _KINDS[kind]
    text = said(text)
    return Need(
        kind=str(kind),
        kind_words=_(name),
        tone=tone,
        experiment="" if view is None else view.key,
        title="" if view is None else view.title,
        words=words.capital(text),
    )
