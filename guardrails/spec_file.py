"""The whole spec file: experiment, guardrails and KPIs, validated together.

``validate``, ``apply`` and ``schema`` call only this module.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final

from experiments.errors import Problem, Severity, SpecError
from experiments.language.reading import Place, Record, Refusal, Report, read_record
from experiments.language.source import Node, parse_yaml
from experiments.language.spec_reading import build_experiment, check_experiment
from experiments.spec import ExperimentSpec
from guardrails.language.kpis import KpiBook, kpi_book
from guardrails.language.sets import Chosen
from guardrails.language.spec_keys import SPEC_KEYS
from guardrails.language.spec_rules import (
    Acknowledgements,
    ServerNames,
    check_auto_ship,
    check_kpis,
    check_protection,
    check_server,
    named_kpis,
    read_guardrails,
)
from guardrails.language.spec_schema import json_schema
from guardrails.rules import Guardrail
from guardrails.rules.failures import Policies, policies_of
from metrics.catalogue import Catalogue, KpiDefinition, load_catalogue

__all__ = [
    "Problem",
    "ServerNames",
    "Severity",
    "SpecError",
    "SpecFile",
    "json_schema",
    "load_spec",
    "load_spec_file",
]

_BYTE_ORDER_MARK: Final = "\ufeff"


@dataclass(frozen=True, slots=True)
class SpecFile:
    """A spec file without errors.

    Attributes:
        experiment: What is tried.
        guardrails: When to turn back, in the order of the file.
        kpis: Every KPI the file names (goal, guardrails, watched) or defines, by key.
        text: The file as it was read.
        sha256: Of the text's UTF-8 bytes, hexadecimal.
        warnings: What is accepted but should be known, in the order of the file.
        sets: Names of the sets that guardrails come from, by the guardrails' ids; those that
            the file writes itself are not in it.
        own: Keys of the KPIs that the file defines; the others are of the catalogue.
        policies: What follows from failures, by the guardrails' ids.
        default_policies: The same for what the file does not name: what is watched unasked.
    """

    experiment: ExperimentSpec
    guardrails: tuple[Guardrail, ...]
    kpis: Mapping[str, KpiDefinition]
    text: str
    sha256: str
    warnings: tuple[Problem, ...] = ()
    sets: Mapping[str, str] = field(default_factory=dict[str, str])
    own: frozenset[str] = frozenset()
    policies: Mapping[str, Policies] = field(default_factory=dict[str, Policies])
    default_policies: Policies = field(default_factory=Policies)


def load_spec(
    text: str,
    *,
    source: str = "<text>",
    catalogue: Catalogue | None = None,
    server: ServerNames | None = None,
) -> SpecFile:
    """Read a spec file.

    Args:
        text: YAML.
        source: Name of the file, for problems.
        catalogue: KPIs that can be named beside the file's own; the built-in ones by default.
        server: What the service has: with it, a channel or named query it has not is a problem.

    Raises:
        SpecError: The file has problems; it holds all of them.
    """
    text = text.removeprefix(_BYTE_ORDER_MARK)
    node, problems = parse_yaml(text, file=source)
    report = Report(source, problems)
    record = _top(node, report) if node is not None else None
    if record is None:
        raise SpecError(_in_order(report.problems))
    kpis = kpi_book(record, catalogue if catalogue is not None else load_catalogue())
    chosen = _check(record, kpis)
    guardrails = tuple(c.guardrail for c in chosen if c.guardrail is not None)
    if server is not None:
        check_server(record, server)
    if report.failed:
        raise SpecError(_in_order(report.problems))
    experiment = _observed(build_experiment(record), guardrails, kpis)
    return SpecFile(
        experiment=experiment,
        guardrails=guardrails,
        kpis=named_kpis(record, kpis, guardrails),
        text=text,
        sha256=sha256(text.encode()).hexdigest(),
        warnings=_in_order(report.problems),
        sets={c.guardrail.id: c.of.name for c in chosen if c.guardrail and c.of},
        own=frozenset(kpis.own),
        policies={c.guardrail.id: policies_of(record, c.entry) for c in chosen if c.guardrail},
        default_policies=policies_of(record),
    )


def load_spec_file(
    path: str | Path, *, catalogue: Catalogue | None = None, server: ServerNames | None = None
) -> SpecFile:
    """Read a spec file from disk, as ``load_spec``; problems name the path as it was given.

    Raises:
        SpecError: The file cannot be read or has problems.
    """
    try:
        text = Path(path).read_bytes().decode()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpecError([Problem(str(path), 1, 1, "", f"cannot be read: {reason}")]) from error
    except UnicodeDecodeError as error:
        read = error.object[: error.start]
        line = read.count(b"\n") + 1
        column = len(read) - (read.rfind(b"\n") + 1) + 1
        problem = Problem(
            str(path), line, column, "", "this is not UTF-8 text", "save the file as UTF-8"
        )
        raise SpecError([problem]) from error
    return load_spec(text, source=str(path), catalogue=catalogue, server=server)


def _top(node: Node, report: Report) -> Record | None:
    try:
        return read_record(node, Place(report), SPEC_KEYS, later={}, what="the file")
    except Refusal as refusal:
        report.add(node.at, "", refusal.message, refusal.hint)
        return None


def _check(record: Record, kpis: KpiBook) -> tuple[Chosen, ...]:
    acknowledgements = Acknowledgements(record)
    check_experiment(record)
    chosen = read_guardrails(record, kpis)
    guardrails = [c.guardrail for c in chosen if c.guardrail is not None]
    check_protection(record, guardrails, acknowledgements)
    check_auto_ship(record, guardrails)
    check_kpis(record, kpis, acknowledgements)
    acknowledgements.tell_needless()
    return chosen


def _observed(
    spec: ExperimentSpec, guardrails: Iterable[Guardrail], kpis: KpiBook
) -> ExperimentSpec:
    """Fill in ``observe_for``: until the longest window of guardrails and goal has closed."""
    if spec.ends.observe_for is not None:
        return spec
    windows = [window for guardrail in guardrails for window in guardrail.windows]
    if spec.goal is not None:
        goal = kpis.own.get(spec.goal.kpi) or kpis.catalogue.get(spec.goal.kpi)
        windows += goal.windows
    longest = max((window.length for window in windows), default=timedelta(0))
    return replace(spec, ends=replace(spec.ends, observe_for=longest + spec.lag))


def _in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return problems in the order of the file, each once."""
    ordered = sorted(problems, key=lambda problem: (problem.line, problem.column))
    return tuple(dict.fromkeys(ordered))
