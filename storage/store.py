"""The SQL store: which studies there are, what was tried, what came out."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from .. import own
from ..spaces import Architecture, Candidate
from ..spaces.architecture import Json
from .artifacts import Artifacts, default_folder
from .database import explained, open_database, shown
from .latencies import LatencyRecord, newest, readable, record_of, replacement, row_of, same_conditions
from .records import ENDED, FINISHED, CurvePoint, Evaluation, evaluation_of, learned_from_another
from .tables import ArchitectureRow, Base, ClockRow, EpochRow, EvaluationRow, LatencyRow, MeasurementRow, StudyRow


class Store:
    """One database and one artifact folder."""

    def __init__(self, url: str, *, artifacts: str | Path | None = None, create: bool = True) -> None:
        self.url = url
        self.optuna = open_database(url, create=create)
        self.artifacts = Artifacts(Path(artifacts) if artifacts is not None else default_folder(url))

    def __repr__(self) -> str:
        return f"Store({shown(self.url)!r})"

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A transaction; what the database says against it becomes a StoreError."""
        with explained(self.url), Session(self.optuna.engine, expire_on_commit=False) as session:
            yield session

    def explained(self) -> AbstractContextManager[None]:
        """What the database says in this block becomes a StoreError."""
        return explained(self.url)

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
        self, evaluation: int, measured: Mapping[str, tuple[float, Json]], *, reason: str, seconds: float
    ) -> None:
        """Keep that what is known of a candidate before training violates a constraint. Its place is free again."""
        with self.session() as session:
            row = session.get_one(EvaluationRow, evaluation)
            row.state, row.kind, row.reason, row.seconds = "refused", "infeasible", reason, seconds
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

    def finished_ids(self, study: int) -> list[int]:
        """Ids of the evaluations that took their place to an end, complete or failed."""
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
        rows = select(EpochRow).where(EpochRow.evaluation_id == evaluation).order_by(EpochRow.id)
        with self.session() as session:
            return [CurvePoint(r.phase, r.number, r.loss, r.score, r.seconds) for r in session.scalars(rows)]

    # Latencies

    def clock(self, hardware: str, threads: int, torch: str, device: str) -> tuple[float, float, str] | None:
        """What the small and the large reference network take, in milliseconds, and the host that said so."""
        with self.session() as session:
            row = session.get(ClockRow, (hardware, threads, torch, device))
            return None if row is None else (row.small_ms, row.large_ms, row.host)

    def keep_clock(
        self, hardware: str, threads: int, torch: str, device: str, *, small_ms: float, large_ms: float, host: str
    ) -> None:
        """Keep a calibration; the first one of a kind of host stays, so that its figures compare."""
        times = {"small_ms": small_ms, "large_ms": large_ms, "host": host}
        self._add_unless_there(ClockRow(hardware=hardware, threads=threads, torch=torch, device=device, **times))

    def latency(
        self,
        architecture_key: str,
        *,
        backend: str,
        version: str,
        hardware: str,
        threads: int,
        batch: int,
        precision: str,
    ) -> LatencyRecord | None:
        """What a network takes under these conditions, if any study measured it."""
        conditions = same_conditions(
            backend=backend, version=version, hardware=hardware, threads=threads, batch=batch, precision=precision
        )
        with self.session() as session:
            row = session.scalar(select(LatencyRow).where(LatencyRow.architecture_key == architecture_key, conditions))
            return None if row is None else record_of(row)

    def keep_latency(self, architecture: Architecture, record: LatencyRecord) -> None:
        """Keep a latency in the place of that of the same conditions, which stays if it is less noisy and the new one
        was measured alone.
        """
        assert record.latency_ms > 0  # nor NaN, which SQLite takes for nothing
        assert record.noise >= 0
        self._add_architecture(architecture)
        if not self._add_unless_there(row_of(architecture.key, record)):
            with self.session() as session:
                session.execute(replacement(architecture.key, record))
                session.commit()

    def latencies(
        self, *, backend: str, version: str, hardware: str, threads: int, batch: int, precision: str, limit: int = 1000
    ) -> list[tuple[Architecture, float]]:
        """Networks and milliseconds under these conditions: the newest that are not noisy, the newest last.

        Networks of own code that this process may not run are left out.
        """
        conditions = same_conditions(
            backend=backend, version=version, hardware=hardware, threads=threads, batch=batch, precision=precision
        )
        with self.session() as session:
            return readable(session.execute(newest(conditions, limit)).all()[::-1])

    def _add_architecture(self, architecture: Architecture) -> None:
        self._add_unless_there(ArchitectureRow(key=architecture.key, description=architecture.to_json()))

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


def _measure(session: Session, evaluation: int, measured: Mapping[str, tuple[float, Json]]) -> None:
    for name, (value, detail) in measured.items():
        session.merge(MeasurementRow(evaluation_id=evaluation, name=name, value=value, detail=detail))
