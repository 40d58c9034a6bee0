"""What the page of KPIs says: what each means, and which experiments guard by it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from console.views import words
from guardrails.meanings import ListedKpi
from guardrails.present_guardrails import Guarding
from metrics.catalogue import Window
from metrics.catalogue_words import BUILT_IN, title_of
from metrics.wording import gettext as _
from metrics.wording import marked, ngettext

_BETTER: Mapping[str, str] = {
    "higher": marked("higher is better"),
    "lower": marked("lower is better"),
    "either": marked("either direction may harm"),
}
_KINDS: Mapping[str, str] = {
    "proportion": marked("share of units"),
    "mean": marked("mean per unit"),
    "ratio": marked("ratio of two sums"),
}
_TRUST: Mapping[str, str] = {
    "server": marked("events sent with a secret key alone"),
    "any": marked("events of anybody, browsers included"),
}
_UNITS: Mapping[str, str] = {
    "share": marked("percent"),
    "seconds": marked("seconds"),
    "hours": marked("hours"),
    "score": marked("score"),
    "currency": marked("currency"),
    "per hour": marked("per hour"),
    "count": marked("count"),
}


@dataclass(frozen=True, slots=True)
class Guard:
    """An experiment that guards by a KPI; ``limit`` is as its file says."""

    experiment: str
    title: str
    limit: str
    acts: str


@dataclass(frozen=True, slots=True)
class KpiEntry:
    """One KPI; ``source`` says where it is from, empty for those that are shipped."""

    key: str
    title: str
    words: str
    kind: str
    unit: str
    better: str
    windows: tuple[str, ...]
    trust: str
    events: tuple[str, ...]
    source: str
    core: bool
    guards: tuple[Guard, ...]


@dataclass(frozen=True, slots=True)
class KpisPage:
    """The page of KPIs."""

    headline: str
    core: tuple[KpiEntry, ...]
    others: tuple[KpiEntry, ...]


def kpis_page(listed: Sequence[ListedKpi], guards: Sequence[Guarding]) -> KpisPage:
    """Return the page of KPIs.

    Args:
        listed: Every KPI that may be named or is in use.
        guards: What experiments guard by that are not over.
    """
    entries = tuple(_entry(each, guards) for each in listed)
    guarded = sum(bool(e.guards) for e in entries)
    return KpisPage(
        headline=_(
            "{kpis}; experiments guard by {guarded} of them.",
            kpis=ngettext("{n} KPI", "{n} KPIs", len(entries)),
            guarded=f"{guarded:,}",
        ),
        core=tuple(e for e in entries if e.core),
        others=tuple(e for e in entries if not e.core),
    )


def _entry(listed: ListedKpi, guards: Sequence[Guarding]) -> KpiEntry:
    kpi = listed.kpi
    return KpiEntry(
        key=kpi.key,
        title=title_of(kpi),
        words=_(kpi.words),
        kind=_(_KINDS[kpi.kind]),
        unit=_(_UNITS.get(kpi.unit, kpi.unit)),
        better=_(_BETTER[kpi.better]),
        windows=tuple(map(_window, kpi.windows)),
        trust=_(_TRUST[kpi.trust]),
        events=tuple(dict.fromkeys(m.event for m in kpi.measures)),
        source="" if listed.source == BUILT_IN else listed.source,
        core=kpi.core and listed.source == BUILT_IN,
        guards=tuple(
            Guard(g.experiment, g.title, g.limit, _(words.ACTION_WORDS.get(g.action, g.action)))
            for g in guards
            if g.kpi == kpi.key
        ),
    )


def _window(window: Window) -> str:
    return f"{words.duration(window.length)} ({words.share(window.weight)})"
