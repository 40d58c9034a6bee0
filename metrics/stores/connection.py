"""Opening the one DuckDB file: who holds it, and what the engine's errors mean for people."""

import os
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from metrics.store import StoreError, StoreLockedError

CHECKPOINT_MB = 1_000
"""The default of 16 MB pauses writers for a third of a second every few seconds."""

_BATCH_MB = 64
"""More than one group of events adds to the write-ahead log."""

RESERVE_BYTES = 64 * 2**20
RESERVE_SHARE = 0.05
"""Events leave this much of a disk free, whichever is less: decisions must still be written."""

_UNOPENED = "the metric store cannot be opened"
_DAMAGED = re.compile(
    r"corrupt|checksum|replaying WAL|not a valid DuckDB|read enough bytes", re.IGNORECASE
)
"""How the engine speaks of a file that is not as it was written."""

_open_here: set[Path] = set()
_given_up: set[Path] = set()
_open_lock = threading.Lock()


@contextmanager
def told(path: Path, what: str) -> Generator[None]:
    """Raise the engine's errors as the store's, with the file and what could not be done."""
    try:
        yield
    except duckdb.Error as error:
        note(path, error)
        raise StoreError(f"{path}: {what} ({short(error)}){mending(error)}") from error


def note(path: Path, error: BaseException) -> None:
    """Remember when the engine has given a file up: it must be opened again to be of use.

    It does so when it cannot write a checkpoint, for instance on a full disk. What was
    committed is in its write-ahead log, also the transaction after which it tried.
    """
    if isinstance(error, duckdb.FatalException):
        with _open_lock:
            _given_up.add(path)


def given_up(path: Path) -> bool:
    """Return whether the engine has given a file up that is still to be opened again."""
    return path in _given_up


def require_room(path: Path) -> None:
    """Refuse to write events when little of the disk is left.

    Raises:
        StoreError: Less than the reserve is free; nothing was written.
    """
    free, reserve = _room(path)
    if free < reserve:
        raise StoreError(
            f"{path}: the disk is full ({free / 2**20:,.1f} MiB free, the last "
            f"{reserve / 2**20:,.1f} are kept for decisions); nothing of the batch was kept, "
            "make room and send it again"
        )


def checkpoint_fits(path: Path) -> bool:
    """Return whether the write-ahead log can go into the main file and leave the reserve free."""
    free, reserve = _room(path)
    return free - reserve >= _wal_bytes(path)


def checkpoint_later(connection: duckdb.DuckDBPyConnection, path: Path, limit: int) -> int:
    """Put off the checkpoint that is near while the disk has no room for it.

    One that breaks off takes the last of the disk, and the engine gives the file up.

    Args:
        connection: To the file.
        path: The file.
        limit: Megabytes of write-ahead log at which the engine writes a checkpoint.

    Returns:
        The limit from now on.
    """
    size = _wal_bytes(path) // 10**6
    if size + _BATCH_MB < limit or checkpoint_fits(path):
        return limit
    return _set_limit(connection, path)


def reconnect(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a file again that the engine has given up; its old connection is closed.

    Raises:
        StoreError: It cannot be opened yet; it may be tried again.
    """
    connection = connect(path)
    # or the next commit would try the checkpoint again that has just failed, and the next
    _set_limit(connection, path)
    with _open_lock:
        _given_up.discard(path)
    return connection


def _set_limit(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    limit = _wal_bytes(path) // 10**6 + _BATCH_MB + CHECKPOINT_MB
    with told(path, "the metric store cannot be opened"):
        connection.execute(f"SET checkpoint_threshold = '{limit}MB'")
    return limit


def _room(path: Path) -> tuple[int, int]:
    """Return how many bytes are free, and how many of them are kept for decisions."""
    disk = os.statvfs(path.parent)
    size = disk.f_blocks * disk.f_frsize
    return disk.f_bavail * disk.f_frsize, min(RESERVE_BYTES, int(RESERVE_SHARE * size))


def _wal_bytes(path: Path) -> int:
    try:
        return path.with_name(path.name + ".wal").stat().st_size
    except FileNotFoundError:
        return 0


def connect(path: Path) -> duckdb.DuckDBPyConnection:
    """Open the file, which is created with its folder.

    Raises:
        StoreLockedError: Another process holds it.
        StoreError: It cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return duckdb.connect(
            str(path),
            config={
                "checkpoint_threshold": f"{CHECKPOINT_MB}MB",
                "autoinstall_known_extensions": "false",
            },
        )
    except duckdb.IOException as error:
        if "lock" in str(error).lower():
            raise StoreLockedError(
                f"{path} is held by {holder(str(error))}",
                "stop that process, or give this one a folder of its own with --data",
            ) from error
        raise StoreError(f"{path}: {_UNOPENED} ({error}){mending(error)}") from error
    except (duckdb.Error, OSError) as error:
        raise StoreError(f"{path}: {_UNOPENED} ({error}){mending(error)}") from error


def mending(error: Exception) -> str:
    """Return what to do about a damaged file, to be added; empty where none is damaged."""
    if _DAMAGED.search(str(error)) is None:
        return ""
    return (
        "; the file is damaged: put back the control plane and the metric store of one backup, "
        "both of them, as `turnback backup` made them"
    )


def short(error: Exception) -> str:
    """Return the first line of an error of the engine; the others repeat it."""
    return str(error).partition("\n")[0]


def holder(told: str) -> str:
    """Return who holds a file, by what the engine tells."""
    found = re.search(r"\bPID (\d+)", told)
    return f"another process (PID {found.group(1)})" if found else "another process"


def claim(path: Path) -> None:
    """Note that this process opens a file; twice at once is refused.

    Raises:
        StoreLockedError: This process has it open already.
    """
    with _open_lock:
        if path in _open_here:
            raise StoreLockedError(
                f"{path}: this process ({os.getpid()}) has the metric store open already",
                "use that one, or close it first",
            )
        _open_here.add(path)


def release(path: Path) -> None:
    """Note that this process has closed a file; idempotent."""
    with _open_lock:
        _open_here.discard(path)
        _given_up.discard(path)
