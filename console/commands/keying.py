"""``keys``: what opens a service, made and revoked where its files are."""

import getpass
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote

from console.output import CommandError, print_json, say, warn
from console.tables import add, show, table
from experiments.database import ControlPlane
from experiments.migrations import NEWEST, revision_of
from guardrails import keys
from guardrails.files import CONTROL
from guardrails.keys import KeyView
from guardrails.words import instant


def create(data: Path, name: str, scope: str, *, as_json: bool) -> None:
    """Make a key and print it; what follows from it is told beside it, on standard error."""
    new, folder = not (data / CONTROL).is_file(), not data.exists()
    with _control(data, make=True) as control, control.transaction() as session:
        first = not keys.made(session).known
        key = keys.create(session, name, scope, actor=_actor(), now=_now())
    if as_json:
        print_json({"name": name, "scope": scope, "key": key})
        return
    say(key)
    if new:
        made = "is new: it" if folder else "held no control plane: one"
        warn(
            f"{data} {made} was made for this key. A service that runs on another folder does not "
            "know the key: give its folder (--data DIR)"
        )
    if first and scope != "admin" and "admin" not in {t["scope"] for t in _of_environment()}:
        warn(_closed_by(scope, data))
    if sys.stdout.isatty():
        warn(
            f"the key '{name}' of the scope '{scope}'. Keep it now: it is shown once.\n"
            "It is sent as `Authorization: Bearer KEY`."
        )


def listed(data: Path, *, as_json: bool) -> None:
    """Print every key that was ever made, and those of this environment by name."""
    with _control(data) as control, control.reading() as session:
        known = keys.views(session)
    told = _of_environment()
    if as_json:
        print_json({"keys": known, "environment": told})
        return
    if not known and not told:
        say("no key was made yet: `turnback keys create NAME --scope ingest` makes one")
        return
    rows = table("name", "scope", "made", "by", "last used", "state", whole=("name", "scope"))
    for each in known:
        used = "never" if each.last_used_at is None else instant(each.last_used_at)
        made = f"{each.created_at:%Y-%m-%d}"
        add(rows, each.name, each.scope, made, each.created_by, used, _state(each))
    for each in told:
        add(rows, each["name"], each["scope"], "", "environment", "", "set here")
    show(rows)


def revoke(data: Path, name: str, *, as_json: bool) -> None:
    """Revoke a key and say so."""
    with _control(data) as control, control.transaction() as session:
        done = keys.revoke(session, name, now=_now())
        left = keys.made(session)
    if as_json:
        print_json(done)
        return
    say(f"the key '{name}' opens nothing any more")
    if left.known:
        return
    told = [each["name"] for each in _of_environment()]
    if told:
        warn(
            f"no key that was made is left; a service with this environment goes on with "
            f"{', '.join(told)}"
        )
    else:
        warn(
            "no key that was made is left, and none is in this environment: unless the service "
            "was given one in its own (TURNBACK_ADMIN_KEY), nobody changes anything until "
            "`turnback keys create NAME --scope admin` makes one"
        )


_CLOSES = {
    "client": "evaluations, events and changes; only reading stays open",
    "ingest": "changes and trusted events; evaluating, sending other events and reading stay open",
}
"""What asks for a key from the first one of a scope on; ``metrics.access.Keys.of`` decides."""


def _closed_by(scope: str, data: Path) -> str:
    """Return what follows from a first key that is no admin's."""
    return (
        f"this is the first key in force: a service on {data} that needed none asks for one from "
        f"now on, for {_CLOSES[scope]} on its own machine (docs/operations.md#keys). No admin key "
        "was made: unless the service was given one (TURNBACK_ADMIN_KEY), nobody changes anything "
        f"until `turnback keys create NAME --scope admin --data {quote(str(data))}` makes one"
    )


def _of_environment() -> list[dict[str, str]]:
    """Return names and scopes of the keys that a service started here would be given."""
    return [
        {"name": name, "scope": scope}
        for scope in reversed(keys.SCOPES)
        if os.environ.get(name := f"TURNBACK_{scope.upper()}_KEY")
    ]


def _state(key: KeyView) -> str:
    if key.revoked_at is None:
        return "in force"
    return f"revoked {key.revoked_at:%Y-%m-%d}"


@contextmanager
def _control(data: Path, *, make: bool = False) -> Generator[ControlPlane]:
    """Open the control plane of a folder, also while a service runs on it.

    Raises:
        CommandError: There is none, or one of another version, which only its service may change.
    """
    path = data / CONTROL
    there = path.is_file()
    if not there and not make:
        raise CommandError(
            f"{data}: no control plane is here ({CONTROL})",
            hint="give the folder that `turnback serve --data` was given",
            code="no_control_plane",
        )
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    control = ControlPlane(f"sqlite:///{path}")
    try:
        if there:
            _require_newest(control, path)
        else:
            control.create()
        yield control
    finally:
        control.close()


def _require_newest(control: ControlPlane, path: Path) -> None:
    with control.engine.connect() as connection:
        found = revision_of(connection)
    if found != NEWEST:
        raise CommandError(
            f"{path}: its tables are of another version (revision {found}, not {NEWEST})",
            hint="start `turnback serve` of this version on it once, then try again",
            code="other_version",
        )


def _now() -> datetime:
    return datetime.now(UTC)


def _actor() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "cli"
