"""What people gave on the command line, read; what makes no sense says what would."""

from datetime import datetime

from console.output import CommandError, ExitCode
from experiments.language.instants import INSTANT_EXAMPLE, parse_instant


def instant_of(text: str, *, option: str) -> datetime:
    """Return an instant that was given with an option, such as ``--until``.

    Raises:
        CommandError: The text is none.
    """
    found = parse_instant(text)
    if found is None:
        raise CommandError(
            f"{option}: {text!r} is no instant",
            hint=f"give date, time and zone, such as {INSTANT_EXAMPLE}",
            code="usage",
            exit_code=ExitCode.USAGE,
        )
    return found
