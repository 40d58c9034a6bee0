"""The questions a rollback raises, each answered in a sentence or two. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from console.quoted import reason
from console.views import phrases, proofs, words
from console.views.lines import GuardrailLine, is_proof
from guardrails.consequences import ENGINE
from guardrails.outcome import WindowFinding
from guardrails.rollback_views import ClientsSeen, RollbackStory, Since
from guardrails.views import VariantView
from guardrails.words_rollback import unverified_words
from metrics.exposure_kinds import ExposureKind
from metrics.wording import gettext as _
from metrics.wording import marked, ngettext

KINDS: Mapping[str, str] = {
    ExposureKind.EVALUATED: marked("Asks this service (OFREP)"),
    ExposureKind.SERVER: marked("Servers that decide by themselves (SDKs)"),
    ExposureKind.CLIENT: marked("Browsers and apps that decide by themselves (SDKs)"),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A question of whoever opens the page, and what there is to say; ``tone`` is for colour."""

    id: str
    question: str
    sentences: tuple[str, ...]
    tone: str = ""


@dataclass(frozen=True, slots=True)
class ClientRow:
    """Exposures to the treatment of one kind of client."""

    kind: str
    before: str
    after: str
    tone: str


def answers(
    story: RollbackStory,
    window: WindowFinding | None,
    line: GuardrailLine | None,
    titles: Mapping[str, str],
    units: Mapping[str, str],
) -> tuple[Answer, ...]:
    """Return what there is to say to each question but the last, what to do next."""
    effective = story.rollback.effective
    followed = "good" if effective else "" if effective is None else "bad"
    return (
        Answer("what", _("What happened?"), _happened(story, window, titles, units)),
        Answer("sure", _("How sure is it?"), _sure(story, line)),
        Answer("who", _("Who was affected?"), _affected(story)),
        Answer("now", _("What do clients get now?"), _served(story)),
        Answer("effective", _("Is it effective?"), _effective(story), followed),
    )


def _happened(
    story: RollbackStory,
    window: WindowFinding | None,
    titles: Mapping[str, str],
    units: Mapping[str, str],
) -> tuple[str, ...]:
    view = story.guardrail
    why = reason(story.transition.reason, story.transition.actor)
    if view is None:
        by = _("{actor} turned it back by hand and wrote:", actor=who(story))
        return (by, why)
    if window is None or not math.isfinite(window.treatment_value):
        return (_("The guardrail: {limit}.", limit=view.limit), why)
    unit = units.get(view.kpi or "", "")
    measured = _(
        "{what}, over {window}: {treated} in {variant}, {beside} in {control}.",
        what=titles.get(view.kpi or "", view.title),
        window=words.duration(window.window),
        treated=words.value(window.treatment_value, unit),
        variant=story.transition.variant or "",
        beside=words.value(window.control_value, unit),
        control=story.control,
    )
    return (measured, _("The guardrail: {limit}.", limit=view.limit))


def _sure(story: RollbackStory, line: GuardrailLine | None) -> tuple[str, ...]:
    view = story.guardrail
    if view is None or line is None:
        return (proofs.by_hand(),)
    if not is_proof(view):
        return (proofs.outside(), line.evidence_words)
    said: list[str] = []
    if line.interval_words:
        said.append(
            _(
                "The effect lies in {interval}, an interval that holds at every look.",
                interval=line.interval_words,
            )
        )
    return (*said, proofs.exceeded(view), proofs.promise(story.alpha))


def _affected(story: RollbackStory) -> tuple[str, ...]:
    variant = story.transition.variant or ""
    if story.counted_at is None:
        if not story.clients:
            return (_("How many units had met it is not known: no check before it was kept."),)
        told = ngettext(
            "No check had counted units yet; clients told of {n} exposure to {variant} in the day "
            "before.",
            "No check had counted units yet; clients told of {n} exposures to {variant} in the day "
            "before.",
            sum(seen.before for seen in story.clients),
            variant=variant,
        )
        return (told,)
    mine, beside = story.exposed.get(variant, 0), story.exposed.get(story.control, 0)
    return (
        _(
            "{units} ({unit}) had met {variant} since {began}, counted by the check of {at}.",
            units=ngettext("{n} unit", "{n} units", mine),
            at=words.instant(story.counted_at),
            unit=story.unit,
            variant=variant,
            began=words.instant(story.began),
        ),
        _(
            "{units} had met {control}, and nothing changed for them.",
            units=ngettext("{n} unit", "{n} units", beside),
            control=story.control,
        ),
    )


def _served(story: RollbackStory) -> tuple[str, ...]:
    variant = story.transition.variant or ""
    if story.since is Since.RESUMED and story.state == "running":
        return (
            _("Who had {variant} before gets it again: it was resumed.", variant=variant),
            _("Only units that came after that count for it."),
        )
    if story.since is Since.NEW_SEED:
        return (_("What the run that has begun since then serves: units were dealt anew."),)
    if story.shipped is not None:
        return (_("The audience gets {shipped}: the run is over.", shipped=story.shipped),)
    flow = flow_of(story.variants, story.control)
    return (
        _("Everybody who had {variant} gets {control}.", variant=variant, control=story.control),
        _("The flag answers {flow}.", flow=flow),
    )


def _effective(story: RollbackStory) -> tuple[str, ...]:
    seen, variant = story.rollback, story.transition.variant or ""
    if seen.effective is None:
        at = words.instant(seen.verify_after)
        if story.since is not Since.LATCHED:
            return (_("Whether clients followed was not verified."),)
        return (unverified_words(seen, at=at),)
    rates = _(
        "Units an hour that met {variant}: {before} before, {after} since.",
        variant=variant,
        before=words.rate(seen.rate_before),
        after=words.rate(seen.rate_after),
    )
    if seen.effective:
        return (_("Yes, verified: clients follow."), rates)
    return (_("No: {variant} is still being shown.", variant=variant), rates)


def client_row(seen: ClientsSeen, *, early: bool) -> ClientRow:
    """Return one kind of client as the table shows it; ``early``: the grace is not over."""
    return ClientRow(
        kind=_(KINDS[seen.kind]),
        before=f"{seen.before:,}",
        after="-" if early else f"{seen.after:,}",
        tone="quiet" if early else "bad" if seen.after else "good",
    )


def who(story: RollbackStory) -> str:
    """Return who turned it back."""
    actor = story.transition.actor
    return _("the engine") if actor == ENGINE else actor


def flow_of(variants: tuple[VariantView, ...], control: str) -> str:
    """Return the value of the flag that clients of control get, short."""
    mine = next((v for v in variants if v.name == control), None)
    return "" if mine is None else phrases.short_json(mine.flow)
