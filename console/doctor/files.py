"""Whether the folder of a service is as it should be: rights, room, both files, and the clock."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from console.doctor.findings import Finding, good, warning, wrong
from experiments.errors import ControlPlaneError
from experiments.language.amounts import format_duration
from guardrails.files import CONTROL, STORE
from guardrails.inspecting import ControlFacts, inspect_control
from guardrails.words import command, instant
from metrics.store import StoreError, StoreLockedError
from metrics.stores.inspecting import StoreFacts, inspect_store

SCARCE_BYTES: Final = 1_000_000_000
SCARCE_SHARE: Final = 0.05
"""Less free space than the smaller of both is told."""

CLOCK_ERROR: Final = timedelta(minutes=1)
"""How far behind what was written the clock may be."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read of the folder.

    Attributes:
        control: The control plane, ``None`` where it could not be read or is not there.
        store: The metric store, likewise.
        held: Whether a process holds the store.
        unread: Whether there is a store that could not be read, so that nobody knows who holds it.
        findings: What was found.
    """

    control: ControlFacts | None
    store: StoreFacts | None
    held: bool
    findings: tuple[Finding, ...]
    unread: bool = False


def examine_files(data: Path, *, answers: bool, now: datetime) -> Seen:
    """Look at the folder of a service; nothing in it is changed.

    Args:
        data: The folder.
        answers: Whether a service answers, which then is the one that holds the store.
        now: The current instant.
    """
    if not data.is_dir():
        return Seen(None, None, held=False, findings=(_no_folder(data),))
    findings = [*_rights(data), *_room(data)]
    store, held, told = _store(data / STORE, answers=answers)
    findings += told
    control, told = _control(data / CONTROL, store, in_use=held, now=now)
    findings += told
    findings += _clock(control, store, now)
    unread = store is None and not held and (data / STORE).is_file()
    return Seen(control, store, held, tuple(findings), unread=unread)


def _no_folder(data: Path) -> Finding:
    if data.exists() or data.is_symlink():
        return wrong(
            "data folder",
            "no_folder",
            f"{data} is no folder",
            "give the folder of the service with --data or TURNBACK_DATA",
        )
    return good("data folder", f"{data} is not there yet: `turnback serve` makes it")


def _rights(data: Path) -> Iterable[Finding]:
    unwritable = [
        p for p in (data, data / CONTROL, data / STORE) if p.exists() and not _writable(p)
    ]
    for path in unwritable:
        yield wrong(
            "data folder",
            "read_only",
            f"{path} cannot be written by this account",
            "mount it for writing, or give it to the account that runs the service",
        )
    files = [data / CONTROL, data / STORE]
    shown = [p.name for p in files if p.is_file() and _of_others(p)] if _of_others(data) else []
    if shown:
        yield warning(
            "data folder",
            "open_to_others",
            f"other accounts can read {' and '.join(shown)} in {data} (mode {_mode(data):04o}): "
            "digests of keys, reasons, events",
            f"chmod 700 {data}",
        )
    elif not unwritable:
        yield good("data folder", f"{data}, mode {_mode(data):04o}, can be written")


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _of_others(path: Path) -> bool:
    reads = stat.S_IXOTH | stat.S_IROTH if path.is_dir() else stat.S_IROTH
    return bool(_mode(path) & reads)


def _room(data: Path) -> Iterable[Finding]:
    disk = os.statvfs(data)
    free, size = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    words = f"{_bytes(free)} of {_bytes(size)} are free where {data} is"
    hint = "make room, or keep fewer days of events with --retain"
    if free == 0 or (disk.f_files and not disk.f_favail):
        yield wrong("disk", "disk_full", f"the disk is full: {words}", hint)
    elif free < min(SCARCE_BYTES, SCARCE_SHARE * size):
        yield warning("disk", "disk_scarce", words, hint)
    else:
        yield good("disk", words)


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:  # noqa: PLR2004 - decimal units
            return f"{count:,.0f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"


def _store(path: Path, *, answers: bool) -> tuple[StoreFacts | None, bool, list[Finding]]:
    if not path.is_file():
        return None, False, []
    try:
        facts = inspect_store(path)
    except StoreLockedError as error:
        if answers:
            return None, True, [good("metric store", f"{error.what}, and a service answers")]
        words = f"{error.what}, and no service answers"
        hint = (
            "a service may run on it that answers elsewhere: set TURNBACK_URL to its address; "
            "only a service that hangs, or a command that nobody waits for, is to be ended"
        )
        return None, True, [wrong("metric store", "held", words, hint)]
    except StoreError as error:
        newer = "newer version" in str(error)
        hint = (
            "start the version that wrote it"
            if newer
            else "put back control.db and metrics.duckdb of one backup, both of them"
        )
        code = "newer_schema" if newer else "damaged_store"
        return None, False, [wrong("metric store", code, _first_part(str(error)), hint)]
    return facts, False, list(_of_store(path, facts))


def _first_part(text: str) -> str:
    """Return what is wrong, without what to do: that stands behind it."""
    return text.split("; ", 1)[0]


def _of_store(path: Path, facts: StoreFacts) -> Iterable[Finding]:
    if facts.lost:
        words, _, hint = facts.lost.partition("; ")
        yield wrong("metric store", "events_lost", words, hint)
        return
    log = path.with_name(f"{path.name}.wal")
    if log.is_file() and log.stat().st_size:
        yield warning(
            "metric store",
            "ended_badly",
            f"the service that used {path} ended without closing it (killed, or a crash); nothing "
            "is lost",
            "nothing has to be done: the next start reads what is beside it",
        )
        return
    newest = "none yet" if facts.received_at is None else f"newest {instant(facts.received_at)}"
    yield good("metric store", f"readable, event {facts.watermark:,} is the last, {newest}")


def _control(
    path: Path, store: StoreFacts | None, *, in_use: bool, now: datetime
) -> tuple[ControlFacts | None, list[Finding]]:
    area = "control plane"
    if not path.is_file():
        if store is None or not store.watermark:
            return None, []
        words = f"{path} is missing beside a store with {store.watermark:,} events"
        hint = "put back both files of one backup; without it no experiment is known"
        return None, [wrong(area, "missing_control", words, hint)]
    try:
        facts = inspect_control(path, in_use=in_use, now=now)
    except ControlPlaneError as error:
        return None, [wrong(area, "damaged_control", error.message, error.hint)]
    except OSError as error:
        words = f"{path}: cannot be read ({(error.strerror or str(error)).lower()})"
        return None, [wrong(area, "unreadable_file", words, "let this account read it")]
    return facts, list(_of_control(path, facts, store))


def _of_control(path: Path, facts: ControlFacts, store: StoreFacts | None) -> Iterable[Finding]:
    area, ours = "control plane", facts.newest_revision
    if not facts.current:
        newer = facts.revision is not None and facts.revision > ours
        if newer:
            words = f"{path}: written by a newer version (revision {facts.revision}, not {ours})"
            yield wrong(area, "newer_schema", words, "start the version that wrote it")
        else:
            words = f"{path}: of an older version (revision {facts.revision or 'none'}, not {ours})"
            hint = "the next `turnback serve` brings it up to date; make a backup before"
            yield warning(area, "older_schema", words, hint)
        return
    if store is not None and facts.counted > store.watermark:
        yield wrong(
            area,
            "older_store",
            f"checks have counted {facts.counted:,} events, and the store beside it holds "
            f"{store.watermark:,}: it is older",
            "put back both files of one backup",
        )
    elif not facts.suspended:
        count = len(facts.runs)
        yield good(area, f"readable, {count} experiment{'s' if count != 1 else ''} not over")
    if facts.suspended:
        words = f"the engine is suspended {facts.suspended}"
        hint = f"`{command('suspend', '--off')}` lets it act again"
        yield warning(area, "suspended", words, hint)


def _clock(
    control: ControlFacts | None, store: StoreFacts | None, now: datetime
) -> Iterable[Finding]:
    written = {
        "the newest event came": None if store is None else store.received_at,
        "the newest check was": None if control is None else control.newest_at,
    }
    known = [(at, what) for what, at in written.items() if at is not None]
    at, what = max(known, default=(None, ""))
    if at is not None and at - now > CLOCK_ERROR:
        behind = format_duration(timedelta(seconds=int((at - now).total_seconds())))
        yield wrong(
            "clock",
            "clock_behind",
            f"it says {instant(now)}, and {what} {instant(at)}: it is {behind} behind",
            "set the clock of this machine (NTP); until it has caught up no check runs",
        )
        return
    yield good("clock", f"{instant(now)}, not behind anything that was written")
