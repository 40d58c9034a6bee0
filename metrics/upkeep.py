"""Looking after a store: what left it, what it no longer knows, and what a recount found. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum

from metrics.cells import Cell, Snapshot, Sums
from metrics.events import from_micros

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and of how much."""


def in_silence(_what: str, _done: int, _total: int) -> None:
    """Tell nobody: the progress nobody asked for."""


class ErasureKind(StrEnum):
    """Why events left the log."""

    RETENTION = "retention"
    FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True)
class Erasure:
    """Events that left the log on purpose. It never names whom they were about.

    Attributes:
        at: When.
        kind: Why.
        before: Events that happened before this instant left; ``None`` when a unit was forgotten.
        events: How many left.
        first_seq: Smallest sequence number among them, 0 when none left.
        last_seq: Largest sequence number among them, 0 when none left.
        quarantined: Refused events that left the quarantine; known only to whoever asked.
    """

    at: datetime
    kind: ErasureKind
    before: datetime | None
    events: int
    first_seq: int
    last_seq: int
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """One number on which running totals and a recount do not agree.

    Attributes:
        where: Which number, for instance ``satisfaction over 1h, control, phase 0, cohort 3: y``.
        totals: What the running totals say.
        recount: What the recount says.
    """

    where: str
    totals: str
    recount: str

    def __str__(self) -> str:
        return f"{self.where}: {self.totals} in the totals, {self.recount} recounted"


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """One frame, counted again.

    Attributes:
        experiment: Key.
        seed: Its seed.
        events: Events read again.
        whole: Whether the log reaches back to the beginning. If not, it was counted from what
            was carried over when older events left, and the log since then.
        differences: What did not agree; empty when every number was equal.
        failure: Why it could not be counted again; empty when it was.
    """

    experiment: str
    seed: int
    events: int
    whole: bool
    differences: tuple[Difference, ...]
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Verified:
    """What looking at everything in a store showed.

    Attributes:
        events: Events in the log.
        quarantined: Refused events that are kept.
        frames: Running totals compared with a recount.
        findings: Everything that is wrong, in words; empty when all is well.
    """

    events: int
    quarantined: int
    frames: int
    findings: tuple[str, ...]


def vouched(oldest: int, before: int | None, newest: int, doubt: timedelta) -> datetime:
    """Return the instant up to which receipts vouch for the clock; see `MetricStore`.

    Args:
        oldest: The oldest receipt, in microseconds.
        before: The newest receipt that is more than ``doubt`` before the newest of all.
        newest: The newest receipt.
        doubt: How long receipts are not believed alone.
    """
    known = from_micros(oldest if before is None else before)
    return min(from_micros(newest), known + doubt)


def gone_before(
    erasures: Iterable[Erasure], earliest: datetime, upto: int, *, after: int = 0
) -> datetime | None:
    """Return the instant before which events are gone that a count from the log would need.

    Args:
        erasures: Everything that ever left the log.
        earliest: Events from here on are needed.
        upto: Events up to this sequence number are needed.
        after: Events after this sequence number: those up to it are counted already.

    Returns:
        ``None`` when the log has everything. What units that were forgotten did is not needed.
    """
    gone = [
        each.before
        for each in erasures
        if each.kind is ErasureKind.RETENTION
        and each.events
        and each.before is not None
        and each.before > earliest
        and each.first_seq <= upto
        and each.last_seq > after
    ]
    return max(gone, default=None)


def told_gone(experiment: str, seed: int, before: datetime, upto: int, *, newest: int) -> str:
    """Return why an experiment cannot be counted from the log, in words."""
    past = f" as of event {upto}" if upto < newest else ""
    return (
        f"experiment {experiment}, seed {seed}: it cannot be counted{past}: the retention has "
        f"removed the events before {before.isoformat()}, and it began earlier; keep events for "
        "longer than experiments run (TURNBACK_RETAIN)"
    )


def differences(totals: Snapshot, recount: Snapshot) -> tuple[Difference, ...]:
    """Return every number on which two answers to one question do not agree."""
    return tuple(
        Difference(where, str(old), str(new))
        for where, old, new in _compared(totals, recount)
        if old != new
    )


def _compared(totals: Snapshot, recount: Snapshot) -> Iterator[tuple[str, object, object]]:
    yield "events counted up to", totals.watermark, recount.watermark
    yield "units seen in two variants", totals.conflicted, recount.conflicted
    for variant in {**totals.reach, **recount.reach}:
        old, new = totals.reach.get(variant), recount.reach.get(variant)
        if old is None or new is None:
            yield f"{variant}", old, new
            continue
        for each in fields(old):
            name = each.name.replace("_", " ")
            yield f"{variant}: {name}", getattr(old, each.name), getattr(new, each.name)
    for key in {**totals.cells, **recount.cells}:
        yield from _compared_cells(key, totals.cells.get(key, ()), recount.cells.get(key, ()))


def _compared_cells(
    key: tuple[str, timedelta], totals: Sequence[Cell], recount: Sequence[Cell]
) -> Iterator[tuple[str, object, object]]:
    old, new = _by_place(totals), _by_place(recount)
    for place in {**old, **new}:
        variant, phase, cohort = place
        where = f"{key[0]} over {key[1]}, {variant}, phase {phase}, cohort {cohort}"
        mine, theirs = old.get(place), new.get(place)
        yield (
            f"{where}: units entered",
            0 if mine is None else mine.entered,
            0 if theirs is None else theirs.entered,
        )
        for each in fields(Sums):
            yield (
                f"{where}: {each.name}",
                0 if mine is None else getattr(mine.sums, each.name),
                0 if theirs is None else getattr(theirs.sums, each.name),
            )


def _by_place(cells: Sequence[Cell]) -> Mapping[tuple[str, int, int], Cell]:
    return {(cell.variant, cell.phase, cell.cohort): cell for cell in cells}
