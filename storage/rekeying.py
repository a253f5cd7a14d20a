"""Keys of candidates and networks as this release makes them; a step from version 1 of the store."""

from sqlalchemy import JSON, Connection, column, delete, insert, or_, select, table, update

from ..spaces import Architecture, Candidate

# As the steps find them, whatever later releases make of them.
EVALUATIONS = table(
    "paretonas_evaluations",
    *(column(name) for name in ("id", "study_id", "key", "architecture_key", "deployed_key")),
    column("candidate", JSON),
)
ARCHITECTURES = table("paretonas_architectures", column("key"), column("description", JSON))


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
