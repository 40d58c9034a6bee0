"""How commands speak: results on stdout, errors on stderr with what to do, exit codes."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import msgspec
import typer

DEFAULT_URL = "http://127.0.0.1:8300"
"""Where ``serve`` listens and the other commands look, unless told otherwise."""


class ExitCode(IntEnum):
    """What a command's exit code means."""

    OK = 0
    PROBLEM = 1  # something was found or refused
    USAGE = 2  # the command line makes no sense
    UNREACHABLE = 3  # no service answers


class CommandError(Exception):
    """A command cannot do what was asked.

    Attributes:
        message: What is wrong, with what was given.
        hint: What to do, may be empty.
        code: Stable word for machines.
        exit_code: See ``ExitCode``.
        problems: Single problems of a file, one line each.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str = "refused",
        exit_code: ExitCode = ExitCode.PROBLEM,
        problems: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.exit_code = exit_code
        self.problems = problems

    def to_json(self) -> dict[str, Any]:
        """Return the one error shape of every interface."""
        error: dict[str, Any] = {"code": self.code, "message": self.message, "hint": self.hint}
        if self.problems:
            error["problems"] = self.problems
        return {"error": error}


def print_json(value: Any) -> None:
    """Print one JSON object and nothing else; dataclasses, times and enums included."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def say(text: str = "") -> None:
    """Print a line of plain text on stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def warn(text: str) -> None:
    """Print a line on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


@contextmanager
def reported(*, as_json: bool) -> Generator[None]:
    """Turn an error of the block into words on stderr and an exit code.

    With ``as_json`` the error object is printed there instead, so stdout holds results alone.
    """
    from experiments.errors import TurnbackError  # noqa: PLC0415 - keeps --help fast

    try:
        yield
    except TurnbackError as error:
        _report(_translated(error), as_json=as_json)
        raise typer.Exit(ExitCode.PROBLEM) from None
    except CommandError as error:
        _report(error, as_json=as_json)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        warn("interrupted")
        raise typer.Exit(130) from None


def _translated(error: Exception) -> CommandError:
    problems = tuple(map(str, getattr(error, "problems", ())))
    return CommandError(
        getattr(error, "message", str(error)),
        hint=getattr(error, "hint", ""),
        code=getattr(error, "code", "refused"),
        problems=problems,
    )


def _report(error: CommandError, *, as_json: bool) -> None:
    if as_json:
        warn(msgspec.json.encode(error.to_json()).decode())
        return
    for line in error.problems or (f"turnback: {error.message}",):
        warn(line)
    if error.hint:
        warn(f"  {error.hint}")
