"""Which treatment is served to everybody once a run is over (`auto_ship`)."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add ``shipped``; no run from before has shipped anything."""
    op.add_column("experiment", sa.Column("shipped", sa.String(), nullable=True))
