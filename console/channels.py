"""The commands about channels; ``console.cli`` puts them together."""

# ruff: noqa: PLC0415 - help is fast because work is imported when it is done

from typing import Annotated

import typer

from console.arguments import Json, Key, Url, client_of, example
from console.output import DEFAULT_URL, ExitCode, reported
from console.usage import Listed

channels = typer.Typer(
    cls=Listed, help="Where messages go, and whether they arrive.", no_args_is_help=True
)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(channels, name="channels")


@channels.command("list", epilog=example("turnback channels list"))
def listed(*, url: Url = DEFAULT_URL, key: Key = None, as_json: Json = False) -> None:
    """List every channel of the service: where it leads, what waits, what was given up."""
    from console.commands.channels import show

    with reported(as_json=as_json), client_of(url, key) as client:
        show(client, as_json=as_json)


@channels.command("test", epilog=example("turnback channels test", "turnback channels test ops"))
def try_out(
    *,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One channel; all without.")
    ] = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Send one test message through a channel of the service, and say what became of it.

    Without a name through every channel. The exit code is 1 when one did not take it.
    """
    from console.commands.channels import test as run

    with reported(as_json=as_json), client_of(url, key) as client:
        good = run(name, client=client, as_json=as_json)
    if not good:
        raise typer.Exit(ExitCode.PROBLEM)
