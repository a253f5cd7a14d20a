"""Stores that earlier releases left, in SQLite and PostgreSQL, and what a database says past the package."""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Engine,
    Integer,
    MetaData,
    Table,
    create_engine,
    event,
    insert,
    make_url,
    select,
    text,
)

from paretonas.storage.database import open_database

HERE = Path(__file__).parent
OURS = "paretonas_"


def ask(url: str, query: str, **values: object) -> list[tuple[Any, ...]]:
    """Ask the database itself, past the package, or change it. values: of what the query calls ``:name``."""
    engine = create_engine(url)
    with engine.begin() as connection:
        result = connection.execute(text(query), values)
        found = [tuple(row) for row in result] if result.returns_rows else []
    engine.dispose()
    return found


def fill(url: str, script: str, *, rows: bool = True) -> None:
    """Make the database that an earlier release left: ``script``, a dump of SQLite, with its rows or without ours."""
    file = make_url(url).database or ""
    if url.startswith("sqlite"):
        _run(script, file, rows=rows)
        return
    with tempfile.TemporaryDirectory() as folder:
        _run(script, f"{folder}/old.db", rows=rows)
        source = create_engine(f"sqlite:///{folder}/old.db")
        target = create_engine(url)
        _copy(source, target, url)
        source.dispose()
        target.dispose()


def _run(script: str, file: str, *, rows: bool) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executescript((HERE / script).read_text(encoding="utf-8"))
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names if not rows else []:
            if name.startswith(OURS) and name != "paretonas_schema":
                connection.execute(f"DELETE FROM {name}")  # noqa: S608 - a name of the database's own


def _copy(source: Engine, target: Engine, url: str) -> None:
    """Our tables as they are in ``source``, Optuna's as Optuna makes them, and the rows of both."""
    old = MetaData()
    event.listen(old, "column_reflect", _generic)
    old.reflect(source)
    ours = [table for table in old.sorted_tables if table.name.startswith(OURS)]
    open_database(url, create=True).engine.dispose()  # Optuna's tables
    with target.begin() as connection:
        for (name,) in connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all():
            connection.execute(
                text(f"DROP TABLE {name} CASCADE" if name.startswith(OURS) else f"TRUNCATE {name} CASCADE")
            )
        old.create_all(connection, tables=ours)
        new = MetaData()
        new.reflect(connection)
        with source.connect() as reading:
            for table in old.sorted_tables:
                _copy_rows(reading, connection, table, new.tables[table.name])


def _copy_rows(source: Connection, target: Connection, old: Table, new: Table) -> None:
    found = [dict(row) for row in source.execute(select(old)).mappings()]
    if found:
        target.execute(insert(new), found)
    for column in new.primary_key.columns if found else ():
        if isinstance(column.type, Integer) and len(new.primary_key.columns) == 1 and not column.foreign_keys:
            highest = max(row[column.name] for row in found)
            counter = f"pg_get_serial_sequence('{new.name}', '{column.name}')"
            target.execute(text(f"SELECT setval({counter}, {highest})"))


def _generic(inspector: object, table: Table, column: dict[str, Any]) -> None:  # noqa: ARG001 - the event's form
    found = Column("", column["type"]).type.as_generic()
    column["type"] = DateTime(timezone=True) if isinstance(found, DateTime) else found
