"""Opening the database: one engine for Optuna's tables and ours."""

import random
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import optuna
from sqlalchemy import event, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError

from ..errors import StoreError
from .live_trials import LiveStorage
from .migrations import bring_up_to_date
from .patience import repeated
from .saying import explained, first_line, guessed, shown
from .trials import PatientStorage

R = TypeVar("R")

BUSY_SECONDS = 30  # how long SQLite waits for another process's write
OPENING_SECONDS = 60  # how long a server is waited for that may never have been there
IDLE_SECONDS = 120  # after which a server ends a transaction in which nothing happens
RACES = 20
MADE_TWICE = {"42P07", "42710", "42701", "23505"}  # a table, an object, a column, a row that is there by now
# Of libpq: a server that is gone is noticed within about a minute.
LINK = {
    "connect_timeout": "10",
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


def open_database(url: str, *, create: bool) -> LiveStorage:
    """Optuna's storage on ``url``, with the tables of paretonas beside Optuna's.

    create: make a missing SQLite file. Raises StoreError, in one sentence and without the password.
    """
    sqlite = _sqlite_file(url)
    if sqlite is not None and not create and not sqlite.exists():
        raise StoreError(f"there is no store at {shown(url)}: start a study with 'paretonas run', or name its storage")
    return repeated(lambda: _open(url), at_most=OPENING_SECONDS)


def _open(url: str) -> LiveStorage:
    with explained(url), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = _optunas(url)
        try:
            event.listen(storage.engine, "connect", _tune_sqlite if _is_sqlite(url) else _tune_server)
            storage.engine.dispose()  # connections made before the listener
            _raced(lambda: bring_up_to_date(storage.engine, url))
        except BaseException:
            storage.close()
            raise
    return LiveStorage(storage)


def _is_sqlite(url: str) -> bool:
    return make_url(url).get_backend_name() == "sqlite"


def _optunas(url: str) -> PatientStorage:
    try:
        return _raced(lambda: PatientStorage(url, engine_kwargs=_options(url)))
    except RuntimeError as error:  # Optuna's tables are of another release
        raise StoreError(f"Optuna cannot use the store {shown(url)}: {first_line(error)}") from error


def _raced(make: Callable[[], R]) -> R:
    """What ``make`` gives; it is tried again where another process made the same tables in this moment."""
    for _ in range(RACES):
        try:
            return make()
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
            said = str(cause).lower()
            state = getattr(getattr(cause, "orig", None), "sqlstate", None)
            if not (isinstance(cause, IntegrityError) or state in MADE_TWICE or "already exists" in said):
                raise
        time.sleep(random.uniform(0.02, 0.2))  # noqa: S311 - so that two that met do not meet again
    return make()


def _options(url: str) -> dict[str, Any]:
    """Settings of the engine. A worker keeps one connection; a second one, as for its beat, is closed after use.

    A connection is not asked whether it is there before it is used: whatever it is used for is repeated if it is not.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": BUSY_SECONDS}}
    options: dict[str, Any] = {"pool_size": 1, "max_overflow": 30, "pool_recycle": 1800}
    if parsed.get_driver_name() in ("psycopg", "psycopg2"):
        options["connect_args"] = {name: value for name, value in LINK.items() if name not in parsed.query}
    return options


def _sqlite_file(url: str) -> Path | None:
    """The file of a SQLite URL, None for other databases. Refuses what cannot be a store."""
    try:
        parsed = make_url(url)
        parsed.get_dialect().import_dbapi()
    except (ArgumentError, ValueError):
        raise StoreError(
            f"a storage is a database URL such as sqlite:///paretonas.db, {guessed(url)!r} was given"
        ) from None  # what could not be read may be a password
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


def _tune_server(connection: Any, _: object) -> None:
    """A worker that hangs within a transaction does not keep the others waiting for ever."""
    if not hasattr(connection, "pgconn"):  # psycopg
        return
    try:
        connection.autocommit = True
        connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
        connection.autocommit = False
    except BaseException:
        connection.close()
        raise
