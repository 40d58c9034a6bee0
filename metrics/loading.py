"""Event files in bulk: any number of files, in batches, however often they are loaded.

Nothing is remembered between two runs: events are idempotent, so a load that was interrupted is
simply started again, and what is there already is told as such.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from metrics.importers.files import EventFileError, read_events

BATCH = 5_000
SHOWN = 5
"""Rejections of which everything is kept for people, by reason."""


@dataclass(slots=True)
class Loaded:
    """What became of the events so far.

    Attributes:
        events: Read from files.
        accepted: Now durable and counted.
        duplicates: Were there already.
        rejected: Refused; they are in quarantine.
        reasons: How many were refused by (code, field).
        examples: The first reasons of each code, with the file.
    """

    events: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    reasons: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    examples: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def add(self, path: Path, answer: "Answer") -> None:
        """Note what became of one batch of a file."""
        self.accepted += answer.accepted
        self.duplicates += answer.duplicates
        self.rejected += len(answer.rejected)
        for code, where, reason in answer.rejected:
            self.reasons[code, where] = self.reasons.get((code, where), 0) + 1
            shown = self.examples.setdefault(code, [])
            if len(shown) < SHOWN:
                shown.append(f"{path}: {reason}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one batch; each rejection as (code, field, reason)."""

    accepted: int
    duplicates: int
    rejected: tuple[tuple[str, str, str], ...]


class Send(Protocol):
    """Makes one batch durable, however long that takes."""

    def __call__(self, batch: Sequence[dict[str, Any]], *, trusted: bool) -> Answer:
        """Return what became of the events; untrusted ones feed only KPIs with trust any."""
        ...


def event_files(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Return the event files among paths; of a folder all below it, sorted.

    Raises:
        EventFileError: A folder has none, or a path does not exist.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(
                p for p in path.rglob("*") if p.suffix in {".parquet", ".jsonl"} and p.is_file()
            )
            if not inside:
                raise EventFileError(f"{path}: no event files; there are no *.parquet or *.jsonl")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise EventFileError(f"{path}: no such file or folder")
    return tuple(found)


def load(
    paths: Iterable[Path], send: Send, *, told: Callable[[Path, Loaded], None] | None = None
) -> Loaded:
    """Send every event of the files.

    Args:
        paths: Event files, see `event_files`.
        send: Makes a batch durable.
        told: Called after every batch, for progress.

    Raises:
        EventFileError: A file cannot be read; what was sent before stays.
    """
    loaded = Loaded()
    for path in paths:
        for batch in _batches(read_events(path)):
            loaded.events += len(batch)
            for trusted in (True, False):  # what was untrusted when it was exported stays so
                part = [event for event in batch if event.get("trusted", True) is trusted]
                if part:
                    loaded.add(path, send(part, trusted=trusted))
            if told is not None:
                told(path, loaded)
    return loaded


def _batches(events: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for event in events:
        at = event.get("happened_at")
        if "trusted" in event:
            event = {**event, "trusted": event["trusted"] is True}  # noqa: PLW2901 - made plain
        batch.append(
            {**event, "happened_at": at.isoformat()} if isinstance(at, datetime) else event
        )
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
