"""``turnback`` alone: where things stand here, and what to type next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from console.child import made_by_demo
from console.client import ServiceClient
from console.output import CommandError, ExitCode, Tone, print_json, say
from console.tables import folded
from guardrails.build import build_version
from guardrails.files import CONTROL
from guardrails.plain_words import command

MOST: Final = 9
"""Steps at most; what is left is counted."""


@dataclass(frozen=True, slots=True)
class NextStep:
    """One thing to do: why, and the command that does it. ``urgent`` ones need a person."""

    words: str
    command: str
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Guidance:
    """What ``turnback`` alone says.

    Attributes:
        service: Address that was asked.
        answers: Whether a service answered there.
        headline: How it stands, in a sentence.
        steps: What to do, the most urgent first.
        more: Steps that are left out.
    """

    service: str
    answers: bool
    headline: str
    steps: tuple[NextStep, ...]
    more: int = 0


def run(client: ServiceClient, data: Path, *, as_json: bool) -> None:
    """Print what to do next."""
    told = guidance(client, data)
    if as_json:
        print_json({"version": build_version(), **_plain(told)})
        return
    say(folded(f"turnback {build_version()}: {told.headline}"))
    for step in told.steps:
        say()
        say(folded(step.words), tone=Tone.WARN if step.urgent else None)
        say(f"  {step.command}")
    say()
    more = f"{told.more} more need you: `turnback status`; " if told.more else ""
    say(folded(f"{more}`turnback --help` lists every command, `turnback COMMAND --help` says more"))


def guidance(client: ServiceClient, data: Path) -> Guidance:
    """Return what to do next, asked of a running service or, without one, of the data folder.

    Args:
        client: Of the service.
        data: Folder that ``turnback serve`` would take.
    """
    try:
        views = client.get("/api/v1/experiments")["experiments"]
    except CommandError as error:
        return _without_service(client.url, error, data)
    steps = steps_of(views)
    running = sum(view["state"] == "running" for view in views)
    plural = "s" if len(views) != 1 else ""
    headline = (
        f"{client.url} answers, and has no experiment yet"
        if not views
        else f"{client.url} has {len(views):,} experiment{plural}, {running:,} running"
    )
    return Guidance(client.url, True, headline, steps[:MOST], max(0, len(steps) - MOST))


def _without_service(url: str, error: CommandError, data: Path) -> Guidance:
    if error.exit_code != ExitCode.UNREACHABLE or error.code == "not_turnback":
        steps = (NextStep(error.hint, "turnback doctor", urgent=True),)
        return Guidance(url, error.code != "not_turnback", error.message, steps)
    silent = f"no service answers at {url} (TURNBACK_URL names another address)"
    if made_by_demo(data):
        again = f"play the demo in {data} again, and look at its page"
        own = "start a service of your own, in its own folder"
        steps = (
            NextStep(again, f"turnback demo --data {data}"),
            NextStep(own, "turnback serve --data my-data"),
            NextStep("then start an experiment of your own", "turnback apply SPEC"),
        )
        return Guidance(url, False, silent, steps)
    if (data / CONTROL).is_file():
        steps = (
            NextStep(f"start the service on what is in {data}", f"turnback serve --data {data}"),
            NextStep("or look first whether all is well with it", f"turnback doctor --data {data}"),
        )
        return Guidance(url, False, silent, steps)
    steps = (
        NextStep("watch a harmful change of a simulated shop being turned back", "turnback demo"),
        NextStep("start a service, which makes its folder", "turnback serve"),
        NextStep("then start an experiment of your own", "turnback apply SPEC"),
    )
    return Guidance(url, False, f"{silent}; nothing is here yet", steps)


def steps_of(views: Sequence[Mapping[str, Any]]) -> tuple[NextStep, ...]:
    """Return what a person may do about experiments, what needs somebody first. Pure."""
    if not views:
        return (
            NextStep("check a spec file", "turnback validate SPEC"),
            NextStep(
                "see before the run what it will find", "turnback plan SPEC --units-per-day 2000"
            ),
            NextStep("start it", "turnback apply SPEC"),
        )
    steps = [*_suspended(views), *(step for view in views for step in _of_one(view))]
    steps.sort(key=lambda step: not step.urgent)
    if any(view["state"] in {"running", "observing"} for view in views):
        steps.append(NextStep("follow what runs", "turnback status --watch"))
    if not steps:
        steps.append(NextStep("nothing runs; tell what was learned", "turnback digest --since 14d"))
    return tuple(steps)


def _suspended(views: Sequence[Mapping[str, Any]]) -> list[NextStep]:
    """Return that the engine acts on nothing, once for all experiments."""
    said = next(filter(None, map(_suspension_of, views)), [])
    return [NextStep(words, command("suspend", "--off"), urgent=True) for words in said]


def _suspension_of(view: Mapping[str, Any]) -> list[str]:
    """Return what is said of a suspension that a command ends; a setting's is not among them."""
    needs = (need for need in view.get("needs") or () if need["kind"] == "suspended")
    return [str(need["words"]) for need in needs if "--off" in need["words"]]


def _of_one(view: Mapping[str, Any]) -> list[NextStep]:
    if view["state"] in {"stopped", "finished"}:
        return _over(view)
    everywhere = _suspension_of(view)
    key, asked = view["key"], [str(w) for w in view["attention"] if w not in everywhere]
    back = [str(v["name"]) for v in view["variants"] if v["state"] == "rolled_back"]
    if back:
        were = "were" if len(back) > 1 else "was"
        turned = f"{key}: {' and '.join(back)} {were} turned back; see why, then resume it or stop"
        return [NextStep(turned, f"turnback explain {key}", urgent=True)]
    decides = ""
    if view["state"] == "draft" and "start" in (view.get("actions") or ()):
        decides = "start"
    elif _wants_approval(view):
        decides = "approve"
        asked = [w for w in asked if "approv" in w] or ["its step of the ramp wants approval"]
    if asked:
        command = f'{decides} {key} --reason "..."' if decides else f"status {key}"
        return [NextStep(f"{key}: {asked[0]}", f"turnback {command}", urgent=True)]
    if view["state"] == "paused":
        return [NextStep(f"{key} is paused", f'turnback resume {key} --reason "..."')]
    return []


def _over(view: Mapping[str, Any]) -> list[NextStep]:
    """Return what is left to do about an experiment that is over: to tell what it found."""
    advice = (view.get("advice") or {}).get("words")
    if not advice:
        return []
    words = f"{view['key']} is {view['state']}: {advice}"
    return [NextStep(words, f"turnback report {view['key']} --format html")]


def _wants_approval(view: Mapping[str, Any]) -> bool:
    return any(
        step["state"] == "current" and step["approval"] and not step["approved"]
        for step in view.get("ramp") or ()
    )


def _plain(told: Guidance) -> dict[str, Any]:
    return {name: getattr(told, name) for name in Guidance.__dataclass_fields__}
