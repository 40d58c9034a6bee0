"""How many units each variant had when the present step of the ramp began."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add ``step_exposed``; a run from before counts every unit for its present step."""
    op.add_column(
        "experiment", sa.Column("step_exposed", sa.JSON(), nullable=False, server_default="{}")
    )
