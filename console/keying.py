"""The commands about keys; ``console.cli`` puts them together."""

# ruff: noqa: PLC0415 - help is fast because work is imported when it is done

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from console.arguments import Json, example
from console.output import reported
from console.usage import Listed

keys = typer.Typer(
    cls=Listed, help="Make, list and revoke keys of a service.", no_args_is_help=True
)

Folder = Annotated[
    Path,
    typer.Option(
        "--data",
        envvar="TURNBACK_DATA",
        help="Folder of the service; it may run meanwhile.",
    ),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="What the key is called.")]
DATA = Path("turnback-data")


class Scope(StrEnum):
    """As ``guardrails.keys.SCOPES``, without importing it for ``--help``."""

    CLIENT = "client"
    INGEST = "ingest"
    ADMIN = "admin"


@keys.command(
    epilog=example(
        "turnback keys create ops --scope admin",
        "turnback keys create shop-backend --scope ingest",
        "turnback keys create web-2026 --scope client",
    )
)
def create(
    *,
    name: Name,
    scope: Annotated[
        Scope,
        typer.Option(
            help="client: evaluate, and send events of KPIs with trust any (public). "
            "ingest: also read, and send trusted events. admin: everything."
        ),
    ],
    data: Folder = DATA,
    as_json: Json = False,
) -> None:
    """Make a key and print it, once: only its digest is kept.

    A running service takes it within a second or two.
    """
    from console.commands import keying

    with reported(as_json=as_json):
        keying.create(data, name, scope.value, as_json=as_json)


@keys.command("list", epilog=example("turnback keys list", "turnback keys list --json"))
def listed(*, data: Folder = DATA, as_json: Json = False) -> None:
    """List every key that was ever made: scope, maker, last use, whether revoked."""
    from console.commands import keying

    with reported(as_json=as_json):
        keying.listed(data, as_json=as_json)


@keys.command(epilog=example("turnback keys revoke web-2026"))
def revoke(*, name: Name, data: Folder = DATA, as_json: Json = False) -> None:
    """Let a key open nothing any more, for good.

    A running service refuses it within a second or two.
    """
    from console.commands import keying

    with reported(as_json=as_json):
        keying.revoke(data, name, as_json=as_json)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(keys, name="keys")
