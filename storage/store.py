"""The SQL store: which studies there are, what was tried, what came out."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from .. import own
from ..spaces import Architecture, Candidate
from ..spaces.architecture import Json
from .artifacts import Artifacts, default_folder
from .database import shown
from .latency_store import Latencies
from .records import ENDED, FINISHED, CurvePoint, Evaluation, evaluation_of, learned_from_another, point_of
from .tables import EpochRow, EvaluationRow, MeasurementRow, StudyRow

AT_ONCE = 500  # ids in one query; databases bound their number


class Store(Latencies):
    """One database and one artifact folder."""

    def __init__(self, url: str, *, artifacts: str | Path | None = None, create: bool = True) -> None:
        super().__init__(url, create=create)
        self.artifacts = Artifacts(Path(artifacts) if artifacts is not None else default_folder(url))

    def __repr__(self) -> str:
        return f"Store({shown(self.url)!r})"

    # Studies

    def add_study(self, name: str, definition: Json) -> None:
        """Keep a study's definition; a study of that name that exists is left as it is."""
        self._add_unless_there(StudyRow(name=name, definition=definition))

    def definition(self, name: str) -> tuple[int, Json] | None:
        """Id and definition of a study."""
        with self.session() as session:
            row = session.scalar(select(StudyRow).where(StudyRow.name == name))
            return None if row is None else (row.id, row.definition)

    def study_names(self) -> list[str]:
        with self.session() as session:
            return list(session.scalars(select(StudyRow.name).order_by(StudyRow.id)))

    # Evaluations, in the order of their life

    def take_place(self, study: int, total: int, *, worker: str, host: str) -> int | None:
        """Take one of the ``total`` places of a study, exactly: an evaluation's id, or None when all are taken.

        What was refused takes none.
        """
        with self.session() as session:
            session.execute(update(StudyRow).where(StudyRow.id == study).values(name=StudyRow.name))  # lock the study
            takes = (EvaluationRow.study_id == study) & (EvaluationRow.state != "refused")
            taken = session.scalar(select(func.count()).where(takes))
            if taken is None or taken >= total:
                return None
            row = EvaluationRow(study_id=study, worker=worker, host=host)
            session.add(row)
            session.commit()
            return row.id

    def begin(
        self, evaluation: int, candidate: Candidate, *, trial: int, task: str, seed: int, threads: int, device: str
    ) -> Evaluation | None:
        """Say what the place is used for. If the study has this candidate already, nothing is written and its
        evaluation comes back.
        """
        for architecture in (candidate.architecture, candidate.deployed):
            self._add_architecture(architecture)
        with self.session() as session:
            row = session.get_one(EvaluationRow, evaluation)
            earlier = select(EvaluationRow).where(
                EvaluationRow.study_id == row.study_id, EvaluationRow.key == candidate.key
            )
            if (known := session.scalar(earlier)) is not None:
                return evaluation_of(known)
            row.state, row.trial_number, row.key, row.candidate = "running", trial, candidate.key, candidate.to_json()
            row.architecture_key, row.deployed_key = candidate.architecture.key, candidate.deployed.key
            row.task, row.seed, row.threads, row.device = task, seed, threads, device
            try:
                session.commit()
            except IntegrityError:  # another worker began the same one in this moment
                session.rollback()
                return evaluation_of(session.scalars(earlier).one())
            return None

    def same_elsewhere(self, evaluation: int, names: Iterable[str]) -> Evaluation | None:
        """A finished evaluation, in another study, of the same candidate, task, seed, threads, device and host.

        None for a candidate that names the user's own code, which may be another by now, or that learned from another
        network, which the other study has not.
        """
        with self.session() as session:
            row = session.get_one(EvaluationRow, evaluation)
            if own.names(row.candidate) or learned_from_another(row):
                return None
            others = session.scalars(
                select(EvaluationRow).where(
                    EvaluationRow.key == row.key,
                    EvaluationRow.task == row.task,
                    EvaluationRow.seed == row.seed,
                    EvaluationRow.threads == row.threads,
                    EvaluationRow.device == row.device,
                    EvaluationRow.host == row.host,
                    EvaluationRow.state == "complete",
                    EvaluationRow.id != row.id,
                )
            )
            complete = (other for other in others if set(names) <= {m.name for m in other.measurements})
            return next(map(evaluation_of, complete), None)

    def add_epoch(self, evaluation: int, point: CurvePoint) -> None:
        with self.session() as session:
            session.add(EpochRow(evaluation_id=evaluation, **asdict(point)))
            session.commit()

    def finish(
        self,
        evaluation: int,
        measured: Mapping[str, tuple[float, Json]],
        *,
        deployed: Architecture,
        seconds: float,
        weights: str,
        quantized: str | None = None,
        reused: int | None = None,
    ) -> None:
        """Keep what came out of a candidate. measured: value and conditions by name."""
        self._add_architecture(deployed)
        with self.session() as session:
            row = session.get_one(EvaluationRow, evaluation)
            row.state, row.seconds, row.weights, row.reused = "complete", seconds, weights, reused
            row.deployed_key, row.quantized = deployed.key, quantized
            _measure(session, evaluation, measured)
            session.commit()

    def fail(self, evaluation: int, *, kind: str, reason: str, seconds: float) -> None:
        """Keep that a candidate could not be trained, and why."""
        with self.session() as session:
            row = session.get_one(EvaluationRow, evaluation)
            row.state, row.kind, row.reason, row.seconds = "failed", kind, reason, seconds
            session.commit()

    def refuse(
        self,
        evaluation: int,
        measured: Mapping[str, tuple[float, Json]],
        *,
        reason: str,
        seconds: float,
        kind: str = "infeasible",
    ) -> None:
        """Keep that a candidate was not trained, because of what is known before. Its place is free again."""
        self._end_early(evaluation, measured, "refused", kind, reason, seconds)

    def stop(self, evaluation: int, measured: Mapping[str, tuple[float, Json]], *, reason: str, seconds: float) -> None:
        """Keep that a candidate's training was stopped, and what it had reached."""
        self._end_early(evaluation, measured, "stopped", "stopped", reason, seconds)

    def _end_early(
        self,
        evaluation: int,
        measured: Mapping[str, tuple[float, Json]],
        state: str,
        kind: str,
        reason: str,
        seconds: float,
    ) -> None:
        with self.session() as session:
            row = session.get_one(EvaluationRow, evaluation)
            row.state, row.kind, row.reason, row.seconds = state, kind, reason, seconds
            _measure(session, evaluation, measured)
            session.commit()

    def give_back(self, evaluation: int) -> bool:
        """Free a place whose trial was interrupted, with all that it wrote. What has ended stays: then False."""
        with self.session() as session:
            row = session.get(EvaluationRow, evaluation)
            if row is None or row.state in ENDED:
                return False
            session.delete(row)
            session.commit()
            return True

    def add_measurement(self, evaluation: int, name: str, value: float, detail: Json) -> None:
        with self.session() as session:
            _measure(session, evaluation, {name: (value, detail)})
            session.commit()

    # Looking back

    def evaluations(self, study: int) -> list[Evaluation]:
        """All that a study began, in the order of its trials."""
        begun = select(EvaluationRow).where(EvaluationRow.study_id == study, EvaluationRow.key.is_not(None))
        with self.session() as session:
            return [evaluation_of(row) for row in session.scalars(begun.order_by(EvaluationRow.trial_number))]

    def states(self, study: int) -> dict[int, str]:
        """The state of each evaluation that a study began, by id, oldest first."""
        begun = select(EvaluationRow.id, EvaluationRow.state).where(
            EvaluationRow.study_id == study, EvaluationRow.key.is_not(None)
        )
        with self.session() as session:
            return {row.id: row.state for row in session.execute(begun.order_by(EvaluationRow.id))}

    def read(self, evaluations: Iterable[int]) -> list[Evaluation]:
        """Several evaluations, in the order of their ids; those that are gone by now are left out."""
        found: list[Evaluation] = []
        with self.session() as session:
            for ids in _some_at_once(evaluations):
                rows = session.scalars(
                    select(EvaluationRow).where(EvaluationRow.id.in_(ids)).order_by(EvaluationRow.id)
                )
                found += [evaluation_of(row) for row in rows]
        return found

    def curves(self, evaluations: Iterable[int]) -> dict[int, list[CurvePoint]]:
        """Learning curves by evaluation; one that trained no epoch is left out."""
        found: dict[int, list[CurvePoint]] = {}
        with self.session() as session:
            for ids in _some_at_once(evaluations):
                rows = session.scalars(select(EpochRow).where(EpochRow.evaluation_id.in_(ids)).order_by(EpochRow.id))
                for row in rows:
                    found.setdefault(row.evaluation_id, []).append(point_of(row))
        return found

    def epochs(self, study: int) -> dict[int, int]:
        """How many epochs each evaluation of a study was trained, by id; those that trained none are left out."""
        counted = (
            select(EpochRow.evaluation_id, func.count())
            .join(EvaluationRow, EvaluationRow.id == EpochRow.evaluation_id)
            .where(EvaluationRow.study_id == study)
            .group_by(EpochRow.evaluation_id)
        )
        with self.session() as session:
            return {row[0]: row[1] for row in session.execute(counted)}

    def finished_ids(self, study: int) -> list[int]:
        """Ids of the evaluations that took their place to an end: complete, stopped or failed."""
        finished = select(EvaluationRow.id).where(EvaluationRow.study_id == study, EvaluationRow.state.in_(FINISHED))
        with self.session() as session:
            return list(session.scalars(finished.order_by(EvaluationRow.id)))

    def refused(self, study: int) -> int:
        """How many candidates were refused before training."""
        rows = select(func.count()).where(EvaluationRow.study_id == study, EvaluationRow.state == "refused")
        with self.session() as session:
            return session.scalar(rows) or 0

    def evaluation(self, evaluation: int) -> Evaluation:
        with self.session() as session:
            return evaluation_of(session.get_one(EvaluationRow, evaluation))

    def open_places(self, study: int) -> list[tuple[int, str]]:
        """Id and worker of the places that were taken and not used yet."""
        unused = select(EvaluationRow).where(EvaluationRow.study_id == study, EvaluationRow.key.is_(None))
        with self.session() as session:
            return [(row.id, row.worker) for row in session.scalars(unused)]

    def curve(self, evaluation: int) -> list[CurvePoint]:
        """The learning curve of one evaluation, fine-tuning after training."""
        return self.curves([evaluation]).get(evaluation, [])


def _some_at_once(ids: Iterable[int]) -> Iterator[list[int]]:
    """Ids in ascending order, as many at once as a query takes."""
    every = sorted(ids)
    return (every[start : start + AT_ONCE] for start in range(0, len(every), AT_ONCE))


def _measure(session: Session, evaluation: int, measured: Mapping[str, tuple[float, Json]]) -> None:
    for name, (value, detail) in measured.items():
        session.merge(MeasurementRow(evaluation_id=evaluation, name=name, value=value, detail=detail))
