"""An evaluation has an int8 model too."""

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """Add the column."""
    op.add_column("paretonas_evaluations", sa.Column("quantized", sa.String(256)))
