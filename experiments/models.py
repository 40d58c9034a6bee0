"""Rows of the control plane that belong to experiments; values are checked before."""

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Column, DateTime, Integer, TypeDecorator, UniqueConstraint
from sqlmodel import Field, SQLModel


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC instant; SQLite drops the zone, this puts it back."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Store naive UTC; a naive value here is a defect and refused."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}: instants are aware UTC")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Return an aware UTC instant."""
        return None if value is None else value.replace(tzinfo=UTC)


def instant(*, nullable: bool = False, index: bool = False) -> Any:
    """Return a column for an aware UTC instant."""
    if nullable:
        return Field(default=None, sa_column=Column(UtcDateTime(), nullable=True, index=index))
    return Field(sa_column=Column(UtcDateTime(), nullable=False, index=index))


def json_column(*, nullable: bool = False) -> Any:
    """Return a column for a JSON document."""
    return Field(default=None, sa_column=Column(JSON(), nullable=nullable))


def large(default: int | None = None, *, primary_key: bool = False) -> Any:
    """Return a column for a whole number of 64 bits: a seed, or a sequence number of the store."""
    # SQLite's integers have 64 bits under any name; its keys are numbered under this one alone
    whole = Integer().with_variant(BigInteger(), "postgresql")
    column = Column(whole, primary_key=primary_key, nullable=False)
    return Field(sa_column=column) if default is None else Field(default=default, sa_column=column)


class ExperimentRow(SQLModel, table=True):
    """Where an experiment stands. ``version`` is compared and set by every change of state."""

    __tablename__: ClassVar[Any] = "experiment"

    key: str = Field(primary_key=True)
    version: int = 0
    state: str
    seed: int = large()
    revision: int
    step: int = 0
    step_since: datetime = instant()
    step_exposed: dict[str, Any] = json_column()
    started_at: datetime = instant()
    ends_at: datetime = instant()
    observe_until: datetime = instant()
    starts_at: datetime | None = instant(nullable=True)
    approved: int = -1
    layer: str | None = Field(default=None, index=True)
    layer_buckets: list[Any] = json_column()
    holdout: float = 0.0
    shipped: str | None = None
    checks: int = 0
    last_tick_at: datetime | None = instant(nullable=True)
    watermark: int = large(0)


class RevisionRow(SQLModel, table=True):
    """One applied file, never changed afterwards."""

    __tablename__: ClassVar[Any] = "revision"

    experiment: str = Field(primary_key=True, foreign_key="experiment.key")
    number: int = Field(primary_key=True)
    text: str
    sha256: str
    source: str
    actor: str
    at: datetime = instant()


class TreatmentRow(SQLModel, table=True):
    """One attempt of one treatment: the latch. A rolled back row never becomes live again."""

    __tablename__: ClassVar[Any] = "treatment"

    experiment: str = Field(primary_key=True, foreign_key="experiment.key")
    variant: str = Field(primary_key=True)
    seed: int = large(primary_key=True)
    attempt: int = Field(primary_key=True)
    state: str = "live"
    first_phase: int = 0
    since: datetime = instant()
    rolled_back_at: datetime | None = instant(nullable=True)
    verify_after: datetime | None = instant(nullable=True)
    effective: bool | None = None
    rate_before: float | None = None
    rate_after: float | None = None


class PhaseRow(SQLModel, table=True):
    """An instant at which the units that count changed between arms (a resumption)."""

    __tablename__: ClassVar[Any] = "phase"

    experiment: str = Field(primary_key=True, foreign_key="experiment.key")
    seed: int = large(primary_key=True)
    number: int = Field(primary_key=True)
    at: datetime = instant()
    reason: str


class TransitionRow(SQLModel, table=True):
    """Who or what moved which thing from where to where, when, why and on which evidence."""

    __tablename__: ClassVar[Any] = "transition"
    __table_args__ = (UniqueConstraint("latch", name="one_transition_per_latch"),)

    id: int | None = Field(default=None, primary_key=True)
    experiment: str = Field(foreign_key="experiment.key", index=True)
    variant: str | None = None
    before: str
    after: str
    at: datetime = instant()
    actor: str
    reason: str
    evaluation: int | None = None
    evidence: dict[str, Any] | None = json_column(nullable=True)
    # experiment/variant/seed/attempt of a rollback: the database itself refuses a second one
    latch: str | None = None
