"""``backup`` and ``export``: asked of a running service, or done with the files themselves."""

from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from console.client import ServiceClient
from console.output import CommandError, print_json, say
from console.progress import working
from console.store_errors import store_told
from experiments.database import ControlPlane
from guardrails.clock import SystemClock
from guardrails.copies import Copies, check_backup, require_match
from guardrails.files import CONTROL, STORE
from metrics.stores import open_store

_LONG = 24 * 3600.0
"""A copy takes as long as it takes; only a service that is gone ends the wait."""


def back_up(folder: Path, *, data: Path | None, url: str, key: str | None, as_json: bool) -> None:
    """Make a backup and say what is in it.

    Raises:
        CommandError: The service, or the files, refuse.
    """
    to = folder.absolute()
    with working("copying both files", as_json=as_json):
        if data is None:
            with ServiceClient(url, key, timeout=_LONG) as client:
                done = client.post("/api/v1/backup", json={"to": str(to)})
        else:
            with _opened(data) as copies:
                done = _plain(copies.back_up(to))
    _say_backup(done, as_json=as_json)


def check(folder: Path, *, as_json: bool) -> None:
    """Say whether a backup is whole."""
    with working("reading the copy", as_json=as_json):
        done = _plain(check_backup(folder))
    _say_backup(done, as_json=as_json)


def export(
    folder: Path,
    *,
    since: date | None,
    until: date | None,
    data: Path | None,
    url: str,
    key: str | None,
    as_json: bool,
) -> None:
    """Write days of events as Parquet and say which.

    Raises:
        CommandError: The service, or the files, refuse.
    """
    to = folder.absolute()
    days = {name: f"{day}" for name, day in (("since", since), ("until", until)) if day}
    with working("writing days of events", as_json=as_json):
        if data is None:
            with ServiceClient(url, key, timeout=_LONG) as client:
                done = client.post("/api/v1/export", json={"to": str(to), **days})
        else:
            with _opened(data) as copies:
                done = _plain(copies.export(to, since=since, until=until))
    if as_json:
        print_json(done)
    else:
        _say_export(done)


def _say_backup(done: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(done)
        return
    say(f"{done['to']}: a whole backup, {done['bytes'] / 10**6:,.1f} MB")
    say(f"  {done['watermark']:,} events; checks had counted {done['control_watermark']:,} of them")
    say(f"  made {str(done['made_at'])[:19].replace('T', ' ')} UTC by turnback {done['turnback']}")


def _say_export(done: dict[str, Any]) -> None:
    days = done["days"]
    span = "no day" if not days else days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    say(
        f"{done['to']}: {done['events']:,} events of {len(days)} day{'s'[: len(days) != 1]}, {span}"
    )
    if done["removed"]:
        say(f"  removed, nothing is left of them: {', '.join(done['removed'])}")
    if done["incomplete_before"]:
        say(
            f"  days before {done['incomplete_before']} are left as they are: retention took events"
        )


@contextmanager
def _opened(data: Path) -> Generator[Copies]:
    """Open the files of a folder that no service holds."""
    if not (data / STORE).is_file() or not (data / CONTROL).is_file():
        raise CommandError(
            f"{data}: there is no {CONTROL} with {STORE}",
            hint="give the folder that was served, the one of `turnback serve --data`",
            code="no_files",
        )
    with (
        store_told(held="leave out --data to ask the service that runs"),
        closing(open_store(data / STORE)) as store,
        closing(ControlPlane(f"sqlite:///{data / CONTROL}")) as control,
    ):
        control.create()
        require_match(control, store)
        yield Copies(control, store, now=SystemClock().now)


def _plain(view: object) -> dict[str, Any]:
    return msgspec.json.decode(msgspec.json.encode(view))
