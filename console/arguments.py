"""Arguments and options that commands share; nothing heavy is imported here."""

# ruff: noqa: PLC0415 - help is fast because work is imported when it is done

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.completion import experiment_keys
from console.numbers import number

if TYPE_CHECKING:
    from console.client import ServiceClient

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Url = Annotated[str, typer.Option(envvar="TURNBACK_URL", help="Where the service listens.")]
Key = Annotated[
    str | None,
    typer.Option(envvar="TURNBACK_ADMIN_KEY", help="Admin key, where the service asks for one."),
]
Experiment = Annotated[
    str,
    typer.Argument(metavar="KEY", help="Key of the experiment.", autocompletion=experiment_keys),
]
AnExperiment = Annotated[
    str | None,
    typer.Argument(metavar="KEY", help="One experiment in full.", autocompletion=experiment_keys),
]
Variant = Annotated[
    str | None,
    typer.Argument(metavar="VARIANT", help="Treatment; may be left out when there is one."),
]
Reason = Annotated[str, typer.Option(help="Why; it is recorded.")]
ReasonToStart = Annotated[
    str | None, typer.Option("--reason", help="Why; it is recorded.  [required]")
]
"""Asked for after what is wrong with the start itself."""
CatalogueFile = Annotated[
    Path | None,
    typer.Option(
        "--catalogue",
        envvar="TURNBACK_CATALOGUE",
        help="File with KPIs and events of your own, added to the built-in ones.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(help="Open the files of this folder, while no service runs on it."),
]
SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="Spec file.")]
SpecPaths = Annotated[
    list[Path],
    typer.Argument(metavar="PATH", help="Spec files, or folders: every *.yaml and *.yml in it."),
]
UnitsPerDay = Annotated[
    float | None,
    typer.Option(parser=number(1, 1e12), metavar="N", help="Units a day that fit the audience."),
]
Baselines = Annotated[
    list[str] | None,
    typer.Option(help="Control's KPI: KPI[@WINDOW]=VALUE[,sd=X][,answering=P]; repeatable."),
]
Measured = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Take traffic and control from this experiment.",
        autocompletion=experiment_keys,
    ),
]


def client_of(url: str, key: str | None) -> "ServiceClient":
    """Return the client of a running service."""
    from console.client import ServiceClient

    return ServiceClient(url, key)


def example(*lines: str) -> str:
    r"""Return the examples under a command's help; ``\b`` keeps their lines as they are."""
    head = "Example:" if len(lines) == 1 else "Examples:"
    return "\b\n" + "\n".join([head, *(f"  {line}" for line in lines)])
