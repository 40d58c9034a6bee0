"""The tables of a store file, as numbered steps: a file of an older version is brought up to date.

A step is never changed once released; what is new is a new step at the end. Each step is one
transaction together with its number, so a file is never between two versions.
"""

from pathlib import Path

import duckdb

from metrics.store import StoreError

STEPS: tuple[tuple[str, ...], ...] = (
    (
        (
            "CREATE TABLE IF NOT EXISTS events (seq BIGINT, id VARCHAR, happened_at BIGINT, "
            "received_at BIGINT, name VARCHAR, units VARCHAR, fields VARCHAR, trusted BOOLEAN)"
        ),
        (
            "CREATE TABLE IF NOT EXISTS quarantine (number BIGINT, received_at BIGINT, "
            "position BIGINT, id VARCHAR, field VARCHAR, reason VARCHAR, code VARCHAR, "
            "event VARCHAR)"
        ),
    ),
    (
        # who sent a refused event decides what it may feed when it is sent again
        "ALTER TABLE quarantine ADD COLUMN trusted BOOLEAN DEFAULT FALSE",
        # what was taken out of the log on purpose; `sequence` in meta keeps numbers from returning
        (
            "CREATE TABLE erasures (number BIGINT, erased_at BIGINT, kind VARCHAR, before BIGINT, "
            "events BIGINT, first_seq BIGINT, last_seq BIGINT)"
        ),
    ),
)
"""Statements of each version: after ``STEPS[n - 1]`` a file has schema n."""

SCHEMA_VERSION = len(STEPS)


def prepare(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Bring a file to the newest schema.

    Raises:
        StoreError: A newer version wrote it.
    """
    connection.execute("CREATE TABLE IF NOT EXISTS meta (key VARCHAR, value VARCHAR)")
    rows = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchall()
    version = int(rows[0][0]) if rows else 0
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path}: written by a newer version (schema {version}, this one reads up to "
            f"{SCHEMA_VERSION}); open it with the version that wrote it, or use a new file"
        )
    for number in range(version + 1, SCHEMA_VERSION + 1):
        connection.execute("BEGIN")
        try:
            for statement in STEPS[number - 1]:
                connection.execute(statement)
            connection.execute("DELETE FROM meta WHERE key = 'schema'")
            connection.execute("INSERT INTO meta VALUES ('schema', ?)", [str(number)])
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
