"""When what a message told was over, and an index of the messages that wait."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add ``over_at``; messages from before are looked at like new ones."""
    op.add_column("outbox", sa.Column("over_at", sa.DateTime(), nullable=True))
    op.create_index("ix_outbox_waiting", "outbox", ["channel", "delivered_at", "given_up_at"])
