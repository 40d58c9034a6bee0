"""How many checks in a row a guardrail could not judge."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add ``blind_checks``; a spell from before counts from the next check on."""
    op.add_column(
        "monitor", sa.Column("blind_checks", sa.Integer(), nullable=False, server_default="0")
    )
