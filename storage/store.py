"""The SQL store: which studies there are, what was tried, what came out."""

import platform
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

from sqlalchemy import and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..spaces import Architecture, Candidate
from ..spaces.architecture import Json
from .artifact_store import ArtifactStore
from .artifacts import artifacts_at
from .claims import Claims
from .history import History
from .latency_store import Latencies
from .lease_store import Leases
from .patience import patient
from .records import CurvePoint, Evaluation, FrontPoint, Valued, evaluation_of
from .tables import EpochRow, EvaluationRow, MeasurementRow, StudyRow

Measured = Mapping[str, tuple[float, Json]]  # value and conditions by name
Front = Callable[[Sequence[Valued]], Collection[int]]


class Store(Claims, Leases, History, Latencies, ArtifactStore):
    """One database and one artifact folder.

    What is written of an evaluation is written by the worker that has it in hand, or not at all: LeaseLost. All that is
    written may be written again, so it is, while the database is away.
    """

    def __init__(
        self, url: str, *, artifacts: str | Path | None = None, create: bool = True, worker: str | None = None
    ) -> None:
        super().__init__(url, create=create, worker=worker)
        self.artifacts = artifacts_at(artifacts, url)

    # Studies

    def add_study(self, name: str, definition: Json) -> None:
        """Keep a study's definition; a study of that name that exists is left as it is."""
        self._add_unless_there(StudyRow(name=name, definition=definition))

    @patient
    def definition(self, name: str) -> tuple[int, Json] | None:
        """Id and definition of a study."""
        with self.session() as session:
            row = session.scalar(select(StudyRow).where(StudyRow.name == name))
            return None if row is None else (row.id, row.definition)

    @patient
    def study_names(self) -> list[str]:
        with self.session() as session:
            return list(session.scalars(select(StudyRow.name).order_by(StudyRow.id)))

    # Evaluations, in the order of their life

    @patient
    def take_place(self, study: int, total: int) -> int | None:
        """Take one of the ``total`` places of a study, exactly: an evaluation's id, or None when all are taken.

        A worker that has a place which it has not used gets that one. What was refused takes none.
        """
        mine = {"study_id": study, "worker": self.worker, "state": "open"}
        with self.writing() as session:
            self.lock_study(session, study)
            if (unused := session.scalar(select(EvaluationRow.id).filter_by(**mine).limit(1))) is not None:
                return unused
            takes = (EvaluationRow.study_id == study) & (EvaluationRow.state != "refused")
            if (session.scalar(select(func.count()).where(takes)) or 0) >= total:
                return None
            row = EvaluationRow(**mine, host=platform.node())
            session.add(row)
            session.flush()
            return row.id

    @patient
    def begin(
        self, evaluation: int, candidate: Candidate, *, trial: int, task: str, seed: int, threads: int, device: str
    ) -> Evaluation | None:
        """Say what the place is used for. If the study has this candidate already, nothing is written and its
        evaluation comes back.
        """
        for architecture in (candidate.architecture, candidate.deployed):
            self._add_architecture(architecture)
        one = EvaluationRow
        mine = select(one.study_id).where(one.id == evaluation).scalar_subquery()
        earlier = select(one).where(one.study_id == mine, one.key == candidate.key, one.id != evaluation)
        with self.writing() as session:
            self.in_hand(session, evaluation)
            if (known := session.scalar(earlier)) is not None:
                return evaluation_of(known)
            begun = update(one).where(one.id == evaluation, one.state.in_(("open", "running")))
            try:
                session.execute(
                    begun.values(
                        state="running",
                        trial_number=trial,
                        key=candidate.key,
                        candidate=candidate.to_json(),
                        architecture_key=candidate.architecture.key,
                        deployed_key=candidate.deployed.key,
                        task=task,
                        seed=seed,
                        threads=threads,
                        device=device,
                    )
                )
            except IntegrityError:  # another worker began the same one in this moment
                session.rollback()
                return evaluation_of(session.scalars(earlier).one())
            return None

    @patient
    def add_epoch(self, evaluation: int, point: CurvePoint) -> None:
        """Keep an epoch of an evaluation in hand; one that is there stays."""
        with self.writing() as session:
            if not self.in_hand(session, evaluation):
                return
            try:
                session.execute(insert(EpochRow).values(evaluation_id=evaluation, **asdict(point)))
            except IntegrityError:
                session.rollback()

    def finish(
        self,
        evaluation: int,
        measured: Measured,
        *,
        deployed: Architecture,
        seconds: float,
        weights: str,
        quantized: str | None = None,
        reused: int | None = None,
        front: Front | None = None,
    ) -> None:
        """Keep what came out of a candidate. measured: value and conditions by name.

        front: which of the evaluations on the front of the study, and this one, are on it from now on, by their ids. It
        is asked while no other worker changes the front.
        """
        self._add_architecture(deployed)
        ended = {"seconds": seconds, "weights": weights, "reused": reused, "quantized": quantized}
        self._end(evaluation, {"state": "complete", "deployed_key": deployed.key, **ended}, measured, front)

    def fail(self, evaluation: int, *, kind: str, reason: str, seconds: float) -> None:
        """Keep that a candidate could not be trained, and why."""
        self._end(evaluation, _without("failed", kind, reason, seconds), {})

    def refuse(
        self, evaluation: int, measured: Measured, *, reason: str, seconds: float, kind: str = "infeasible"
    ) -> None:
        """Keep that a candidate was not trained, because of what is known before. Its place is free again."""
        self._end(evaluation, _without("refused", kind, reason, seconds), measured)

    def stop(self, evaluation: int, measured: Measured, *, reason: str, seconds: float) -> None:
        """Keep that a candidate's training was stopped, and what it had reached."""
        self._end(evaluation, _without("stopped", "stopped", reason, seconds), measured)

    @patient
    def _end(
        self, evaluation: int, ended: Mapping[str, object], measured: Measured, front: Front | None = None
    ) -> None:
        """End an evaluation in hand. One that this worker ended before, whose answer was lost, stays as it is."""
        with self.writing() as session:
            study = session.scalar(select(EvaluationRow.study_id).where(EvaluationRow.id == evaluation))
            if front is not None and study is not None:
                self.lock_study(session, study)
            if not self.in_hand(session, evaluation):
                return
            session.execute(update(EvaluationRow).where(EvaluationRow.id == evaluation).values(**ended))
            _measure(session, evaluation, measured)
            if front is not None and study is not None:
                _renew_front(session, study, evaluation, front)
        self.to_disk()

    @patient
    def set_front(self, study: int, ids: Collection[int]) -> None:
        """Say which evaluations of a study are on its front, as after a new measurement."""
        with self.writing() as session:
            self.lock_study(session, study)
            session.execute(update(StudyRow).where(StudyRow.id == study).values(front_kept=True))
            _put_on_front(session, study, ids)

    @patient
    def add_measurement(self, evaluation: int, name: str, value: float, detail: Json) -> None:
        """Measure what was measured before anew, or more of it, whoever had it in hand."""
        with self.writing() as session:
            _measure(session, evaluation, {name: (value, detail)})


def _without(state: str, kind: str, reason: str, seconds: float) -> dict[str, object]:
    """What is kept of an evaluation that has no result, and trains no longer."""
    return {"state": state, "kind": kind, "reason": reason, "seconds": seconds, "trains": None}


def _measure(session: Session, evaluation: int, measured: Measured) -> None:
    """Keep measurements in the place of those of the same names."""
    if not measured:
        return
    session.execute(
        delete(MeasurementRow).where(
            MeasurementRow.evaluation_id == evaluation, MeasurementRow.name.in_(list(measured))
        )
    )
    rows = [
        {"evaluation_id": evaluation, "name": name, "value": value, "detail": dict(detail)}
        for name, (value, detail) in measured.items()
    ]
    session.execute(insert(MeasurementRow), rows)


def _renew_front(session: Session, study: int, evaluation: int, front: Front) -> None:
    """Have ``front`` decide which of the front and the new evaluation stay."""
    one, measured = EvaluationRow, MeasurementRow
    on_it = or_(and_(one.study_id == study, one.front), one.id == evaluation)
    rows = select(one.id, one.trial_number, measured.name, measured.value).where(on_it)
    points: dict[int, FrontPoint] = {}
    for row in session.execute(rows.outerjoin(measured, measured.evaluation_id == one.id).order_by(one.id)):
        values = points.setdefault(row.id, FrontPoint(row.id, row.trial_number or 0, {})).values
        if row.name is not None:
            cast("dict[str, float]", values)[row.name] = row.value
    _put_on_front(session, study, front(list(points.values())))


def _put_on_front(session: Session, study: int, ids: Collection[int]) -> None:
    mine = EvaluationRow.study_id == study
    session.execute(
        update(EvaluationRow).where(mine, EvaluationRow.front, EvaluationRow.id.not_in(ids)).values(front=False)
    )
    session.execute(
        update(EvaluationRow).where(mine, EvaluationRow.id.in_(ids), ~EvaluationRow.front).values(front=True)
    )
