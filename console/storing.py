"""The commands that look after the metric store; ``console.cli`` puts them together."""

# ruff: noqa: PLC0415 - help is fast because work is imported when it is done

from typing import Annotated

import typer

from console.arguments import Data, Json, Key, Url, client_of, example
from console.output import DEFAULT_URL, ExitCode, reported
from console.usage import Listed

store = typer.Typer(cls=Listed, help="Look after the metric store.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add the commands, in the order in which help lists them."""
    app.add_typer(store, name="store")
    app.command(
        "forget", epilog=example("turnback forget u-81", "turnback forget u-81 --data data/ --yes")
    )(forget)


@store.command(epilog=example("turnback store rebuild", "turnback store rebuild --data data/"))
def rebuild(
    *, data: Data = None, url: Url = DEFAULT_URL, key: Key = None, as_json: Json = False
) -> None:
    """Count running experiments again from the log, and compare.

    What differed is said and replaced by the recount.
    """
    from console.commands import storing

    with reported(as_json=as_json):
        if data is not None:
            good = storing.rebuild_files(data, as_json=as_json)
        else:
            with client_of(url, key) as client:
                good = storing.rebuild(client, as_json=as_json)
    if not good:
        raise typer.Exit(ExitCode.PROBLEM)


@store.command(epilog=example("turnback store check", "turnback store check --data data/"))
def check(
    *, data: Data = None, url: Url = DEFAULT_URL, key: Key = None, as_json: Json = False
) -> None:
    """Look at everything in the store and say what is wrong; nothing is changed."""
    from console.commands import storing

    with reported(as_json=as_json):
        if data is not None:
            good = storing.check_files(data, as_json=as_json)
        else:
            with client_of(url, key) as client:
                good = storing.check(client, as_json=as_json)
    if not good:
        raise typer.Exit(ExitCode.PROBLEM)


def forget(
    *,
    unit: Annotated[str, typer.Argument(metavar="UNIT", help="Its id, of any unit type.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Forget without asking.")] = False,
    data: Data = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Remove everything about one unit from the store, for good.

    Its events, what was refused of it, and its part of all totals leave. The record that is
    kept does not name it. Asks first on a terminal.
    """
    from console.commands import storing

    with reported(as_json=as_json):
        if not storing.confirmed(unit, yes=yes):
            raise typer.Exit(ExitCode.PROBLEM)
        if data is not None:
            storing.forget_files(data, unit, as_json=as_json)
        else:
            with client_of(url, key) as client:
                storing.forget(client, unit, as_json=as_json)
