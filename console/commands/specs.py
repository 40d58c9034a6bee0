"""``validate`` and ``schema``: spec files before they reach a running service."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from console.client import ServiceClient
from console.output import CommandError, ExitCode, print_json, say, warn
from console.tables import columns
from experiments.errors import Problem, Severity, SpecError
from guardrails.catalogue_reading import read_catalogue_file
from guardrails.language.spec_explain import WIDTH, explained, explanation_lines
from guardrails.problems import and_more, told
from guardrails.scenarios import scenario_schema
from guardrails.spec_file import SpecFile, json_schema, load_spec
from guardrails.spec_paths import NotRegularError, name_of, read_spec, spec_paths, spec_text
from guardrails.spec_set import check_together
from metrics.catalogue import Catalogue, load_catalogue

_HANDED_OVER = frozenset({("/", "dev"), ("/", "proc")})
"""Where a shell's pipes are: ``/dev/stdin``, ``/dev/fd/63``."""

_REGULAR = "give a file; to read a pipe, give /dev/stdin"


@dataclass(frozen=True, slots=True)
class Checked:
    """One file: its text, what it says, and its problems (warnings included).

    ``kpis`` is how many there are with a catalogue file, 0 of any other.
    """

    file: str
    text: str
    spec: SpecFile | None
    problems: tuple[Problem, ...]
    kpis: int = 0

    @property
    def good(self) -> bool:
        """Whether it has no error."""
        return all(problem.severity is not Severity.ERROR for problem in self.problems)


def validate(
    paths: Sequence[Path],
    *,
    explain: bool,
    live: ServiceClient | None,
    as_json: bool,
    catalogue: Path | None = None,
) -> bool:
    """Check files and print every problem of all of them; return whether all are good.

    Args:
        paths: Files, or folders of files.
        explain: Say what every key and default of the good ones means.
        live: Asked what applying the files would do, where given.
        as_json: Print one JSON object instead of words.
        catalogue: File with more KPIs than the built-in ones; checked too.

    Raises:
        CommandError: A path does not exist or holds no spec file, or nothing is to be checked.
        SpecError: The catalogue file has problems.
    """
    if not paths and catalogue is None:
        raise CommandError(
            "there is nothing to check",
            hint="give spec files or folders of them, or --catalogue FILE",
            code="usage",
            exit_code=ExitCode.USAGE,
        )
    known, warnings = catalogue_and_warnings(catalogue)
    files = check_files(paths, known)
    if catalogue is not None:
        files = [Checked(name_of(catalogue), "", None, warnings, len(known)), *files]
    if live is None:
        _report(files, explain=explain, as_json=as_json)
        return all(file.good for file in files)
    try:
        asked = _asked(files, live)
    except CommandError as error:
        _report(files, explain=explain, as_json=False, quiet=as_json)
        raise CommandError(
            f"{error.message}; the files were checked without it",
            hint=f"{error.hint}; without --live no service is asked",
            code=error.code,
            exit_code=error.exit_code,
        ) from error
    _report(asked, explain=explain, as_json=as_json, here=f", also for {live.url}")
    return all(file.good for file in asked)


def catalogue_and_warnings(path: Path | None) -> tuple[Catalogue, tuple[Problem, ...]]:
    """Return the KPIs that files may name, and what is doubtful in the catalogue file.

    Raises:
        SpecError: The file has problems.
    """
    return (load_catalogue(), ()) if path is None else read_catalogue_file(path)


def check_files(paths: Sequence[Path], catalogue: Catalogue | None = None) -> list[Checked]:
    """Read and check files, each alone and all together.

    Args:
        paths: Files, or folders of files.
        catalogue: KPIs they may name; the built-in ones by default.

    Raises:
        CommandError: A path does not exist, or holds no spec file.
    """
    files = [_checked(path, catalogue) for path in _files(paths)]
    together = check_together({f.file: f.spec for f in files if f.spec is not None})
    return [
        Checked(f.file, f.text, f.spec, (*f.problems, *(p for p in together if p.file == f.file)))
        for f in files
    ]


def _files(paths: Sequence[Path]) -> list[Path]:
    """Return every spec file of files and folders, each once."""
    found: dict[Path, Path] = {}
    for path in paths:
        for file in _in_folder(path) if path.is_dir() else (path,):
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _in_folder(folder: Path) -> tuple[Path, ...]:
    files = spec_paths(folder)
    if not files:
        raise CommandError(
            f"{name_of(folder)}: there is no spec file in this folder",
            hint="spec files are named *.yaml or *.yml; hidden ones are left out",
            code="no_such_file",
            exit_code=ExitCode.USAGE,
        )
    return files


def read_text(path: Path) -> str:
    """Return the text of a spec file.

    Raises:
        CommandError: There is no such file, or it cannot be read.
        SpecError: It is no UTF-8 text, or too large.
    """
    name = name_of(path)
    try:
        text = spec_text(name, read_spec(path, pipes=path.parts[:2] in _HANDED_OVER))
    except NotRegularError as error:
        raise SpecError([Problem(name, 0, 0, "", str(error.strerror), _REGULAR)]) from error
    except FileNotFoundError as error:
        raise CommandError(
            f"{name}: no such file",
            hint="give the path of a spec file, for instance examples/three-step-cancel.yaml",
            code="no_such_file",
            exit_code=ExitCode.USAGE,
        ) from error
    except OSError as error:
        raise CommandError(
            f"{name}: cannot be read ({(error.strerror or str(error)).lower()})",
            hint="give a file that may be read",
            code="unreadable",
        ) from error
    if isinstance(text, Problem):
        raise SpecError([text])
    return text


def _checked(path: Path, catalogue: Catalogue | None) -> Checked:
    file, text = name_of(path), ""
    try:
        text = read_text(path)
        spec = load_spec(text, source=file, catalogue=catalogue)
    except SpecError as error:
        return Checked(file, text, None, error.problems)
    return Checked(file, text, spec, spec.warnings)


def rehearsed(files: Sequence[Checked], service: ServiceClient) -> list[dict[str, Any]]:
    """Ask the service what applying files one after another would do; it changes nothing.

    Returns:
        A ``RehearsedFile`` of the service's for each file, in their order.

    Raises:
        CommandError: Nobody answers, or the service refuses to.
    """
    texts = [{"source": file.file, "text": file.text} for file in files]
    answer = service.post("/api/v1/rehearse", json={"files": texts})
    return list(answer["files"])


def _asked(files: Sequence[Checked], service: ServiceClient) -> list[Checked]:
    """Add what the service finds beside the problems that are known."""
    good = [file for file in files if file.good and not file.kpis]
    found = {one["source"]: _problems(one) for one in rehearsed(good, service)}
    more = {f.file: [p for p in found.get(f.file, ()) if p not in f.problems] for f in files}
    return [replace(file, problems=(*file.problems, *more[file.file])) for file in files]


def _problems(one: dict[str, Any]) -> tuple[Problem, ...]:
    return msgspec.convert(one["problems"], tuple[Problem, ...])


def _report(
    files: Sequence[Checked], *, explain: bool, as_json: bool, quiet: bool = False, here: str = ""
) -> None:
    if as_json:
        results = [_result(file, explain=explain) for file in files]
        print_json({"ok": all(file.good for file in files), "files": results})
        return
    for file in files if not quiet else ():
        warn_problems(file.problems)
        if file.good and file.kpis:
            say(f"{file.file}: ok (a catalogue, {file.kpis} KPIs with the built-in ones)")
        if file.good and file.spec is not None:
            _say_good(file.file, file.spec, here)
            if explain:
                say("\n".join(["", *explanation_lines(file.spec, width=columns(WIDTH)), ""]))


def warn_problems(problems: Sequence[Problem]) -> None:
    """Print problems on stderr, one line each; of many the first."""
    for line in problem_lines(problems):
        warn(line)


def problem_lines(problems: Sequence[Problem]) -> list[str]:
    """Return problems in a line each; of many the first, and how many more."""
    first, left_out = told(problems)
    lines = [f"{p} (warning)" if p.severity is Severity.WARNING else str(p) for p in first]
    return [*lines, f"{first[0].file}: {and_more(left_out)}"] if left_out else lines


def _say_good(file: str, spec: SpecFile, here: str) -> None:
    count = len(spec.guardrails)
    plural = "s" if count != 1 else ""
    say(f"{file}: ok ({spec.experiment.key}, {count} guardrail{plural}{here})")


def _result(file: Checked, *, explain: bool) -> dict[str, Any]:
    first, left_out = told(file.problems)
    result: dict[str, Any] = {"file": file.file, "ok": file.good, "problems": first}
    if left_out:
        result["left_out"] = left_out
    if explain and file.good and file.spec is not None:
        result["explained"] = explained(file.spec)
    return result


def schema(catalogue: Path | None = None, *, scenario: bool = False) -> None:
    """Print the JSON Schema of a spec file, which offers the KPIs of a catalogue file too.

    Args:
        catalogue: The catalogue file.
        scenario: Print that of a scenario file instead.

    Raises:
        SpecError: The catalogue file has problems.
    """
    if scenario:
        print_json(scenario_schema())
        return
    print_json(json_schema(catalogue_and_warnings(catalogue)[0]))
