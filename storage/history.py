"""The part of the store that is read: what was tried in a study, how it went, and its front."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, TypeVar

from sqlalchemy import BindParameter, ColumnElement, Select, bindparam, func, select, true

from ..errors import StoreError
from .core import Database
from .patience import patient
from .records import FINISHED, CurvePoint, Evaluation, Query
from .sql import EPOCHS, EVALUATIONS, OF_STUDY, STUDIES, THIS, among

T = TypeVar("T")
AT_ONCE = 500  # ids in one query; databases bound their number

_one, _epoch = EVALUATIONS.c, EPOCHS.c
_BEGUN = _one.key.is_not(None)
_FINISHED = OF_STUDY & among(_one.state, FINISHED)
_THESE: BindParameter[Any] = bindparam("these", expanding=True)

_ALL = Query.of(OF_STUDY & _BEGUN)
_SOME = Query.of(_one.id.in_(_THESE))
_NUMBERED = Query.of(OF_STUDY & _BEGUN & _one.trial_number.in_(_THESE))
_KEYED = Query.of(OF_STUDY & _one.key.in_(_THESE))
_FRONT = Query.of(OF_STUDY & (_one.front == true()))
_EVALUATION = Query.of(THIS)
_STATES = select(_one.id, _one.state).where(OF_STUDY, _BEGUN, _one.id > bindparam("after"))
_CURVES = (
    select(_epoch.evaluation_id, _epoch.phase, _epoch.number, _epoch.loss, _epoch.score, _epoch.seconds)
    .where(_epoch.evaluation_id.in_(_THESE))
    .order_by(_epoch.evaluation_id, _epoch.id)
)
_EPOCHS = (
    select(_epoch.evaluation_id, func.count())
    .join(EVALUATIONS, _one.id == _epoch.evaluation_id)
    .where(OF_STUDY)
    .group_by(_epoch.evaluation_id)
)
_TRAINED = select(func.count()).select_from(EPOCHS.join(EVALUATIONS, _one.id == _epoch.evaluation_id)).where(OF_STUDY)
_NEWEST = select(_one.id).where(_FINISHED).order_by(_one.id.desc()).limit(bindparam("limit"))
_FRONT_KEPT = select(STUDIES.c.front_kept).where(STUDIES.c.id == bindparam("study"))
_OPEN = select(_one.id, _one.worker).where(OF_STUDY, _one.key.is_(None))


def _counting(column: ColumnElement[str], *which: ColumnElement[bool]) -> Select[str, int]:
    return select(column, func.count()).where(OF_STUDY, *which).group_by(column)


_COUNTS = _counting(_one.state)
_KINDS = _counting(_one.kind, among(_one.state, ("failed", "refused", "stopped")))


class History(Database):
    """What the evaluations of a study say. Nothing here asks who works."""

    @patient
    def evaluations(self, study: int) -> list[Evaluation]:
        """All that a study began, in the order of its trials."""
        with self.asking() as connection:
            return sorted(_ALL.read(connection, study=study), key=lambda one: one.trial_number)

    @patient
    def states(self, study: int, *, after: int = 0) -> dict[int, str]:
        """The state of each evaluation that a study began, by id, oldest first. after: those of greater ids only."""
        with self.asking() as connection:
            rows = connection.execute(_STATES, {"study": study, "after": after}).all()
        return {row[0]: row[1] for row in sorted(rows)}

    def read(self, evaluations: Iterable[int]) -> list[Evaluation]:
        """Several evaluations, in the order of their ids; those that are gone by now are left out."""
        return self._read(sorted(evaluations))

    @patient
    def _read(self, every: Sequence[int]) -> list[Evaluation]:
        with self.asking() as connection:
            return [one for ids in _some_at_once(every) for one in _SOME.read(connection, these=ids)]

    @patient
    def newest_finished(self, study: int, limit: int) -> list[Evaluation]:
        """Of those that took their place to an end the newest, in the order of their ids."""
        with self.asking() as connection:
            ids = connection.scalars(_NEWEST, {"study": study, "limit": limit}).all()
            return _SOME.read(connection, these=ids)

    def curves(self, evaluations: Iterable[int]) -> dict[int, list[CurvePoint]]:
        """Learning curves by evaluation; one that trained no epoch is left out."""
        return self._curves(sorted(evaluations))

    @patient
    def _curves(self, every: Sequence[int]) -> dict[int, list[CurvePoint]]:
        found: dict[int, list[CurvePoint]] = {}
        with self.asking() as connection:
            for ids in _some_at_once(every):
                rows = connection.execute(_CURVES, {"these": ids}).all()
                for identity, points in groupby(rows, key=lambda row: row[0]):
                    found[identity] = [CurvePoint(*point[1:]) for point in points]
        return found

    @patient
    def epochs(self, study: int) -> dict[int, int]:
        """How many epochs each evaluation of a study was trained, by id; those that trained none are left out."""
        with self.asking() as connection:
            return {row[0]: row[1] for row in connection.execute(_EPOCHS, {"study": study})}

    @patient
    def finished_ids(self, study: int) -> list[int]:
        """Ids of the evaluations that took their place to an end: complete, stopped or failed."""
        with self.asking() as connection:
            return sorted(connection.scalars(select(_one.id).where(_FINISHED), {"study": study}))

    def refused(self, study: int) -> int:
        """How many candidates were refused before training."""
        return self.counts(study).get("refused", 0)

    @patient
    def counts(self, study: int) -> dict[str, int]:
        """How many evaluations a study has, by state."""
        with self.asking() as connection:
            return {row[0]: row[1] for row in connection.execute(_COUNTS, {"study": study})}

    @patient
    def kinds(self, study: int) -> dict[str, int]:
        """How many evaluations of a study ended without a result, by kind."""
        with self.asking() as connection:
            return {row[0] or "crashed": row[1] for row in connection.execute(_KINDS, {"study": study})}

    @patient
    def epochs_trained(self, study: int) -> int:
        """How many epochs a study trained in all."""
        with self.asking() as connection:
            return connection.scalar(_TRAINED, {"study": study}) or 0

    @patient
    def front_ids(self, study: int) -> list[int] | None:
        """Ids of the evaluations on a study's front; None if it was begun by an earlier release, which kept none."""
        with self.asking() as connection:
            if not connection.scalar(_FRONT_KEPT, {"study": study}):
                return None
            front = select(_one.id).where(OF_STUDY, _one.front == true())
            return sorted(connection.scalars(front, {"study": study}))

    @patient
    def front(self, study: int) -> list[Evaluation]:
        """The evaluations on a study's front, as far as it is kept, in the order of their ids."""
        with self.asking() as connection:
            return _FRONT.read(connection, study=study)

    def finished(self, study: int) -> int:
        """How many evaluations took their place to an end."""
        counts = self.counts(study)
        return sum(counts.get(state, 0) for state in FINISHED)

    def numbered(self, study: int, trials: Iterable[int]) -> dict[int, Evaluation]:
        """The evaluations of some trials that were begun, by the trial's number."""
        return {one.trial_number: one for one in self._of_study(study, _NUMBERED, sorted(trials))}

    def keyed(self, study: int, keys: Iterable[str]) -> dict[str, Evaluation]:
        """The evaluations of some candidates that a study began, by the candidate's key."""
        return {one.key: one for one in self._of_study(study, _KEYED, sorted(keys))}

    @patient
    def _of_study(self, study: int, query: Query, every: Sequence[int] | Sequence[str]) -> list[Evaluation]:
        with self.asking() as connection:
            return [one for some in _some_at_once(every) for one in query.read(connection, study=study, these=some)]

    @patient
    def evaluation(self, evaluation: int) -> Evaluation:
        """One that was begun. StoreError if it is gone."""
        with self.asking() as connection:
            found = _EVALUATION.read(connection, evaluation=evaluation)
        if not found:
            raise StoreError(f"the store has no evaluation {evaluation}: it was given back, or its study deleted")
        return found[0]

    @patient
    def open_places(self, study: int) -> list[tuple[int, str]]:
        """Id and worker of the places that were taken and not used yet."""
        with self.asking() as connection:
            return [(row[0], row[1]) for row in connection.execute(_OPEN, {"study": study})]

    def curve(self, evaluation: int) -> list[CurvePoint]:
        """The learning curve of one evaluation, fine-tuning after training."""
        return self.curves([evaluation]).get(evaluation, [])


def _some_at_once(every: Sequence[T]) -> Iterator[Sequence[T]]:
    """As many ids, or keys, at once as a query takes."""
    return (every[start : start + AT_ONCE] for start in range(0, len(every), AT_ONCE))
