"""The ``turnback`` command. Each command imports its work when it is run, so help is fast."""

# ruff: noqa: PLC0415 - that is what the late imports of this module are for

import os
import sys
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from console import (
    channels,
    copies,
    diagnosing,
    eventing,
    keying,
    reporting,
    running,
    scenarios,
    simulating,
    storing,
)
from console.arguments import (
    Baselines,
    CatalogueFile,
    Json,
    Key,
    Measured,
    SpecPath,
    SpecPaths,
    UnitsPerDay,
    Url,
    client_of,
    example,
)
from console.numbers import whole
from console.output import DEFAULT_URL, ExitCode, reported, say, warn
from console.usage import EXIT_CODES, Commands, Listed

app = typer.Typer(
    name="turnback",
    cls=Commands,
    help="Run A/B tests and turn a harmful variant back by itself.\n\n"
    "Without a command it says how things stand here, and what to do next.",
    epilog=EXIT_CODES,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
importers = typer.Typer(
    cls=Listed, help="Write a public data set as an event file.", no_args_is_help=True
)
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


_PORT = whole(1, 65_535)

Port = Annotated[int, typer.Option(parser=_PORT, metavar="PORT", help="TCP port on 127.0.0.1.")]


def main() -> None:
    """Run the command line."""
    app(prog_name="turnback")


def _version(*, asked: bool) -> None:
    from importlib.metadata import PackageNotFoundError, version

    if not asked:
        return
    try:
        say(f"turnback {version('turnback')}")
    except PackageNotFoundError:
        say("turnback, of an unknown version: it is not installed")
    raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=lambda asked: _version(asked=asked),  # pyright: ignore[reportUnknownLambdaType]
            help="Print the version and end.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Read what stands before a command; without one, say what to do next."""
    _ = version
    if context.invoked_subcommand is not None:
        return
    from console.commands.next_steps import run

    data = Path(os.environ.get("TURNBACK_DATA") or DATA)
    url, key = os.environ.get("TURNBACK_URL"), os.environ.get("TURNBACK_ADMIN_KEY")
    with reported(as_json=as_json), client_of(url or DEFAULT_URL, key) as client:
        run(client, data, as_json=as_json)


@app.command(epilog=example("turnback demo", "turnback demo --scenario late-harm --seed 7"))
def demo(
    *,
    port: Port = 8300,
    data: Annotated[Path, typer.Option(help="Folder of the run; replaced if a demo's.")] = DATA,
    seed: Annotated[
        int, typer.Option(parser=whole(0), metavar="N", help="Same seed, same result.")
    ] = 1,
    scenario: Annotated[
        DemoScenario, typer.Option(help="What is planted in the treatment.")
    ] = DemoScenario.SATISFACTION_DROP,
    keep: Annotated[
        bool | None,
        typer.Option(help="Keep its page up until Ctrl-C, as on a terminal; or end at once."),
    ] = None,
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


@app.command(epilog=example("turnback serve", "turnback serve --specs specs/ --data data/"))
def serve(
    *,
    host: Annotated[
        str | None, typer.Option(help="Address; one that is not local needs keys.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(parser=_PORT, metavar="PORT", help="TCP port.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the two files.")] = None,
    specs: Annotated[
        Path | None,
        typer.Option(help="Folder of spec files to follow; what is good in it is applied."),
    ] = None,
    retain: Annotated[
        str | None,
        typer.Option(help="How long events are kept: 90d. Totals of running experiments stay."),
    ] = None,
    catalogue: CatalogueFile = None,
) -> None:
    """Run the service: API, checks and page.

    Settings are TURNBACK_* variables; the options win over them.
    """
    if sys.stderr.isatty():
        warn("turnback: starting ...")
    from console.commands.serving import serve as run

    with reported(as_json=False):
        run(
            host=host,
            port=port,
            data=data,
            specs=specs,
            retain=retain,
            catalogue=catalogue,
        )


@app.command(
    epilog=example(
        "turnback validate examples/three-step-cancel.yaml",
        "turnback validate specs/ --explain",
        "turnback validate specs/ --live",
        "turnback validate specs/ --catalogue our-kpis.yaml",
    )
)
def validate(
    *,
    specs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH", help="Spec files, or folders of them."),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what every key and default means.")
    ] = False,
    live: Annotated[
        bool,
        typer.Option("--live", help="Ask the service too: is all there, would it be applied?"),
    ] = False,
    catalogue: CatalogueFile = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Check spec files; every problem with its line.

    All problems of all files are told at once, and what the files may not say together. A
    catalogue file is checked with them, or alone.
    """
    from console.commands.specs import validate as run

    with reported(as_json=as_json), client_of(url, key) if live else nullcontext() as client:
        good = run(specs or [], explain=explain, live=client, catalogue=catalogue, as_json=as_json)
    if not good:
        raise typer.Exit(ExitCode.PROBLEM)


@app.command(
    epilog=example(
        "turnback kpis",
        "turnback kpis refund_hours",
        "turnback kpis --catalogue our-kpis.yaml",
        "turnback kpis --live",
    )
)
def kpis(
    *,
    kpi: Annotated[str | None, typer.Argument(metavar="KPI", help="One KPI in full.")] = None,
    full: Annotated[
        bool, typer.Option("--full", help="All of them with their events and formulas.")
    ] = False,
    catalogue: CatalogueFile = None,
    live: Annotated[
        bool,
        typer.Option("--live", help="Ask the service: its catalogue, and the KPIs of its files."),
    ] = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """List every KPI, or one in full with its formula.

    Without a service it lists the built-in KPIs and those of a catalogue file.
    """
    from console.commands.kpis import run

    with reported(as_json=as_json), client_of(url, key) if live else nullcontext() as client:
        run(kpi, catalogue=catalogue, live=client, as_json=as_json, full=full)


@app.command(epilog=example("turnback schema > turnback.schema.json"))
def schema(
    *,
    catalogue: CatalogueFile = None,
    scenario: Annotated[
        bool, typer.Option("--scenario", help="Of scenario files instead.")
    ] = False,
) -> None:
    """Print the JSON Schema of spec files, for editors."""
    from console.commands.specs import schema as run

    with reported(as_json=True):
        run(catalogue, scenario=scenario)


@app.command(
    epilog=example(
        "turnback apply examples/three-step-cancel.yaml",
        "turnback apply specs/ --dry-run",
        "turnback apply specs/ --yes",
    )
)
def apply(
    *,
    specs: SpecPaths,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Apply without asking.")] = False,
    catalogue: CatalogueFile = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Start or update the experiments of spec files.

    Shows what would change, asks on a terminal, then applies. With one faulty file nothing is
    sent at all.
    """
    from console.commands.applying import run

    with reported(as_json=as_json), client_of(url, key) as client:
        good = run(
            specs,
            client=client,
            dry_run=dry_run,
            yes=yes,
            catalogue=catalogue,
            as_json=as_json,
        )
    if not good:
        raise typer.Exit(ExitCode.PROBLEM)


@app.command(
    epilog=example(
        "turnback plan examples/three-step-cancel.yaml --units-per-day 2000",
        "turnback plan SPEC --units-per-day 2000 --baseline satisfaction=4.2,sd=1,answering=30%",
        "turnback plan SPEC --measured three-step-cancel --chart plan.png",
    )
)
def plan(
    *,
    spec: SpecPath,
    units_per_day: UnitsPerDay = None,
    baseline: Baselines = None,
    measured: Measured = None,
    chart: Annotated[
        Path | None, typer.Option(help="Write a picture: *.png, *.svg or *.html.")
    ] = None,
    seed: Annotated[
        int, typer.Option(parser=whole(0), metavar="N", help="Same seed, same plan.")
    ] = 1,
    paths: Annotated[
        int,
        typer.Option(
            parser=whole(100, 100_000),
            metavar="N",
            help="Simulated paths, 100 to 100000.",
        ),
    ] = 4000,
    catalogue: CatalogueFile = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Say before a run what harm it will find, and when.

    Numbers that nobody gave or measured are assumed, and marked as such.
    """
    from console.commands.planning import run

    asks = measured is not None
    with reported(as_json=as_json), client_of(url, key) if asks else nullcontext() as client:
        run(
            spec,
            units_per_day=units_per_day,
            baselines=baseline or (),
            measured=measured,
            client=client,
            seed=seed,
            paths=paths,
            chart=chart,
            catalogue=catalogue,
            as_json=as_json,
        )


simulating.add_to(app)
running.add_to(app)
eventing.add_to(app)
storing.add_to(app)
channels.add_to(app)
diagnosing.add_to(app)
reporting.add_to(app)


@importers.command(
    "online-retail",
    epilog=example("turnback import online-retail data/ --out orders.parquet"),
)
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


scenarios.add_to(app)
copies.add_to(app)
keying.add_to(app)


if __name__ == "__main__":
    main()
