"""The part of the store that sees to it that one network has one training, in all studies."""

import hashlib
import json
from collections.abc import Iterable

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from .. import own
from .core import Database
from .patience import patient
from .records import Evaluation, evaluation_of, learned_from_another
from .tables import EvaluationRow


class Claims(Database):
    """What two studies of the store would train alike is trained by one of them."""

    def same_elsewhere(self, evaluation: int, names: Iterable[str]) -> Evaluation | None:
        """A finished evaluation, in another study, of the same candidate, task, seed, threads, device and host, which
        has the measurements ``names``.

        None for a candidate that names the user's own code, which may be another by now, or that learned from another
        network, which the other study has not.
        """
        return self._same_elsewhere(evaluation, frozenset(names))

    @patient
    def _same_elsewhere(self, evaluation: int, names: frozenset[str]) -> Evaluation | None:
        with self.session() as session:
            row = session.get_one(EvaluationRow, evaluation)
            return None if _is_its_own(row) else _same(session, row, names)

    def claim_training(self, evaluation: int, names: Iterable[str], *, despite: int | None = None) -> int | None:
        """Be the one evaluation of the store that trains its candidate with its task, seed, threads, device and host.

        None if it is now, or where no two trainings are the same (see ``same_elsewhere``). Otherwise the id of the one
        that is: it is being trained, or complete with all of ``names``. A claim ends when its training fails, is
        stopped, refused or released; ``despite`` takes it from an evaluation whose worker died.
        """
        return self._claim_training(evaluation, frozenset(names), despite)

    @patient
    def _claim_training(self, evaluation: int, names: frozenset[str], despite: int | None) -> int | None:
        one = EvaluationRow
        while True:
            with self.writing() as session:
                self.in_hand(session, evaluation)
                row = session.get_one(one, evaluation)
                if _is_its_own(row):
                    return None
                if (same := _same(session, row, names)) is not None:
                    return same.id
                claim = _claim_of(row)
                holder = select(one.id, one.state).where(one.trains == claim, one.id != evaluation)
                other = session.execute(holder.with_for_update()).one_or_none()
                if other is not None and other.state == "running" and other.id != despite:
                    return int(other.id)
                if other is not None:  # its worker died, or it has not measured all that is asked for
                    session.execute(update(one).where(one.id == other.id).values(trains=None))
                try:
                    session.execute(update(one).where(one.id == evaluation).values(trains=claim))
                except IntegrityError:  # another worker claimed it in this moment
                    session.rollback()
                    continue
                return None


def _is_its_own(row: EvaluationRow) -> bool:
    """Whether nobody can say that another training is the same as that of this candidate."""
    return bool(own.names(row.candidate)) or learned_from_another(row)


def _same(session: Session, row: EvaluationRow, names: frozenset[str]) -> Evaluation | None:
    """The first complete evaluation of the same training that has the measurements ``names``."""
    others = session.scalars(
        select(EvaluationRow)
        .where(
            EvaluationRow.key == row.key,
            EvaluationRow.task == row.task,
            EvaluationRow.seed == row.seed,
            EvaluationRow.threads == row.threads,
            EvaluationRow.device == row.device,
            EvaluationRow.host == row.host,
            EvaluationRow.state == "complete",
            EvaluationRow.id != row.id,
        )
        .order_by(EvaluationRow.id)
    )
    complete = (other for other in others if names <= {m.name for m in other.measurements})
    return next(map(evaluation_of, complete), None)


def _claim_of(row: EvaluationRow) -> str:
    """What is trained, as one key."""
    what = json.dumps([row.key, row.task, row.seed, row.threads, row.device, row.host])
    return hashlib.blake2b(what.encode(), digest_size=16).hexdigest()
