"""``validate``, ``schema`` and ``apply``: spec files, before and into a running service."""

from pathlib import Path
from typing import Any

from console.client import ServiceClient
from console.output import CommandError, ExitCode, print_json, say, warn
from experiments.errors import Problem, SpecError
from guardrails.problems import and_more, told
from guardrails.spec_file import SpecFile, json_schema, load_spec


def read_text(path: Path) -> str:
    """Return the text of a spec file.

    Raises:
        CommandError: It cannot be read as UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CommandError(
            f"{path}: no such file",
            hint="give the path of a spec file, for instance examples/three-step-cancel.yaml",
            code="no_such_file",
            exit_code=ExitCode.USAGE,
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(
            f"{path}: cannot be read as text ({error})", code="unreadable"
        ) from error


def validate(paths: list[Path], *, as_json: bool) -> bool:
    """Check files and print every problem of all of them; return whether all are good."""
    results: list[dict[str, Any]] = []
    good = True
    for path in paths:
        text = read_text(path)
        try:
            spec = load_spec(text, source=str(path))
        except SpecError as error:
            good = False
            problems = error.problems
            if not as_json:
                _warn_problems(problems)
        else:
            problems = spec.warnings
            if not as_json:
                _say_good(path, spec)
        results.append(_result(path, problems))
    if as_json:
        print_json({"ok": good, "files": results})
    return good


def _warn_problems(problems: tuple[Problem, ...]) -> None:
    first, left_out = told(problems)
    for problem in first:
        warn(str(problem))
    if left_out:
        warn(f"{first[0].file}: {and_more(left_out)}")


def _say_good(path: Path, spec: SpecFile) -> None:
    for problem in spec.warnings:
        warn(f"{problem} (warning)")
    count = len(spec.guardrails)
    say(f"{path}: ok ({spec.experiment.key}, {count} guardrail{'s' if count != 1 else ''})")


def _result(path: Path, problems: tuple[Problem, ...]) -> dict[str, Any]:
    refused = any(problem.severity == "error" for problem in problems)
    first, left_out = told(problems)
    more = {"left_out": left_out} if left_out else {}
    return {"file": str(path), "ok": not refused, "problems": first, **more}


def schema() -> None:
    """Print the JSON Schema of a spec file."""
    print_json(json_schema())


def apply(path: Path, *, client: ServiceClient, as_json: bool) -> None:
    """Send one file to a running service and print what it did."""
    view = client.post("/api/v1/experiments", text=read_text(path), source=str(path))
    if as_json:
        print_json(view)
        return
    for warning in view["warnings"]:
        warn(f"{warning} (warning)")
    say(f"{view['key']}: {view['result']}, revision {view['revision']}")
    for words in view["words"]:
        say(f"  {words}")
