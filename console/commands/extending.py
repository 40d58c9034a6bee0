"""``extend``: a running experiment takes units in for longer."""

from console.client import ServiceClient, experiment_path
from console.commands.given import instant_of
from console.output import CommandError, ExitCode, instant, print_json, say
from console.tables import folded
from experiments.language.amounts import parse_duration
from experiments.language.instants import format_instant


def extend(
    key: str,
    *,
    until: str | None,
    by: str | None,
    reason: str,
    client: ServiceClient,
    as_json: bool,
) -> None:
    """Ask for a later end and print it.

    Raises:
        CommandError: Neither or both of ``until`` and ``by`` are given, or one is none.
    """
    body = {"action": "extend", "reason": reason, **_later(until, by)}
    done = client.post(f"{experiment_path(key)}/actions", json=body)
    if as_json:
        print_json(done)
        return
    before, after = (done[name].removeprefix("ends ") for name in ("before", "after"))
    say(f"{key}: takes units in until {instant(after)}, not {instant(before)}")
    say(f"  {done['reason']} ({done['actor']})")
    said = "levels, windows and the horizon of looks stay: so does the guarantee"
    say(f"  {folded(said)}")


def _later(until: str | None, by: str | None) -> dict[str, str]:
    if (until is None) == (by is None):
        raise _usage(
            "say by how much, or until when", "`--by 7d`, or `--until 2026-12-01T09:00Z`, not both"
        )
    if until is not None:
        return {"until": format_instant(instant_of(until, option="--until"))}
    text = by or ""
    if parse_duration(text) is None:
        raise _usage(f"{text!r} is no length of time", "write it as 7d, 36h or 1d12h")
    return {"by": text}


def _usage(message: str, hint: str) -> CommandError:
    return CommandError(message, hint=hint, code="usage", exit_code=ExitCode.USAGE)
