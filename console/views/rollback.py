"""What the page of a rollback says: six questions, each answered in a sentence or two. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from console.quoted import reason
from console.views import phrases, words
from console.views.lines import (
    GuardrailLine,
    Point,
    TransitionLine,
    guardrail_line,
    is_proof,
    main_window,
    transition_line,
)
from console.views.rollback_answers import Answer, ClientRow, answers, client_row, flow_of, who
from console.views.scale import Scale, scale_of
from experiments.lifecycle import State
from guardrails.outcome import WindowFinding
from guardrails.rollback_views import RollbackStory, Since
from guardrails.rules import Regression
from guardrails.views import GuardrailView
from metrics.wording import gettext as _


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
    early = story.now < story.rollback.verify_after
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
        answers=answers(story, window, line, titles, units),
        reason=reason(done.reason, done.actor),
        actor=done.actor,
        clients=tuple(client_row(c, early=early) for c in story.clients or ()),
        next=_next(story),
        replayable=story.check is not None,
        facts=_facts(story, line, window),
        later=tuple(map(transition_line, story.later)),
        history=line.history if line is not None else (),
        margin=margin,
        past=_past(margin, view),
        proof=is_proof(view) if view is not None else True,
        flow=flow_of(story.variants, story.control),
    )


def title_in(view: GuardrailView, titles: Mapping[str, str]) -> str:
    """Return what a guardrail watches, in the visitor's language, for the middle of a sentence."""
    title = titles.get(view.kpi or "", view.title)
    return title[:1].lower() + title[1:] if title[1:2].islower() else title


def _headline(story: RollbackStory, titles: Mapping[str, str]) -> str:
    variant, view = story.transition.variant or "", story.guardrail
    if view is None:
        return _("{variant} was turned back by {actor}.", variant=variant, actor=who(story))
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
        back = _("Its units get control until a person resumes it.")
        good = _("Its units get control for good: no new units come.")
        return good if State(story.state) is State.OBSERVING else back
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
        (_("Decided by"), who(story)),
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
