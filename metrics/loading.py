"""Event files in bulk: any number of files, in batches, however often they are loaded.

A line that is no event goes the way of all others, to where bad events are kept with the reason.

Nothing is remembered between two runs: events are idempotent, so a load that was interrupted is
simply started again, and what is there already is told as such.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from metrics.importers.files import EventFileError
from metrics.importers.records import Record, read_records

BATCH = 5_000
BATCH_BYTES = 4_000_000
"""A batch of larger events is closed earlier: half of what a service takes by default."""

SHOWN = 5
"""Rejections of which everything is kept for people, by reason."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why one event of a batch does not count.

    Attributes:
        index: Position in the batch, from 0.
        code: Stable word for machines.
        field: The field at fault, empty for the whole event.
        reason: For people.
        kept: Whether it is in quarantine; what is too large for the service is not.
    """

    index: int
    code: str
    field: str
    reason: str
    kept: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one batch."""

    accepted: int
    duplicates: int
    rejected: tuple[Refused, ...]

    def before(self, later: "Answer", count: int) -> "Answer":
        """Return this answer, of ``count`` events, and that of the events after them as one."""
        moved = tuple(replace(each, index=each.index + count) for each in later.rejected)
        return Answer(
            self.accepted + later.accepted,
            self.duplicates + later.duplicates,
            self.rejected + moved,
        )


@dataclass(slots=True)
class Loaded:
    """What became of the events so far.

    Attributes:
        events: Read from files; lines that are no event included.
        accepted: Now durable and counted.
        duplicates: Were there already.
        rejected: Refused; they are in quarantine but for those left out.
        left_out: Refused and not in quarantine either: only this load tells of them.
        reasons: How many were refused by (code, field).
        examples: The first reasons of each code, with file and line.
    """

    events: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    left_out: int = 0
    reasons: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    examples: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def add(self, batch: Sequence[Record], answer: Answer) -> None:
        """Note what became of one batch."""
        self.accepted += answer.accepted
        self.duplicates += answer.duplicates
        self.rejected += len(answer.rejected)
        for each in answer.rejected:
            self.left_out += not each.kept
            key = each.code, each.field
            self.reasons[key] = self.reasons.get(key, 0) + 1
            shown = self.examples.setdefault(each.code, [])
            if len(shown) < SHOWN:
                record = batch[each.index]
                shown.append(f"{record.where}: {record.unreadable or each.reason}")


class Send(Protocol):
    """Makes one batch durable, however long that takes."""

    def __call__(self, batch: Sequence[Record], *, trusted: bool) -> Answer:
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
        EventFileError: A file cannot be read at all; what was sent before stays.
    """
    loaded = Loaded()
    for path in paths:
        for batch in _batches(read_records(path)):
            loaded.events += len(batch)
            for trusted in (True, False):  # what was untrusted when it was exported stays so
                part = [record for record in batch if record.trusted is trusted]
                if part:
                    loaded.add(part, send(part, trusted=trusted))
            if told is not None:
                told(path, loaded)
    return loaded


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    size = 0
    for record in records:
        if batch and (len(batch) >= BATCH or size + len(record.text) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += len(record.text) + 1
    if batch:
        yield batch
