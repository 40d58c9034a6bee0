"""``apply``: spec files into a running service, after their differences were shown."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import typer

from console.client import ServiceClient
from console.commands.specs import (
    Checked,
    catalogue_and_warnings,
    check_files,
    problem_lines,
    rehearsed,
)
from console.output import CommandError, ExitCode, print_json, say, warn
from experiments.errors import Problem, Severity
from guardrails.links import experiment_path
from guardrails.problems import and_more


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service says of one file: ``view`` is an ``ApplyView``, or it refuses."""

    file: Checked
    view: dict[str, Any] | None = None
    refusal: CommandError | None = None

    @property
    def changes(self) -> bool:
        """Whether applying it does something."""
        return self.view is not None and self.view["result"] != "unchanged"


def run(
    paths: Sequence[Path],
    *,
    client: ServiceClient,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    catalogue: Path | None = None,
) -> bool:
    """Show what files change, ask, and apply them; return whether none was refused.

    Raises:
        CommandError: A file has problems, here or for the service: nothing was applied.
        SpecError: The catalogue file has problems.
    """
    files = check_files(paths, catalogue_and_warnings(catalogue)[0])
    _refuse_faulty([(f, problem_lines(f.problems)) for f in files if not f.good])
    told = rehearsed(files, client)
    planned = [_rehearsed(file, one) for file, one in zip(files, told, strict=True)]
    _refuse_faulty(
        [(a.file, list(a.refusal.problems)) for a in planned if a.refusal and _faulty(a.refusal)]
    )
    if not as_json:
        _show(planned)
    todo = [answer for answer in planned if answer.changes]
    if dry_run:
        return _end(planned, dry_run=True, as_json=as_json)
    if todo and not (yes or as_json) and not _confirmed(len(todo), len(planned)):
        warn("nothing was applied")
        return False
    done = [_applied(a, client, as_json=as_json) if a.changes else a for a in planned]
    # what needed no applying was looked at in the rehearsal only
    done = [replace(a, view={**a.view, "dry_run": False}) if a.view else a for a in done]
    good = _end(done, dry_run=False, as_json=as_json)
    if not as_json:
        _tell_new([a.view for a in done if a.view and a.view["result"] == "created"], client.url)
    return good


def _tell_new(views: Sequence[Mapping[str, Any]], url: str) -> None:
    """Print where experiments that are new can be looked at, and who goes on."""
    for view in views:
        say(f"  page: {url}{experiment_path(view['key'])}")
    if views:
        flags = "its flag is its key" if len(views) == 1 else "their flags are their keys"
        say(f"  applications ask for it by name: {flags} (docs/clients.md)")


def _rehearsed(file: Checked, told: dict[str, Any]) -> Answer:
    error = told["error"]
    if error is None:
        return Answer(file, told["applied"])
    lines: list[str] = []
    if error["code"] == _FAULTY:
        lines = problem_lines(msgspec.convert(told["problems"], tuple[Problem, ...]))
        lines += [f"{file.file}: {and_more(told['left_out'])}"] if told["left_out"] else []
    refusal = CommandError(
        error["message"], hint=error["hint"] or "", code=error["code"], problems=tuple(lines)
    )
    return Answer(file, refusal=refusal)


def _send(file: Checked, client: ServiceClient) -> Answer:
    try:
        view = client.post("/api/v1/experiments", text=file.text, source=file.file)
    except CommandError as refusal:
        if refusal.exit_code is not ExitCode.PROBLEM or refusal.code in _OF_ALL:
            raise
        return Answer(file, refusal=refusal)
    return Answer(file, view)


_FAULTY = "invalid_spec"
_OF_ALL = frozenset({"unauthorized", "forbidden", "invalid_key"})
"""Refusals that are not about the file: the next one would fare the same."""


def _faulty(refusal: CommandError) -> bool:
    return refusal.code == _FAULTY


def _refuse_faulty(files: Sequence[tuple[Checked, list[str]]]) -> None:
    if not files:
        return
    count = "one file has problems" if len(files) == 1 else f"{len(files)} files have problems"
    raise CommandError(
        f"{count}, so nothing was applied",
        hint="nothing was applied; mend these first",
        code=_FAULTY,
        problems=tuple(line for _, lines in files for line in lines),
    )


def _show(planned: Sequence[Answer]) -> None:
    """Print what applying would do, file by file."""
    for answer in planned:
        for problem in answer.file.problems:
            if problem.severity is Severity.WARNING:
                warn(f"{problem} (warning)")
        file, view = answer.file.file, answer.view
        if view is None:
            _warn_refusal(answer)
            continue
        known = {str(problem) for problem in answer.file.problems}
        for words in view["warnings"]:
            if words not in known:
                warn(f"{words} (warning)")
        say(f"{file}: {view['key']} {_WORDS[view['result']].format(**view)}")
        for words in view["words"]:
            say(f"  {words}")


_WORDS = {
    "created": "is new",
    "updated": "changes to revision {revision}",
    "unchanged": "is unchanged",
}


def _warn_refusal(answer: Answer) -> None:
    refusal = answer.refusal
    if refusal is not None:
        warn(f"{answer.file.file}: refused: {refusal.message}")
        if refusal.hint:
            warn(f"  {refusal.hint}")


def _confirmed(count: int, files: int) -> bool:
    """Ask on a terminal; elsewhere nobody could answer, and the command was meant."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return True
    what = "this file" if files == 1 else f"{count} of {files} files"
    return typer.confirm(f"Apply {what}?")


def _applied(answer: Answer, client: ServiceClient, *, as_json: bool) -> Answer:
    done = _send(answer.file, client)
    if not as_json:
        if done.view is None:
            _warn_refusal(done)
        else:
            say("{key}: {result}, revision {revision}".format(**done.view))
    return done


def _end(answers: Sequence[Answer], *, dry_run: bool, as_json: bool) -> bool:
    good = all(answer.refusal is None for answer in answers)
    if as_json:
        files = [_result(answer) for answer in answers]
        print_json({"ok": good, "dry_run": dry_run, "files": files})
        return good
    changed = sum(answer.changes for answer in answers)
    refused = sum(answer.refusal is not None for answer in answers)
    unchanged = len(answers) - changed - refused
    if dry_run:
        say(
            f"dry run: nothing was changed; {changed} to apply, {unchanged} unchanged, "
            f"{refused} refused"
        )
    elif len(answers) > 1 or refused:
        say(f"{changed} applied, {unchanged} unchanged, {refused} refused")
    return good


def _result(answer: Answer) -> dict[str, Any]:
    if answer.refusal is not None:
        return {"file": answer.file.file, "ok": False, **answer.refusal.to_json()}
    return {"file": answer.file.file, "ok": True, **(answer.view or {})}
