"""Rows of the control plane that belong to checks, evidence and notifications."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from experiments.models import instant, json_column, large


class EvaluationRow(SQLModel, table=True):
    """One check of one experiment. The tick is its identity: recorded once, whoever computes it."""

    __tablename__: ClassVar[Any] = "evaluation"
    __table_args__ = (UniqueConstraint("experiment", "at", name="one_evaluation_per_tick"),)

    id: int | None = Field(default=None, primary_key=True)
    experiment: str = Field(foreign_key="experiment.key", index=True)
    seed: int = large()
    at: datetime = instant()
    watermark: int = large()
    missed: int = 0
    result: str
    decision: str


class FindingRow(SQLModel, table=True):
    """Evidence kept for good: at looks, at every change of outcome and once an hour."""

    __tablename__: ClassVar[Any] = "finding"
    __table_args__ = (
        UniqueConstraint("evaluation", "guardrail", "treatment", name="one_finding_per_check"),
    )

    id: int | None = Field(default=None, primary_key=True)
    evaluation: int = Field(foreign_key="evaluation.id", index=True)
    experiment: str = Field(index=True)
    seed: int = large()
    attempt: int
    guardrail: str
    treatment: str
    at: datetime = instant()
    outcome: str
    evidence: float
    body: dict[str, Any] = json_column()


class EvidenceRow(SQLModel, table=True):
    """What one check decided from: everything that is needed to compute it again.

    ``body`` is JSON as text, so that ``sha256`` is over exactly the bytes that are kept.
    """

    __tablename__: ClassVar[Any] = "evidence"

    evaluation: int = Field(primary_key=True, foreign_key="evaluation.id")
    experiment: str = Field(index=True)
    seed: int = large()
    at: datetime = instant()
    engine: str
    sha256: str
    body: str


class KeptRow(SQLModel, table=True):
    """A part of evidence that many checks share, by the hash of its text."""

    __tablename__: ClassVar[Any] = "kept"

    experiment: str = Field(primary_key=True)
    sha256: str = Field(primary_key=True)
    body: str


class SuspensionRow(SQLModel, table=True):
    """Who suspended the engine or ended that, when and why; the newest one is in force."""

    __tablename__: ClassVar[Any] = "suspension"

    id: int | None = Field(default=None, primary_key=True)
    suspended: bool
    at: datetime = instant()
    actor: str
    reason: str


class KeyRow(SQLModel, table=True):
    """A key that somebody made: never the key, only its SHA-256 in hexadecimal digits."""

    __tablename__: ClassVar[Any] = "api_key"
    __table_args__ = (UniqueConstraint("name", name="one_key_per_name"),)

    id: int | None = Field(default=None, primary_key=True)
    name: str
    scope: str
    digest: str
    created_at: datetime = instant()
    created_by: str
    last_used_at: datetime | None = instant(nullable=True)
    revoked_at: datetime | None = instant(nullable=True)


class AuditRow(SQLModel, table=True):
    """One call that was let in to change something: which key, who, what, and how it ended.

    ``key`` is empty for a call without one; ``request`` is the id that the log has too.
    """

    __tablename__: ClassVar[Any] = "audit"

    id: int | None = Field(default=None, primary_key=True)
    at: datetime = instant(index=True)
    key: str
    actor: str
    method: str
    path: str
    status: int
    request: str


class MonitorRow(SQLModel, table=True):
    """What must survive between two checks of one guardrail and attempt, and its newest finding."""

    __tablename__: ClassVar[Any] = "monitor"

    experiment: str = Field(primary_key=True)
    seed: int = large(primary_key=True)
    treatment: str = Field(primary_key=True)
    attempt: int = Field(primary_key=True)
    guardrail: str = Field(primary_key=True)
    checked_at: datetime = instant()
    stored_at: datetime | None = instant(nullable=True)
    outcome: str
    blind_since: datetime | None = instant(nullable=True)
    blind_checks: int = 0
    told: bool = False
    states: dict[str, Any] = json_column()
    finding: dict[str, Any] = json_column()


class MeaningRow(SQLModel, table=True):
    """What the catalogue's KPIs meant when a revision was applied, written as in a catalogue."""

    __tablename__: ClassVar[Any] = "meaning"

    experiment: str = Field(primary_key=True, foreign_key="experiment.key")
    number: int = Field(primary_key=True)
    kpis: dict[str, Any] = json_column()


class AlertRow(SQLModel, table=True):
    """One alert that Alertmanager posted: which, since when, and until when.

    ``starts_at`` is the sender's, every other instant is Turnback's own.
    """

    __tablename__: ClassVar[Any] = "alert"
    __table_args__ = (
        UniqueConstraint("experiment", "fingerprint", "starts_at", name="one_alert_per_beginning"),
    )

    id: int | None = Field(default=None, primary_key=True)
    experiment: str = Field(foreign_key="experiment.key", index=True)
    fingerprint: str
    starts_at: datetime = instant()
    name: str
    variant: str | None = None
    labels: dict[str, Any] = json_column()
    asked: str | None = None
    summary: str
    received_at: datetime = instant()
    told_at: datetime = instant()
    ended_at: datetime | None = instant(nullable=True)


class SnapshotRow(SQLModel, table=True):
    """What the newest check saw of all KPIs, for display: exact integers, never rows."""

    __tablename__: ClassVar[Any] = "snapshot"

    experiment: str = Field(primary_key=True)
    at: datetime = instant()
    body: dict[str, Any] = json_column()


class OutboxRow(SQLModel, table=True):
    """A message to be told at least once; ``key`` tells receivers that two are one."""

    __tablename__: ClassVar[Any] = "outbox"
    __table_args__ = (
        UniqueConstraint("key", "channel", name="one_message_per_channel"),
        Index("ix_outbox_waiting", "channel", "delivered_at", "given_up_at"),
    )

    id: int | None = Field(default=None, primary_key=True)
    key: str
    channel: str
    experiment: str
    created_at: datetime = instant()
    due_at: datetime = instant(index=True)
    attempts: int = 0
    delivered_at: datetime | None = instant(nullable=True)
    given_up_at: datetime | None = instant(nullable=True)
    last_error: str | None = None
    over_at: datetime | None = instant(nullable=True)
    body: dict[str, Any] = json_column()
