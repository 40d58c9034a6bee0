"""The durable event log in one DuckDB file. No meaning here, only rows."""

import logging
import secrets
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from metrics.events import Event, Rejection
from metrics.store import StoreError
from metrics.stores.admission import ids_of, key_of
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
from metrics.stores.log_rows import as_written, event, event_table, problem, rejection_table
from metrics.stores.mark import Mark
from metrics.stores.refused import LAST_NUMBER
from metrics.stores.rows import LogRows, Stamped
from metrics.stores.schema import prepare

logger = logging.getLogger("turnback.store")

_READ = 20_000
_READ_ROWS = 65_536
_PATIENCE = 30.0
_OPENINGS = "SELECT value FROM meta WHERE key = 'opening'"
_UNREAD = "events could not be read; check the disk and the memory limit"
T = TypeVar("T")


class EventLog:
    """One file, one writer. Writes hold the caller's lock; reads use a cursor of their own.

    Whatever fails in the engine is raised as `StoreError`.

    Attributes:
        missing: What was acknowledged and was not there when it was opened, in words; else empty.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self._reading = threading.Condition()
        self._readers = 0
        self._checkpoint_mb = CHECKPOINT_MB
        claim(self._path)
        try:
            self._mark = Mark(self._path)
            if not self._path.exists():
                self._mark.clear()
            self._connection = connect(self._path)
            self._closed = False
            self._opening: str | None = None
            self._opened_at = self._prepared()
            self.missing = self._mark.missing(self._first_opening(), self._opened_at)
            if self.missing:
                logger.error("%s", self.missing)
        except BaseException:
            release(self._path)
            raise

    def _prepared(self) -> int:
        """Bring the tables up to date; returns the newest sequence number."""
        try:
            with told(self._path, "the metric store cannot be opened"):
                prepare(self._connection, self._path)
            return self.newest()
        except BaseException:
            with suppress(duckdb.Error):
                self._connection.close()
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
            opening = self._opening or self._note_opening()
            if events:
                self._insert("events", event_table(events, received_at))
            if rejections:
                number = self.one(LAST_NUMBER)
                self._insert("quarantine", rejection_table(rejections, received_at, number))
            connection.execute("COMMIT")
            self._opening = opening
            if events:
                self._mark.named(opening)
                self._mark.note(events[-1][0])
        except Exception as error:
            note(self._path, error)
            self._roll_back()
            # committed, and then the engine gave up: sent again, the events are recognised
            kept = "it is not known whether the" if self.lost else "nothing of the"
            raise StoreError(
                f"{self._path}: {kept} batch was kept ({short(error)}); "
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
            except BaseException as error:
                note(self._path, error)
                self._roll_back()
                raise
        return done

    def opening(self) -> str:
        """Return the token of the newest opening that wrote; the caller holds the lock."""
        if self._opening is None:
            self._opening = self.transact(
                "the opening could not be recorded", lambda _: self._note_opening()
            )
            self._mark.named(self._opening)
        return self._opening

    def knows(self, opening: str, processed: int) -> bool:
        """Return whether what an opening had counted up to ``processed`` is in this log.

        A file that was put back from a backup goes on with the numbers after it: totals of the
        time between are totals of other events.
        """
        rows = self.rows(_OPENINGS)
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
        try:
            self._open().execute("CHECKPOINT")
        except duckdb.Error as error:
            note(self._path, error)

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

    def keys_since(self, since: int) -> Iterator[list[str]]:
        """Return the keys of events that happened at an instant or later, in chunks."""
        query = "SELECT id, trusted FROM events WHERE happened_at >= ?"
        for chunk in self._arrow(query, [since]):
            ids, trusted = (chunk.column(name).to_pylist() for name in ("id", "trusted"))
            yield list(map(key_of, ids, trusted))

    def count(self, after: int, upto: int, *, since: int) -> int:
        """Return how many events `read` would return."""
        query = "SELECT count(*) FROM events WHERE seq > ? AND seq <= ? AND happened_at >= ?"
        ((count,),) = self.rows(query, [after, upto, since])
        return int(count)

    def read_each(self, upto: int) -> Iterator[list[tuple[int, str]]]:
        """Return every event's number, and why it cannot be read (empty: it can), in chunks."""
        for rows in self._chunks("seq <= ?", [upto]):
            yield [(int(row[0] or 0), problem(row)) for row in rows]

    def exposures(self, experiment: str, since: int, until: int) -> Iterable[Event]:
        """Return exposures with since <= happened_at < until in order of arrival.

        All of the experiment's are among them. Those of others are mostly left out before
        anything of them is read: a log may hold those of a hundred experiments.
        """
        where = "name = 'exposure' AND happened_at >= ? AND happened_at < ? AND contains(fields, ?)"
        for chunk in self.stamped(where, (since, until, as_written("experiment", experiment))):
            yield from (event for _, _, event in chunk)

    def times_of(self, wanted: Sequence[str], since: int, until: int) -> dict[str, list[int]]:
        """Return the times by key, at least of the wanted, in since <= happened_at <= until."""
        connection = self._open()
        with told(self._path, "ids could not be looked up"):
            connection.register("wanted", pa.table({"id": pa.array(ids_of(wanted), pa.string())}))
            try:
                rows = connection.execute(
                    "SELECT id, trusted, happened_at FROM events "
                    "WHERE happened_at BETWEEN ? AND ? AND id IN (SELECT id FROM wanted)",
                    [since, until],
                ).fetchall()
            finally:
                connection.unregister("wanted")
        times: dict[str, list[int]] = {}
        for event_id, trusted, at in rows:
            times.setdefault(key_of(event_id, trusted), []).append(at)
        return times

    def ids_of(self, seqs: Sequence[int]) -> Mapping[int, str]:
        """Return event ids by sequence number."""
        marks = ", ".join("?" * len(seqs))
        query = f"SELECT seq, id FROM events WHERE seq IN ({marks})"  # noqa: S608 - only marks
        return dict(self.rows(query, list(seqs)))

    def ids(self) -> list[tuple[str, int]]:
        """Return every event's key with its time."""
        rows = self.rows("SELECT id, trusted, happened_at FROM events", [])
        return [(key_of(event_id, trusted), at) for event_id, trusted, at in rows]

    def one(self, query: str) -> int:
        """Return the single number a query gives."""
        # fetchall: a result with rows left blocks the next statement of its connection
        with told(self._path, _UNREAD):
            ((number,),) = self._open().execute(query).fetchall()
        return int(number)

    @contextmanager
    def reader(self) -> Generator[duckdb.DuckDBPyConnection]:
        """Lend a cursor for reading, from any thread; the file stays open meanwhile."""
        with self._reading, told(self._path, _UNREAD):
            cursor = self._open().cursor()
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
                self._mark.close()
                release(self._path)

    def stamped(self, where: str, values: Sequence[object]) -> Iterator[list[Stamped]]:
        """Return the events of a condition in order of arrival, in chunks."""
        for rows in self._chunks(where, values):
            yield [event(row) for row in rows]

    def _chunks(self, where: str, values: Sequence[object]) -> Iterator[list[Any]]:
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
                yield rows

    def columns(self, query: str, values: Sequence[object]) -> Iterator[Any]:
        """Return the rows of a query as Arrow columns, in chunks that are not empty."""
        return self._arrow(query, values)

    def meta(self, key: str) -> str | None:
        """Return what the file remembers under a key."""
        rows = self.rows("SELECT value FROM meta WHERE key = ?", [key])
        return str(rows[0][0]) if rows else None

    def _arrow(self, query: str, values: Sequence[object]) -> Iterator[Any]:
        """Return the rows of a query as Arrow columns, in chunks that are not empty."""
        with self.reader() as cursor:
            with told(self._path, _UNREAD):
                chunks = cursor.sql(query, params=list(values)).to_arrow_reader(_READ_ROWS)
            with chunks:  # closed before its cursor: it holds the file open, too
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
        with self.reader() as cursor, told(self._path, _UNREAD):
            return cursor.execute(query, list(values)).fetchall()

    def _first_opening(self) -> str | None:
        """Return the token of the first opening that wrote: a copy of the file has it, too."""
        rows = self.rows(f"{_OPENINGS} AND value LIKE '1 %'")
        return str(rows[0][0]).split()[1] if rows else None

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
