"""``backup`` and ``export``: copies of what a service holds; ``console.cli`` adds the commands."""

# ruff: noqa: PLC0415 - help is fast because work is imported when it is done

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from console.arguments import Data, Json, Key, Url, example
from console.output import DEFAULT_URL, reported

_DAYS = ["%Y-%m-%d"]


def add_to(app: typer.Typer) -> None:
    """Add the commands, in the order in which help lists them."""
    told = (
        (
            backup,
            (
                "turnback backup /backups/2026-03-01",
                "turnback backup /backups/2026-03-01 --check",
                "turnback backup /backups/2026-03-01 --data turnback-data",
            ),
        ),
        (
            export,
            (
                "turnback export --to /exports/events",
                "turnback export --to /exports/events --since 2026-03-01 --until 2026-04-01",
            ),
        ),
    )
    for command, lines in told:
        app.command(command.__name__, epilog=example(*lines))(command)


def backup(
    *,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the copy.")],
    check: Annotated[
        bool, typer.Option("--check", help="Make nothing: say whether the backup is whole.")
    ] = False,
    data: Data = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Copy both files while the service goes on: the control plane, then the store.

    The service writes the folder, on its own machine. To use a backup, copy the folder and serve
    it: `turnback serve --data COPY`.
    """
    from console.commands import copying

    with reported(as_json=as_json):
        if check:
            copying.check(folder, as_json=as_json)
        else:
            copying.back_up(folder, data=data, url=url, key=key, as_json=as_json)


def export(
    *,
    to: Annotated[Path, typer.Option(help="Folder; days that are in it are replaced.")],
    since: Annotated[
        datetime | None, typer.Option(formats=_DAYS, metavar="DAY", help="First day, UTC.")
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(formats=_DAYS, metavar="DAY", help="The day after the last one."),
    ] = None,
    data: Data = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Write events as Parquet, one folder a day, for Spark, DuckDB or ClickHouse.

    Run it again for late events: a day is replaced as a whole.
    """
    from console.commands import copying

    with reported(as_json=as_json):
        copying.export(
            to,
            since=since.date() if since else None,
            until=until.date() if until else None,
            data=data,
            url=url,
            key=key,
            as_json=as_json,
        )
