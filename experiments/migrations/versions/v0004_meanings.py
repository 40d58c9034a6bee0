"""What the catalogue's KPIs meant when a revision was applied."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the meanings; runs from before adopt today's when the service starts."""
    op.create_table(
        "meaning",
        sa.Column("experiment", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kpis", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["experiment"], ["experiment.key"]),
        sa.PrimaryKeyConstraint("experiment", "number"),
    )
