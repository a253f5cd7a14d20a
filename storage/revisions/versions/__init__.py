"""One file a step; Alembic finds the order by ``down_revision``."""
