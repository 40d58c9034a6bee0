"""``simulate``: what the judge does about no harm and about harm, in many drawn runs."""

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from console.client import ServiceClient
from console.commands.planning import measured_numbers, traffic_of
from console.commands.simulated import show_grid, show_simulation
from console.commands.specs import catalogue_and_warnings, read_text
from console.output import CommandError, ExitCode, print_json, warn
from experiments.language.amounts import parse_duration
from guardrails.planning.baselines import Baselines, parse_baselines
from guardrails.planning.calendar import Traffic
from guardrails.simulation.design import Design, Setup, Wanted, parse_harm, setup_of
from guardrails.simulation.figures import simulation_of, usual_repetitions
from guardrails.simulation.grid import Vary, designs, parse_vary, read_grid
from guardrails.simulation.runs import Progress, Runs, many_runs
from guardrails.simulation.values import Simulation
from guardrails.spec_file import SpecFile, load_spec

INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says, as it was written.

    Attributes:
        units_per_day: Of the audience, ``None`` where nobody says it.
        baselines: ``--baseline``.
        measured: Key of an experiment that is measured.
        harms: ``--harm``.
        onset: ``--onset``, ``None`` for harm from the start.
        guardrails: ``--guardrail``.
        vary: ``--vary``.
        grid: File of settings.
        repetitions: ``None`` for as many as take about half a minute.
        seed: Of everything random.
        processes: ``None`` for one per core.
        every_check: Whether no check is left out.
    """

    units_per_day: float | None
    baselines: Sequence[str]
    measured: str | None
    harms: Sequence[str]
    onset: str | None
    guardrails: Sequence[str]
    vary: Sequence[str]
    grid: Path | None
    repetitions: int | None
    seed: int
    processes: int | None
    every_check: bool


def run(
    path: Path,
    options: Options,
    *,
    client: ServiceClient | None,
    as_json: bool,
    catalogue: Path | None = None,
) -> None:
    """Simulate a spec file, or a grid of settings of it, and print what was found.

    Raises:
        CommandError: Nobody says how many units come, or nothing can be simulated.
        SimulationError: An option makes no sense.
        BaselineError: A baseline makes no sense.
        SpecError: The file has problems.
        typer.Exit: Somebody interrupted; what was finished is printed before.
    """
    known = catalogue_and_warnings(catalogue)[0]
    spec = load_spec(read_text(path), source=str(path), catalogue=known)
    vary, where = _vary(options)
    traffic, baselines = _traffic(options, client, vary, spec)
    wanted = _wanted(options)
    setups = [
        setup_of(one, baselines, wanted)
        for one in designs(Design(spec, traffic), vary, where=where)
    ]
    _some(setups)
    repetitions = options.repetitions or usual_repetitions(setups)
    runs = _simulated(setups, repetitions, options)
    found = _found(setups, runs, options.seed, repetitions)
    if as_json:
        print_json(_body(found, vary, interrupted=runs.interrupted))
    elif vary:
        show_grid(found, wanted, tuple(vary))
    else:
        show_simulation(found[0], spec)
    if runs.interrupted:
        finished = min(one.finished for one in found)
        warn(f"interrupted: these are the first {finished:,} of {repetitions:,} runs of each")
        raise typer.Exit(INTERRUPTED)


def _vary(options: Options) -> tuple[Vary, str]:
    if options.grid is None:
        return parse_vary(options.vary), "--vary"
    if options.vary:
        raise CommandError(
            "--grid and --vary together say two grids",
            hint="write all settings into the file, or all behind --vary",
            code="usage",
            exit_code=ExitCode.USAGE,
        )
    text = read_text(options.grid)
    return read_grid(text, source=str(options.grid)), str(options.grid)


def _traffic(
    options: Options, client: ServiceClient | None, vary: Vary, spec: SpecFile
) -> tuple[Traffic, tuple[Baselines, Baselines]]:
    given = parse_baselines(options.baselines, spec.kpis)
    key = options.measured
    rate, known = (None, {}) if key is None else measured_numbers(key, client)
    if options.units_per_day is None and rate is None and "units_per_day" in vary:
        return Traffic(1.0), (given, known)  # every combination says its own
    return traffic_of(options.units_per_day, rate, key), (given, known)


def _wanted(options: Options) -> Wanted:
    onset = timedelta(0)
    if options.onset is not None:
        read = parse_duration(options.onset)
        if read is None:
            raise CommandError(
                f"--onset: {options.onset!r} is no length of time",
                hint="write it like 72h, 3d or 1d12h",
                code="usage",
                exit_code=ExitCode.USAGE,
            )
        onset = read
    return Wanted(
        harms=tuple(dict.fromkeys(parse_harm(text) for text in options.harms)),
        onset=onset,
        guardrails=tuple(options.guardrails),
        every_check=options.every_check,
    )


def _some(setups: Sequence[Setup]) -> None:
    if any(setup.scenarios() for setup in setups):
        return
    unknown = [f"{c.guardrail.id}: {c.unknown}" for c in setups[0].cases if c.unknown]
    raise CommandError(
        "nothing can be simulated" + (f": {'; '.join(unknown)}" if unknown else ""),
        hint="" if unknown else "no guardrail turns a treatment back; --guardrail ID asks for one",
        code="nothing_to_simulate",
    )


def _simulated(setups: Sequence[Setup], repetitions: int, options: Options) -> Runs:
    scenarios = [one for setup in setups for one in setup.scenarios()]
    processes = options.processes or _cores()
    with _progress(len(scenarios) * repetitions) as told:
        return many_runs(
            scenarios, repetitions, seed=options.seed, processes=processes, progress=told
        )


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _progress(runs: int) -> Generator[Progress | None]:
    """Show on stderr, where it is a terminal, how many runs are finished."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("runs", total=runs)
        yield lambda finished: bar.update(task, completed=finished)


def _found(
    setups: Sequence[Setup], runs: Runs, seed: int, repetitions: int
) -> tuple[Simulation, ...]:
    """Return what was found of each combination: the runs are those of all, in their order."""
    found: list[Simulation] = []
    first = 0
    for setup in setups:
        stop = first + len(setup.scenarios())
        own = Runs(runs.outcomes[first:stop], runs.interrupted)
        found.append(simulation_of(setup, own, seed=seed, repetitions=repetitions))
        first = stop
    return tuple(found)


def _body(found: Sequence[Simulation], vary: Vary, *, interrupted: bool) -> dict[str, Any]:
    head = {"version": _version(), "interrupted": interrupted}
    if vary:
        one = found[0]
        return {
            **head,
            "experiment": one.experiment,
            "seed": one.seed,
            "repetitions": one.repetitions,
            "vary": vary,
            "grid": found,
        }
    return {**head, **{f.name: getattr(found[0], f.name) for f in fields(found[0])}}


def _version() -> str | None:
    try:
        return version("turnback")
    except PackageNotFoundError:  # pragma: no cover - run from a folder of files
        return None
