"""The part of the store that is read: what was tried in a study, how it went, and its front."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from sqlalchemy import func, select

from .core import Database
from .patience import patient
from .records import ENDED, FINISHED, CurvePoint, Evaluation, evaluation_of, point_of
from .tables import EpochRow, EvaluationRow, StudyRow

T = TypeVar("T")
AT_ONCE = 500  # ids in one query; databases bound their number


class History(Database):
    """What the evaluations of a study say. Nothing here asks who works."""

    @patient
    def evaluations(self, study: int) -> list[Evaluation]:
        """All that a study began, in the order of its trials."""
        begun = select(EvaluationRow).where(EvaluationRow.study_id == study, EvaluationRow.key.is_not(None))
        with self.session() as session:
            return [evaluation_of(row) for row in session.scalars(begun.order_by(EvaluationRow.trial_number))]

    @patient
    def states(self, study: int, *, after: int = 0) -> dict[int, str]:
        """The state of each evaluation that a study began, by id, oldest first. after: those of greater ids only."""
        begun = select(EvaluationRow.id, EvaluationRow.state).where(
            EvaluationRow.study_id == study, EvaluationRow.key.is_not(None), EvaluationRow.id > after
        )
        with self.session() as session:
            return {row.id: row.state for row in session.execute(begun.order_by(EvaluationRow.id))}

    def read(self, evaluations: Iterable[int]) -> list[Evaluation]:
        """Several evaluations, in the order of their ids; those that are gone by now are left out."""
        return self._read(sorted(evaluations))

    @patient
    def _read(self, every: Sequence[int]) -> list[Evaluation]:
        found: list[Evaluation] = []
        with self.session() as session:
            for ids in _some_at_once(every):
                rows = session.scalars(
                    select(EvaluationRow).where(EvaluationRow.id.in_(ids)).order_by(EvaluationRow.id)
                )
                found += [evaluation_of(row) for row in rows]
        return found

    def curves(self, evaluations: Iterable[int]) -> dict[int, list[CurvePoint]]:
        """Learning curves by evaluation; one that trained no epoch is left out."""
        return self._curves(sorted(evaluations))

    @patient
    def _curves(self, every: Sequence[int]) -> dict[int, list[CurvePoint]]:
        found: dict[int, list[CurvePoint]] = {}
        with self.session() as session:
            for ids in _some_at_once(every):
                rows = session.scalars(select(EpochRow).where(EpochRow.evaluation_id.in_(ids)).order_by(EpochRow.id))
                for row in rows:
                    found.setdefault(row.evaluation_id, []).append(point_of(row))
        return found

    @patient
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

    @patient
    def finished_ids(self, study: int) -> list[int]:
        """Ids of the evaluations that took their place to an end: complete, stopped or failed."""
        finished = select(EvaluationRow.id).where(EvaluationRow.study_id == study, EvaluationRow.state.in_(FINISHED))
        with self.session() as session:
            return list(session.scalars(finished.order_by(EvaluationRow.id)))

    def refused(self, study: int) -> int:
        """How many candidates were refused before training."""
        return self.counts(study).get("refused", 0)

    @patient
    def counts(self, study: int) -> dict[str, int]:
        """How many evaluations a study has, by state."""
        one = EvaluationRow
        counted = select(one.state, func.count()).where(one.study_id == study).group_by(one.state)
        with self.session() as session:
            return {row[0]: row[1] for row in session.execute(counted)}

    @patient
    def kinds(self, study: int) -> dict[str, int]:
        """How many evaluations of a study ended without a result, by kind."""
        one = EvaluationRow
        counted = (
            select(one.kind, func.count())
            .where(one.study_id == study, one.state.in_(("failed", "refused", "stopped")))
            .group_by(one.kind)
        )
        with self.session() as session:
            return {row[0] or "crashed": row[1] for row in session.execute(counted)}

    @patient
    def newest_ended(self, study: int, limit: int) -> list[tuple[str, str | None]]:
        """State and kind of the evaluations that ended, refused ones too, of the newest first."""
        one = EvaluationRow
        ended = select(one.state, one.kind).where(one.study_id == study, one.state.in_(ENDED))
        with self.session() as session:
            return [(row.state, row.kind) for row in session.execute(ended.order_by(one.id.desc()).limit(limit))]

    @patient
    def epochs_trained(self, study: int) -> int:
        """How many epochs a study trained in all."""
        mine = EvaluationRow.study_id == study
        trained = select(func.count()).join_from(EpochRow, EvaluationRow).where(mine)
        with self.session() as session:
            return session.scalar(trained) or 0

    @patient
    def front_ids(self, study: int) -> list[int] | None:
        """Ids of the evaluations on a study's front; None if it was begun by an earlier release, which kept none."""
        front = select(EvaluationRow.id).where(EvaluationRow.study_id == study, EvaluationRow.front)
        with self.session() as session:
            if not session.scalar(select(StudyRow.front_kept).where(StudyRow.id == study)):
                return None
            return list(session.scalars(front.order_by(EvaluationRow.id)))

    @patient
    def front(self, study: int) -> list[Evaluation]:
        """The evaluations on a study's front, as far as it is kept, in the order of their ids."""
        front = select(EvaluationRow).where(EvaluationRow.study_id == study, EvaluationRow.front)
        with self.session() as session:
            return [evaluation_of(row) for row in session.scalars(front.order_by(EvaluationRow.id))]

    def finished(self, study: int) -> int:
        """How many evaluations took their place to an end."""
        counts = self.counts(study)
        return sum(counts.get(state, 0) for state in FINISHED)

    def numbered(self, study: int, trials: Iterable[int]) -> dict[int, Evaluation]:
        """The evaluations of some trials that were begun, by the trial's number."""
        return self._numbered(study, sorted(trials))

    @patient
    def _numbered(self, study: int, every: Sequence[int]) -> dict[int, Evaluation]:
        one, found = EvaluationRow, dict[int, Evaluation]()
        with self.session() as session:
            for numbers in _some_at_once(every):
                rows = select(one).where(one.study_id == study, one.key.is_not(None), one.trial_number.in_(numbers))
                found |= {read.trial_number: read for read in map(evaluation_of, session.scalars(rows))}
        return found

    def keyed(self, study: int, keys: Iterable[str]) -> dict[str, Evaluation]:
        """The evaluations of some candidates that a study began, by the candidate's key."""
        return self._keyed(study, sorted(keys))

    @patient
    def _keyed(self, study: int, every: Sequence[str]) -> dict[str, Evaluation]:
        one, found = EvaluationRow, dict[str, Evaluation]()
        with self.session() as session:
            for keys in _some_at_once(every):
                rows = session.scalars(select(one).where(one.study_id == study, one.key.in_(keys)))
                found |= {str(row.key): evaluation_of(row) for row in rows}
        return found

    @patient
    def evaluation(self, evaluation: int) -> Evaluation:
        with self.session() as session:
            return evaluation_of(session.get_one(EvaluationRow, evaluation))

    @patient
    def open_places(self, study: int) -> list[tuple[int, str]]:
        """Id and worker of the places that were taken and not used yet."""
        unused = select(EvaluationRow).where(EvaluationRow.study_id == study, EvaluationRow.key.is_(None))
        with self.session() as session:
            return [(row.id, row.worker) for row in session.scalars(unused)]

    def curve(self, evaluation: int) -> list[CurvePoint]:
        """The learning curve of one evaluation, fine-tuning after training."""
        return self.curves([evaluation]).get(evaluation, [])


def _some_at_once(every: Sequence[T]) -> Iterator[Sequence[T]]:
    """As many ids, or keys, at once as a query takes."""
    return (every[start : start + AT_ONCE] for start in range(0, len(every), AT_ONCE))
