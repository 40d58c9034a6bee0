"""What the audit page says: who did what, when and with which key. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from console.quoted import of_engine, reason
from console.views import words
from guardrails.audit_reading import Entry, Sort
from metrics.wording import gettext as _
from metrics.wording import marked, ngettext

PAGE = 50
"""Entries on one page."""

SORTS: Mapping[str, str] = {
    "": marked("Everything"),
    Sort.CHANGE: marked("Changes by people"),
    Sort.CALL: marked("Calls and forms"),
    Sort.KEY: marked("Keys"),
    Sort.SUSPENSION: marked("Suspensions"),
}
_REFUSED = 400


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One entry; ``tone`` is ``warn`` for what was refused; ``ours``: the engine says why."""

    at: datetime
    at_words: str
    sort: str
    actor: str
    key: str
    what: str
    experiment: str
    reason: str
    ours: bool
    status: str
    id: str
    tone: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A kind of entries that can be chosen."""

    sort: str
    name: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class AuditPage:
    """The audit page; ``next`` is the instant before which the next page begins."""

    headline: str
    rows: tuple[AuditRow, ...]
    choices: tuple[Choice, ...]
    sort: str
    actor: str
    next: str


def audit_page(entries: Sequence[Entry], *, sort: str, actor: str) -> AuditPage:
    """Return the audit page.

    Args:
        entries: The newest first, one more than a page holds where there are more.
        sort: What was asked for, empty for all.
        actor: Who was asked for, empty for all.
    """
    shown = entries[:PAGE]
    headline = _("Nothing is recorded here yet.")
    if shown:
        headline = ngettext("{n} entry, newest first.", "{n} entries, newest first.", len(shown))
    return AuditPage(
        headline=headline,
        rows=tuple(map(_row, shown)),
        choices=tuple(Choice(code, _(name), code == sort) for code, name in SORTS.items()),
        sort=sort,
        actor=actor,
        next=shown[-1].at.isoformat() if len(entries) > PAGE else "",
    )


def _row(entry: Entry) -> AuditRow:
    refused = entry.status >= _REFUSED
    return AuditRow(
        at=entry.at,
        at_words=words.instant(entry.at),
        sort=entry.sort.value,
        actor=entry.actor,
        key=entry.key,
        what=_what(entry),
        experiment=entry.experiment,
        reason=reason(entry.reason, entry.actor, entry.after),
        ours=of_engine(entry.reason, entry.actor, entry.after),
        status="" if not entry.status else str(entry.status),
        id=entry.id,
        tone="warn" if refused else "quiet",
    )


def _what(entry: Entry) -> str:
    if entry.sort is Sort.CALL:
        return f"{entry.before} {entry.after}"
    if entry.sort is Sort.KEY:
        made = _("The key {name} was made", name=entry.key)
        return made if entry.after == "made" else _("The key {name} was revoked", name=entry.key)
    if entry.sort is Sort.SUSPENSION:
        acts = _("The engine acts again")
        return acts if entry.after == "acting" else _("The engine was suspended")
    return words.happened(entry.variant or None, entry.before, entry.after)
