"""The core of the store: its database, who works on it, and transactions about what this worker has in hand."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Executable, bindparam, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..errors import LeaseLost
from ..spaces import Architecture
from .database import open_database
from .disk import flush
from .identity import me
from .patience import patient
from .records import ENDED
from .saying import explained, shown
from .sql import ARCHITECTURES, EVALUATIONS, STUDIES, THIS, Add, writing
from .tables import Base

_LOCK = select(STUDIES.c.id).where(STUDIES.c.id == bindparam("study")).with_for_update()
_HOLDER = select(EVALUATIONS.c.worker, EVALUATIONS.c.state, EVALUATIONS.c.token).where(THIS).with_for_update()
_ADD_ARCHITECTURE = Add(ARCHITECTURES)


class Database:
    """One database, and the name of the worker that writes to it."""

    def __init__(self, url: str, *, create: bool = True, worker: str | None = None) -> None:
        self.url = url
        self._worker = worker
        self.optuna = open_database(url, create=create)
        self.optuna.worker = worker
        self.is_sqlite = self.optuna.engine.dialect.name == "sqlite"
        self._each = self.optuna.engine.execution_options(isolation_level="AUTOCOMMIT")

    @property
    def worker(self) -> str:
        """Who writes: this process, or whoever the store was opened for."""
        return self._worker or me()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({shown(self.url)!r})"

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A transaction on the rows as objects; what the database says against it becomes a StoreError."""
        with explained(self.url), Session(self.optuna.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def asking(self) -> Iterator[Connection]:
        """A connection on which each statement is a transaction of its own, so that nothing is said but it."""
        with explained(self.url), self._each.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """As ``sql.writing``; what the database says against it becomes a StoreError."""
        with explained(self.url), writing(self.optuna.engine) as connection:
            yield connection

    def explained(self) -> AbstractContextManager[None]:
        """What the database says in this block becomes a StoreError."""
        return explained(self.url)

    def to_disk(self) -> None:
        """Have what was committed survive the loss of power. Servers see to that; SQLite's log is flushed here."""
        if self.is_sqlite:
            with suppress(FileNotFoundError):  # then all of it is in the database, which was flushed
                flush(Path(f"{self.optuna.engine.url.database}-wal"))

    def lock_study(self, connection: Connection, study: int) -> None:
        """Let one worker at a time go on from here."""
        if not self.is_sqlite:  # there ``writing`` does
            connection.execute(_LOCK, {"study": study})

    def in_hand(self, connection: Connection, evaluation: int) -> bool:
        """Lock an evaluation that this worker has; False if it has ended by its own hand. LeaseLost otherwise."""
        return self._held_by_me(connection, evaluation)[0]

    def _held_by_me(self, connection: Connection, evaluation: int) -> tuple[bool, str]:
        """As ``in_hand``, and the evaluation's token."""
        row = connection.execute(_HOLDER, {"evaluation": evaluation}).one_or_none()
        if row is None or row.worker != self.worker:
            holder = "nobody" if row is None or not row.worker else row.worker
            raise LeaseLost(
                f"evaluation {evaluation} of the store is no longer of {self.worker}, but of {holder}: what this "
                "worker has of it is dropped"
            )
        return row.state not in ENDED, row.token

    def _change(self, statement: Executable, **values: Any) -> int:
        """How many rows one statement, which is a transaction by itself, changes."""
        with self.asking() as connection:
            return connection.execute(statement, values).rowcount

    def _has_in_hand(self, evaluation: int) -> bool:
        """``in_hand`` at this moment; asked where a statement that is of effect for the holder only had none."""
        with self.asking() as connection:
            return self.in_hand(connection, evaluation)

    @patient
    def _add_unless_there(self, row: Base) -> bool:
        """Add a row; one with the same key, which another worker may have added in this moment, stays: then False."""
        with self.session() as session:
            session.add(row)
            try:
                session.commit()
            except IntegrityError:
                session.rollback()
                return False
            return True

    @patient
    def _add_architecture(self, architecture: Architecture) -> None:
        with self.asking() as connection:
            self._add_architectures(connection, architecture)

    def _add_architectures(self, connection: Connection, *architectures: Architecture) -> None:
        """Add those that are not there, in the order of their keys: two transactions never wait for each other."""
        distinct = {each.key: each for each in architectures}
        rows = [{"key": key, "description": distinct[key].to_json()} for key in sorted(distinct)]
        connection.execute(_ADD_ARCHITECTURE, rows)
