"""Experiments, revisions, treatments, checks, evidence and messages."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_LARGE = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def upgrade() -> None:
    """Make the tables of the first version."""
    _experiments()
    _parts_of_experiments()
    _transitions()
    _checks()
    _kept_between_checks()
    _messages()


def _experiments() -> None:
    op.create_table(
        "experiment",
        sa.Column("key", sa.String(), primary_key=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("seed", _LARGE, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("step_since", sa.DateTime(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("ends_at", sa.DateTime(), nullable=False),
        sa.Column("observe_until", sa.DateTime(), nullable=False),
        sa.Column("checks", sa.Integer(), nullable=False),
        sa.Column("last_tick_at", sa.DateTime()),
        sa.Column("watermark", _LARGE, nullable=False),
    )


def _parts_of_experiments() -> None:
    op.create_table(
        "revision",
        sa.Column("experiment", sa.String(), sa.ForeignKey("experiment.key"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
    )
    op.create_table(
        "treatment",
        sa.Column("experiment", sa.String(), sa.ForeignKey("experiment.key"), primary_key=True),
        sa.Column("variant", sa.String(), primary_key=True),
        sa.Column("seed", _LARGE, primary_key=True),
        sa.Column("attempt", sa.Integer(), primary_key=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("first_phase", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(), nullable=False),
        sa.Column("rolled_back_at", sa.DateTime()),
        sa.Column("verify_after", sa.DateTime()),
        sa.Column("effective", sa.Boolean()),
        sa.Column("rate_before", sa.Float()),
        sa.Column("rate_after", sa.Float()),
    )
    op.create_table(
        "phase",
        sa.Column("experiment", sa.String(), sa.ForeignKey("experiment.key"), primary_key=True),
        sa.Column("seed", _LARGE, primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
    )


def _transitions() -> None:
    op.create_table(
        "transition",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("experiment", sa.String(), sa.ForeignKey("experiment.key"), nullable=False),
        sa.Column("variant", sa.String()),
        sa.Column("before", sa.String(), nullable=False),
        sa.Column("after", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("evaluation", sa.Integer()),
        sa.Column("evidence", sa.JSON()),
        sa.Column("latch", sa.String()),
        sa.UniqueConstraint("latch", name="one_transition_per_latch"),
    )
    op.create_index("ix_transition_experiment", "transition", ["experiment"])


def _checks() -> None:
    op.create_table(
        "evaluation",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("experiment", sa.String(), sa.ForeignKey("experiment.key"), nullable=False),
        sa.Column("seed", _LARGE, nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("watermark", _LARGE, nullable=False),
        sa.Column("missed", sa.Integer(), nullable=False),
        sa.Column("result", sa.String(), nullable=False),
        sa.Column("decision", sa.String(), nullable=False),
        sa.UniqueConstraint("experiment", "at", name="one_evaluation_per_tick"),
    )
    op.create_index("ix_evaluation_experiment", "evaluation", ["experiment"])
    op.create_table(
        "finding",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("evaluation", sa.Integer(), sa.ForeignKey("evaluation.id"), nullable=False),
        sa.Column("experiment", sa.String(), nullable=False),
        sa.Column("seed", _LARGE, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("guardrail", sa.String(), nullable=False),
        sa.Column("treatment", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("evidence", sa.Float(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.UniqueConstraint("evaluation", "guardrail", "treatment", name="one_finding_per_check"),
    )
    op.create_index("ix_finding_evaluation", "finding", ["evaluation"])
    op.create_index("ix_finding_experiment", "finding", ["experiment"])


def _kept_between_checks() -> None:
    op.create_table(
        "monitor",
        sa.Column("experiment", sa.String(), primary_key=True),
        sa.Column("seed", _LARGE, primary_key=True),
        sa.Column("treatment", sa.String(), primary_key=True),
        sa.Column("attempt", sa.Integer(), primary_key=True),
        sa.Column("guardrail", sa.String(), primary_key=True),
        sa.Column("checked_at", sa.DateTime(), nullable=False),
        sa.Column("stored_at", sa.DateTime()),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("blind_since", sa.DateTime()),
        sa.Column("told", sa.Boolean(), nullable=False),
        sa.Column("states", sa.JSON(), nullable=False),
        sa.Column("finding", sa.JSON(), nullable=False),
    )
    op.create_table(
        "snapshot",
        sa.Column("experiment", sa.String(), primary_key=True),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
    )


def _messages() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("experiment", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("due_at", sa.DateTime(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("delivered_at", sa.DateTime()),
        sa.Column("given_up_at", sa.DateTime()),
        sa.Column("last_error", sa.String()),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.UniqueConstraint("key", "channel", name="one_message_per_channel"),
    )
    op.create_index("ix_outbox_due_at", "outbox", ["due_at"])
