"""The group of all commands: help in sections, and wrong command lines in the one error shape."""

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

import typer
from typer.core import TyperGroup

from console.output import CommandError, ExitCode, report

_UsageError = cast("type[Exception]", typer.BadParameter.__bases__[0])  # typer exports no more

SECTIONS: Final = (
    ("Begin", ("demo", "serve", "doctor")),
    (
        "Before a run",
        ("validate", "plan", "simulate", "backtest", "scenario", "kpis", "events", "schema"),
    ),
    (
        "Run",
        (
            *("apply", "status", "explain", "start", "approve", "pause", "resume", "extend"),
            *("roll-back", "stop", "note", "suspend"),
        ),
    ),
    ("Show and share", ("report", "digest", "export", "revisions", "replay")),
    ("Data", ("load", "import", "quarantine", "store", "forget", "backup")),
    ("Access and messages", ("keys", "channels")),
)
"""How help lists the commands; one that is in no section is listed last, under "More"."""

_WIDEST: Final = 10
"""Columns of the commands' names, the same in every section."""

EXIT_CODES: Final = (
    "\b\nExit codes: 0 done, 1 something was found or refused, 2 the command line or a\n"
    "setting makes no sense, 3 no service answers, 130 interrupted."
)
"""What every command's end means; ``console.output.ExitCode``."""


class Listed(TyperGroup):
    """A group whose help gives the whole first sentence of each command."""

    sections: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write every command with its first sentence, in sections where there are any."""
        left = [name for name in self.list_commands(ctx) if not self.commands[name].hidden]
        rest = ("More" if self.sections else "Commands", tuple(left))
        for title, names in (*self.sections, rest):
            there = [name for name in names if name in left]
            left = [name for name in left if name not in there]
            rows = [(name.ljust(_WIDEST), first_sentence(self.commands[name])) for name in there]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class Commands(Listed):
    """Typer's group; what cannot be read of a command line has the shape of every error."""

    sections = SECTIONS
    _as_json = False

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Read the options before the command."""
        self._as_json = asks_for_json(args)
        with _usage_told(as_json=self._as_json):
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Read the command's own options, and run it."""
        with _usage_told(as_json=self._as_json):
            return super().invoke(ctx)


def first_sentence(command: Any) -> str:
    """Return what a command does, as the list of commands says it."""
    whole = str(command.short_help or command.help or "").split("\n\n", 1)[0]
    return " ".join(whole.split())


def asks_for_json(arguments: Sequence[str]) -> bool:
    """Return whether a command line asks for JSON, be the rest of it right or wrong."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


_WORDS: Final = (
    (r"Invalid value(?: for (?P<for>[^:]+))?: (?:Value error, )?(?P<said>.*)", "{for}{said}"),
    (
        r"Missing (?:argument|option|parameter) '(?P<name>[^']+)'(?P<said>.*)",
        "{name} is missing{said}",
    ),
    (r"No such option: (?P<name>\S+?)(?P<said>[.; ].*)?", "there is no option {name}{said}"),
    (r"No such command '(?P<name>[^']*)'(?P<said>.*)", "there is no command '{name}'{said}"),
    (
        r"Got unexpected extra arguments?(?:\(s\))? \((?P<name>.*)\)(?P<said>)",
        "too much was given: {name}",
    ),
)
"""What the parser says, and how we say it."""

_DAY = re.compile(r"('[^']*') does not match the formats? '%Y-%m-%d'")


def in_our_words(message: str) -> str:
    """Return what the parser of command lines found, in the words of every other error. Pure."""
    text = " ".join(message.split())
    for pattern, said in _WORDS:
        found = re.fullmatch(pattern, text)
        if found is not None:
            parts = {name: part or "" for name, part in found.groupdict().items()}
            parts["for"] = parts.get("for", "").strip("'") + ": " if parts.get("for") else ""
            text = said.format(**parts)
            break
    text = _DAY.sub(r"\1 is no day; write it like 2026-03-01", text)
    for before, after in (
        (". Did you mean ", "; did you mean "),
        (" Did you mean ", "; did you mean "),
        (". Choose from: ", "; choose one of "),
    ):
        text = text.replace(before, after)
    return text.rstrip(".") if not text.endswith("...") else text


def _for_example(error: Any) -> str:
    """Return a line of the command's own examples that has what is missing; empty without one."""
    param, context = getattr(error, "param", None), error.ctx
    if type(error).__name__ != "MissingParameter" or context is None:
        return ""
    epilog = str(context.command.epilog or "")
    lines = [line.strip() for line in epilog.splitlines() if line.startswith("  ")]
    names = [name for name in getattr(param, "opts", ()) if name.startswith("-")]
    having = [line for line in lines if not names or any(f"{name} " in line for name in names)]
    return f"for example `{having[0]}`; " if having else ""


@contextmanager
def _usage_told(*, as_json: bool) -> Generator[None]:
    try:
        yield
    except _UsageError as caught:
        error = cast("typer.BadParameter", caught)
        if not as_json and type(caught).__name__ == "NoArgsIsHelpError":
            raise  # a group alone: its help is the answer
        context = error.ctx
        command = context.command_path if context is not None else "turnback"
        told = CommandError(
            in_our_words(error.format_message()),
            hint=f"{_for_example(error)}`{command} --help` says what it takes",
            code="usage",
            exit_code=ExitCode.USAGE,
        )
        report(told, as_json=as_json)
        raise typer.Exit(ExitCode.USAGE) from None
