"""``load``: event files into a running service, or into the files of one that does not run."""

import gzip
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from console.client import BusyError, ServiceClient
from console.output import CommandError, ExitCode, print_json, say, warn
from console.store_errors import store_told
from metrics.importers.files import EventFileError
from metrics.intake import Intake
from metrics.loading import Answer, Loaded, Send, event_files, load

_TOO_MUCH = frozenset({"too_large", "too_many_events"})
_PATIENCE = 600.0
"""Seconds for which a busy service is asked again."""


def run(
    paths: Sequence[Path], *, client: ServiceClient | None, data: Path | None, as_json: bool
) -> bool:
    """Load event files and print what became of the events.

    Returns:
        Whether every event counts.

    Raises:
        CommandError: A file cannot be read, or the events cannot be kept.
    """
    try:
        files = event_files(paths)
        if data is not None:
            loaded = _offline(files, data, as_json=as_json)
        elif client is not None:
            loaded = _loaded(files, _over_http(client), as_json=as_json)
        else:
            raise CommandError("neither a service nor a folder was given", code="usage")
    except EventFileError as error:
        raise CommandError(
            str(error),
            hint="mend it and load again: events that are there already are not counted twice",
            code="event_file",
        ) from error
    _show(loaded, as_json=as_json)
    return not loaded.rejected


def _offline(files: Sequence[Path], data: Path, *, as_json: bool) -> Loaded:
    from service import Settings, build  # noqa: PLC0415 - it takes a second, and only here

    if not data.is_dir():
        raise CommandError(
            f"{data}: no such folder",
            hint="give the folder `turnback serve` was started with",
            code="no_data",
            exit_code=ExitCode.USAGE,
        )
    options: dict[str, Any] = {"data": data}
    with store_told(held="leave out --data: a running service takes the events itself"):
        services = build(Settings(**options))
    try:
        return _loaded(files, _into(services.events), as_json=as_json)
    finally:
        services.close()


def _loaded(files: Sequence[Path], send: Send, *, as_json: bool) -> Loaded:
    with _progress(as_json=as_json) as progress:
        task = progress.add_task("reading", total=len(files))
        seen: set[Path] = set()

        def told(path: Path, loaded: Loaded) -> None:
            seen.add(path)
            words = f"{path.name}: {loaded.events:,} events"
            progress.update(task, completed=len(seen), description=words)

        return load(files, send, told=told)


def _progress(*, as_json: bool) -> Progress:
    """Return a bar on stderr; nothing is drawn where nobody watches."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=as_json or not sys.stderr.isatty(),
        transient=True,
    )


def _into(intake: Intake) -> Send:
    def send(batch: Sequence[dict[str, Any]], *, trusted: bool) -> Answer:
        done, rejected = intake.take(batch, trusted=trusted)
        return Answer(
            done.accepted, done.duplicates, tuple((r.code, r.field, r.reason) for r in rejected)
        )

    return send


def _over_http(client: ServiceClient) -> Send:
    def send(batch: Sequence[dict[str, Any]], *, trusted: bool) -> Answer:
        body = gzip.compress(msgspec.json.encode(batch), 1)
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                told = client.send_events(body, trusted=trusted)
            except BusyError as error:
                if time.monotonic() + error.retry_after > until:
                    raise
                time.sleep(error.retry_after)
                continue
            except CommandError as error:
                if error.code not in _TOO_MUCH or len(batch) == 1:
                    raise
                half = len(batch) // 2
                first, second = (
                    send(part, trusted=trusted) for part in (batch[:half], batch[half:])
                )
                return Answer(
                    first.accepted + second.accepted,
                    first.duplicates + second.duplicates,
                    first.rejected + second.rejected,
                )
            return Answer(
                told["accepted"],
                told["duplicates"],
                tuple((r["code"], r["field"], r["reason"]) for r in told["rejected"]),
            )

    return send


def _show(loaded: Loaded, *, as_json: bool) -> None:
    reasons = [
        {"code": code, "field": where, "events": count}
        for (code, where), count in sorted(loaded.reasons.items(), key=lambda item: -item[1])
    ]
    if as_json:
        print_json(
            {
                "events": loaded.events,
                "accepted": loaded.accepted,
                "duplicates": loaded.duplicates,
                "rejected": loaded.rejected,
                "reasons": reasons,
            }
        )
        return
    say(
        f"{loaded.events:,} events: {loaded.accepted:,} new, "
        f"{loaded.duplicates:,} there already, {loaded.rejected:,} refused"
    )
    for each in reasons:
        where = f" in {each['field']}" if each["field"] else ""
        say(f"  {each['events']:,} x {each['code']}{where}")
        for example in loaded.examples.get(str(each["code"]), [])[:1]:
            warn(f"    {example}")
    if loaded.rejected:
        say("  they are in quarantine: `turnback quarantine`")
