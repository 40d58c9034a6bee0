"""What a person may do from a page, and what follows from it in words. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from console.quoted import said
from console.views import words
from experiments.errors import TurnbackError
from guardrails.views import ExperimentView
from metrics.wording import gettext as _
from metrics.wording import marked

OF_A_TREATMENT: Final = frozenset({"roll_back", "resume"})
"""Actions that name a treatment."""

ALL: Final = "*"
"""Stands for every live treatment where something is turned back."""

SHOWN: Final = ("start", "approve", "pause", "continue", "resume", "roll_back", "extend", "stop")
"""Actions in the order in which pages list them: the mildest first."""

DANGEROUS: Final = frozenset({"roll_back", "stop"})

_NAMES: Final[Mapping[str, str]] = {
    "start": marked("Start"),
    "approve": marked("Approve the step"),
    "pause": marked("Pause"),
    "continue": marked("Continue"),
    "resume": marked("Resume {variant}"),
    "roll_back": marked("Turn {variant} back"),
    "extend": marked("Extend"),
    "stop": marked("Stop"),
}


@dataclass(frozen=True, slots=True)
class ActionLink:
    """An action that is possible now, and where its page is."""

    action: str
    name: str
    path: str
    tone: str


@dataclass(frozen=True, slots=True)
class Typed:
    """What was typed into the form."""

    reason: str = ""
    actor: str = ""
    by: str = ""
    until: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an action was not done; ``path`` names the field."""

    message: str
    hint: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class ActionPage:
    """The page on which an action is confirmed.

    ``consequences`` say in words what follows. ``possible`` is false where the experiment does
    not allow it now. ``command`` does the same on the command line.
    """

    key: str
    title: str
    action: str
    variant: str
    name: str
    question: str
    consequences: tuple[str, ...]
    tone: str
    possible: bool
    path: str
    command: str
    ends_at: str
    typed: Typed
    error: Refused | None = None


def action_links(view: ExperimentView) -> tuple[ActionLink, ...]:
    """Return what a person may do now, the mildest first."""
    return tuple(
        ActionLink(
            action=action,
            name=name_of(action, variant),
            path=path_of(view.key, action, variant),
            tone="danger" if action in DANGEROUS else "",
        )
        for action in SHOWN
        if action in view.actions
        for variant in _meant(view, action)
    )


def _meant(view: ExperimentView, action: str) -> tuple[str, ...]:
    """Return the treatments an action may name; one empty name where it names none."""
    if action not in OF_A_TREATMENT:
        return ("",)
    wanted = "live" if action == "roll_back" else "rolled_back"
    found = tuple(v.name for v in view.variants if v.state == wanted)
    if action == "roll_back" and view.shipped is not None:
        return (view.shipped,)
    return (*found, ALL) if action == "roll_back" and len(found) > 1 else found


def name_of(action: str, variant: str) -> str:
    """Return what an action is called."""
    if action == "roll_back" and variant == ALL:
        return _("Turn every treatment back")
    name = _(_NAMES[action])
    return name.format(variant=variant) if "{variant}" in name else name


def path_of(key: str, action: str, variant: str = "") -> str:
    """Return where the page of an action is; not quoted."""
    tail = f"/{variant}" if variant else ""
    return f"/experiments/{key}/actions/{action}{tail}"


def action_page(
    view: ExperimentView,
    action: str,
    variant: str,
    *,
    typed: Typed,
    error: Refused | None = None,
) -> ActionPage:
    """Return the page on which an action is confirmed.

    Args:
        view: The experiment.
        action: One of ``SHOWN``.
        variant: The treatment; empty for an action on the whole experiment.
        typed: What was typed so far.
        error: Why it was not done.
    """
    allowed = action in view.actions and variant in _meant(view, action)
    return ActionPage(
        key=view.key,
        title=view.title,
        action=action,
        variant=variant,
        name=name_of(action, variant),
        question=_question(view, action, variant),
        consequences=_consequences(view, action, variant)
        if allowed
        else (_("This is not possible now: {state}.", state=words.state_words(view.state)),),
        tone="bad" if action in DANGEROUS else "warn" if action != "approve" else "good",
        possible=allowed,
        path=path_of(view.key, action, variant),
        command=_command(view, action, variant),
        ends_at="" if view.ends_at is None else words.instant(view.ends_at),
        typed=typed,
        error=error,
    )


def _question(view: ExperimentView, action: str, variant: str) -> str:
    title = view.title
    asked = {
        "start": _("Start {title}?", title=title),
        "approve": _("Let the ramp of {title} leave its step?", title=title),
        "pause": _("Pause {title}?", title=title),
        "continue": _("Continue {title}?", title=title),
        "resume": _("Resume {variant} of {title}?", variant=variant, title=title),
        "roll_back": _("Turn {variant} of {title} back?", variant=variant, title=title),
        "extend": _("Extend {title}?", title=title),
        "stop": _("Stop {title} for good?", title=title),
    }
    if action == "roll_back" and variant == ALL:
        return _("Turn every treatment of {title} back?", title=title)
    return asked[action]


def _consequences(view: ExperimentView, action: str, variant: str) -> tuple[str, ...]:
    control = next((v.name for v in view.variants if v.state == "control"), "control")
    if action in OF_A_TREATMENT:
        return _of_treatment(view, action, variant, control)
    if action == "approve":
        return _of_approval(view)
    back = tuple(v.name for v in view.variants if v.state == "rolled_back")
    stays = (_("{variants} stays turned back.", variants=words.joined(back)),) if back else ()
    follows = {
        "extend": (
            _("New units come in until the instant you say, not until {at}.", at=_end(view)),
            _("Units are watched as long after that as planned."),
            _("The guarantee stays: levels, windows and the horizon are those of the file."),
        ),
        "start": (
            _("The run begins now, whatever its file had planned."),
            _("Units are dealt out from the next answer on."),
        ),
        "pause": (
            _("From the next answer on everybody gets {control}.", control=control),
            _("Checks go on, and what had entered is judged."),
            _("Continuing gives everybody the variant they had."),
        ),
        "continue": (
            _("From the next answer on everybody gets the variant they had."),
            *stays,
        ),
        "stop": (
            _("From the next answer on everybody gets {control}, for good.", control=control),
            _("Checks end: harm that shows later is not seen any more."),
            _("Only a file with a raised seed begins it anew, with other units."),
        ),
    }
    return follows[action]


def _of_treatment(view: ExperimentView, action: str, variant: str, control: str) -> tuple[str, ...]:
    met = {v.name: v.exposed for v in view.variants}
    if action == "resume":
        return (
            _("From the next answer on the same units get {variant} again.", variant=variant),
            _("Only units that come from now on count for it, at a fresh level."),
            _("If it still does harm it is turned back again."),
        )
    if variant == ALL:
        who = _("From the next answer on everybody gets {control}.", control=control)
    else:
        who = _(
            "From the next answer on everybody who has {variant} gets {control}: {units} so far.",
            variant=variant,
            control=control,
            units=f"{met.get(variant, 0):,}",
        )
    return (
        who,
        _("It stays so until a person resumes it; applying the file again changes nothing."),
        _("Whether clients follow is verified, and told if they do not."),
    )


def _of_approval(view: ExperimentView) -> tuple[str, ...]:
    now = next((s for s in view.ramp if s.state == "current"), None)
    then = next((s for s in view.ramp if s.state == "next"), None)
    if now is None or then is None:
        return (_("The ramp may leave its step."),)
    return (
        _(
            "The ramp goes from {now} to {then} of the traffic as soon as the step's hold, units "
            "and guardrails allow.",
            now=words.share(now.traffic),
            then=words.share(then.traffic),
        ),
        _("Nobody changes arm when traffic is raised."),
    )


def _end(view: ExperimentView) -> str:
    return words.instant(view.ends_at)


def _command(view: ExperimentView, action: str, variant: str) -> str:
    """Return what does the same on a command line."""
    name = {"continue": "resume", "roll_back": "roll-back"}.get(action, action)
    whose = " --all" if variant == ALL else f" {variant}" if variant else ""
    more = " --by 7d" if action == "extend" else ""
    return f'turnback {name} {view.key}{whose}{more} --reason "..."'


def refused(error: TurnbackError) -> Refused:
    """Return why something was not done, as a page shows it."""
    return Refused(said(error.message), said(error.hint), error.path)


def until_of(text: str) -> datetime | None:
    """Return the instant a browser's date field says, in UTC; ``None`` for none."""
    try:
        at = datetime.fromisoformat(f"{text}+00:00")
    except ValueError:
        return None
    return at if at.utcoffset() == timedelta(0) else None
