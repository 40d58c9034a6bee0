"""The control plane: one relational database, reached by any SQLAlchemy URL."""

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Engine, event
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import StaticPool
from sqlmodel import Session, create_engine

from experiments.errors import ControlPlaneError, UnavailableError
from experiments.models import ExperimentRow

READING = "turnback_reading"

BUSY_SECONDS = 30.0
"""How long a writer waits for another one before it gives up for now."""


class ControlPlane:
    """State, revisions, transitions, evidence and the outbox. Safe from any thread.

    Every write happens inside ``transaction()``: all of it is committed and on disk
    (SQLite: WAL with full fsync), or none of it.
    """

    def __init__(self, url: str = "sqlite://") -> None:
        in_memory = url in {"sqlite://", "sqlite:///:memory:"}
        options: dict[str, Any] = {}
        if url.startswith("sqlite"):
            options["connect_args"] = {"check_same_thread": False, "timeout": BUSY_SECONDS}
        if in_memory:
            options["poolclass"] = StaticPool
        self.url = url
        self._in_memory = in_memory
        self.engine: Engine = create_engine(url, **options)
        if url.startswith("sqlite"):
            _prepare_sqlite(self.engine, in_memory=in_memory)
        self._reader = self.engine.execution_options(**{READING: True})

    def create(self) -> None:
        """Make the tables, or bring those of an older version up to date.

        Raises:
            ControlPlaneError: A newer version wrote them, or the file is damaged.
            UnavailableError: The database cannot be used now.
        """
        if self._in_memory:
            ExperimentRow.metadata.create_all(self.engine)
            return
        from experiments.migrations import upgrade  # noqa: PLC0415 - 0.1 s nobody else should pay

        with self._told():
            upgrade(self.engine)

    @contextmanager
    def transaction(self, *, keep: bool = True) -> Generator[Session]:
        """Open a session whose changes are committed together, or not at all.

        Args:
            keep: Whether they are kept; a rehearsal makes them and takes them back.

        Raises:
            UnavailableError: The database cannot be written now; nothing was changed.
        """
        with (
            self._told(),
            Session(self.engine, expire_on_commit=False) as session,
            session.begin() as changes,
        ):
            yield session
            if not keep:
                changes.rollback()

    @contextmanager
    def reading(self) -> Generator[Session]:
        """Open a session for reading only.

        Raises:
            UnavailableError: The database cannot be read now.
        """
        with self._told(), Session(self._reader, expire_on_commit=False) as session:
            yield session

    def copy_to(self, path: Path) -> None:
        """Write a consistent copy of an SQLite database while it is being used.

        Raises:
            ControlPlaneError: It is another database, which has its own way to be copied.
            UnavailableError: It could not be read, or the copy not be written.
        """
        if self.engine.dialect.name != "sqlite":
            raise ControlPlaneError(
                f"the control plane is {self.engine.dialect.name}, not SQLite",
                hint="copy it with its own tools (`pg_dump`) before the metric store",
            )
        with self._told(), closing(self.engine.raw_connection()) as held:
            source = cast("sqlite3.Connection", held.driver_connection)
            try:
                with closing(sqlite3.connect(path)) as copy:
                    source.backup(copy)
            except sqlite3.Error as error:
                raise UnavailableError(
                    f"{path}: the copy of the control plane could not be written ({error})",
                    hint="make room on its disk",
                ) from error

    @contextmanager
    def _told(self) -> Generator[None]:
        """Say in our words that the database cannot be used now, for instance on a full disk.

        Raises:
            ControlPlaneError: The file is damaged.
            UnavailableError: Whatever else the database says when it cannot be used.
        """
        try:
            yield
        except (DatabaseError, sqlite3.DatabaseError) as error:
            self._explain(error)
            raise

    def _explain(self, error: DatabaseError | sqlite3.DatabaseError) -> None:
        """Raise what can be said better than the driver does."""
        where = self.engine.url.render_as_string(hide_password=True)
        driver = error.orig if isinstance(error, DatabaseError) else error
        code = getattr(driver, "sqlite_errorcode", 0) & 0xFF  # the rest says more about it
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            raise ControlPlaneError(
                f"{where}: the control plane is damaged ({driver})",
                hint="put back control.db and metrics.duckdb of one backup, both of them; "
                "`turnback backup` makes them",
            ) from error
        if isinstance(error, OperationalError):
            raise UnavailableError(
                f"{where}: the control plane cannot be used now ({driver}); nothing was changed",
                hint="make room on its disk, or see to its database; it is tried again",
            ) from error

    def close(self) -> None:
        """Release every connection; idempotent."""
        self.engine.dispose()


def _prepare_sqlite(engine: Engine, *, in_memory: bool) -> None:
    """Make SQLite durable and let one writer wait for another instead of failing."""

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        # the driver must not open transactions of its own: ours begin below
        connection.isolation_level = None
        cursor = connection.cursor()
        if not in_memory:
            cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        # a writer takes its lock at once: upgrading a read later could deadlock
        reads = connection.get_execution_options().get(READING, False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    _ = (connect, begin)
