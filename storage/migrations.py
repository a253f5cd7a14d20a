"""Bringing the tables of an earlier release up to date, with their rows."""

from collections.abc import Callable

from sqlalchemy import JSON, Connection, Engine, column, delete, insert, or_, select, table, text, update

from ..spaces import Architecture, Candidate
from .tables import SCHEMA_VERSION, SchemaRow

# As the steps find them, whatever later releases make of them.
EVALUATIONS = table(
    "paretonas_evaluations",
    *(column(name) for name in ("id", "study_id", "key", "architecture_key", "deployed_key")),
    column("candidate", JSON),
)
ARCHITECTURES = table("paretonas_architectures", column("key"), column("description", JSON))


def lengthen_names(connection: Connection) -> None:
    """Room for a head and a metric of the test split in the name of a measurement; SQLite minds no lengths."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("ALTER TABLE paretonas_measurements ALTER COLUMN name TYPE VARCHAR(255)"))


def renew_keys(connection: Connection) -> None:
    """Key candidates and networks as this release does, whose blocks and trainings have more numbers.

    A candidate that cannot be read stays as it is, and so does one that now equals an earlier one of its study.
    """
    rows = connection.execute(select(EVALUATIONS).order_by(EVALUATIONS.c.id)).all()
    holder = {(row.study_id, row.key): row.id for row in rows}
    for row in rows:
        candidate = _read(row.candidate)
        if candidate is None or holder.setdefault((row.study_id, candidate.key), row.id) != row.id:
            continue
        for architecture in (candidate.architecture, candidate.deployed):
            _keep(connection, architecture)
        connection.execute(
            update(EVALUATIONS)
            .where(EVALUATIONS.c.id == row.id)
            .values(
                key=candidate.key,
                candidate=candidate.to_json(),
                architecture_key=candidate.architecture.key,
                deployed_key=candidate.deployed.key,
            )
        )
    used = or_(EVALUATIONS.c.architecture_key == ARCHITECTURES.c.key, EVALUATIONS.c.deployed_key == ARCHITECTURES.c.key)
    connection.execute(delete(ARCHITECTURES).where(~select(EVALUATIONS.c.id).where(used).exists()))


def _read(data: object) -> Candidate | None:
    try:
        candidate = Candidate.from_json(data)  # type: ignore[arg-type]
        candidate.key  # noqa: B018 - asked for here, because it builds what is left after pruning
    except Exception:  # noqa: BLE001 - whatever is wrong with one row, the others are to be used
        return None
    return candidate


def _keep(connection: Connection, architecture: Architecture) -> None:
    if connection.scalar(select(ARCHITECTURES.c.key).where(ARCHITECTURES.c.key == architecture.key)) is None:
        connection.execute(insert(ARCHITECTURES).values(key=architecture.key, description=architecture.to_json()))


# By the version that they start from: statements in words that SQLite and PostgreSQL share, or functions.
STEPS: dict[int, tuple[str | Callable[[Connection], None], ...]] = {
    1: ("ALTER TABLE paretonas_epochs RENAME COLUMN accuracy TO score", lengthen_names, renew_keys),
    2: ("ALTER TABLE paretonas_evaluations ADD COLUMN quantized VARCHAR(256)",),
    3: (
        "DROP TABLE IF EXISTS paretonas_hosts",  # of a clock with one reference network: its figures do not compare
        "UPDATE paretonas_measurements SET name = 'latency:onnxruntime' WHERE name = 'onnx_latency_ms'",
    ),
}


def migrate(engine: Engine, version: int) -> None:
    """Go up from ``version``, a step in a transaction. Several processes may call this at once.

    The first statement of a step locks the row of the version, so whoever comes second waits, and then finds
    nothing to do.
    """
    for step in range(version, SCHEMA_VERSION):
        with engine.begin() as connection:
            taken = connection.execute(update(SchemaRow).where(SchemaRow.version == step).values(version=step + 1))
            if taken.rowcount:
                for change in STEPS[step]:
                    if isinstance(change, str):
                        connection.execute(text(change))
                    else:
                        change(connection)
