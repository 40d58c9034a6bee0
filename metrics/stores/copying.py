"""The history of a store as it was at one instant, while it goes on working; copies of it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import duckdb

from metrics.store import StoreError
from metrics.stores.connection import told
from metrics.stores.unit_names import copy_key

ROWS = 100_000
"""Rows in memory at a time, and in a row group of an export."""

TOTALS = ".totals"
"""Saved running totals are in a folder beside the store, named like it with this."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """What a store held at one instant: later writes do not show, and none of them waits.

    Attributes:
        path: The store's file.
        watermark: Sequence number of the newest event.
        cursor: Reads that instant, in one transaction.
        totals: Saved totals as they were, by name; open, so that a later save takes none away.
    """

    path: Path
    watermark: int
    cursor: duckdb.DuckDBPyConnection
    totals: Sequence[tuple[str, BinaryIO]]

    def rows(self, query: str) -> list[Any]:
        """Return the rows of a query."""
        with told(self.path, "the store could not be read"):
            return self.cursor.execute(query).fetchall()

    def batches(self, query: str) -> Any:
        """Return the rows of a query as an Arrow reader, a part of them in memory at a time."""
        with told(self.path, "the store could not be read"):
            return self.cursor.sql(query).to_arrow_reader(ROWS)


def freeze(
    path: Path, watermark: int, cursor: duckdb.DuckDBPyConnection, stack: ExitStack
) -> Frozen:
    """Begin to read what is there now; nobody may write until this returns.

    Args:
        path: The store's file.
        watermark: Sequence number of its newest event.
        cursor: A cursor of its own.
        stack: Closes what is opened here.
    """
    frozen = Frozen(path, watermark, cursor, tuple(_saved(path, stack)))
    with told(path, "the store could not be read"):
        cursor.execute("BEGIN")
        stack.callback(_end, cursor)
        cursor.execute("SELECT count(*) FROM meta").fetchall()  # the transaction begins here
    return frozen


def copy_store(frozen: Frozen, target: Path) -> None:
    """Write the store anew as ``target``, with the saved totals beside it, and fsync.

    Raises:
        StoreError: It could not be read or written; ``target`` is incomplete.
        OSError: The saved totals could not be written.
    """
    tables = frozen.rows(
        "SELECT table_name, sql FROM duckdb_tables() WHERE NOT internal ORDER BY table_name"
    )
    # an engine of its own: when the target's disk is full, the store that serves lives on
    with told(target, "the copy could not be written"):
        copy = duckdb.connect(str(target), config={"autoinstall_known_extensions": "false"})
        try:
            for name, statement in tables:
                copy.execute(statement)
                copy.register("incoming", frozen.batches(f'SELECT * FROM "{name}"'))  # noqa: S608 - a name from the catalogue
                copy.execute(f'INSERT INTO "{name}" SELECT * FROM incoming')  # noqa: S608 - as above
                copy.unregister("incoming")
            copy.execute("CHECKPOINT")
        finally:
            copy.close()
    copy_key(frozen.path, target)
    _copy_totals(frozen, target.with_name(target.name + TOTALS))


def durable(path: Path) -> None:
    """Return when a file or folder is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _copy_totals(frozen: Frozen, folder: Path) -> None:
    if not frozen.totals:
        return
    folder.mkdir()
    for name, saved in frozen.totals:
        with (folder / name).open("wb") as out:
            while part := saved.read(2**20):
                out.write(part)
            out.flush()
            os.fsync(out.fileno())
    durable(folder)


def _saved(path: Path, stack: ExitStack) -> Iterator[tuple[str, BinaryIO]]:
    """Open the saved totals, each of which is replaced as a whole and never written again."""
    folder = path.with_name(path.name + TOTALS)
    if not folder.is_dir():
        return
    for each in sorted(folder.iterdir()):
        if each.is_file() and not each.name.startswith(".") and each.suffix not in _HALF_WRITTEN:
            try:
                yield each.name, stack.enter_context(each.open("rb"))
            except FileNotFoundError:
                continue  # replaced or removed just now: totals that are not there are recounted
            except OSError as error:
                raise StoreError(f"{each}: cannot be read ({error.strerror})") from error


_HALF_WRITTEN = frozenset({".tmp", ".partial", ".new"})


def _end(cursor: duckdb.DuckDBPyConnection) -> None:
    try:
        cursor.execute("ROLLBACK")
    except duckdb.Error:
        return  # the engine ended it
