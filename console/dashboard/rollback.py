"""What the page of a rollback says: six questions, each answered in a sentence or two. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from console.dashboard import phrases, words
from console.dashboard.lines import (
    GuardrailLine,
    Point,
    TransitionLine,
    guardrail_line,
    is_proof,
    main_window,
    transition_line,
)
from console.dashboard.scale import Scale, scale_of
from guardrails.outcome import WindowFinding
from guardrails.rollback_views import ClientsSeen, RollbackStory, Since
from guardrails.rules import Regression
from guardrails.views import GuardrailView, VariantView
from metrics.exposure_kinds import ExposureKind
from metrics.wording import gettext as _
from metrics.wording import marked, ngettext

ENGINE = "turnback"
"""Actor of what the engine did by itself."""

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


@dataclass(frozen=True, slots=True)
class NextStep:
    """What a person may do: a page of an action, or a command where there is none."""

    words: str
    action: str
    command: str


@dataclass(frozen=True, slots=True)
class RollbackPage:
    """The page of one rollback.

    ``value_words`` is the number that decided and ``interval_words`` its interval, empty where
    there is none; ``scale`` draws both against the margin. ``reason`` is as it was recorded.
    """

    key: str
    id: str
    title: str
    variant: str
    control: str
    at: datetime
    at_words: str
    state: str
    tone: str
    headline: str
    lead: str
    value_words: str
    interval_words: str
    margin_words: str
    scale: Scale | None
    answers: tuple[Answer, ...]
    reason: str
    actor: str
    clients: tuple[ClientRow, ...]
    next: tuple[NextStep, ...]
    replayable: bool
    facts: tuple[tuple[str, str], ...]
    later: tuple[TransitionLine, ...]
    history: tuple[Point, ...]
    margin: float | None
    past: float | None
    proof: bool
    flow: str


def rollback_page(
    story: RollbackStory, *, titles: Mapping[str, str], units: Mapping[str, str]
) -> RollbackPage:
    """Return the page of a rollback.

    Args:
        story: Everything kept of it.
        titles: Titles of KPIs by key, in the language of the visitor.
        units: What their values are counted in, by key.
    """
    done, view = story.transition, story.guardrail
    window = main_window(view) if view is not None else None
    line = guardrail_line(view) if view is not None else None
    margin = line.margin if line is not None else None
    measured = window is not None and math.isfinite(window.effect)
    return RollbackPage(
        key=done.experiment,
        id=f"t{done.id}",
        title=story.title,
        variant=done.variant or "",
        control=story.control,
        at=done.at,
        at_words=words.instant(done.at),
        state=story.since.value,
        tone="bad" if story.since in {Since.LATCHED, Since.BACK_AGAIN} else "quiet",
        headline=_headline(story, titles),
        lead=_lead(story),
        value_words=words.effect(window.effect) if window is not None and measured else "",
        interval_words=line.interval_words if line is not None and measured else "",
        margin_words=_margin_words(margin, view),
        scale=scale_of(window, margin, view) if window is not None and view is not None else None,
        answers=_answers(story, window, line, titles, units),
        reason=done.reason,
        actor=done.actor,
        clients=tuple(map(_client_row, story.clients or ())),
        next=_next(story),
        replayable=story.check is not None,
        facts=_facts(story, line, window),
        later=tuple(map(transition_line, story.later)),
        history=line.history if line is not None else (),
        margin=margin,
        past=_past(margin, view),
        proof=is_proof(view) if view is not None else True,
        flow=_flow(story.variants, story.control),
    )


def _flow(variants: tuple[VariantView, ...], control: str) -> str:
    mine = next((v for v in variants if v.name == control), None)
    return "" if mine is None else phrases.short_json(mine.flow)


def title_in(view: GuardrailView, titles: Mapping[str, str]) -> str:
    """Return what a guardrail watches, in the visitor's language, for the middle of a sentence."""
    title = titles.get(view.kpi or "", view.title)
    return title[:1].lower() + title[1:] if title[1:2].islower() else title


def _headline(story: RollbackStory, titles: Mapping[str, str]) -> str:
    variant, view = story.transition.variant or "", story.guardrail
    if view is None:
        return _("{variant} was turned back by {actor}.", variant=variant, actor=_who(story))
    what, window = title_in(view, titles), main_window(view)
    if view.rule == Regression.rule and window is not None and math.isfinite(window.effect):
        size = f"{100 * abs(window.effect):.1f}%"
        if window.effect < 0:
            return _(
                "{variant} was turned back because {what} fell by {size}.",
                variant=variant,
                what=what,
                size=size,
            )
        return _(
            "{variant} was turned back because {what} rose by {size}.",
            variant=variant,
            what=what,
            size=size,
        )
    return _(
        "{variant} was turned back because {what} went beyond what is tolerated.",
        variant=variant,
        what=what,
    )


def _who(story: RollbackStory) -> str:
    actor = story.transition.actor
    return _("the engine") if actor == ENGINE else actor


def _lead(story: RollbackStory) -> str:
    lasted = phrases.rough(story.transition.at - story.began)
    return _(
        "On {at}, {lasted} after it began. {stands}",
        at=words.instant(story.transition.at),
        lasted=lasted,
        stands=_stands(story),
    )


def _stands(story: RollbackStory) -> str:
    """Return what became of the treatment."""
    variant = story.transition.variant or ""
    newest = story.later[-1].at if story.later else story.transition.at
    if story.since is Since.LATCHED:
        return _("Its units get control until a person resumes it.")
    if story.since is Since.RESUMED:
        return _("It was resumed on {at} and is live again.", at=words.instant(_resumed_at(story)))
    if story.since is Since.BACK_AGAIN:
        return _("It was resumed, and turned back again on {at}.", at=words.instant(newest))
    if story.since is Since.NEW_SEED:
        return _("Since then another run with other units has begun.")
    if story.shipped == variant:
        return _("The experiment is over; the audience gets {variant}.", variant=variant)
    return _("The experiment is over.")


def _resumed_at(story: RollbackStory) -> datetime:
    live = [t.at for t in story.later if t.after == "live"]
    return live[-1] if live else story.transition.at


def _past(margin: float | None, view: GuardrailView | None) -> float | None:
    """Return the effect that had to be exceeded with proof, signed like the margin."""
    if margin is None or view is None or view.prove_past is None:
        return None
    return margin * view.prove_past


def _margin_words(margin: float | None, view: GuardrailView | None) -> str:
    if not margin or view is None:
        return ""
    proven = abs(margin) * (1.0 if view.prove_past is None else view.prove_past)
    size, part = words.share(abs(margin)), words.share(proven)
    if margin < 0:
        return _(
            "tolerated: a drop of {size}; to be proven: more than {part}", size=size, part=part
        )
    return _("tolerated: a rise of {size}; to be proven: more than {part}", size=size, part=part)


def _answers(
    story: RollbackStory,
    window: WindowFinding | None,
    line: GuardrailLine | None,
    titles: Mapping[str, str],
    units: Mapping[str, str],
) -> tuple[Answer, ...]:
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
    if view is None:
        by = _("{actor} turned it back by hand and wrote:", actor=_who(story))
        return (by, story.transition.reason)
    if window is None or not math.isfinite(window.treatment_value):
        return (_("The guardrail: {limit}.", limit=view.limit), story.transition.reason)
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
        return (_("A person decided: no proof was asked for."),)
    if not is_proof(view):
        return (
            _("It is outside of the statistical guarantee: the rule acts on what it sees."),
            line.evidence_words,
        )
    said: list[str] = []
    if line.interval_words:
        said.append(
            _(
                "The effect lies in {interval}, an interval that holds at every look.",
                interval=line.interval_words,
            )
        )
    if view.margin and view.prove_past is not None:
        part = words.share(view.prove_past * abs(view.margin))
        said.append(_("That harm exceeds {part} is proven.", part=part))
    said.append(
        _(
            "A treatment that harms no more than that is turned back with a chance of at most "
            "{alpha}, over the whole experiment and all its looks.",
            alpha=words.share(story.alpha),
        )
    )
    return tuple(said)


def _affected(story: RollbackStory) -> tuple[str, ...]:
    variant = story.transition.variant or ""
    if story.counted_at is None:
        return (_("How many units had met it is not known: no check before it was kept."),)
    mine, beside = story.exposed.get(variant, 0), story.exposed.get(story.control, 0)
    return (
        _(
            "{units} ({unit}) had met {variant} since {began}.",
            units=ngettext("{n} unit", "{n} units", mine),
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
    flow = _flow(story.variants, story.control)
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
        return (_("Whether clients follow is verified after {at}.", at=at),)
    rates = _(
        "Units an hour that met {variant}: {before} before, {after} since.",
        variant=variant,
        before=words.rate(seen.rate_before),
        after=words.rate(seen.rate_after),
    )
    if seen.effective:
        return (_("Yes, verified: clients follow."), rates)
    return (_("No: {variant} is still being shown.", variant=variant), rates)


def _client_row(seen: ClientsSeen) -> ClientRow:
    return ClientRow(
        kind=_(KINDS[seen.kind]),
        before=f"{seen.before:,}",
        after=f"{seen.after:,}",
        tone="bad" if seen.after else "good",
    )


def _next(story: RollbackStory) -> tuple[NextStep, ...]:
    key, variant = story.transition.experiment, story.transition.variant or ""
    steps: list[NextStep] = []
    if story.rollback.effective is False:
        said = _("Find the clients that still show {variant}: the table says which kind they are.")
        steps.append(NextStep(said.format(variant=variant), "", f"turnback status {key}"))
    if story.since is Since.LATCHED and "resume" in story.actions:
        said = _("When the cause is mended: resume {variant}. Only units that come after count.")
        command = f'turnback resume {key} {variant} --reason "..."'
        steps.append(NextStep(said.format(variant=variant), f"resume/{variant}", command))
    if "stop" in story.actions:
        said = _("When nothing is left to learn: stop the experiment.")
        steps.append(NextStep(said, "stop", f'turnback stop {key} --reason "..."'))
    steps.append(
        NextStep(_("Read everything in words."), "", f"turnback explain {key}"),
    )
    return tuple(steps)


def _facts(
    story: RollbackStory, line: GuardrailLine | None, window: WindowFinding | None
) -> tuple[tuple[str, str], ...]:
    facts = [
        (_("Decided by"), _who(story)),
        (_("Revision"), str(story.revision)),
        (_("Seed"), str(story.seed)),
        (_("Attempt"), str(story.attempt)),
    ]
    if story.owner:
        facts.append((_("Owner"), story.owner))
    if window is not None:
        facts += [
            (_("Units with a value"), f"{window.units[1]:,} + {window.units[0]:,}"),
            (_("Look"), str(window.look) if window.look else _("every check is one")),
            (_("Level of this comparison"), phrases.fine_share(window.level)),
        ]
        if math.isfinite(window.z) and math.isfinite(window.boundary) and window.boundary > 0:
            proof = _(
                "z {z}, boundary {boundary}", z=f"{window.z:.2f}", boundary=f"{window.boundary:.2f}"
            )
            facts.append((_("Evidence, whole run"), proof))
        if math.isfinite(window.e_value):
            facts.append((_("Evidence, since a restart"), phrases.odds(window.e_value)))
    if line is not None and line.decision:
        facts.append((_("Decision"), line.decision))
    if story.check is not None:
        facts.append((_("Check"), story.check))
    return tuple(facts)
