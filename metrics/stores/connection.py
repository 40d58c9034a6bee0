"""Opening the one DuckDB file: who holds it, and what the engine's errors mean for people."""

import os
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from metrics.store import StoreError, StoreLockedError

CHECKPOINT_THRESHOLD = "1GB"
"""The default of 16 MB pauses writers for a third of a second every few seconds."""

_open_here: set[Path] = set()
_open_lock = threading.Lock()


@contextmanager
def told(path: Path, what: str) -> Generator[None]:
    """Raise the engine's errors as the store's, with the file and what could not be done."""
    try:
        yield
    except duckdb.Error as error:
        raise StoreError(f"{path}: {what} ({error})") from error


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
                "checkpoint_threshold": CHECKPOINT_THRESHOLD,
                "autoinstall_known_extensions": "false",
            },
        )
    except duckdb.IOException as error:
        if "lock" in str(error).lower():
            raise StoreLockedError(
                f"{path} is held by {_holder(str(error))}",
                "stop that process, or give this one a folder of its own with --data",
            ) from error
        raise StoreError(f"{path}: the metric store cannot be opened ({error})") from error
    except (duckdb.Error, OSError) as error:
        raise StoreError(f"{path}: the metric store cannot be opened ({error})") from error


def _holder(told: str) -> str:
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
