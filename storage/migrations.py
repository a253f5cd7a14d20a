"""Making our tables, and bringing those of an earlier release up to date with their rows, by Alembic."""

from pathlib import Path
from threading import Lock

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, insert, inspect, select, text, update

from ..errors import StoreError
from .saying import shown
from .tables import SCHEMA_VERSION, Base, SchemaRow

REVISIONS = Path(__file__).with_name("revisions")
VERSIONS = "paretonas_alembic_version"  # Optuna's are in alembic_version
LOCK = 0x70617265746F  # of PostgreSQL, for whoever makes our tables; its number is ours alone ("pareto")

_alone = Lock()  # Alembic's own state is the process's


def bring_up_to_date(engine: Engine, url: str) -> None:
    """Have the tables of this release, in one transaction: all of it or nothing. Many may call this at once.

    The version is in Alembic's table, and in ``paretonas_schema``, where releases before version 5 look for it.
    """
    if is_up_to_date(engine):
        return
    with _alone, engine.connect() as connection:
        alone(connection)
        there = inspect(connection).has_table(SchemaRow.__tablename__)
        version = connection.scalar(select(SchemaRow.version)) if there else None
        if version is None:
            Base.metadata.create_all(connection)
            connection.execute(insert(SchemaRow).values(version=SCHEMA_VERSION))
            command.stamp(_config(connection), str(SCHEMA_VERSION))
        elif version > SCHEMA_VERSION:
            raise StoreError(
                f"the store {shown(url)} has tables of version {version}, this paretonas knows versions up to "
                f"{SCHEMA_VERSION}: use the release of paretonas that made it, or another storage"
            )
        else:
            upgrade(connection, version, SCHEMA_VERSION)
        connection.commit()


def is_up_to_date(engine: Engine) -> bool:
    """Whether there is nothing to do, which is looked up without a lock."""
    with engine.connect() as connection:
        if not inspect(connection).has_table(SchemaRow.__tablename__):
            return False
        return connection.scalar(select(SchemaRow.version)) == SCHEMA_VERSION


def alone(connection: Connection) -> None:
    """Let one process at a time go on from here, until the end of its transaction."""
    if connection.dialect.name == "sqlite":
        connection.execute(text("BEGIN IMMEDIATE"))
    elif connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))


def upgrade(connection: Connection, version: int, to: int) -> None:
    """Take the steps from one version to another."""
    config = _config(connection)
    known = MigrationContext.configure(connection, opts={"version_table": VERSIONS}).get_current_revision()
    if known is None:  # the releases before Alembic
        command.stamp(config, str(version))
    command.upgrade(config, str(to))
    connection.execute(update(SchemaRow).values(version=to))


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(REVISIONS).replace("%", "%%"))
    config.attributes.update(connection=connection, version_table=VERSIONS)
    return config
