"""``report`` and ``digest``; ``console.cli`` adds the commands."""

# ruff: noqa: PLC0415 - help is fast because work is imported when it is done

from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from console.arguments import Data, Experiment, Json, Key, Url, client_of, example
from console.output import DEFAULT_URL, reported


class Format(StrEnum):
    """As ``console.commands.reporting.Format``, without importing it for ``--help``."""

    HTML = "html"
    MD = "md"
    PNG = "png"


class DigestFormat(StrEnum):
    """A digest has no picture."""

    HTML = "html"
    MD = "md"


class Language(StrEnum):
    """As ``console.i18n.LANGUAGES``, likewise."""

    EN = "en"
    ZH = "zh"


Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="File to write; stdout without."),
]
Lang = Annotated[Language, typer.Option(help="Language of the report.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    lines = (
        "turnback report three-step-cancel --output report.html",
        "turnback report three-step-cancel --format md --lang zh",
        "turnback report three-step-cancel --output evidence.png --data turnback-data",
    )
    app.command("report", epilog=example(*lines))(report)
    lines = (
        "turnback digest --since 14d",
        "turnback digest --since 14d --output digest.html --lang zh",
        "turnback digest --since 7d --send product",
    )
    app.command("digest", epilog=example(*lines))(digest)


def report(
    *,
    experiment: Experiment,
    written: Annotated[
        Format | None,
        typer.Option("--format", help="By the name of the file without; md on stdout."),
    ] = None,
    output: Output = None,
    lang: Lang = Language.EN,
    data: Data = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Write one experiment as a file to share: HTML, Markdown or a picture.

    The verdict comes first, then KPIs, evidence, the quality of the data, what happened, the
    method, and how to read it. The HTML stands alone and prints well; png is the evidence chart.
    """
    from console.commands import reporting

    with (
        reported(as_json=as_json),
        client_of(url, key) if data is None else nullcontext() as client,
    ):
        reporting.run(
            experiment,
            None if written is None else reporting.Format(written.value),
            output,
            lang=lang.value,
            client=client,
            data=data,
            as_json=as_json,
        )


def digest(
    *,
    since: Annotated[str, typer.Option(metavar="LENGTH", help="How far back: 14d, 36h.")] = "14d",
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="End of it: 2026-12-01T09:00Z; now without.")
    ] = None,
    written: Annotated[
        DigestFormat | None,
        typer.Option("--format", help="By the name of the file without; md on stdout."),
    ] = None,
    output: Output = None,
    send: Annotated[
        str | None,
        typer.Option(metavar="CHANNEL", help="Send it through a channel of the service."),
    ] = None,
    lang: Lang = Language.EN,
    data: Data = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Tell what all experiments did over some days, for a review or a newsletter.

    What was shipped, what was turned back, what was learned from what ended (effects with their
    intervals), how the others stand, what waits for a person, and who contributed. With `--data`
    no service is asked, and `--send` uses the TURNBACK_CHANNELS of this machine.
    """
    from console.commands import digest as digesting
    from console.commands import reporting

    with (
        reported(as_json=as_json),
        client_of(url, key) if data is None else nullcontext() as client,
    ):
        digesting.run(
            since,
            until,
            None if written is None else reporting.Format(written.value),
            output,
            lang=lang.value,
            send=send,
            client=client,
            data=data,
            as_json=as_json,
        )
