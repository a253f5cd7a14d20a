"""Alembic's entry: it runs the steps within the transaction that ``migrations.bring_up_to_date`` opened."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
)
context.run_migrations()
