"""The part of the store about who works on what: workers, what they hold, taking it up from those that died."""

import platform
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Select, and_, bindparam, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from .core import Database
from .patience import patient
from .records import ENDED, Held, WorkerState
from .sql import EPOCHS, EVALUATIONS, IN_HAND, OF_STUDY, STUDIES, THIS, UNENDED, WORKERS

PHASES = ("train", "finetune")  # in the order of a learning curve

_one, _worker, _phase = EVALUATIONS.c, WORKERS.c, EPOCHS.c.phase
_MINE = _worker.name == bindparam("me")
_COUNTED = {"beat": _worker.beat + 1}
_STATE = (_worker.name, _worker.host, _worker.beat, _worker.lease, _worker.state, _worker.started)

_RENEW = update(WORKERS).where(_MINE, _worker.state == "alive").values(_COUNTED)
_LEAVE = update(WORKERS).where(_MINE).values(state="ended")
_WORKERS = select(*_STATE).where(_worker.study_id == bindparam("study")).order_by(_worker.id)
_STOP = select(STUDIES.c.stop).where(STUDIES.c.id == bindparam("study"))
_HELD = (
    select(_one.id, _one.state, _one.worker, _one.trial_number, _one.attempts, *_STATE)
    .select_from(
        EVALUATIONS.outerjoin(WORKERS, and_(_worker.study_id == _one.study_id, _worker.name == _one.worker)),
    )
    .where(UNENDED)
)
_HELD_IN, _HELD_ONE = _HELD.where(OF_STUDY), _HELD.where(THIS)
_THEIRS = THIS & (_one.worker == bindparam("of")) & UNENDED
_GIVE_BACK = delete(EVALUATIONS).where(_THEIRS)
_HOLDER = select(_one.worker, _one.state).where(THIS)
_RELEASE = update(EVALUATIONS).where(IN_HAND, _one.state == "running").values(worker="", trains=None)


class Leases(Database):
    """Who is dead is for the search room to judge; here it is made sure that one worker at a time has an evaluation."""

    # This worker

    @patient
    def enlist(self, study: int, lease: float) -> None:
        """Say that this worker works on a study, and counts its beat more often than every ``lease`` seconds."""
        this = (_worker.study_id == study) & (_worker.name == self.worker)
        again = update(WORKERS).where(this).values(state="alive", lease=lease, **_COUNTED)
        new = {"study_id": study, "name": self.worker, "host": platform.node(), "lease": lease}
        with self.asking() as connection:
            if connection.execute(again).rowcount:
                return
            try:
                connection.execute(insert(WORKERS).values(new))
            except IntegrityError:  # its answer was lost
                connection.execute(again)

    @patient
    def renew(self) -> None:
        """Count this worker's beat, in all studies that it works on."""
        self._change(_RENEW, me=self.worker)

    @patient
    def leave(self) -> None:
        """Say that this worker ended, in all studies."""
        self._change(_LEAVE, me=self.worker)

    # All of them

    @patient
    def workers(self, study: int) -> list[WorkerState]:
        """All that ever worked on a study, in the order in which they began."""
        with self.asking() as connection:
            return [WorkerState(*row) for row in connection.execute(_WORKERS, {"study": study})]

    @patient
    def ask_to_stop(self, study: int, *, stop: bool = True) -> None:
        """Ask the workers of a study to finish what they train and to end; or, with False, ask no more."""
        self._change(update(STUDIES).where(STUDIES.c.id == study).values(stop=stop))

    @patient
    def is_asked_to_stop(self, study: int) -> bool:
        with self.asking() as connection:
            return bool(connection.scalar(_STOP, {"study": study}))

    def held(self, study: int) -> list[Held]:
        """What has not ended in a study, and the workers that have it, oldest first."""
        return self._held(_HELD_IN, {"study": study})

    def holder(self, evaluation: int) -> Held | None:
        """An evaluation of any study that has not ended, and the worker that has it; None if it has ended."""
        return next(iter(self._held(_HELD_ONE, {"evaluation": evaluation})), None)

    @patient
    def _held(self, which: Select[Any], values: Mapping[str, int]) -> list[Held]:
        with self.asking() as connection:
            rows = connection.execute(which, values).all()
        held = [Held(row[0], row[1], row[2], row[3], row[4], _state(row)) for row in rows]
        return sorted(held, key=lambda one: one.evaluation)  # in SQL SQLite would walk through all that ended

    # What they have

    @patient
    def take_up(self, evaluation: int, *, of: str, died: bool) -> bool:
        """Go on with what worker ``of`` ("" for nobody) has in hand; False if it has ended, or another was faster.

        died: one more attempt is counted. Its epochs and its claim stay; its host is this one from now on.
        """
        taken = {"worker": self.worker, "host": platform.node(), **({"attempts": _one.attempts + 1} if died else {})}
        if self._change(update(EVALUATIONS).where(_THEIRS).values(taken), evaluation=evaluation, of=of):
            return True
        with self.asking() as connection:
            row = connection.execute(_HOLDER, {"evaluation": evaluation}).one_or_none()
        # its answer was lost, if it is ours
        return row is not None and of != self.worker == row.worker and row.state not in ENDED

    @patient
    def release(self, evaluation: int) -> bool:
        """Leave what this worker has in hand to whoever takes it up, with its epochs. False if it is not ours."""
        if self._change(_RELEASE, evaluation=evaluation, me=self.worker):
            return True
        with self.asking() as connection:
            row = connection.execute(_HOLDER, {"evaluation": evaluation}).one_or_none()
        return row is not None and (row.worker, row.state) == ("", "running")  # its answer was lost

    @patient
    def give_back(self, evaluation: int, *, of: str | None = None) -> bool:
        """Free a place that this worker, or worker ``of``, has, with all that was written of it.

        False if it has ended, or another has it; a place of our own that is gone was given back, and its answer lost.
        """
        if self._change(_GIVE_BACK, evaluation=evaluation, of=self.worker if of is None else of):
            return True
        with self.asking() as connection:
            return of is None and connection.execute(_HOLDER, {"evaluation": evaluation}).one_or_none() is None

    @patient
    def rewind(self, evaluation: int, phase: str | None = None, number: int = -1) -> None:
        """Delete the epochs after epoch ``number`` of ``phase``, where a checkpoint is; without a phase, all."""
        kept = PHASES.index(phase) if phase is not None else -1
        later = or_(_phase.in_(PHASES[kept + 1 :]), and_(_phase == phase, EPOCHS.c.number > number))
        with self.writing() as connection:
            if self.in_hand(connection, evaluation):
                connection.execute(delete(EPOCHS).where(EPOCHS.c.evaluation_id == evaluation, later))


def _state(row: Sequence[Any]) -> WorkerState | None:
    """Of the worker of a row of ``_HELD``, if it is known."""
    return None if row[5] is None else WorkerState(*row[5:])
