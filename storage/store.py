"""The SQL store: which studies there are, what was tried, what came out."""

import platform
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, or_, select, true, update
from sqlalchemy.exc import IntegrityError

from ..spaces import Architecture, Candidate
from ..spaces.architecture import Json
from .artifacts import artifacts_at
from .claims import Claims
from .history import History
from .latency_store import Latencies
from .lease_store import Leases
from .patience import patient
from .records import CurvePoint, Evaluation, FrontPoint, Query, Valued
from .shared_files import SharedFiles
from .sql import EPOCHS, EVALUATIONS, IN_HAND, MEASUREMENTS, OF_STUDY, STUDIES, THIS, Put
from .tables import StudyRow

Measured = Mapping[str, tuple[float, Json]]  # value and conditions by name
Front = Callable[[Sequence[Valued]], Collection[int]]

_one, _number = EVALUATIONS.c, MEASUREMENTS.c
_STUDIES = select(STUDIES.c.name).order_by(STUDIES.c.id)
_STUDY = select(STUDIES.c.id, STUDIES.c.definition).where(STUDIES.c.name == bindparam("study"))
_UNUSED = select(_one.id).where(OF_STUDY, _one.state == "open", _one.worker == bindparam("me")).limit(1)
_TAKEN = select(func.count()).select_from(EVALUATIONS).where(OF_STUDY, _one.state != "refused")
_PLACES = select(_UNUSED.scalar_subquery().label("unused"), _TAKEN.scalar_subquery().label("taken"))
_TAKE = insert(EVALUATIONS)
_earlier = EVALUATIONS.alias("earlier")
_SAME = (_earlier.c.key == bindparam("same")) & (_earlier.c.id != bindparam("evaluation"))
_BEGIN = update(EVALUATIONS).where(
    IN_HAND, ~select(_earlier.c.id).where(_SAME, _earlier.c.study_id == _one.study_id).exists()
)
_POINT = [field.name for field in fields(CurvePoint)]
_BEGUN = Query.of(
    (_one.key == bindparam("same"))
    & (_one.id != bindparam("evaluation"))
    & (_one.study_id == select(_earlier.c.study_id).where(_earlier.c.id == bindparam("evaluation")).scalar_subquery())
)
_ADD_EPOCH = (
    insert(EPOCHS)
    .from_select(
        ["evaluation_id", *_POINT],
        select(_one.id, *(bindparam(name, type_=EPOCHS.c[name].type) for name in _POINT))
        .where(IN_HAND)
        .with_for_update(key_share=True),
    )
    .execution_options(preserve_rowcount=True)
)
_OF = select(_one.study_id, _one.deployed_key).where(THIS)
_END = update(EVALUATIONS).where(IN_HAND)
_MEASURE = Put(MEASUREMENTS)
_ON_FRONT = OF_STUDY & (_one.front == true())
_COMPARED = (
    select(_one.id, _one.trial_number, _one.front, _number.name, _number.value)
    .select_from(EVALUATIONS.outerjoin(MEASUREMENTS, _number.evaluation_id == _one.id))
    .where(or_(_ON_FRONT, THIS))
)
_FRONT_IDS = select(_one.id).where(_ON_FRONT)
_KEEPS_FRONT = update(STUDIES).where(STUDIES.c.id == bindparam("study")).values(front_kept=True)
_PUT = update(EVALUATIONS).where(OF_STUDY, _one.id.in_(bindparam("these", expanding=True)))


class Store(Claims, Leases, History, Latencies, SharedFiles):
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
        with self.asking() as connection:
            row = connection.execute(_STUDY, {"study": name}).one_or_none()
            return None if row is None else (row.id, row.definition)

    @patient
    def study_names(self) -> list[str]:
        with self.asking() as connection:
            return list(connection.scalars(_STUDIES))

    # Evaluations, in the order of their life

    @patient
    def take_place(self, study: int, total: int) -> int | None:
        """Take one of the ``total`` places of a study, exactly: an evaluation's id, or None when all are taken.

        A worker that has a place which it has not used gets that one. What was refused takes none.
        """
        with self.writing() as connection:
            self.lock_study(connection, study)
            unused, taken = connection.execute(_PLACES, {"study": study, "me": self.worker}).one()
            if unused is not None:
                return int(unused)
            if taken >= total:
                return None
            new = {"study_id": study, "worker": self.worker, "state": "open", "host": platform.node()}
            key: Any = connection.execute(_TAKE, new).inserted_primary_key
            return int(key[0])

    @patient
    def begin(
        self, evaluation: int, candidate: Candidate, *, trial: int, task: str, seed: int, threads: int, device: str
    ) -> Evaluation | None:
        """Say what the place is used for. If the study has this candidate already, nothing is written and its
        evaluation comes back.
        """
        said = {
            "state": "running",
            "trial_number": trial,
            "key": candidate.key,
            "candidate": candidate.to_json(),
            "architecture_key": candidate.architecture.key,
            "deployed_key": candidate.deployed.key,
            "task": task,
            "seed": seed,
            "threads": threads,
            "device": device,
        }
        asked = {"evaluation": evaluation, "me": self.worker, "same": candidate.key}
        while True:  # until it is begun, or known
            with self.writing() as connection:
                self._add_architectures(connection, candidate.architecture, candidate.deployed)
                try:
                    if connection.execute(_BEGIN, said | asked).rowcount:
                        return None
                except IntegrityError:  # another worker began the same one in this moment
                    connection.rollback()
                mine = self.in_hand(connection, evaluation)
                known = _BEGUN.read(connection, evaluation=evaluation, same=candidate.key)
                if known or not mine:
                    return known[0] if known else None

    @patient
    def add_epoch(self, evaluation: int, point: CurvePoint) -> None:
        """Keep an epoch of an evaluation in hand; one that is there stays."""
        with self.asking() as connection:
            try:
                asked = {"evaluation": evaluation, "me": self.worker}
                while not connection.execute(_ADD_EPOCH, asdict(point) | asked).rowcount:
                    if not self.in_hand(connection, evaluation):
                        return
            except IntegrityError:
                return

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
        front: Front,
    ) -> None:
        """Keep what came out of a candidate. measured: value and conditions by name.

        front: which of the evaluations on the front of the study, and this one, are on it from now on, by their ids. It
        is asked while no other worker changes the front.
        """
        ended = {"seconds": seconds, "weights": weights, "reused": reused, "quantized": quantized}
        said = {"state": "complete", "deployed_key": deployed.key, **ended}
        self._complete(evaluation, said, measured, deployed, front)

    @patient
    def _complete(
        self, evaluation: int, said: Mapping[str, object], measured: Measured, deployed: Architecture, front: Front
    ) -> None:
        with self.writing() as connection:
            row = connection.execute(_OF, {"evaluation": evaluation}).one_or_none()
            if row is not None:
                self.lock_study(connection, row.study_id)
                if row.deployed_key != deployed.key:
                    self._add_architectures(connection, deployed)
            if not self._end_in(connection, evaluation, said, measured):
                return
            assert row is not None
            _renew_front(connection, row.study_id, evaluation, front)
        self.to_disk()

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

        self.to_disk()

    @patient
    def _end(self, evaluation: int, said: Mapping[str, object], measured: Measured) -> None:
        with self.writing() as connection:
            self._end_in(connection, evaluation, said, measured)

    def _end_in(self, connection: Connection, evaluation: int, said: Mapping[str, object], measured: Measured) -> bool:
        """End an evaluation in hand. One that this worker ended before, whose answer was lost, stays: then False."""
        if not connection.execute(_END, {**said, "evaluation": evaluation, "me": self.worker}).rowcount:
            self.in_hand(connection, evaluation)
            return False
        _measure(connection, evaluation, measured)
        return True

    @patient
    def set_front(self, study: int, ids: Collection[int]) -> None:
        """Say which evaluations of a study are on its front, as after a new measurement."""
        with self.writing() as connection:
            self.lock_study(connection, study)
            connection.execute(_KEEPS_FRONT, {"study": study})
            _put_on_front(connection, study, set(connection.scalars(_FRONT_IDS, {"study": study})), ids)

    @patient
    def add_measurement(self, evaluation: int, name: str, value: float, detail: Json) -> None:
        """Measure what was measured before anew, or more of it, whoever had it in hand."""
        with self.asking() as connection:
            _measure(connection, evaluation, {name: (value, detail)})


def _without(state: str, kind: str, reason: str, seconds: float) -> dict[str, object]:
    """What is kept of an evaluation that has no result, and trains no longer."""
    return {"state": state, "kind": kind, "reason": reason, "seconds": seconds, "trains": None}


def _measure(connection: Connection, evaluation: int, measured: Measured) -> None:
    """Keep measurements in the place of those of the same names."""
    if measured:
        rows = [
            {"evaluation_id": evaluation, "name": name, "value": value, "detail": dict(detail)}
            for name, (value, detail) in measured.items()
        ]
        connection.execute(_MEASURE, rows)


def _renew_front(connection: Connection, study: int, evaluation: int, front: Front) -> None:
    """Have ``front`` decide which of the front and the new evaluation stay."""
    points: dict[int, dict[str, float]] = {}
    trials: dict[int, int] = {}
    was = set()
    for identity, trial, on_front, name, value in connection.execute(
        _COMPARED, {"study": study, "evaluation": evaluation}
    ):
        trials[identity] = trial or 0
        values = points.setdefault(identity, {})
        if name is not None:
            values[name] = value
        if on_front:
            was.add(identity)
    compared = [FrontPoint(identity, trials[identity], points[identity]) for identity in sorted(points)]
    _put_on_front(connection, study, was, front(compared))


def _put_on_front(connection: Connection, study: int, was: set[int], ids: Collection[int]) -> None:
    """Have ``ids`` on the front of a study, where ``was`` were."""
    for on_front, these in ((False, was.difference(ids)), (True, set(ids) - was)):
        if these:
            connection.execute(_PUT, {"study": study, "these": sorted(these), "front": on_front})
