"""``roll-back`` and ``resume``: a person decides."""

from typing import Any

from console.client import ServiceClient, experiment_path
from console.output import CommandError, ExitCode, print_json, say


def act(
    action: str,
    key: str,
    variant: str | None,
    *,
    reason: str,
    client: ServiceClient,
    as_json: bool,
) -> None:
    """Ask for ``roll_back`` or ``resume`` of one treatment and print the transition.

    Without ``variant`` the experiment must have exactly one treatment that can be meant.
    """
    path = experiment_path(key)
    name = variant or _only_treatment(client.get(path), action)
    body = {"action": action, "variant": name, "reason": reason}
    view = client.post(f"{path}/actions", json=body)
    if as_json:
        print_json(view)
        return
    say(f"{key}: {name} {view['before']} -> {view['after']} at {view['at']}")
    say(f"  {view['reason']} ({view['actor']})")


def _only_treatment(view: dict[str, Any], action: str) -> str:
    wanted = "live" if action == "roll_back" else "rolled_back"
    treatments = [v for v in view["variants"] if v["state"] != "control"]
    fitting = [v for v in treatments if v["state"] == wanted]
    chosen = fitting or treatments
    if len(chosen) == 1:
        return str(chosen[0]["name"])
    names = ", ".join(str(v["name"]) for v in treatments)
    command = f"turnback {action.replace('_', '-')} {view['key']} {treatments[0]['name']}"
    raise CommandError(
        f"{view['key']} has several treatments: {names}",
        hint=f"say which, for instance `{command}`",
        code="ambiguous_variant",
        exit_code=ExitCode.USAGE,
    )
