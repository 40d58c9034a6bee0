"""What a replay says: the same numbers and decision, or what differs. Pure."""

from dataclasses import dataclass

from console.quoted import said
from console.views import words
from console.views.rollback import RollbackPage
from guardrails.replay import Replayed, Verdict
from metrics.wording import gettext as _
from metrics.wording import ngettext


@dataclass(frozen=True, slots=True)
class DifferenceRow:
    """One thing that is not what was kept."""

    where: str
    kept: str
    found: str


@dataclass(frozen=True, slots=True)
class ReplayPage:
    """A decision computed again; ``recomputed`` is the engine's own text, as is ``decision``."""

    key: str
    id: str
    check: str
    verdict: str
    tone: str
    headline: str
    lead: str
    facts: tuple[tuple[str, str], ...]
    decision: str
    recomputed: str
    differences: tuple[DifferenceRow, ...]
    gone: tuple[str, ...]
    notes: tuple[str, ...]


_TONES = {Verdict.EQUAL: "good", Verdict.DIFFERENT: "bad", Verdict.GONE: "warn"}


def replay_page(page: RollbackPage, done: Replayed) -> ReplayPage:
    """Return what the replay of a rollback says."""
    compared = _("bit for bit") if done.exact else _("to within 1e-9: another version computed it")
    return ReplayPage(
        key=page.key,
        id=page.id,
        check=done.check,
        verdict=done.verdict.value,
        tone=_TONES[done.verdict],
        headline=_headline(done),
        lead=page.headline,
        facts=(
            (_("Check"), f"{done.check}, {words.instant(done.at)}"),
            (_("Events counted"), _("up to number {n}", n=f"{done.watermark:,}")),
            (_("Groups of counts compared"), f"{done.cells:,}"),
            (_("Findings compared"), f"{done.findings:,}"),
            (_("Numbers compared"), compared),
            (_("Decided by version"), done.engine),
            (_("Computed again by version"), done.replayed_with),
        ),
        decision=said(done.decision),
        recomputed=said(done.recomputed) if done.recomputed else _("cannot be computed"),
        differences=tuple(DifferenceRow(said(d.where), d.kept, d.found) for d in done.differences),
        gone=tuple(map(said, done.gone)),
        notes=tuple(map(said, done.notes)),
    )


def _headline(done: Replayed) -> str:
    if done.verdict is Verdict.EQUAL:
        return _("Equal: the same counts, the same evidence, the same decision.")
    if done.verdict is Verdict.GONE:
        return _("Events that it needs have left the log on purpose; what was kept is as it was.")
    return ngettext(
        "Not equal: {n} thing differs from what was kept.",
        "Not equal: {n} things differ from what was kept.",
        len(done.differences),
    )
