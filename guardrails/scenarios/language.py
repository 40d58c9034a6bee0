"""Reading scenario files: every problem at its line and column, with what to do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from experiments.errors import Problem, SpecError
from experiments.language.one_line import in_one_line
from experiments.language.reading import (
    Item,
    Place,
    Record,
    Refusal,
    Report,
    given,
    near,
    read_record,
    record_schema,
)
from experiments.language.source import MappingNode, Node, ScalarNode, parse_yaml
from guardrails.scenarios.acts import changed_text
from guardrails.scenarios.keys import ACT_KEYS, EXPECT_KEYS, SCENARIO_KEYS
from guardrails.scenarios.people import RECIPES, People
from guardrails.scenarios.values import (
    START,
    Act,
    Effect,
    Expectation,
    Lost,
    Scenario,
    Sent,
    Service,
    Step,
    Turned,
)
from guardrails.spec_file import SpecFile, load_spec

_LONGEST = timedelta(days=120)
_ACTS = tuple(key.name for key in ACT_KEYS)
_EXPECTS = tuple(key.name for key in EXPECT_KEYS)


def scenario_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a scenario file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Turnback scenario",
        "description": "A timeline that is played through the engine, and what must be so.",
        **record_schema(SCENARIO_KEYS),
    }


def load_scenario_file(path: Path) -> Scenario:
    """Read a scenario file.

    Raises:
        SpecError: It has problems; all of them, with their places.
        OSError: It cannot be read.
    """
    return load_scenario(path.read_text(encoding="utf-8"), file=str(path), folder=path.parent)


def load_scenario(text: str, *, file: str = "<text>", folder: Path | None = None) -> Scenario:
    """Read a scenario.

    Args:
        text: The file.
        file: Its name, for problems.
        folder: Where ``spec: FILE`` is looked for; the current folder by default.

    Raises:
        SpecError: It has problems; all of them, with their places.
    """
    report = Report(file)
    root, problems = parse_yaml(text, file=file)
    report.problems += problems
    found = _Reader(text, report, folder or Path()).scenario(root) if root is not None else None
    if report.failed or found is None:
        raise SpecError(sorted(report.problems, key=lambda p: (p.line, p.column)))
    return found


class _Reader:
    """Reads one file."""

    def __init__(self, text: str, report: Report, folder: Path) -> None:
        self.text = text
        self.report = report
        self.folder = folder

    def scenario(self, root: Node) -> Scenario | None:
        place = Place(self.report)
        try:
            record = read_record(root, place, SCENARIO_KEYS, later={}, what="a scenario")
        except Refusal as refusal:
            place.problem(root.at, refusal.message, refusal.hint)
            return None
        spec = self._spec(record, "spec", record.get("spec"), record.get("change", {}))
        beside = [self._spec(record, "beside", node, {}) for node in record.get("beside", ())]
        if spec is None or None in beside:
            return None
        steps = tuple(self._steps(record))
        scenario = Scenario(
            file=self.report.file,
            title=record.get("scenario", ""),
            about=record.get("about", ""),
            spec=spec,
            beside=tuple(each for each in beside if each is not None),
            seed=record.get("seed", 1),
            starts=record.get("starts", START),
            traffic=record.get("traffic", 100.0),
            attributes=_shares(record.get("attributes", {})),
            people=record.get("people", {}),
            effects=tuple(_effects(record)),
            queries={n: w == "per variant" for n, w in record.get("queries", {}).items()},
            service=_service(record.get("service")),
            timeline=steps,
            lasts=self._lasts(record, steps),
            expects=tuple(_named(record.get("expect"), Expectation, _EXPECTS)),
            not_yet=record.get("not_yet"),
            heavy=record.get("heavy", False),
        )
        self._check(record, scenario)
        return scenario

    def _spec(
        self, record: Record, key: str, node: Node | None, changes: Mapping[str, Any]
    ) -> SpecFile | None:
        """Return an experiment; its problems are told at their own lines."""
        if node is None:
            return None
        place, file, shift = record.place.key(key), self.report.file, -1
        if isinstance(node, ScalarNode):
            path = self.folder / node.text
            try:
                text, file = path.read_text(encoding="utf-8"), str(path)
            except (OSError, UnicodeDecodeError):
                place.problem(
                    node.at, f"there is no file {path}", "name it from this file's folder"
                )
                return None
        elif isinstance(node, MappingNode) and node.at.line > record.node.at.line:
            text, shift = _cut(self.text, node, record.node), node.at.column - 1
        else:
            place.problem(node.at, f"must be an experiment, {given(node)}", "or name a file")
            return None
        try:
            spec = load_spec(text, source=file)
            return load_spec(changed_text(text, changes), source=file) if changes else spec
        except SpecError as error:
            told = error.problems if shift < 0 else [_moved(p, key, shift) for p in error.problems]
            self.report.problems += told
            return None

    def _steps(self, record: Record) -> Iterator[Step]:
        items: Sequence[Item] = record.get("timeline", ())
        for item in items:
            step: Record = item.value
            acts = tuple(_named(step, Act, _ACTS))
            if not acts and step.written("refused"):
                step.problem("refused", "nothing is done here", "say what is refused beside it")
            yield Step(
                at=step.get("at", timedelta(0)),
                acts=acts,
                refused=step.get("refused"),
                expects=tuple(_named(step.get("expect"), Expectation, _EXPECTS)),
                mark=item.at,
            )
        for before, after in pairwise(items):
            if before.value.get("at", timedelta(0)) > after.value.get("at", _LONGEST):
                after.value.problem("at", "is earlier than the step above", "put it in order")

    def _lasts(self, record: Record, steps: Sequence[Step]) -> timedelta:
        last = max((step.at for step in steps), default=timedelta(0))
        lasts = record.get("lasts", last)
        if lasts < last:
            record.problem("lasts", "the timeline goes on after that", "or remove the later steps")
        elif not timedelta(0) < lasts <= _LONGEST:
            record.problem(
                "lasts", f"a scenario lasts at most {_LONGEST.days}d and not no time", "say 5d"
            )
        return lasts

    def _check(self, record: Record, scenario: Scenario) -> None:
        """Tell names that the spec file does not know, and what cannot be planted."""
        arms = [variant.name for variant in scenario.spec.experiment.variants]
        rails = [guardrail.id for guardrail in scenario.spec.guardrails]
        for item in record.get("effects", ()):
            _known(item.value, "of", item.value.get("of", ()), arms, "variant")
            where = list(item.value.get("where", ()))
            _known(item.value, "where", where, list(scenario.attributes), "attribute")
        beside = [spec.experiment.key for spec in scenario.beside]
        for step in (*(i.value for i in record.get("timeline", ())), record):
            _check_acts(step, arms, list(scenario.queries))
            if (expected := step.get("expect")) is not None:
                _check_expected(expected, arms, rails)
                _known(expected, "shared", list(expected.get("shared", ())), beside, "experiment")
        _check_planted(record, scenario)


def _check_planted(record: Record, scenario: Scenario) -> None:
    """Tell effects and behaviours that make no sense."""
    people = People(scenario.seed, {}, scenario.people, scenario.effects)
    for index, item in enumerate(record.get("effects", ())):
        effect = scenario.effects[index]
        for arm in sorted(effect.of):
            try:
                people.ways(arm, effect.since, effect.where)
            except ValueError as error:
                item.place.problem(item.at, str(error))
    try:
        people.ways("", timedelta(0), {})
    except ValueError as error:
        record.problem("people", str(error))


def _check_acts(step: Record, arms: Sequence[str], queries: Sequence[str]) -> None:
    for name in ("roll_back", "resume"):
        if (by_hand := step.get(name)) is not None:
            _known(step, name, [by_hand["variant"]], arms, "variant")
    lost: Lost = step.get("lose", Lost())
    _known(step, "lose", [lost.of] if lost.of is not None else [], arms, "variant")
    sent: Sent | None = step.get("send")
    _known(step, "send", [sent.units] if sent is not None else [], [*arms, "new"], "variant")
    _known(step, "prometheus", list(step.get("prometheus", ())), queries, "query")


def _check_expected(expected: Record, arms: Sequence[str], rails: Sequence[str]) -> None:
    _known(expected, "live", expected.get("live", ()), arms, "variant")
    turned: Sequence[Turned] = expected.get("rolled_back", ())
    _known(expected, "rolled_back", [t.variant for t in turned], arms, "variant")
    named = [t.by for t in turned if t.by is not None]
    _known(expected, "rolled_back", named, [*rails, "person"], "guardrail")
    about = [told.about for told in expected.get("told", ()) if told.about is not None]
    _known(expected, "told", about, arms, "variant")
    for name in ("units", "attempt", "served", "verified"):
        _known(expected, name, list(expected.get(name, ())), arms, "variant")
    for name in ("outcomes", "blind"):
        for written in expected.get(name, ()):
            guardrail, _, arm = written.partition(" of ")
            _known(expected, name, [guardrail], rails, "guardrail")
            _known(expected, name, [arm] if arm else [], arms, "variant")


def _known(record: Record, key: str, names: Sequence[str], known: Sequence[str], what: str) -> None:
    for name in names:
        if name not in known:
            hint = near(name, known, otherwise="there are")
            record.problem(key, f"there is no {what} `{name}`", hint)


def _named(record: Record | None, make: type[Any], names: Sequence[str]) -> Iterator[Any]:
    """Yield what a record says under some keys, in the order of the file."""
    if record is None:
        return
    for entry in record.node.entries:
        if entry.key in names and record.has(entry.key):
            told = (in_one_line(entry.value),) if make is Act else ()
            yield make(entry.key, record.get(entry.key), entry.at, *told)


def _effects(record: Record) -> Iterator[Effect]:
    for item in record.get("effects", ()):
        told: Record = item.value
        yield Effect(
            of=frozenset(told.get("of", ())),
            since=told.get("from", timedelta(0)),
            until=told.get("until"),
            where=told.get("where", {}),
            behaviour={kpi: told.get(kpi) for kpi in RECIPES if told.has(kpi)},
        )


def _shares(attributes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    return {
        name: {value: amount.share for value, amount in shares.items()}
        for name, shares in attributes.items()
    }


def _service(record: Record | None) -> Service:
    if record is None:
        return Service()
    plain = Service()
    holdout = record.get("holdout")
    return Service(
        suspended=record.get("suspended", plain.suspended),
        holdout=holdout.share if holdout is not None else plain.holdout,
        grace=record.get("grace", plain.grace),
    )


def _moved(problem: Problem, key: str, shift: int) -> Problem:
    """Return a problem of an experiment within the file as a problem of the file."""
    path = f"{key}.{problem.path}" if problem.path else key
    return replace(problem, path=path, column=problem.column + shift)


def _cut(text: str, node: MappingNode, root: MappingNode) -> str:
    """Return the lines of a mapping in the file as a file of its own, at the same line numbers."""
    lines = text.splitlines()
    last = min(
        (e.at.line for e in root.entries if e.at.line > node.at.line), default=len(lines) + 1
    )
    indent = node.at.column - 1
    body = [line[indent:] for line in lines[node.at.line - 1 : last - 1]]
    return "\n" * (node.at.line - 1) + "\n".join(body) + "\n"
