"""Our tables, and what the parts of the store ask of them alike.

Statements that are asked often are made once, as constants: to make one anew takes longer than the database does.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, Engine, Insert, Table, UniqueConstraint, bindparam, literal_column
from sqlalchemy.ext.compiler import compiles

from .tables import ArchitectureRow, ArtifactRow, EpochRow, EvaluationRow, MeasurementRow, StudyRow, WorkerRow

STUDIES = cast("Table", StudyRow.__table__)
WORKERS = cast("Table", WorkerRow.__table__)
ARCHITECTURES = cast("Table", ArchitectureRow.__table__)
EVALUATIONS = cast("Table", EvaluationRow.__table__)
MEASUREMENTS = cast("Table", MeasurementRow.__table__)
EPOCHS = cast("Table", EpochRow.__table__)
ARTIFACTS = cast("Table", ArtifactRow.__table__)


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes: committed at its end. SQLite, which locks no rows, lets one in at a time."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection
        connection.commit()


def among(column: ColumnElement[Any], words: Iterable[str]) -> ColumnElement[bool]:
    """Whether a column has one of a few words of ours, which stand in the statement itself."""
    return column.in_([literal_column(f"'{word}'") for word in words])


UNENDED = among(EVALUATIONS.c.state, ("open", "running"))
THIS = EVALUATIONS.c.id == bindparam("evaluation")
IN_HAND = THIS & (EVALUATIONS.c.worker == bindparam("me")) & UNENDED
OF_STUDY = EVALUATIONS.c.study_id == bindparam("study")


class Put(Insert):
    """Rows of a table that take the place of those that are the same by its unique columns, or its primary key."""

    inherit_cache = True

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self._inline = True  # no keys are asked for, after which nothing more could be said


class Add(Put):
    """Rows of a table, but those that it has."""

    inherit_cache = True


@compiles(Put)
def _on_conflict(put: Put, compiler: Any, **given: Any) -> str:
    """As SQLite and PostgreSQL say it."""
    same, rest = _columns(put)
    changed = ", ".join(f"{name} = excluded.{name}" for name in rest)
    what = f"UPDATE SET {changed}" if rest else "NOTHING"
    return f"{compiler.visit_insert(put, **given)} ON CONFLICT ({', '.join(same)}) DO {what}"


@compiles(Put, "mysql")
@compiles(Put, "mariadb")
def _on_duplicate_key(put: Put, compiler: Any, **given: Any) -> str:
    same, rest = _columns(put)
    quoted = [compiler.preparer.quote(name) for name in rest or same[:1]]
    changed = ", ".join(f"{name} = VALUES({name})" for name in quoted)
    return f"{compiler.visit_insert(put, **given)} ON DUPLICATE KEY UPDATE {changed}"


def _columns(put: Put) -> tuple[list[str], list[str]]:
    """By which rows are the same, and what changes of them."""
    table = cast("Table", put.table)
    unique = [one for one in table.constraints if isinstance(one, UniqueConstraint)]
    same = [column.name for column in (unique[0] if unique else table.primary_key).columns]
    rest = [one.name for one in table.columns if not one.primary_key and one.name not in same]
    return same, [] if isinstance(put, Add) else rest
