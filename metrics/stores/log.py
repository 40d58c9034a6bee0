"""The durable event log in one DuckDB file. No meaning here, only rows."""

import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa

from metrics.events import Event, Rejection, from_micros
from metrics.store import StoreError
from metrics.stores.connection import (
    CHECKPOINT_MB,
    checkpoint_fits,
    checkpoint_later,
    claim,
    connect,
    given_up,
    note,
    reconnect,
    release,
    require_room,
    short,
    told,
)
from metrics.stores.schema import prepare

_EVENTS = pa.schema(
    [
        ("seq", pa.int64()),
        ("id", pa.string()),
        ("happened_at", pa.int64()),
        ("received_at", pa.int64()),
        ("name", pa.string()),
        ("units", pa.string()),
        ("fields", pa.string()),
        ("trusted", pa.bool_()),
    ]
)
_QUARANTINE = pa.schema(
    [
        ("number", pa.int64()),
        ("received_at", pa.int64()),
        ("position", pa.int64()),
        ("id", pa.string()),
        ("field", pa.string()),
        ("reason", pa.string()),
        ("code", pa.string()),
        ("event", pa.string()),
        ("trusted", pa.bool_()),
    ]
)
_LAST_NUMBER = (
    "SELECT greatest(coalesce(max(number), 0), coalesce("
    "(SELECT value::BIGINT FROM meta WHERE key = 'quarantine'), 0)) FROM quarantine"
)
"""A number that a person was shown never means another event, even after it was released."""

_READ = 20_000
_PATIENCE = 30.0
_UNREAD = "events could not be read; check the disk and the memory limit"
_encode = msgspec.json.Encoder().encode
_units = msgspec.json.Decoder(dict[str, str]).decode
_fields = msgspec.json.Decoder(dict[str, str | bool | int]).decode


Stamped = tuple[int, int, Event]
"""Sequence number, time in microseconds, event."""


class EventLog:
    """One file, one writer. Writes hold the caller's lock; reads use a cursor of their own.

    Whatever fails in the engine is raised as `StoreError`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self._reading = threading.Condition()
        self._readers = 0
        self._checkpoint_mb = CHECKPOINT_MB
        claim(self._path)
        try:
            self._connection = connect(self._path)
            with told(self._path, "the metric store cannot be opened"):
                prepare(self._connection, self._path)
        except BaseException:
            release(self._path)
            raise
        self._closed = False

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def lost(self) -> bool:
        """Whether the engine has given the file up; `reopen` opens it again."""
        return given_up(self._path)

    def reopen(self) -> None:
        """Open the file again after the engine gave it up; what was committed is in it.

        Nobody may be writing. Readers end first: none of them can go on.

        Raises:
            StoreError: It cannot be opened yet, for instance because there is no room.
        """
        self._open()
        with self._reading:
            if not self._reading.wait_for(lambda: self._readers == 0, timeout=_PATIENCE):
                raise StoreError(f"{self._path}: it is still being read; try again")
            with suppress(duckdb.Error):
                self._connection.close()
            self._connection = reconnect(self._path)

    def write(
        self, events: Sequence[Stamped], rejections: Sequence[Rejection], received_at: int
    ) -> None:
        """Make events and rejections durable in one transaction.

        Raises:
            StoreError: Nothing was kept.
        """
        connection = self._open()
        require_room(self._path)
        self._checkpoint_mb = checkpoint_later(connection, self._path, self._checkpoint_mb)
        try:
            connection.execute("BEGIN")
            if events:
                self._insert("events", _event_table(events, received_at))
            if rejections:
                number = self.one(_LAST_NUMBER)
                self._insert("quarantine", _rejection_table(rejections, received_at, number))
            connection.execute("COMMIT")
        except Exception as error:
            note(self._path, error)
            self._roll_back()
            # committed, and then the engine gave up: sent again, the events are recognised
            kept = "it is not known whether the" if self.lost else "nothing of the"
            raise StoreError(
                f"{self._path}: {kept} batch was kept ({short(error)}); "
                "check free disk space, then send it again"
            ) from error

    def read(self, after: int, upto: int, *, since: int) -> Iterator[list[Stamped]]:
        """Return the events with after < seq <= upto and since <= happened_at, in chunks."""
        return self._stamped("seq > ? AND seq <= ? AND happened_at >= ?", (after, upto, since))

    def exposures(self, since: int, until: int) -> Iterable[Event]:
        """Return the exposures with since <= happened_at < until in order of arrival."""
        where = "name = 'exposure' AND happened_at >= ? AND happened_at < ?"
        for chunk in self._stamped(where, (since, until)):
            yield from (event for _, _, event in chunk)

    def times_of(self, wanted: Sequence[str], since: int, until: int) -> dict[str, list[int]]:
        """Return the stored times of ids within since <= happened_at <= until."""
        connection = self._open()
        with told(self._path, "ids could not be looked up"):
            connection.register("wanted", pa.table({"id": pa.array(wanted, pa.string())}))
            try:
                rows = connection.execute(
                    "SELECT id, happened_at FROM events "
                    "WHERE happened_at BETWEEN ? AND ? AND id IN (SELECT id FROM wanted)",
                    [since, until],
                ).fetchall()
            finally:
                connection.unregister("wanted")
        times: dict[str, list[int]] = {}
        for event_id, at in rows:
            times.setdefault(event_id, []).append(at)
        return times

    def ids_of(self, seqs: Sequence[int]) -> Mapping[int, str]:
        """Return event ids by sequence number."""
        marks = ", ".join("?" * len(seqs))
        query = f"SELECT seq, id FROM events WHERE seq IN ({marks})"  # noqa: S608 - only marks
        return dict(self._rows(query, list(seqs)))

    def ids(self) -> list[tuple[str, int]]:
        """Return every id with its time."""
        return self._rows("SELECT id, happened_at FROM events", [])

    def rejections(self, limit: int, code: str | None, before: int | None) -> list[Rejection]:
        """Return the newest rejections, of a code and below a number, newest first."""
        return self._rejections(
            "($1 IS NULL OR code = $1) AND ($2 IS NULL OR number < $2) "
            "ORDER BY number DESC LIMIT $3",
            [code, before, limit],
        )

    def held(self, numbers: Sequence[int]) -> list[Rejection]:
        """Return the rejections of these numbers, ascending."""
        if not numbers:
            return []
        return self._rejections("number IN (SELECT unnest($1)) ORDER BY number", [list(numbers)])

    def release(self, numbers: Sequence[int]) -> int:
        """Remove rejections; returns how many there were.

        Raises:
            StoreError: None was removed.
        """
        if not numbers:
            return 0
        connection = self._open()
        with told(self._path, "the quarantine could not be changed"):
            connection.execute("BEGIN")
            try:
                last = self.one(_LAST_NUMBER)
                connection.execute("DELETE FROM meta WHERE key = 'quarantine'")
                connection.execute("INSERT INTO meta VALUES ('quarantine', ?)", [str(last)])
                query = "DELETE FROM quarantine WHERE number IN (SELECT unnest(?))"
                ((gone,),) = connection.execute(query, [list(numbers)]).fetchall()
                connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
        return int(gone)

    def quarantine_counts(self) -> dict[str, int]:
        """Return how many rejections there are by code, the most frequent first."""
        query = "SELECT code, count(*) FROM quarantine GROUP BY code ORDER BY count(*) DESC, code"
        return dict(self._rows(query, []))

    def _rejections(self, where: str, values: Sequence[object]) -> list[Rejection]:
        query = (
            "SELECT position, id, field, reason, code, event, trusted, number FROM quarantine "  # noqa: S608 - our own conditions
            f"WHERE {where}"
        )
        return [Rejection(*row) for row in self._rows(query, values)]

    def one(self, query: str) -> int:
        """Return the single number a query gives."""
        # fetchall: a result with rows left blocks the next statement of its connection
        with told(self._path, _UNREAD):
            ((number,),) = self._open().execute(query).fetchall()
        return int(number)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a cursor for reading from any thread."""
        with self._reading, told(self._path, _UNREAD):
            return self._open().cursor()

    @contextmanager
    def reader(self) -> Generator[duckdb.DuckDBPyConnection]:
        """Lend a cursor for reading, from any thread; the file stays open meanwhile."""
        with self._reading:
            cursor = self.cursor()
            self._readers += 1
        try:
            yield cursor
        finally:
            with suppress(duckdb.Error):
                cursor.close()
            with self._reading:
                self._readers -= 1
                self._reading.notify_all()

    def close(self) -> None:
        """Write everything into the main file and release it; idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            if checkpoint_fits(self._path):
                self._connection.execute("CHECKPOINT")
            else:  # the last of the disk is not ours
                self._connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        except duckdb.Error:
            pass  # what is committed is in the write-ahead log and is read on the next start
        finally:
            try:
                with told(self._path, "the metric store could not be closed"):
                    self._connection.close()
            finally:
                release(self._path)

    def _stamped(self, where: str, values: Sequence[int]) -> Iterator[list[Stamped]]:
        """Return the events of a condition in order of arrival, in chunks."""
        query = (
            "SELECT seq, id, happened_at, name, units, fields, trusted FROM events "  # noqa: S608 - our own conditions
            f"WHERE {where} ORDER BY seq"
        )
        with self.reader() as cursor:
            with told(self._path, _UNREAD):
                cursor.execute(query, list(values))
            while True:
                with told(self._path, _UNREAD):
                    rows = cursor.fetchmany(_READ)
                if not rows:
                    return
                yield [_event(row) for row in rows]

    def _rows(self, query: str, values: Sequence[object]) -> list[Any]:
        with self.reader() as cursor, told(self._path, _UNREAD):
            return cursor.execute(query, list(values)).fetchall()

    def _open(self) -> duckdb.DuckDBPyConnection:
        if self._closed:
            raise StoreError(f"{self._path}: the metric store is closed; open it again")
        return self._connection

    def _insert(self, table: str, rows: Any) -> None:
        self._connection.register("incoming", rows)
        try:
            self._connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")  # noqa: S608 - our names
        finally:
            self._connection.unregister("incoming")

    def _roll_back(self) -> None:
        try:
            self._connection.execute("ROLLBACK")
        except duckdb.Error:
            return  # the transaction never began, or the engine already ended it


def _event(row: Sequence[Any]) -> Stamped:
    seq, event_id, at, name, units, fields, trusted = row
    return seq, at, Event(event_id, name, from_micros(at), _units(units), _fields(fields), trusted)


def _event_table(events: Sequence[Stamped], received_at: int) -> Any:
    columns: list[Any] = [
        [seq for seq, _, _ in events],
        [event.id for _, _, event in events],
        [at for _, at, _ in events],
        [received_at] * len(events),
        [event.name for _, _, event in events],
        [_encode(event.units).decode() for _, _, event in events],
        [_encode(event.fields).decode() for _, _, event in events],
        [event.trusted for _, _, event in events],
    ]
    return _table(columns, _EVENTS)


def _rejection_table(rejections: Sequence[Rejection], received_at: int, number: int) -> Any:
    columns: list[Any] = [
        list(range(number + 1, number + 1 + len(rejections))),
        [received_at] * len(rejections),
        [each.index for each in rejections],
        [each.id for each in rejections],
        [each.field for each in rejections],
        [each.reason for each in rejections],
        [each.code for each in rejections],
        [each.event for each in rejections],
        [each.trusted for each in rejections],
    ]
    return _table(columns, _QUARANTINE)


def _table(columns: Sequence[Any], schema: Any) -> Any:
    arrays = [pa.array(values, part.type) for values, part in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)
