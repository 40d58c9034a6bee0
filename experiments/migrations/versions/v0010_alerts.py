"""Alerts that Alertmanager posted, from when they fired until they were resolved."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "alert",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("experiment", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("starts_at", sa.DateTime(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("variant", sa.String(), nullable=True),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("asked", sa.String(), nullable=True),
        sa.Column("summary", sa.String(), nullable=False),
        sa.Column("received_at", sa.DateTime(), nullable=False),
        sa.Column("told_at", sa.DateTime(), nullable=False),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["experiment"], ["experiment.key"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(
            "experiment", "fingerprint", "starts_at", name="one_alert_per_beginning"
        ),
    )
    op.create_index("ix_alert_experiment", "alert", ["experiment"])
