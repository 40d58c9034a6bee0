"""``backup`` and ``export``: copies of what a service holds; ``console.cli`` adds the commands."""

# ruff: noqa: PLC0415 - help is fast because work is imported when it is done

from contextlib import nullcontext
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from console.arguments import Data, Json, Key, Url, client_of, example
from console.completion import experiment_keys
from console.output import DEFAULT_URL, CommandError, ExitCode, reported

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
                "turnback export three-step-cancel --to results/ --format parquet",
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


class Tables(StrEnum):
    """How results are written."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"


def export(
    *,
    experiment: Annotated[
        str | None,
        typer.Argument(
            metavar="KEY",
            help="Its results, instead of events.",
            autocompletion=experiment_keys,
        ),
    ] = None,
    to: Annotated[Path, typer.Option(help="Folder; what is written anew in it is replaced.")],
    written: Annotated[
        Tables | None, typer.Option("--format", help="Of results; csv unless told otherwise.")
    ] = None,
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
    """Write events as Parquet, or the results of one experiment as tables.

    Without KEY events, one folder a day, for Spark, DuckDB or ClickHouse; run it again for late
    events: a day is replaced as a whole. With KEY its KPIs, guardrails, evidence over time and
    transitions, a file each.
    """
    from console.commands import copying, exporting

    with reported(as_json=as_json):
        if experiment is None:
            _require(written is None, "--format is of the results of an experiment: name its KEY")
            copying.export(
                to,
                since=since.date() if since else None,
                until=until.date() if until else None,
                data=data,
                url=url,
                key=key,
                as_json=as_json,
            )
            return
        _require(
            since is None and until is None, "--since and --until are of events: leave out KEY"
        )
        with client_of(url, key) if data is None else nullcontext() as client:
            suffix = (written or Tables.CSV).value
            exporting.run(experiment, to, suffix, client=client, data=data, as_json=as_json)


def _require(fits: bool, words: str) -> None:  # noqa: FBT001 - a condition
    if not fits:
        what, _, hint = words.partition(": ")
        raise CommandError(what, hint=hint, code="usage", exit_code=ExitCode.USAGE)
