"""The commands about events; ``console.cli`` puts them together."""

# ruff: noqa: PLC0415 - help is fast because work is imported when it is done

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from console.arguments import Data, Json, Key, Url, client_of, example
from console.output import DEFAULT_URL, CommandError, ExitCode, reported


def add_to(app: typer.Typer) -> None:
    """Add the commands, in the order in which help lists them."""
    told = (
        (events, ("turnback events", "turnback events --markdown > events.md")),
        (load, ("turnback load orders.parquet", "turnback load exports/ --data turnback-data")),
        (
            quarantine,
            (
                "turnback quarantine",
                "turnback quarantine --resubmit 17 --resubmit 18",
                "turnback quarantine --resubmit-code in_future",
                "turnback quarantine --dismiss 17",
            ),
        ),
    )
    for command, lines in told:
        app.command(command.__name__.replace("_", "-"), epilog=example(*lines))(command)


def events(
    *,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="In full: when, fields, an example, keys.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the events an application sends, and what they feed.

    The tracking plan for developers.
    """
    from console.commands.tracking import run

    with reported(as_json=as_json):
        run(as_markdown=as_markdown, as_json=as_json)


def load(
    *,
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Event files *.parquet and *.jsonl, or folders."),
    ],
    data: Data = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Load events from files; what is there already is not counted twice.

    Bad events go to quarantine and do not stop the others. An interrupted load is simply started
    again.
    """
    from console.commands.loading import run

    with (
        reported(as_json=as_json),
        client_of(url, key) if data is None else nullcontext() as client,
    ):
        good = run(paths, client=client, data=data, as_json=as_json)
    if not good:
        raise typer.Exit(ExitCode.PROBLEM)


def quarantine(
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to show.")] = 20,
    code: Annotated[str | None, typer.Option(help="Only those refused for this reason.")] = None,
    resubmit: Annotated[
        list[int] | None,
        typer.Option(min=1, metavar="NUMBER", help="Send this one again; repeatable."),
    ] = None,
    resubmit_code: Annotated[
        str | None, typer.Option(metavar="CODE", help="Send all of one reason again, up to 1,000.")
    ] = None,
    dismiss: Annotated[
        list[int] | None,
        typer.Option(min=1, metavar="NUMBER", help="Remove this one for good; repeatable."),
    ] = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Show which events were refused and why, send them again, or dismiss them.

    An event that counts after all leaves the quarantine, as does one that comes later with the
    same id; one that is still refused stays.
    """
    from console.commands.quarantine import dismiss as let_go
    from console.commands.quarantine import listed
    from console.commands.quarantine import resubmit as again

    good = True
    with reported(as_json=as_json), client_of(url, key) as client:
        if sum((bool(resubmit), resubmit_code is not None, bool(dismiss))) > 1:
            raise CommandError(
                "--resubmit, --resubmit-code and --dismiss exclude each other",
                hint="give numbers, or one code",
                code="usage",
                exit_code=ExitCode.USAGE,
            )
        if resubmit or resubmit_code is not None:
            good = again(client, resubmit or (), resubmit_code, as_json=as_json)
        elif dismiss:
            good = let_go(client, dismiss, as_json=as_json)
        else:
            listed(client, limit=limit, code=code, as_json=as_json)
    if not good:
        raise typer.Exit(ExitCode.PROBLEM)
