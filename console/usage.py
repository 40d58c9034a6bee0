"""The group of all commands: with ``--json`` a wrong command line is told in JSON, too."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import typer
from typer.core import TyperGroup

from console.output import CommandError, ExitCode, report

_UsageError = cast("type[Exception]", typer.BadParameter.__bases__[0])  # typer exports no more


class Commands(TyperGroup):
    """Typer's group; what cannot be read of a command line has the shape of every error."""

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


def asks_for_json(arguments: Sequence[str]) -> bool:
    """Return whether a command line asks for JSON, be the rest of it right or wrong."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


@contextmanager
def _usage_told(*, as_json: bool) -> Generator[None]:
    try:
        yield
    except _UsageError as caught:
        if not as_json:
            raise
        error = cast("typer.BadParameter", caught)
        context = error.ctx
        command = context.command_path if context is not None else "turnback"
        told = CommandError(
            error.format_message(),
            hint=f"`{command} --help` says what it takes",
            code="usage",
            exit_code=ExitCode.USAGE,
        )
        report(told, as_json=True)
        raise typer.Exit(ExitCode.USAGE) from None
