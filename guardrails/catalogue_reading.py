"""A catalogue file: KPIs and events of one's own for every experiment of a service.

It has the keys of ``metrics/catalogue.yaml``, ``events`` and ``kpis``, and adds to the built-in
ones. It is checked like a spec file: every problem at once, at its place.
"""

import logging
from dataclasses import replace
from pathlib import Path

from experiments.errors import Problem, Severity, SpecError
from experiments.language.reading import Report
from experiments.language.source import MappingNode, parse_yaml, to_json
from guardrails.language.kpis import tell_at
from guardrails.spec_paths import NotRegularError, name_of, read_spec, spec_text
from metrics.catalogue import Catalogue, CatalogueError, load_catalogue
from metrics.catalogue_file import catalogue_of, doubts_of

logger = logging.getLogger("turnback.catalogue")

_REGULAR = "give a file, such as catalogue.yaml"


def read_catalogue(text: str, *, source: str) -> tuple[Catalogue, tuple[Problem, ...]]:
    """Return the built-in catalogue with what a file adds to it, and what is doubtful in that.

    Args:
        text: YAML.
        source: Name of the file, for problems.

    Raises:
        SpecError: The file has problems; it holds all of them.
    """
    node, problems = parse_yaml(text.removeprefix("\ufeff"), file=source)
    report = Report(source, [_for_a_catalogue(problem) for problem in problems])
    if node is not None and not isinstance(node, MappingNode):
        report.add(node.at, "", "the file must be keys and values", "begin with `kpis:`")
    if not isinstance(node, MappingNode) or report.failed:
        raise SpecError(_in_order(report))
    built_in = load_catalogue()
    try:
        catalogue = catalogue_of(to_json(node), onto=built_in)
    except CatalogueError as error:
        for each in error.every:
            tell_at(node, report, each, under="")
        raise SpecError(_in_order(report)) from None
    for kpi in catalogue:
        if kpi.key not in built_in:
            for doubt in doubts_of(kpi, catalogue.events, f"kpis.{kpi.key}"):
                tell_at(node, report, doubt, under="", severity=Severity.WARNING)
    if report.failed:
        raise SpecError(_in_order(report))
    return catalogue, _in_order(report)


def read_catalogue_file(path: Path) -> tuple[Catalogue, tuple[Problem, ...]]:
    """Read a catalogue file from disk, as ``read_catalogue``.

    Raises:
        SpecError: The file cannot be read or has problems.
    """
    name = name_of(path)
    try:
        text = spec_text(name, read_spec(path))
    except NotRegularError as error:
        raise SpecError([Problem(name, 0, 0, "", str(error.strerror), _REGULAR)]) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpecError([Problem(name, 0, 0, "", f"cannot be read: {reason}", _REGULAR)]) from error
    if isinstance(text, Problem):
        raise SpecError([text])
    return read_catalogue(text, source=name)


def service_catalogue(path: Path | None) -> Catalogue:
    """Return the KPIs that files may name in a service; what is doubtful in them is logged.

    Raises:
        SpecError: The catalogue file has problems.
    """
    if path is None:
        return load_catalogue()
    catalogue, warnings = read_catalogue_file(path)
    for problem in warnings:
        logger.warning("%s", problem)
    return catalogue


def _for_a_catalogue(problem: Problem) -> Problem:
    empty = problem.message == "the file is empty"
    return replace(problem, hint="start it with `kpis:`") if empty else problem


def _in_order(report: Report) -> tuple[Problem, ...]:
    ordered = sorted(report.problems, key=lambda problem: (problem.line, problem.column))
    return tuple(dict.fromkeys(ordered))
