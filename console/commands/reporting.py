"""``report``: one experiment as a file that stands alone."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from console.client import ServiceClient
from console.i18n import in_language
from console.output import CommandError, ExitCode, print_json, say
from console.progress import working
from console.reports.experiment import Report, report_of
from console.reports.files import Format, NoPictureError, file_of
from console.reports.sources import Source, from_files, from_service


@contextmanager
def source_of(client: ServiceClient | None, data: Path | None) -> Generator[Source]:
    """Open what a report is made from: a folder where one is named, else the service."""
    if data is not None:
        with from_files(data) as source:
            yield source
    elif client is not None:
        with _or_files(), from_service(client) as source:
            yield source
    else:
        raise CommandError("neither a service nor a folder was given", code="usage")


@contextmanager
def _or_files() -> Generator[None]:
    """Say of a service that does not answer that its files can be opened without it."""
    try:
        yield
    except CommandError as error:
        if error.code != "unreachable":
            raise
        hint = f"{error.hint}; --data FOLDER opens the files of one that does not run"
        raise CommandError(
            error.message, hint=hint, code=error.code, exit_code=error.exit_code
        ) from error


def run(
    key: str,
    written: Format | None,
    output: Path | None,
    *,
    lang: str,
    client: ServiceClient | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Write the report of one experiment; print what it says with ``as_json``.

    Raises:
        CommandError: The experiment is not there, has no picture yet, or nothing can be written.
    """
    wanted = written or _by_name(output)
    with (
        working("reading the experiment", as_json=as_json),
        source_of(client, data) as source,
        in_language(lang),
    ):
        view = source.experiment(key)
        report = report_of(view, source.texts(), quarantined=source.quarantined, demo=source.demo)
        if as_json:
            print_json(report)
            return
        made = _made(report, wanted)
    deliver(made, output, binary=wanted is Format.PNG)


def _by_name(output: Path | None) -> Format:
    """Return the format that the name of a file asks for; Markdown on stdout."""
    if output is None:
        return Format.MD
    named = output.suffix.lower().removeprefix(".")
    aliases = {"htm": Format.HTML, "markdown": Format.MD}
    try:
        return aliases.get(named) or Format(named)
    except ValueError:
        raise CommandError(
            f"{output}: its name does not say which format is meant",
            hint="name it *.html, *.md or *.png, or give --format",
            code="usage",
            exit_code=ExitCode.USAGE,
        ) from None


def _made(report: Report, wanted: Format) -> bytes:
    try:
        return file_of(report, wanted)
    except NoPictureError as error:
        raise CommandError(error.message, hint=error.hint or "", code="no_chart") from None


def deliver(made: bytes, output: Path | None, *, binary: bool = False) -> None:
    """Write to a file, or to stdout where none is named.

    Raises:
        CommandError: A picture would be printed on a terminal.
    """
    if output is not None and str(output) != "-":
        output.write_bytes(made)
        say(f"{output}: written, {len(made):,} bytes")
        return
    if binary and sys.stdout.isatty():
        raise CommandError(
            "a picture cannot be shown on a terminal",
            hint="name a file with --output",
            code="usage",
            exit_code=ExitCode.USAGE,
        )
    sys.stdout.flush()
    sys.stdout.buffer.write(made)
    sys.stdout.buffer.flush()
