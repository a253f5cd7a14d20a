"""What keeping a store in order asks of it: which files there should be, how large it is, how long trials take."""

import json
from dataclasses import dataclass
from pathlib import Path

from optuna.storages._rdb import models
from sqlalchemy import delete, func, select, text, update

from .core import Database
from .patience import patient
from .records import FINISHED
from .tables import ArtifactRow, EvaluationRow, StudyRow, WorkerRow


@dataclass(frozen=True)
class File:
    """A file that the database knows. evaluation: whose it is, None for a teacher's answers; name: what it is."""

    id: str
    evaluation: int | None
    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Referring:
    """An evaluation, and the files that it says it has. token: what the ids of its checkpoints are made of."""

    id: int
    study: str
    state: str
    trial_number: int | None
    token: str
    weights: str | None
    quantized: str | None


@patient
def files(store: Database) -> list[File]:
    """All files that the database knows."""
    one = ArtifactRow
    with store.session() as session:
        return [
            File(*row) for row in session.execute(select(one.id, one.evaluation_id, one.name, one.sha256, one.bytes))
        ]


@patient
def referring(store: Database) -> list[Referring]:
    """All evaluations of a store, by id."""
    one = EvaluationRow
    columns = select(one.id, StudyRow.name, one.state, one.trial_number, one.token, one.weights, one.quantized)
    with store.session() as session:
        return [Referring(*row) for row in session.execute(columns.join(StudyRow).order_by(one.id))]


@patient
def uploads(store: Database) -> dict[str, str]:
    """Files that Optuna's tables name, by id: those of ours, and what people gave to optuna-dashboard."""
    found = {}
    with store.session() as session:
        for table in (models.TrialSystemAttributeModel, models.StudySystemAttributeModel):
            for value in session.scalars(select(table.value_json).where(table.key.contains("artifacts:"))):
                said = json.loads(json.loads(value))
                if said is not None:
                    found[said["artifact_id"]] = said["filename"]
    return found


@patient
def weighty(store: Database, study: int, *, front: bool) -> list[int]:
    """Ids of the complete evaluations of a study that have weights of their own. front: also those on its front."""
    one = EvaluationRow
    own = select(one.id).join(ArtifactRow).where(one.study_id == study, one.state == "complete")
    asked = own.where(one.weights.is_not(None)) if front else own.where(one.weights.is_not(None), one.front.is_(False))
    with store.session() as session:
        return sorted(set(session.scalars(asked)))


@patient
def pupils(store: Database, name: str) -> set[int]:
    """Numbers of the trials of a study that teach another study of the store."""
    with store.session() as session:
        teachers = [definition.get("teacher", "") for definition in session.scalars(select(StudyRow.definition))]
    named = [str(teacher).rpartition(":") for teacher in teachers]
    return {int(number) for study, _, number in named if study == name and number.isdecimal()}


@patient
def recent_seconds(store: Database, study: int, count: int) -> list[float]:
    """What the newest trials of a study took that were evaluated in it, at most ``count`` of them."""
    one = EvaluationRow
    took = select(one.seconds).where(one.study_id == study, one.state.in_(FINISHED), one.reused.is_(None))
    with store.session() as session:
        return [seconds for seconds in session.scalars(took.order_by(one.id.desc()).limit(count)) if seconds]


@patient
def artifact_bytes(store: Database, study: int) -> int:
    """What the files of a study take."""
    total = select(func.sum(ArtifactRow.bytes)).join(EvaluationRow).where(EvaluationRow.study_id == study)
    with store.session() as session:
        return int(session.scalar(total) or 0)


@patient
def database_bytes(store: Database) -> int | None:
    """What the whole database takes; None where it does not say."""
    url, engine = store.optuna.engine.url, store.optuna.engine
    if engine.dialect.name == "sqlite":
        files = [Path(f"{url.database}{more}") for more in ("", "-wal", "-shm")]
        return sum(file.stat().st_size for file in files if file.exists())
    if engine.dialect.name == "postgresql":
        with store.session() as session:
            return int(session.scalar(text("SELECT pg_database_size(current_database())")) or 0)
    return None


@patient
def end_workers(store: Database, study: int, names: list[str]) -> None:
    """Say of workers that died that they ended."""
    theirs = (WorkerRow.study_id == study) & WorkerRow.name.in_(names)
    with store.writing() as session:
        session.execute(update(WorkerRow).where(theirs).values(state="ended"))


@patient
def forget_files(store: Database, artifacts: list[str]) -> None:
    """Take files that are lost out of the evaluations that have them, whole: half a result is none."""
    one = EvaluationRow
    with store.writing() as session:
        lost = one.weights.in_(artifacts) | one.quantized.in_(artifacts)
        session.execute(update(one).where(lost).values(weights=None, quantized=None))
        session.execute(delete(ArtifactRow).where(ArtifactRow.id.in_(artifacts)))
