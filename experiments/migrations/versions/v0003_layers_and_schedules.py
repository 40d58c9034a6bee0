"""Layers, the holdout, approvals and scheduled starts."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add what a run from before has none of: a layer, a holdout, an approval, a start to come."""
    # the defaults fill the rows that are there; every row written later brings its own values
    op.add_column("experiment", sa.Column("starts_at", sa.DateTime(), nullable=True))
    op.add_column(
        "experiment", sa.Column("approved", sa.Integer(), nullable=False, server_default="-1")
    )
    op.add_column("experiment", sa.Column("layer", sa.String(), nullable=True))
    op.add_column(
        "experiment", sa.Column("layer_buckets", sa.JSON(), nullable=False, server_default="[]")
    )
    op.add_column(
        "experiment", sa.Column("holdout", sa.Float(), nullable=False, server_default="0")
    )
    op.create_index("ix_experiment_layer", "experiment", ["layer"])
