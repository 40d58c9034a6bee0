"""How commands speak: results on stdout, errors on stderr with what to do, exit codes."""

import os
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any, Self, TextIO

import msgspec
import typer

from experiments.errors import SpecError, TurnbackError
from experiments.language.scalars import visible
from guardrails.problems import and_more, told

DEFAULT_URL = "http://127.0.0.1:8300"
"""Where ``serve`` listens and the other commands look, unless told otherwise."""


class ExitCode(IntEnum):
    """What a command's exit code means; docs/command-line.md says more of each."""

    OK = 0  # done, and nothing is amiss
    PROBLEM = 1  # something was found or refused
    USAGE = 2  # the command line, or a setting, makes no sense
    UNREACHABLE = 3  # no service answers
    INTERRUPTED = 130  # Ctrl-C


class Tone(StrEnum):
    """What a colour means; without colours the words say it all."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    QUIET = "quiet"


_COLOURS = {Tone.GOOD: "32", Tone.WARN: "33", Tone.BAD: "31", Tone.QUIET: "2"}


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

    @classmethod
    def of(cls, error: TurnbackError) -> Self:
        """Return what is told of an error of Turnback's own."""
        problems: tuple[str, ...] = ()
        message = error.message
        if isinstance(error, SpecError):
            first, left_out = told(error.problems)
            problems = (*map(str, first), *([and_more(left_out)] if left_out else ()))
            message = "\n".join(problems)
        return cls(message, hint=error.hint, code=error.code, problems=problems)


def print_json(value: Any) -> None:
    """Print one JSON object and nothing else; dataclasses, times and enums included."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def coloured(stream: TextIO) -> bool:
    """Return whether a stream may be coloured: a terminal, where nobody asked for none."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "") in {"", "dumb"}
    return stream.isatty() and not plain


def toned(text: str, tone: Tone | None, stream: TextIO) -> str:
    """Return a text in a colour, where the stream may be coloured."""
    if tone is None or not coloured(stream):
        return text
    return f"\x1b[{_COLOURS[tone]}m{text}\x1b[0m"


def say(text: str = "", *, tone: Tone | None = None) -> None:
    """Print a line of plain text on stdout; whatever would steer the terminal is shown."""
    sys.stdout.write(toned(visible(text), tone, sys.stdout) + "\n")
    sys.stdout.flush()


def warn(text: str, *, tone: Tone | None = None) -> None:
    """Print a line on stderr; whatever would steer the terminal is shown."""
    sys.stderr.write(toned(visible(text), tone, sys.stderr) + "\n")
    sys.stderr.flush()


def instant(at: str | None) -> str:
    """Return an instant of the API as people read it, to the second; ``never`` for none."""
    if at is None:
        return "never"
    return f"{datetime.fromisoformat(at).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


@contextmanager
def reported(*, as_json: bool) -> Generator[None]:
    """Turn an error of the block into words on stderr and an exit code.

    With ``as_json`` the error object is printed there instead, so stdout holds results alone.
    """
    try:
        yield
    except (typer.Exit, BrokenPipeError):
        raise  # the reader of stdout went away: click ends quietly
    except KeyboardInterrupt:
        warn("interrupted")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told in the one shape
        told_as = _translated(error)
        report(told_as, as_json=as_json)
        raise typer.Exit(told_as.exit_code) from None


def _translated(error: Exception) -> CommandError:
    if isinstance(error, CommandError):
        return error
    if isinstance(error, TurnbackError):
        return CommandError.of(error)
    if isinstance(error, UnicodeError):
        return CommandError(
            "an argument is not valid UTF-8 text",
            hint="give names, reasons and addresses in UTF-8",
            code="usage",
            exit_code=ExitCode.USAGE,
        )
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        return CommandError(
            f"{where}{error.strerror or error}",
            hint="give a file or folder that exists and may be read and written",
            code="os_error",
        )
    last = traceback.extract_tb(error.__traceback__)[-1]
    return CommandError(
        f"this failed: {type(error).__name__}: {error}",
        hint=f"this is a defect of Turnback, at {Path(last.filename).name}:{last.lineno}",
        code="internal",
    )


def _printable(text: str) -> str:
    r"""Return text that can be written: bytes that are no UTF-8 as ``\udcff``."""
    return text.encode("utf-8", "backslashreplace").decode()


def report(error: CommandError, *, as_json: bool) -> None:
    """Print an error on stderr: in words, or as the one error object."""
    error = CommandError(
        _printable(error.message),
        hint=_printable(error.hint),
        code=error.code,
        problems=tuple(map(_printable, error.problems)),
    )
    if as_json:
        warn(msgspec.json.encode(error.to_json()).decode())
        return
    for line in error.problems or (f"turnback: {error.message}",):
        warn(line, tone=Tone.BAD)
    if error.hint:
        warn(f"  {error.hint}")
