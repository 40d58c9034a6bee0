"""``doctor``; ``console.cli`` adds the command."""

# ruff: noqa: PLC0415 - help is fast because work is imported when it is done

from pathlib import Path
from typing import Annotated

import typer

from console.arguments import Json, Key, Url, client_of, example
from console.output import DEFAULT_URL, ExitCode, reported


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    lines = ("turnback doctor", "turnback doctor --data data/ --quiet", "turnback doctor --json")
    app.command("doctor", epilog=example(*lines))(doctor)


def doctor(
    *,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the service; TURNBACK_DATA, or turnback-data, without."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Leave out what is well.")] = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Say what is wrong with this installation, and what to do.

    Looks at settings, keys, files, disk, clock, spec files, the service, Prometheus, channels
    and experiments. It changes nothing, sends no message and shows no secret. The exit code is 1
    when there is an error; warnings alone leave it 0.
    """
    from console.commands.doctor import run

    with reported(as_json=as_json), client_of(url, key) as client:
        good = run(client, data, quiet=quiet, as_json=as_json)
    if not good:
        raise typer.Exit(ExitCode.PROBLEM)
