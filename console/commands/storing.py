"""``store rebuild``, ``store check``, ``forget``: of a running service, or of its files."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from console.client import ServiceClient
from console.offline import opened
from console.output import CommandError, ExitCode, print_json, say
from metrics.store_api import erasure_to_json, rebuilt_to_json, verified_to_json
from metrics.upkeep import Progress as Told

REBUILD = "/api/v1/store/rebuild"
CHECK = "/api/v1/store/check"
FORGET = "/api/v1/store/forget"
_SHOWN = 20
_REMAINS = (
    "nothing counts or shows them any more; their bytes may stay in metrics.duckdb until they are "
    "written over. For a file without them: `turnback backup DIR`, then serve a copy of DIR and "
    "delete the old folder"
)


def rebuild(client: ServiceClient, *, as_json: bool) -> bool:
    """Have the service count again; returns whether everything was equal."""
    with _progress() as told:
        found = client.long(REBUILD, told)
    return _show_rebuilt(found, as_json=as_json)


def rebuild_files(data: Path, *, as_json: bool) -> bool:
    """Count again in the files of a folder; returns whether everything was equal."""
    with opened(data) as files, _progress() as told:
        found = rebuilt_to_json(files.store.rebuild(files.frames, now=files.now(), progress=told))
    return _show_rebuilt(found, as_json=as_json)


def check(client: ServiceClient, *, as_json: bool) -> bool:
    """Have the service look at its store; returns whether all is well."""
    with _progress() as told:
        found = client.long(CHECK, told)
    return _show_verified(found, as_json=as_json)


def check_files(data: Path, *, as_json: bool) -> bool:
    """Look at the store of a folder; returns whether all is well."""
    with opened(data) as files, _progress() as told:
        found = verified_to_json(files.store.verify(now=files.now(), progress=told))
    return _show_verified(found, as_json=as_json)


def confirmed(unit: str, *, yes: bool) -> bool:
    """Return whether a unit is to be forgotten; asks on a terminal.

    Raises:
        CommandError: The unit is empty, or nobody can be asked.
    """
    if not unit:
        raise CommandError(
            "the unit is empty",
            hint="give its id, for instance `turnback forget u-81`",
            code="usage",
            exit_code=ExitCode.USAGE,
        )
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CommandError(
            f"nothing was forgotten: forgetting {unit!r} cannot be undone, and nobody was asked",
            hint="say --yes if it is meant",
            code="not_confirmed",
            exit_code=ExitCode.USAGE,
        )
    return typer.confirm(f"Remove everything about {unit!r}? This cannot be undone.")


def forget(client: ServiceClient, unit: str, *, as_json: bool) -> None:
    """Have the service forget a unit."""
    _show_forgotten(client.post(FORGET, json={"unit": unit}), as_json=as_json)


def forget_files(data: Path, unit: str, *, as_json: bool) -> None:
    """Forget a unit in the files of a folder."""
    with opened(data) as files:
        erased = files.store.forget(unit, now=files.now(), running=files.frames)
    _show_forgotten(erasure_to_json(erased), as_json=as_json)


def _show_rebuilt(found: dict[str, Any], *, as_json: bool) -> bool:
    good = bool(found["ok"])
    if as_json:
        print_json(found)
        return good
    if not found["experiments"]:
        say("no experiment runs: there are no totals to count again")
    for each in found["experiments"]:
        name = f"{each['experiment']}, seed {each['seed']}"
        if each["failure"]:
            say(f"{name}: not counted again: {each['failure']}")
            continue
        since = "" if each["whole"] else " since older events left"
        count = f"{name}: {_events(each['events'])} counted again{since}"
        if not each["differences"]:
            say(f"{count}; every number is equal")
            continue
        say(f"{count}; {len(each['differences']):,} numbers differed and are replaced:")
        for one in each["differences"][:_SHOWN]:
            say(f"  {one['where']}: {one['totals']} in the totals, {one['recount']} recounted")
        if len(each["differences"]) > _SHOWN:
            say(f"  and {len(each['differences']) - _SHOWN:,} more; --json lists them all")
    return good


def _show_verified(found: dict[str, Any], *, as_json: bool) -> bool:
    good = bool(found["ok"])
    if as_json:
        print_json(found)
        return good
    say(
        f"{_events(found['events'])}, {found['quarantined']:,} in quarantine, totals compared with "
        f"a recount: {found['frames']:,}"
    )
    for words in found["findings"]:
        say(f"  {words}")
    say("all is well" if good else f"wrong: {len(found['findings']):,}")
    return good


def _show_forgotten(erased: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(erased)
    elif erased["events"] or erased["quarantined"]:
        say(f"forgotten: {_events(erased['events'])}, {erased['quarantined']:,} from quarantine")
        say(_REMAINS)
    else:
        say("nothing in the store names this unit")


def _events(count: int) -> str:
    return f"{count:,} event{'' if count == 1 else 's'}"


@contextmanager
def _progress() -> Generator[Told]:
    """Show on a terminal how far the work is."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("waiting", total=None)

        def told(what: str, done: int, total: int) -> None:
            shown.update(task, description=what, completed=done, total=total)

        yield told
