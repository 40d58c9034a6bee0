"""The durable event log in one DuckDB file. No meaning here, only rows."""

import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import msgspec
import numpy as np
import pyarrow as pa

from metrics.events import Event, Rejection, from_micros
from metrics.store import StoreError
from metrics.stores.connection import claim, connect, release, told
from metrics.stores.rows import LogRows, Stamped
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
    ]
)
_READ = 20_000
_READ_ROWS = 65_536
_UNREAD = "events could not be read; check the disk and the memory limit"
_encode_lines = msgspec.json.Encoder().encode_lines
T = TypeVar("T")
_units = msgspec.json.Decoder(dict[str, str]).decode
_fields = msgspec.json.Decoder(dict[str, str | bool | int]).decode


class EventLog:
    """One file, one writer. Writes hold the caller's lock; reads use a cursor of their own.

    Whatever fails in the engine is raised as `StoreError`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self._cursors = threading.Lock()
        claim(self._path)
        try:
            self._connection = connect(self._path)
            with told(self._path, "the metric store cannot be opened"):
                prepare(self._connection, self._path)
            self._closed = False
            self._opening: str | None = None
            self._opened_at = self.newest()
        except BaseException:
            release(self._path)
            raise

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def newest(self) -> int:
        """Return the largest sequence number ever given; those of erased events never return."""
        return max(
            self.one("SELECT coalesce(max(seq), 0) FROM events"),
            self.one("SELECT coalesce(max(value::BIGINT), 0) FROM meta WHERE key = 'sequence'"),
        )

    def write(
        self, events: Sequence[Stamped], rejections: Sequence[Rejection], received_at: int
    ) -> None:
        """Make events and rejections durable in one transaction.

        Raises:
            StoreError: Nothing was kept.
        """
        connection = self._open()
        try:
            connection.execute("BEGIN")
            opening = self._opening or self._note_opening()
            if events:
                self._insert("events", _event_table(events, received_at))
            if rejections:
                number = self.one("SELECT coalesce(max(number), 0) FROM quarantine")
                self._insert("quarantine", _rejection_table(rejections, received_at, number))
            connection.execute("COMMIT")
            self._opening = opening
        except Exception as error:
            self._roll_back()
            raise StoreError(
                f"{self._path}: nothing of the batch was kept ({error}); "
                "check free disk space, then send it again"
            ) from error

    def transact(self, what: str, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Return what ``work`` does in one transaction; the caller holds the lock of writers.

        Raises:
            StoreError: ``what``, and nothing of it was kept.
        """
        connection = self._open()
        with told(self._path, what):
            connection.execute("BEGIN")
            try:
                done = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
        return done

    def opening(self) -> str:
        """Return the token of the newest opening that wrote; the caller holds the lock."""
        if self._opening is None:
            self._opening = self.transact(
                "the opening could not be recorded", lambda _: self._note_opening()
            )
        return self._opening

    def knows(self, opening: str, processed: int) -> bool:
        """Return whether what an opening had counted up to ``processed`` is in this log.

        A file that was put back from a backup goes on with the numbers after it: totals of the
        time between are totals of other events.
        """
        rows = self.rows("SELECT value FROM meta WHERE key = 'opening'", [])
        parts = [str(value).split() for (value,) in rows]
        openings = sorted((int(number), token, int(seq)) for number, token, seq in parts)
        tokens = [token for _, token, _ in openings]
        if opening not in tokens:
            return False
        later = openings[tokens.index(opening) + 1 :]
        if later:
            return processed <= later[0][2]
        # the newest opening that wrote is this one, or this one has written nothing yet
        return opening == self._opening or processed <= self._opened_at

    def checkpoint(self) -> None:
        """Write everything into the main file; if that is not possible now, later."""
        with suppress(duckdb.Error):
            self._open().execute("CHECKPOINT")

    def read(self, after: int, upto: int, *, since: int) -> Iterator[LogRows]:
        """Return the events with after < seq <= upto and since <= happened_at, in chunks.

        In no order: sorting a whole log would cost more memory than there is.
        """
        query = (
            "SELECT seq, happened_at, name, units, fields, trusted FROM events "
            "WHERE seq > ? AND seq <= ? AND happened_at >= ?"
        )
        for chunk in self._arrow(query, [after, upto, since]):
            yield LogRows(chunk)

    def ids_since(self, since: int) -> Iterator[list[str]]:
        """Return the ids of events that happened at an instant or later, in chunks."""
        for chunk in self._arrow("SELECT id FROM events WHERE happened_at >= ?", [since]):
            yield chunk.column("id").to_pylist()

    def count(self, after: int, upto: int, *, since: int) -> int:
        """Return how many events `read` would return."""
        query = "SELECT count(*) FROM events WHERE seq > ? AND seq <= ? AND happened_at >= ?"
        ((count,),) = self.rows(query, [after, upto, since])
        return int(count)

    def read_each(self, upto: int) -> Iterator[list[tuple[int, str]]]:
        """Return every event's number, and why it cannot be read (empty: it can), in chunks."""
        for rows in self._chunks("seq <= ?", [upto]):
            yield [(int(row[0] or 0), _problem(row)) for row in rows]

    def exposures(self, since: int, until: int) -> Iterable[Event]:
        """Return the exposures with since <= happened_at < until in order of arrival."""
        where = "name = 'exposure' AND happened_at >= ? AND happened_at < ?"
        for chunk in self.stamped(where, (since, until)):
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
        return dict(self.rows(query, list(seqs)))

    def ids(self) -> list[tuple[str, int]]:
        """Return every id with its time."""
        return self.rows("SELECT id, happened_at FROM events", [])

    def rejections(self, limit: int) -> list[Rejection]:
        """Return the newest rejections, newest first."""
        rows = self.rows(
            "SELECT position, id, field, reason, code, event FROM quarantine "
            "ORDER BY number DESC LIMIT ?",
            [limit],
        )
        return [Rejection(*row) for row in rows]

    def one(self, query: str) -> int:
        """Return the single number a query gives."""
        # fetchall: a result with rows left blocks the next statement of its connection
        with told(self._path, _UNREAD):
            ((number,),) = self._open().execute(query).fetchall()
        return int(number)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a cursor for reading from any thread."""
        with self._cursors, told(self._path, _UNREAD):
            return self._open().cursor()

    def close(self) -> None:
        """Write everything into the main file and release it; idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            self._connection.execute("CHECKPOINT")
        except duckdb.Error:
            pass  # what is committed is in the write-ahead log and is read on the next start
        finally:
            try:
                with told(self._path, "the metric store could not be closed"):
                    self._connection.close()
            finally:
                release(self._path)

    def stamped(self, where: str, values: Sequence[object]) -> Iterator[list[Stamped]]:
        """Return the events of a condition in order of arrival, in chunks."""
        for rows in self._chunks(where, values):
            yield [_event(row) for row in rows]

    def _chunks(self, where: str, values: Sequence[object]) -> Iterator[list[Any]]:
        cursor = self.cursor()
        query = (
            "SELECT seq, id, happened_at, name, units, fields, trusted FROM events "  # noqa: S608 - our own conditions
            f"WHERE {where} ORDER BY seq"
        )
        with told(self._path, _UNREAD):
            cursor.execute(query, list(values))
        while True:
            with told(self._path, _UNREAD):
                rows = cursor.fetchmany(_READ)
            if not rows:
                return
            yield rows

    def meta(self, key: str) -> str | None:
        """Return what the file remembers under a key."""
        rows = self.rows("SELECT value FROM meta WHERE key = ?", [key])
        return str(rows[0][0]) if rows else None

    def _arrow(self, query: str, values: Sequence[object]) -> Iterator[Any]:
        """Return the rows of a query as Arrow columns, in chunks that are not empty."""
        cursor = self.cursor()
        with told(self._path, _UNREAD):
            chunks = iter(cursor.sql(query, params=list(values)).to_arrow_reader(_READ_ROWS))
        while True:
            try:
                with told(self._path, _UNREAD):
                    chunk = next(chunks, None)
            except (pa.ArrowException, OSError) as error:
                raise StoreError(f"{self._path}: {_UNREAD} ({error})") from error
            if chunk is None:
                return
            if chunk.num_rows:
                yield chunk

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        """Return all rows of a query, read by a cursor of its own."""
        cursor = self.cursor()
        with told(self._path, _UNREAD):
            return cursor.execute(query, list(values)).fetchall()

    def _open(self) -> duckdb.DuckDBPyConnection:
        if self._closed:
            raise StoreError(f"{self._path}: the metric store is closed; open it again")
        return self._connection

    def _note_opening(self) -> str:
        """Record that this opening writes, and from which number on; in a transaction."""
        number = self.one("SELECT count(*) FROM meta WHERE key = 'opening'")
        token = secrets.token_hex(8)
        self._open().execute(
            "INSERT INTO meta VALUES ('opening', ?)", [f"{number + 1} {token} {self._opened_at}"]
        )
        return token

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


def _problem(row: Sequence[Any]) -> str:
    """Return why a row is no event, empty when it is one."""
    try:
        _event(row)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        return str(error) or type(error).__name__
    return ""


def _event_table(events: Sequence[Stamped], received_at: int) -> Any:
    every = [event for _, _, event in events]
    columns: list[Any] = [
        np.array([seq for seq, _, _ in events], np.int64),
        [event.id for event in every],
        np.array([at for _, at, _ in events], np.int64),
        np.full(len(events), received_at, np.int64),
        [event.name for event in every],
        _as_json([event.units for event in every]),
        _as_json([event.fields for event in every]),
        [event.trusted for event in every],
    ]
    return _table(columns, _EVENTS)


def _as_json(objects: Sequence[Mapping[str, Any]]) -> Any:
    """Return JSON texts: all encoded in one go, since a line break is never part of one."""
    lines = _encode_lines(objects).split(b"\n")
    return pa.array(lines[: len(objects)], pa.binary()).cast(pa.string())


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
    ]
    return _table(columns, _QUARANTINE)


def _table(columns: Sequence[Any], schema: Any) -> Any:
    arrays = [
        values if isinstance(values, pa.Array) else pa.array(values, part.type)
        for values, part in zip(columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
