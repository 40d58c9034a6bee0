"""A look at a store file from outside: nothing is written, nothing is brought up to date."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from metrics.events import from_micros
from metrics.store import StoreError, StoreLockedError
from metrics.stores.connection import claim, holder, mending, release, short
from metrics.stores.mark import Mark
from metrics.stores.schema import SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class EventCount:
    """Events of one name that were received lately: with a secret key, and with a public one."""

    name: str
    trusted: int
    untrusted: int
    newest_at: datetime


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What a store file says of itself.

    Attributes:
        schema: Of its tables; ``newest_schema`` is what this version writes.
        watermark: Sequence number of the newest event ever, 0 without any.
        received_at: When the newest event came, ``None`` without any.
        lately: Events of the last day before that, by name.
        quarantined: Refused events of that day by reason, the most frequent first.
        lost: What was acknowledged and is not there, in words; else empty.
    """

    schema: int
    newest_schema: int
    watermark: int
    received_at: datetime | None
    lately: tuple[EventCount, ...]
    quarantined: Mapping[str, int]
    lost: str


def inspect_store(path: Path, *, lately: timedelta = timedelta(days=1)) -> StoreFacts:
    """Read what a store file says of itself; its bytes stay as they are.

    Args:
        path: The file.
        lately: How far before the newest event counts go back.

    Raises:
        StoreLockedError: A process holds the file.
        StoreError: It is damaged, is no store, or was written by a newer version.
    """
    path = path.resolve()
    claim(path)
    try:
        connection = _opened(path)
        try:
            return _facts(connection, path, lately)
        except duckdb.Error as error:
            raise StoreError(f"{path}: cannot be read ({short(error)}){mending(error)}") from error
        finally:
            connection.close()
    finally:
        release(path)


def _opened(path: Path) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(
            str(path), read_only=True, config={"autoinstall_known_extensions": "false"}
        )
    except duckdb.Error as error:
        if "lock" in str(error).lower():
            hint = "stop that process, or ask the service that runs"
            raise StoreLockedError(f"{path} is held by {holder(str(error))}", hint) from error
        raise StoreError(f"{path}: cannot be opened ({short(error)}){mending(error)}") from error


def _facts(connection: duckdb.DuckDBPyConnection, path: Path, lately: timedelta) -> StoreFacts:
    schema = int(_one(connection, "SELECT value FROM meta WHERE key = 'schema'") or 0)
    if schema > SCHEMA_VERSION:
        raise StoreError(
            f"{path}: written by a newer version (schema {schema}, this one reads up to "
            f"{SCHEMA_VERSION}); open it with the version that wrote it"
        )
    opening = _one(connection, "SELECT value FROM meta WHERE key = 'opening' AND value LIKE '1 %'")
    token = None if opening is None else str(opening).split()[1]
    newest = int(_one(connection, "SELECT coalesce(max(seq), 0) FROM events"))
    given = _one(connection, "SELECT max(value::BIGINT) FROM meta WHERE key = 'sequence'") or 0
    received = _one(connection, "SELECT max(received_at) FROM events")
    since = 0 if received is None else received - lately // timedelta(microseconds=1)
    return StoreFacts(
        schema=schema,
        newest_schema=SCHEMA_VERSION,
        watermark=max(newest, int(given)),
        received_at=None if received is None else from_micros(received),
        lately=_lately(connection, since),
        quarantined=_quarantined(connection, since),
        lost=Mark(path).missing(token, max(newest, int(given))),
    )


def _lately(connection: duckdb.DuckDBPyConnection, since: int) -> tuple[EventCount, ...]:
    rows = connection.execute(
        "SELECT name, count(*) FILTER (WHERE trusted), count(*) FILTER (WHERE NOT trusted), "
        "max(happened_at) FROM events WHERE received_at >= ? GROUP BY name ORDER BY name",
        [since],
    ).fetchall()
    return tuple(EventCount(name, ours, any_, from_micros(at)) for name, ours, any_, at in rows)


def _quarantined(connection: duckdb.DuckDBPyConnection, since: int) -> Mapping[str, int]:
    rows = connection.execute(
        "SELECT code, count(*) FROM quarantine WHERE received_at >= ? GROUP BY code "
        "ORDER BY 2 DESC, 1",
        [since],
    ).fetchall()
    return {str(code): int(count) for code, count in rows}


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    row = connection.execute(query).fetchone()
    return None if row is None else row[0]
