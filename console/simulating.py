"""The commands ``simulate`` and ``backtest``; ``console.cli`` puts them to the others."""

# ruff: noqa: PLC0415 - help is fast because work is imported when it is done

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from console.arguments import (
    Baselines,
    CatalogueFile,
    Json,
    Key,
    Measured,
    SpecPath,
    UnitsPerDay,
    Url,
    client_of,
    example,
)
from console.numbers import whole
from console.output import DEFAULT_URL, reported


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    lines = (
        "turnback simulate examples/three-step-cancel.yaml --units-per-day 4800",
        "turnback simulate SPEC --units-per-day 4800 --harm -5% --onset 72h",
        "turnback simulate SPEC --units-per-day 4800 --vary alpha=1%,5% --vary prove_past=0,0.5,1",
        "turnback simulate SPEC --measured three-step-cancel --grid grid.yaml --json",
    )
    app.command(epilog=example(*lines))(simulate)
    lines = (
        "turnback backtest examples/online-retail.yaml --events orders.parquet",
        'turnback backtest SPEC --events orders.parquet --plant "refund_hours*2.5@treatment"',
    )
    app.command(epilog=example(*lines))(backtest)


def simulate(
    *,
    spec: SpecPath,
    units_per_day: UnitsPerDay = None,
    baseline: Baselines = None,
    measured: Measured = None,
    harm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HARM",
            help="Harm to plant instead of parts of each margin: 5%, -5%, +2pp; repeatable.",
        ),
    ] = None,
    onset: Annotated[
        str | None, typer.Option(metavar="LENGTH", help="Harm begins this late: 72h.")
    ] = None,
    guardrail: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Harm this guardrail's KPI alone; repeatable."),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SETTING=VALUES", help="Compare settings: alpha=1%,5%,10%; repeatable."
        ),
    ] = None,
    grid: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The same in a YAML file: alpha: [1%, 5%].")
    ] = None,
    repetitions: Annotated[
        int | None,
        typer.Option(
            parser=whole(1, 1_000_000),
            metavar="N",
            help="Runs of each harm; as many as take half a minute unless given.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(parser=whole(0), metavar="N", help="Same seed, same numbers.")
    ] = 1,
    processes: Annotated[
        int | None,
        typer.Option(
            parser=whole(1, 1_024), metavar="N", help="Processes; one per core unless given."
        ),
    ] = None,
    every_check: Annotated[
        bool, typer.Option("--every-check", help="Simulate every check of the file; slow.")
    ] = False,
    catalogue: CatalogueFile = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Say how often a harmless treatment would be turned back, and how soon a harmful one.

    Whole runs are drawn and judged by the function that decides in production. Numbers that
    nobody gave or measured are assumed, and marked as such.
    """
    from console.commands.simulating import Options, run

    options = Options(
        units_per_day=units_per_day,
        baselines=baseline or (),
        measured=measured,
        harms=harm or (),
        onset=onset,
        guardrails=guardrail or (),
        vary=vary or (),
        grid=grid,
        repetitions=repetitions,
        seed=seed,
        processes=processes,
        every_check=every_check,
    )
    asks = measured is not None
    with reported(as_json=as_json), client_of(url, key) if asks else nullcontext() as client:
        run(spec, options, client=client, catalogue=catalogue, as_json=as_json)


def backtest(
    *,
    spec: SpecPath,
    events: Annotated[Path, typer.Option(help="Event file: *.parquet or *.jsonl.")],
    every: Annotated[str, typer.Option(help="Time between two looks: 1h, 1d.")] = "1d",
    seed: Annotated[
        int | None,
        typer.Option(parser=whole(0), metavar="N", help="Seed of the assignment hash."),
    ] = None,
    plant: Annotated[
        str | None, typer.Option(help='Plant an effect: "refund_hours*2.5@treatment".')
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Keep the two files of the run in this new folder.")
    ] = None,
    catalogue: CatalogueFile = None,
    as_json: Json = False,
) -> None:
    """Replay recorded events through checks and rollback."""
    from console.commands.backtesting import run

    with reported(as_json=as_json):
        run(
            spec,
            events,
            every=every,
            seed=seed,
            plant=plant,
            data=data,
            catalogue=catalogue,
            as_json=as_json,
        )
