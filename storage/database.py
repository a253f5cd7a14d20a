"""Opening the database: one engine for Optuna's tables and ours."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import Engine, event, inspect, make_url, select
from sqlalchemy.exc import ArgumentError, IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError
from sqlalchemy.orm import Session

from ..errors import StoreError
from .migrations import migrate
from .tables import SCHEMA_VERSION, Base, SchemaRow

BUSY_SECONDS = 30  # how long SQLite waits for another process's write


def open_database(url: str, *, create: bool) -> RDBStorage:
    """Optuna's storage on ``url``, with the tables of paretonas beside Optuna's.

    create: make a missing SQLite file. Raises StoreError, in one sentence and without the password.
    """
    sqlite = _sqlite_file(url)
    if sqlite is not None and not create and not sqlite.exists():
        raise StoreError(f"there is no store at {shown(url)}: start a study with 'paretonas run', or name its storage")
    with explained(url), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        options = {"connect_args": {"timeout": BUSY_SECONDS}} if sqlite is not None else {"pool_pre_ping": True}
        try:
            storage = RDBStorage(url, engine_kwargs=options)
        except RuntimeError as error:  # Optuna's tables are of another release
            raise StoreError(f"Optuna cannot use the store {shown(url)}: {_first_line(error)}") from error
        if sqlite is not None:
            event.listen(storage.engine, "connect", _tune_sqlite)
            storage.engine.dispose()  # connections made before the listener
        _make_tables(storage.engine)
    return storage


def shown(url: str) -> str:
    """The URL with its password hidden."""
    return make_url(url).render_as_string(hide_password=True)


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Turn what the database says into one sentence."""
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
        reason = _first_line(getattr(cause, "orig", None) or cause or error)
        raise StoreError(
            f"the store {shown(url)} failed: {reason}: check that the place exists, is writable and has room"
        ) from error


def _first_line(error: object) -> str:
    return str(error).strip().split("\n")[0]


def _sqlite_file(url: str) -> Path | None:
    """The file of a SQLite URL, None for other databases. Refuses what cannot be a store."""
    try:
        parsed = make_url(url)
        parsed.get_dialect().import_dbapi()
    except (ArgumentError, ValueError) as error:
        hidden = re.sub(r"//[^/]*@", "//***@", url)
        raise StoreError(f"a storage is a database URL such as sqlite:///paretonas.db, {hidden!r} was given") from error
    except (ImportError, SQLAlchemyError) as error:
        raise StoreError(f"no driver for the storage {shown(url)} is installed: {error}") from error
    if parsed.get_backend_name() != "sqlite":
        return None
    if not parsed.database or parsed.database == ":memory:" or parsed.query.get("mode") == "memory":
        raise StoreError("an in-memory database would lose the study: name a file, such as sqlite:///paretonas.db")
    return Path(parsed.database)


def _tune_sqlite(connection: Any, _: object) -> None:
    """Readers do not wait for the writer (WAL); a commit survives a crash of the process without a disk flush."""
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _make_tables(engine: Engine) -> None:
    there = -1
    while True:
        try:
            Base.metadata.create_all(engine)
            break
        except (IntegrityError, OperationalError, ProgrammingError):  # another process makes them at this moment
            now = len(inspect(engine).get_table_names())
            if now <= there:
                raise
            there = now
    with Session(engine) as session:
        version = session.scalar(select(SchemaRow.version))
        if version is None:
            session.add(SchemaRow(version=SCHEMA_VERSION))
            try:
                session.commit()
            except IntegrityError:
                session.rollback()
        elif version > SCHEMA_VERSION:
            raise StoreError(
                f"the store has tables of version {version}, this paretonas knows versions up to {SCHEMA_VERSION}: "
                "use the release of paretonas that made it, or another storage"
            )
    if version is not None:
        migrate(engine, version)
