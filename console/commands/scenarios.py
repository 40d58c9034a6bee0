"""``scenario``: timelines played through the engine, and what was not as expected."""

import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from console.output import CommandError, ExitCode, print_json, say
from experiments.errors import Problem, SpecError
from guardrails.scenarios import Scenario, ScenarioResult, load_scenario_file, play
from guardrails.words import duration

_SUFFIXES = frozenset({".yaml", ".yml"})


def run(paths: Sequence[Path], *, story: bool, as_json: bool) -> None:
    """Play scenario files and print what was not as expected, or one object.

    Raises:
        CommandError: There is no such file, or no scenario in a folder.
        SpecError: Files have problems; nothing is played.
        typer.Exit: An expectation failed.
    """
    scenarios = _loaded(_files(paths))
    results = [_played(scenario, quiet=as_json) for scenario in scenarios]
    failed = sum(not result.passed for result in results)
    if as_json:
        print_json({"passed": len(results) - failed, "failed": failed, "scenarios": results})
    else:
        for result in results:
            _tell(result, story=story)
        say(_sum(results, failed))
    if failed:
        raise typer.Exit(ExitCode.PROBLEM)


def _files(paths: Sequence[Path]) -> list[Path]:
    found: dict[Path, Path] = {}
    for path in paths:
        inside = (
            sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES) if path.is_dir() else [path]
        )
        if not inside:
            raise CommandError(
                f"there is no scenario in {path}",
                hint="scenarios are files named *.yaml or *.yml",
                code="no_scenario",
            )
        for file in inside:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _loaded(files: Sequence[Path]) -> list[Scenario]:
    """Return all scenarios; the problems of all files are told at once."""
    scenarios: list[Scenario] = []
    problems: list[Problem] = []
    for file in files:
        try:
            scenarios.append(load_scenario_file(file))
        except SpecError as error:
            problems += error.problems
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
            raise CommandError(
                f"{file} cannot be read: {reason}", hint="give a scenario file", code="no_scenario"
            ) from None
    if problems:
        raise SpecError(problems)
    return scenarios


def _played(scenario: Scenario, *, quiet: bool) -> ScenarioResult:
    screen = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30))
    with Bar(
        *columns, console=screen, transient=True, disable=quiet or not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task(scenario.title[:60], total=scenario.lasts / timedelta(hours=1))

        def progress(now: timedelta, _end: timedelta) -> None:
            bar.update(task, completed=now / timedelta(hours=1))

        return play(scenario, progress=progress)


def _tell(result: ScenarioResult, *, story: bool) -> None:
    say(f"{_verdict(result)}  {result.title}")
    if story:
        for line in result.story:
            say(f"        {line}")
    if result.passed and result.not_yet is None:
        return
    if not result.failures:
        say(f"    {result.file}: everything is as expected; remove `not_yet` ({result.not_yet})")
    for failure in result.failures:
        say(
            f"    {failure.where}: {failure.what} after {duration(failure.after)}: "
            f"expected {failure.expected}; was: {failure.was}"
        )


def _verdict(result: ScenarioResult) -> str:
    if not result.passed:
        return "FAILED "
    return "ok     " if result.not_yet is None else "not yet"


def _sum(results: Sequence[ScenarioResult], failed: int) -> str:
    counts: dict[str, Any] = {
        "simulated": duration(sum((r.simulated for r in results), timedelta(0))),
        "checks": sum(r.checks for r in results),
        "decisions": sum(r.replayed for r in results),
    }
    return (
        f"{len(results) - failed} of {len(results)} scenarios as expected: {counts['simulated']} "
        f"simulated, {counts['checks']:,} checks, {counts['decisions']:,} decisions replayed"
    )
