"""The command ``scenario``; ``console.cli`` puts it to the others."""

# ruff: noqa: PLC0415 - help is fast because work is imported when it is done

from pathlib import Path
from typing import Annotated

import typer

from console.arguments import Json, example
from console.output import reported


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    lines = (
        "turnback scenario my-scenario.yaml",
        "turnback scenario scenarios/ --story",
        "turnback scenario scenarios/ --json",
    )
    app.command(epilog=example(*lines))(scenario)


def scenario(
    *,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE", help="Scenario files, or folders: every *.yaml and *.yml in it."
        ),
    ],
    story: Annotated[
        bool, typer.Option("--story", help="Tell everything that happened, a line each.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Play timelines of traffic, harm and faults through the engine; say what is not as expected.

    Everything is simulated and nothing outside is touched: no service, no files of yours. The
    exit code is 1 when an expectation fails.
    """
    from console.commands.scenarios import run

    with reported(as_json=as_json):
        run(files, story=story, as_json=as_json)
