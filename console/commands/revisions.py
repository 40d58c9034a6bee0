"""``revisions``: every file that was applied to an experiment."""

import difflib
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from console.client import ServiceClient, experiment_path
from console.output import CommandError, ExitCode, instant, print_json, say
from console.tables import add, show, table, table_console
from experiments.language.scalars import visible

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def run(
    key: str,
    *,
    show: int | None,
    diff: tuple[int, int] | None,
    client: ServiceClient,
    as_json: bool,
) -> None:
    """List revisions, print the file of one, or what differs between two.

    Raises:
        CommandError: There is no such revision, or two things were asked for at once.
    """
    if show is not None and diff is not None:
        raise CommandError(
            "--show and --diff are two questions",
            hint="ask one after the other",
            code="usage",
            exit_code=ExitCode.USAGE,
        )
    revisions = client.get(f"{experiment_path(key)}/revisions")["revisions"]
    if diff is not None:
        before, after = (_one(key, revisions, number) for number in diff)
        lines = _difference(before, after)
        if as_json:
            print_json({"experiment": key, "before": before, "after": after, "diff": lines})
        else:
            _show_difference(lines)
    elif show is not None:
        revision = _one(key, revisions, show)
        if as_json:
            print_json(revision)
        else:
            say(revision["text"].rstrip("\n"))
    elif as_json:
        print_json({"revisions": revisions})
    else:
        _list(revisions)


def _one(key: str, revisions: Sequence[dict[str, Any]], number: int) -> dict[str, Any]:
    for revision in revisions:
        if revision["number"] == number:
            return revision
    raise CommandError(
        f"{key} has no revision {number}",
        hint=f"it has 1 to {len(revisions)}; `turnback revisions {key}` lists them",
        code="unknown_revision",
    )


def _list(revisions: Sequence[dict[str, Any]]) -> None:
    rows = table(
        "revision", "applied", "by", "from", "sha256", right=("revision",), drop=("sha256",)
    )
    for r in revisions:
        add(rows, str(r["number"]), instant(r["at"]), r["actor"], r["source"], r["sha256"][:12])
    show(rows)


def _difference(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    names = (f"revision {r['number']} ({r['source']})" for r in (before, after))
    texts = (r["text"].splitlines() for r in (before, after))
    return list(difflib.unified_diff(*texts, *names, lineterm=""))


def _show_difference(lines: Sequence[str]) -> None:
    console = table_console()
    if not lines:
        say("the two revisions are the same text")
    for line in lines:
        # text of a file is text, whatever markup it holds
        console.print(Text(visible(line), style=_COLOURS.get(line[:1], "")), soft_wrap=True)
