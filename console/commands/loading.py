"""``load``: event files into a running service, or into the files of one that does not run."""

import gzip
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from experiments.language.scalars import visible
from metrics.decoding import MalformedLine, decode_line
from metrics.importers.files import EventFileError
from metrics.importers.records import Record
from metrics.intake import Intake
from metrics.loading import Answer, Loaded, Refused, Send, event_files, load

_TOO_MUCH = frozenset({"too_large", "too_many_events", "413"})
"""What a service says of a batch that is too large, and what a proxy before it says."""

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
    def send(batch: Sequence[Record], *, trusted: bool) -> Answer:
        done, rejected = intake.take([_raw(record) for record in batch], trusted=trusted)
        return Answer(
            done.accepted,
            done.duplicates,
            tuple(Refused(r.index, r.code, r.field, r.reason) for r in rejected),
        )

    return send


def _raw(record: Record) -> Any:
    """Return the raw event; one that is none says for ever where it stands."""
    raw = decode_line(record.text)
    if isinstance(raw, MalformedLine):
        return replace(raw, reason=f"{record.where}: {record.unreadable or raw.reason}")
    return raw


def _over_http(client: ServiceClient) -> Send:
    def send(batch: Sequence[Record], *, trusted: bool) -> Answer:
        try:
            told = _patiently(client, batch, trusted=trusted)
        except CommandError as error:
            if error.code not in _TOO_MUCH:
                raise
            if len(batch) == 1:
                return Answer(0, 0, (_too_large(batch[0], error),))
            half = len(batch) // 2
            first, second = (send(part, trusted=trusted) for part in (batch[:half], batch[half:]))
            return first.before(second, half)
        return Answer(
            told["accepted"],
            told["duplicates"],
            tuple(
                Refused(r["index"], r["code"], r["field"], r["reason"]) for r in told["rejected"]
            ),
        )

    return send


def _patiently(client: ServiceClient, batch: Sequence[Record], *, trusted: bool) -> dict[str, Any]:
    body = gzip.compress(b"\n".join(record.text for record in batch), 1)
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return client.send_events(body, trusted=trusted)
        except BusyError as error:
            if time.monotonic() + error.retry_after > until:
                raise
            time.sleep(error.retry_after)


def _too_large(record: Record, error: CommandError) -> Refused:
    reason = (
        f"this event has {len(record.text):,} bytes, which the service does not take "
        f"({error.message}); make it smaller, or raise TURNBACK_MAX_BODY_BYTES"
    )
    return Refused(0, "too_large", "", reason, kept=False)


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
                "left_out": loaded.left_out,
                "reasons": reasons,
                "examples": loaded.examples,
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
    for examples in loaded.examples.values():
        for example in examples:
            warn(f"    {visible(example)}")
    _show_where(loaded)


def _show_where(loaded: Loaded) -> None:
    kept = loaded.rejected - loaded.left_out
    if kept:
        many = "they are" if kept == loaded.rejected else f"{kept:,} of them are"
        say(f"  {many} in quarantine: `turnback quarantine`")
    if loaded.left_out:
        many = "they are" if not kept else f"{loaded.left_out:,} of them are"
        say(f"  {many} too large for the service and kept nowhere")
