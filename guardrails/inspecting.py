"""A look at a control plane from outside: nothing is written, nothing is brought up to date."""

import shutil
import sqlite3
import tempfile
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import StaticPool
from sqlmodel import Session, col, func, select

from experiments.errors import ControlPlaneError
from experiments.lifecycle import CHECKED
from experiments.migrations import NEWEST, revision_of
from experiments.models import ExperimentRow, RevisionRow, TransitionRow
from guardrails.keys import KeyView, Made, made, views
from guardrails.models import EvaluationRow, MonitorRow, SuspensionRow
from guardrails.outbox_rows import Tally, tallies
from guardrails.outcome import Outcome
from guardrails.repository import newest_watermark

_BLIND = (Outcome.NO_DATA.value, Outcome.ERROR.value)


@dataclass(frozen=True, slots=True)
class BlindFact:
    """A guardrail that saw nothing at its newest check: what it said, and since when."""

    guardrail: str
    treatment: str
    outcome: str
    words: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One experiment that is checked, or its file at least."""

    key: str
    state: str
    started_at: datetime
    last_check_at: datetime | None
    source: str
    text: str
    blind: tuple[BlindFact, ...] = ()


@dataclass(frozen=True, slots=True)
class ControlFacts:
    """What a control plane says of itself.

    Attributes:
        revision: Of its tables; ``None`` when it is empty.
        newest_revision: What this version writes.
        runs: Experiments that are not over.
        keys: Keys that people made, and how they are known.
        made: The same, as a service takes them.
        tallies: How the messages of each channel fare.
        suspended: Who suspended the engine and why, in words; empty when it acts.
        counted: Sequence number up to which checks have counted events.
        newest_at: The newest instant in it, ``None`` in an empty one.
    """

    revision: str | None
    newest_revision: str
    runs: tuple[RunFacts, ...] = ()
    keys: tuple[KeyView, ...] = ()
    made: Made = field(default_factory=Made)
    tallies: Mapping[str, Tally] | None = None
    suspended: str = ""
    counted: int = 0
    newest_at: datetime | None = None

    @property
    def current(self) -> bool:
        """Whether its tables are those of this version; else nothing more was read."""
        return self.revision == self.newest_revision


def inspect_control(path: Path, *, in_use: bool, now: datetime) -> ControlFacts:
    """Read what a control plane says of itself; its bytes stay as they are.

    Args:
        path: The SQLite file.
        in_use: Whether a service has it open.
        now: The current instant.

    Raises:
        ControlPlaneError: It is damaged, or is none of Turnback's.
        OSError: It cannot be read.
    """
    try:
        with _connected(path, in_use=in_use) as connection:
            return _facts(connection, path, now)
    except (DatabaseError, sqlite3.DatabaseError) as error:
        driver = error.orig if isinstance(error, DatabaseError) else error
        raise ControlPlaneError(
            f"{path}: the control plane cannot be read ({driver})",
            hint="put back control.db and metrics.duckdb of one backup, both of them; "
            "`turnback backup` makes them",
        ) from error


@contextmanager
def _connected(path: Path, *, in_use: bool) -> Generator[Connection]:
    """Open it for reading; what a crash left beside it is read in a copy, so that it stays."""
    log = path.with_name(path.name + "-wal")
    with tempfile.TemporaryDirectory() as folder:
        if in_use:
            address = f"{path.absolute().as_uri()}?mode=ro"
        elif log.is_file():
            copy = Path(folder, path.name)
            shutil.copyfile(path, copy)
            shutil.copyfile(log, copy.with_name(log.name))
            address = f"{copy.as_uri()}?mode=rw"
        else:
            address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        engine = create_engine(
            "sqlite://",
            creator=lambda: sqlite3.connect(address, uri=True, check_same_thread=False),
            poolclass=StaticPool,
        )
        try:
            with closing(engine.connect()) as connection:
                yield connection
        finally:
            engine.dispose()


def _facts(connection: Connection, path: Path, now: datetime) -> ControlFacts:
    found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if found != "ok":
        raise ControlPlaneError(
            f"{path}: the control plane is damaged ({found})",
            hint="put back control.db and metrics.duckdb of one backup, both of them",
        )
    revision = revision_of(connection)
    if revision != NEWEST:
        return ControlFacts(revision, NEWEST)
    with Session(connection) as session:
        return ControlFacts(
            revision=revision,
            newest_revision=NEWEST,
            runs=_runs(session),
            keys=views(session),
            made=made(session),
            tallies=tallies(session, given_up_since=now - timedelta(days=1)),
            suspended=_suspended(session),
            counted=newest_watermark(session),
            newest_at=_newest(session),
        )


def _runs(session: Session) -> tuple[RunFacts, ...]:
    rows = session.exec(select(ExperimentRow).order_by(col(ExperimentRow.key))).all()
    return tuple(_run(session, row) for row in rows if row.state in CHECKED or row.state == "draft")


def _run(session: Session, row: ExperimentRow) -> RunFacts:
    revision = session.get(RevisionRow, (row.key, row.revision))
    monitors = session.exec(
        select(MonitorRow).where(
            col(MonitorRow.experiment) == row.key,
            col(MonitorRow.seed) == row.seed,
            col(MonitorRow.outcome).in_(_BLIND),
        )
    ).all()
    return RunFacts(
        key=row.key,
        state=row.state,
        started_at=row.started_at,
        last_check_at=row.last_tick_at,
        source="" if revision is None else revision.source,
        text="" if revision is None else revision.text,
        blind=tuple(_blind(monitor) for monitor in monitors),
    )


def _blind(monitor: MonitorRow) -> BlindFact:
    said: Any = monitor.finding.get("words") or monitor.outcome.replace("_", " ")
    return BlindFact(
        monitor.guardrail, monitor.treatment, monitor.outcome, str(said), monitor.blind_since
    )


def _suspended(session: Session) -> str:
    row = session.exec(select(SuspensionRow).order_by(col(SuspensionRow.id).desc())).first()
    return f"by {row.actor}: {row.reason}" if row is not None and row.suspended else ""


def _newest(session: Session) -> datetime | None:
    asked = (
        select(func.max(EvaluationRow.at)),
        select(func.max(TransitionRow.at)),
        select(func.max(RevisionRow.at)),
    )
    # the newest of no rows is none, whatever the column's type says
    answers = (cast("datetime | None", session.exec(each).one()) for each in asked)
    return max((at for at in answers if at is not None), default=None)
