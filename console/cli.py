"""The ``turnback`` command. Each command imports its work when it is run, so help is fast."""

# ruff: noqa: PLC0415 - that is what the late imports of this module are for

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.output import DEFAULT_URL, ExitCode, reported

if TYPE_CHECKING:
    from console.client import ServiceClient

app = typer.Typer(
    name="turnback",
    help="Run A/B tests and turn a harmful variant back by itself.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
importers = typer.Typer(help="Write a public data set as an event file.", no_args_is_help=True)
app.add_typer(importers, name="import")

DATA = Path("turnback-data")


class DemoScenario(StrEnum):
    """As ``metrics.simulate.Scenario``, without importing it for ``--help``."""

    SATISFACTION_DROP = "satisfaction-drop"
    HARMLESS = "harmless"
    TOLERATED = "tolerated"
    OUTAGE = "outage"
    LATE_HARM = "late-harm"
    NO_DATA = "no-data"


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Url = Annotated[str, typer.Option(envvar="TURNBACK_URL", help="Where the service listens.")]
Key = Annotated[
    str | None,
    typer.Option(envvar="TURNBACK_ADMIN_KEY", help="Admin key, where the service asks for one."),
]
Experiment = Annotated[str, typer.Argument(metavar="KEY", help="Key of the experiment.")]
Variant = Annotated[
    str | None,
    typer.Argument(metavar="VARIANT", help="Treatment; may be left out when there is one."),
]
Reason = Annotated[str, typer.Option(help="Why; it is recorded.")]
SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="Spec file.")]
Port = Annotated[int, typer.Option(min=1, max=65_535, help="TCP port on 127.0.0.1.")]


def main() -> None:
    """Run the command line."""
    app()


def _client(url: str, key: str | None) -> "ServiceClient":
    from console.client import ServiceClient

    return ServiceClient(url, key)


@app.command()
def demo(
    *,
    port: Port = 8300,
    data: Annotated[Path, typer.Option(help="Folder of the run; replaced if a demo's.")] = DATA,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same result.")] = 1,
    scenario: Annotated[
        DemoScenario, typer.Option(help="What is planted in the treatment.")
    ] = DemoScenario.SATISFACTION_DROP,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the service running.")] = False,
    no_view: Annotated[bool, typer.Option("--no-view", help="No live view.")] = False,
    as_json: Json = False,
) -> None:
    """Watch a harmful change of a simulated shop being turned back."""
    from console.commands.demo import run_demo

    with reported(as_json=as_json):
        good = run_demo(
            port=port,
            data=data,
            seed=seed,
            scenario=scenario.value,
            keep=keep,
            view=not no_view,
            as_json=as_json,
        )
    if not good:
        raise typer.Exit(ExitCode.PROBLEM)


@app.command()
def serve(
    *,
    host: Annotated[
        str | None, typer.Option(help="Address; one that is not local needs keys.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="TCP port.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the two files.")] = None,
) -> None:
    """Run the service: API, checks and page.

    Settings are TURNBACK_* variables; the options win over them.
    """
    from console.commands.serving import serve as run

    with reported(as_json=False):
        run(host=host, port=port, data=data)


@app.command()
def validate(
    *,
    specs: Annotated[list[Path], typer.Argument(metavar="SPEC", help="Spec files.")],
    as_json: Json = False,
) -> None:
    """Check spec files; every problem with its line."""
    from console.commands.specs import validate as run

    with reported(as_json=as_json):
        good = run(specs, as_json=as_json)
    if not good:
        raise typer.Exit(ExitCode.PROBLEM)


@app.command()
def schema() -> None:
    """Print the JSON Schema of spec files, for editors."""
    from console.commands.specs import schema as run

    with reported(as_json=True):
        run()


@app.command()
def apply(
    *, spec: SpecPath, url: Url = DEFAULT_URL, key: Key = None, as_json: Json = False
) -> None:
    """Start or update the experiment of a spec file."""
    from console.commands.specs import apply as run

    with reported(as_json=as_json), _client(url, key) as client:
        run(spec, client=client, as_json=as_json)


@app.command()
def status(
    *,
    experiment: Annotated[
        str | None, typer.Argument(metavar="KEY", help="One experiment in full.")
    ] = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Show all experiments, or one of them in full."""
    from console.commands.watch import status as run

    with reported(as_json=as_json), _client(url, key) as client:
        run(experiment, client=client, as_json=as_json)


@app.command()
def explain(
    *, experiment: Experiment, url: Url = DEFAULT_URL, key: Key = None, as_json: Json = False
) -> None:
    """Say in words why an experiment stands where it stands."""
    from console.commands.watch import explain as run

    with reported(as_json=as_json), _client(url, key) as client:
        run(experiment, client=client, as_json=as_json)


@app.command("roll-back")
def roll_back(
    *,
    experiment: Experiment,
    reason: Reason,
    variant: Variant = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Put a treatment's units back on control now.

    They stay there until somebody resumes the treatment.
    """
    from console.commands.actions import act

    with reported(as_json=as_json), _client(url, key) as client:
        act("roll_back", experiment, variant, reason=reason, client=client, as_json=as_json)


@app.command()
def resume(
    *,
    experiment: Experiment,
    reason: Reason,
    variant: Variant = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Serve a rolled-back treatment again.

    The same units get it; only those first exposed from now on count.
    """
    from console.commands.actions import act

    with reported(as_json=as_json), _client(url, key) as client:
        act("resume", experiment, variant, reason=reason, client=client, as_json=as_json)


@importers.command("online-retail")
def online_retail(
    *,
    path: Annotated[Path, typer.Argument(help="Folder of orders.csv.gz and credit_notes.csv.gz.")],
    out: Annotated[Path, typer.Option(help="Event file to write: *.parquet or *.jsonl.")],
    as_json: Json = False,
) -> None:
    """Write a year of real orders, cancellations and refunds as events."""
    from console.commands.importing import online_retail as run

    with reported(as_json=as_json):
        run(path, out, as_json=as_json)


@app.command()
def backtest(
    *,
    spec: SpecPath,
    events: Annotated[Path, typer.Option(help="Event file: *.parquet or *.jsonl.")],
    every: Annotated[str, typer.Option(help="Time between two looks: 1h, 1d.")] = "1d",
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the assignment hash.")] = None,
    plant: Annotated[
        str | None, typer.Option(help='Plant an effect: "refund_hours*2.5@treatment".')
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Keep the two files of the run in this new folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Replay recorded events through checks and rollback."""
    from console.commands.backtesting import run

    with reported(as_json=as_json):
        run(spec, events, every=every, seed=seed, plant=plant, data=data, as_json=as_json)


if __name__ == "__main__":
    main()
