"""``quarantine``: which events were refused and why, and sending them again."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from console.client import ServiceClient
from console.output import CommandError, print_json, say
from console.tables import add, show, table

_PATH = "/api/v1/quarantine"
_HINT = (
    "correct it in your application and send it with the same id: this entry then goes away; or "
    "`turnback quarantine --dismiss {number}`"
)


def listed(client: ServiceClient, *, limit: int, code: str | None, as_json: bool) -> None:
    """Print the newest refused events and how many there are by reason."""
    asked = {"limit": limit} | ({} if code is None else {"code": code})
    told = client.get(f"{_PATH}?{urlencode(asked)}")
    if as_json:
        print_json(told)
        return
    counts: Mapping[str, int] = told["counts"]
    if not counts:
        say("nothing is in quarantine: every event received was counted")
        return
    summary = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    say(f"{sum(counts.values()):,} events in quarantine: {summary}")
    say()
    rows = table("number", "event id", "code", "reason", right=("number",), whole=("code",))
    for each in told["quarantine"]:
        add(rows, str(each["number"]), each["id"] or "-", each["code"], each["reason"])
    show(rows)
    say()
    newest = told["quarantine"][0]["number"] if told["quarantine"] else 1
    say(_HINT.format(number=newest))
    say("those refused for what has changed here since: --resubmit NUMBER, or --resubmit-code CODE")


def resubmit(
    client: ServiceClient, numbers: Sequence[int], code: str | None, *, as_json: bool
) -> bool:
    """Send refused events again and print what became of them.

    Returns:
        Whether every one of them counts now.

    Raises:
        CommandError: Events are in quarantine, but none of this code.
    """
    if code is not None:
        _require_code(client, code)
    body: dict[str, Any] = {"numbers": list(numbers)} if code is None else {"code": code}
    told = client.post(f"{_PATH}/resubmit", json=body)
    if as_json:
        print_json(told)
    else:
        say(
            f"{told['accepted']:,} accepted, {told['duplicates']:,} there already, "
            f"{len(told['rejected']):,} still refused"
        )
        for each in told["rejected"]:
            say(f"  {each['number']}: {each['reason']}")
        _say_missing(told["missing"])
        if told["rejected"]:
            say(_HINT.format(number=told["rejected"][0]["number"]))
    return not told["rejected"] and not told["missing"]


def dismiss(client: ServiceClient, numbers: Sequence[int], *, as_json: bool) -> bool:
    """Remove refused events that nobody will send, and print how many went.

    Returns:
        Whether every one of them was there.
    """
    told = client.post(f"{_PATH}/dismiss", json={"numbers": list(numbers)})
    if as_json:
        print_json(told)
    else:
        say(f"{told['dismissed']:,} dismissed")
        _say_missing(told["missing"])
    return not told["missing"]


def _say_missing(numbers: Sequence[int]) -> None:
    for number in numbers:
        say(f"  {number}: not in quarantine (any more)")


def _require_code(client: ServiceClient, code: str) -> None:
    """Refuse a code that nothing in quarantine has; with nothing there, no code is wrong."""
    counts: Mapping[str, int] = client.get(f"{_PATH}?{urlencode({'limit': 1})}")["counts"]
    if counts and code not in counts:
        raise CommandError(
            f"no event in quarantine has the code {code!r}",
            hint="there are: " + ", ".join(f"{name} ({count:,})" for name, count in counts.items()),
            code="unknown_code",
        )
