"""``start``, ``approve``, ``pause``, ``resume``, ``roll-back``, ``stop``: a person decides."""

from collections.abc import Mapping, Sequence
from typing import Any

from console.client import ServiceClient, experiment_path
from console.commands.watch import moved
from console.output import CommandError, ExitCode, instant, print_json, say
from guardrails.links import rollback_link

_OF_A_TREATMENT = frozenset({"roll_back", "resume"})
_FOLLOWS = {
    "start": "it runs from now on; `turnback status {key}` shows how it goes",
    "approve": "the ramp goes on as soon as the step's hold, units and guardrails allow",
    "pause": 'everybody gets control and checks go on; `turnback resume {key} --reason "..."` '
    "continues it",
    "continue": "everybody gets the variant they had",
    "stop": "everybody gets control for good; a file with a raised `seed` begins it anew",
    "roll_back": "its units get control from now on; "
    '`turnback resume {key} {variant} --reason "..."` serves it again',
    "resume": "the same units get it again; only those first exposed from now on count",
}


def act(
    action: str,
    key: str,
    variant: str | None,
    *,
    reason: str,
    client: ServiceClient,
    as_json: bool,
) -> None:
    """Ask for an action and print the transition.

    ``resume`` without ``variant`` continues a paused experiment. Otherwise, for an action on a
    treatment, the experiment must have exactly one that can be meant.
    """
    path, back = experiment_path(key), tuple[str, ...]()
    if action in _OF_A_TREATMENT and not variant:
        view = client.get(path)
        if action == "resume" and view["state"] == "paused":
            action, back = "continue", _turned_back(view)
        else:
            variant = _only_treatment(view, action)
    body = {"action": action, "reason": reason, **({"variant": variant} if variant else {})}
    done = client.post(f"{path}/actions", json=body)
    if as_json:
        print_json(done)
    else:
        _show(done, action, key, variant)
        if action == "roll_back":
            _tell_page(client.url, key, [done])
    if back and not as_json:
        say(f"  {_stays(back, key)}")


def start(key: str, *, reason: str | None, client: ServiceClient, as_json: bool) -> None:
    """Start a draft; that it runs already is said before a reason is asked for.

    Raises:
        CommandError: No reason was given, and perhaps it runs already.
    """
    if reason:
        act("start", key, None, reason=reason, client=client, as_json=as_json)
        return
    view = client.get(experiment_path(key))
    if view["state"] == "running":
        raise CommandError(
            f"{key} runs already since {instant(view['started_at'])}",
            hint=f"`turnback status {key}` shows how it goes",
            code="illegal_transition",
        )
    raise CommandError(
        "a reason is needed: it is recorded",
        hint=f'`turnback start {key} --reason "..."`',
        code="usage",
        exit_code=ExitCode.USAGE,
    )


def roll_back_all(key: str, *, reason: str, client: ServiceClient, as_json: bool) -> None:
    """Turn every live treatment back, all or none, and print the transitions."""
    done = client.post(f"{experiment_path(key)}/rollbacks", json={"reason": reason})
    if as_json:
        print_json(done)
        return
    for each in done["transitions"]:
        _show(each, "roll_back", key, each["variant"])
    _tell_page(client.url, key, done["transitions"])


def _turned_back(view: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(v["name"]) for v in view["variants"] if v["state"] == "rolled_back")


def _stays(back: tuple[str, ...], key: str) -> str:
    """Return that a continued experiment serves nobody what was turned back."""
    names, verb = " and ".join(back), "stays" if len(back) == 1 else "stay"
    return (
        f"but {names} {verb} turned back, and their units get control: "
        f'`turnback resume {key} {back[0]} --reason "..."` serves {back[0]} again'
    )


def _show(done: dict[str, Any], action: str, key: str, variant: str | None) -> None:
    who = f"{variant} {moved(done)}" if variant else moved(done)
    say(f"{key}: {who}, {instant(done['at'])}")
    say(f"  {done['reason']} ({done['actor']})")
    say(f"  {_FOLLOWS[action].format(key=key, variant=variant)}")


def _tell_page(url: str, key: str, done: Sequence[Mapping[str, Any]]) -> None:
    """Print where rollbacks can be looked at, and who says whether clients follow."""
    for each in done:
        say(f"  page: {rollback_link(url, key, each['id'])}")
    say(f"  whether clients follow is verified in a while: `turnback status {key}`")


def _only_treatment(view: dict[str, Any], action: str) -> str:
    wanted = "live" if action == "roll_back" else "rolled_back"
    treatments = [v for v in view["variants"] if v["state"] != "control"]
    fitting = [v for v in treatments if v["state"] == wanted]
    chosen = fitting or treatments
    if len(chosen) == 1:
        return str(chosen[0]["name"])
    names = ", ".join(str(v["name"]) for v in treatments)
    command = f"turnback {action.replace('_', '-')} {view['key']} {treatments[0]['name']}"
    every = ", or all of them with `--all`" if action == "roll_back" else ""
    raise CommandError(
        f"{view['key']} has several treatments: {names}",
        hint=f"say which, for instance `{command}`{every}",
        code="ambiguous_variant",
        exit_code=ExitCode.USAGE,
    )
