"""The part of the store about who works on what: workers, what they hold, taking it up from those that died."""

import platform

from sqlalchemy import ColumnElement, and_, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from .core import Database
from .patience import patient
from .records import ENDED, Held, WorkerState, worker_of
from .sql import changed
from .tables import EpochRow, EvaluationRow, StudyRow, WorkerRow

PHASES = ("train", "finetune")  # in the order of a learning curve


class Leases(Database):
    """Who is dead is for the search room to judge; here it is made sure that one worker at a time has an evaluation."""

    # This worker

    @patient
    def enlist(self, study: int, lease: float) -> None:
        """Say that this worker works on a study, and counts its beat more often than every ``lease`` seconds."""
        mine = (WorkerRow.study_id == study) & (WorkerRow.name == self.worker)
        again = update(WorkerRow).where(mine).values(state="alive", lease=lease, beat=WorkerRow.beat + 1)
        new = {"study_id": study, "name": self.worker, "host": platform.node(), "lease": lease}
        with self.writing() as session:
            if changed(session, again):
                return
            try:
                with session.begin_nested():
                    session.execute(insert(WorkerRow).values(new))
            except IntegrityError:  # its answer was lost
                session.execute(again)

    @patient
    def renew(self) -> None:
        """Count this worker's beat, in all studies that it works on."""
        mine = (WorkerRow.name == self.worker) & (WorkerRow.state == "alive")
        with self.writing() as session:
            session.execute(update(WorkerRow).where(mine).values(beat=WorkerRow.beat + 1))

    @patient
    def leave(self) -> None:
        """Say that this worker ended, in all studies."""
        with self.writing() as session:
            session.execute(update(WorkerRow).where(WorkerRow.name == self.worker).values(state="ended"))

    # All of them

    @patient
    def workers(self, study: int) -> list[WorkerState]:
        """All that ever worked on a study, in the order in which they began."""
        rows = select(WorkerRow).where(WorkerRow.study_id == study).order_by(WorkerRow.id)
        with self.session() as session:
            return [worker_of(row) for row in session.scalars(rows)]

    @patient
    def ask_to_stop(self, study: int, *, stop: bool = True) -> None:
        """Ask the workers of a study to finish what they train and to end; or, with False, ask no more."""
        with self.writing() as session:
            session.execute(update(StudyRow).where(StudyRow.id == study).values(stop=stop))

    @patient
    def is_asked_to_stop(self, study: int) -> bool:
        with self.session() as session:
            return bool(session.scalar(select(StudyRow.stop).where(StudyRow.id == study)))

    def held(self, study: int) -> list[Held]:
        """What has not ended in a study, and the workers that have it, oldest first."""
        return self._held(EvaluationRow.study_id == study)

    def holder(self, evaluation: int) -> Held | None:
        """An evaluation of any study that has not ended, and the worker that has it; None if it has ended."""
        return next(iter(self._held(EvaluationRow.id == evaluation)), None)

    @patient
    def _held(self, which: ColumnElement[bool]) -> list[Held]:
        of = and_(WorkerRow.study_id == EvaluationRow.study_id, WorkerRow.name == EvaluationRow.worker)
        one = EvaluationRow
        rows = (
            select(one.id, one.state, one.worker, one.trial_number, one.attempts, WorkerRow)
            .outerjoin(WorkerRow, of)
            .where(which, one.state.in_(("open", "running")))
            .order_by(one.id)
        )
        with self.session() as session:
            return [
                Held(row[0], row[1], row[2], row[3], row[4], None if row[5] is None else worker_of(row[5]))
                for row in session.execute(rows)
            ]

    # What they have

    @patient
    def take_up(self, evaluation: int, *, of: str, died: bool) -> bool:
        """Go on with what worker ``of`` ("" for nobody) has in hand; False if it has ended, or another was faster.

        died: one more attempt is counted. Its epochs and its claim stay; its host is this one from now on.
        """
        theirs = (EvaluationRow.id == evaluation) & (EvaluationRow.worker == of) & EvaluationRow.state.not_in(ENDED)
        mine = {"worker": self.worker, "host": platform.node()}
        counted = {"attempts": EvaluationRow.attempts + 1} if died else {}
        with self.writing() as session:
            if changed(session, update(EvaluationRow).where(theirs).values(**mine, **counted)):
                return True
            now = select(EvaluationRow.worker, EvaluationRow.state).where(EvaluationRow.id == evaluation)
            row = session.execute(now).one_or_none()  # its answer was lost, if it is ours
            return row is not None and of != self.worker == row.worker and row.state not in ENDED

    @patient
    def release(self, evaluation: int) -> bool:
        """Leave what this worker has in hand to whoever takes it up, with its epochs. False if it is not ours."""
        one = EvaluationRow
        running = (one.id == evaluation) & (one.state == "running")
        with self.writing() as session:
            freed = update(one).where(running, one.worker == self.worker).values(worker="", trains=None)
            if changed(session, freed):
                return True
            return session.scalar(select(one.worker).where(running)) == ""  # its answer was lost

    @patient
    def give_back(self, evaluation: int, *, of: str | None = None) -> bool:
        """Free a place that this worker, or worker ``of``, has, with all that was written of it.

        False if it has ended, or another has it; a place of our own that is gone was given back, and its answer lost.
        """
        with self.writing() as session:
            row = session.scalar(select(EvaluationRow).where(EvaluationRow.id == evaluation).with_for_update())
            if row is None:
                return of is None
            if row.state in ENDED or row.worker != (self.worker if of is None else of):
                return False
            session.delete(row)
            return True

    @patient
    def rewind(self, evaluation: int, phase: str | None = None, number: int = -1) -> None:
        """Delete the epochs after epoch ``number`` of ``phase``, where a checkpoint is; without a phase, all."""
        kept = PHASES.index(phase) if phase is not None else -1
        later = or_(EpochRow.phase.in_(PHASES[kept + 1 :]), and_(EpochRow.phase == phase, EpochRow.number > number))
        with self.writing() as session:
            if self.in_hand(session, evaluation):
                session.execute(delete(EpochRow).where(EpochRow.evaluation_id == evaluation, later))
