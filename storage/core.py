"""The core of the store: its database, who works on it, and transactions about what this worker has in hand."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..errors import LeaseLost
from ..spaces import Architecture
from .database import open_database
from .identity import me
from .patience import patient
from .records import ENDED
from .saying import explained, shown
from .tables import ArchitectureRow, Base, EvaluationRow, StudyRow


class Database:
    """One database, and the name of the worker that writes to it."""

    def __init__(self, url: str, *, create: bool = True, worker: str | None = None) -> None:
        self.url = url
        self._worker = worker
        self.optuna = open_database(url, create=create)
        self.optuna.worker = worker

    @property
    def worker(self) -> str:
        """Who writes: this process, or whoever the store was opened for."""
        return self._worker or me()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({shown(self.url)!r})"

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A transaction; what the database says against it becomes a StoreError."""
        with explained(self.url), Session(self.optuna.engine, expire_on_commit=False) as session:
            yield session

    def explained(self) -> AbstractContextManager[None]:
        """What the database says in this block becomes a StoreError."""
        return explained(self.url)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that writes: committed at its end. SQLite, which locks no rows, lets one in at a time."""
        with self.session() as session:
            if self.optuna.engine.dialect.name == "sqlite":
                session.execute(text("BEGIN IMMEDIATE"))
            yield session
            session.commit()

    def to_disk(self) -> None:
        """Have what was committed survive the loss of power. Servers see to that; SQLite's log is flushed here."""
        if self.optuna.engine.dialect.name != "sqlite":
            return
        with suppress(FileNotFoundError):  # then all of it is in the database, which was flushed
            log = os.open(f"{self.optuna.engine.url.database}-wal", os.O_RDONLY)
            try:
                os.fsync(log)
            finally:
                os.close(log)

    def lock_study(self, session: Session, study: int) -> None:
        """Let one worker at a time go on from here."""
        session.execute(select(StudyRow.id).where(StudyRow.id == study).with_for_update())

    def in_hand(self, session: Session, evaluation: int) -> bool:
        """Lock an evaluation that this worker has; False if it has ended by its own hand. LeaseLost otherwise."""
        one = select(EvaluationRow.worker, EvaluationRow.state).where(EvaluationRow.id == evaluation)
        row = session.execute(one.with_for_update()).one_or_none()
        if row is None or row.worker != self.worker:
            holder = "nobody" if row is None or not row.worker else row.worker
            raise LeaseLost(
                f"evaluation {evaluation} of the store is no longer of {self.worker}, but of {holder}: what this "
                "worker has of it is dropped"
            )
        return row.state not in ENDED

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

    def _add_architecture(self, architecture: Architecture) -> None:
        self._add_unless_there(ArchitectureRow(key=architecture.key, description=architecture.to_json()))
