"""The steps from each version of our tables to the next, for Alembic."""
