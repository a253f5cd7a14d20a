"""A learning curve has a score of any metric; names of measurements are longer; keys have more numbers."""

import sqlalchemy as sa
from alembic import op

from paretonas.storage.rekeying import renew_keys

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Rename, lengthen, and key anew."""
    op.alter_column("paretonas_epochs", "accuracy", new_column_name="score")
    if op.get_bind().dialect.name != "sqlite":  # which minds no lengths
        op.alter_column("paretonas_measurements", "name", type_=sa.String(255))
    renew_keys(op.get_bind())
