"""The part of the store that sees to it that one network has one training, in all studies."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import String, and_, bindparam, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from .. import own
from .core import Database
from .patience import patient
from .records import Evaluation, Query, learned_from_another
from .sql import EVALUATIONS, MEASUREMENTS, THIS

_one, _claim = EVALUATIONS.c, bindparam("claim", type_=String)
_CONDITIONS = (_one.key, _one.task, _one.seed, _one.threads, _one.device, _one.host)
_WHAT = select(*_CONDITIONS, _one.candidate).where(THIS)
_ANOTHER = _one.id != bindparam("evaluation")
_ALIKE = and_(_one.state == "complete", *(column == bindparam(column.name) for column in _CONDITIONS))
_COMPLETE = Query.of(_ANOTHER & _ALIKE)
_MEASURED = (
    select(func.count())
    .where(MEASUREMENTS.c.evaluation_id == _one.id, MEASUREMENTS.c.name.in_(bindparam("names", expanding=True)))
    .scalar_subquery()
)
_OTHERS = (
    select(_one.id, _one.state, (_one.trains == _claim).label("holds"), _MEASURED.label("measured"))
    .where(_ANOTHER, or_(_ALIKE, _one.trains == _claim))
    .order_by(_one.id)
)
_CLAIM = update(EVALUATIONS).where(THIS).values(trains=_claim)


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
        with self.asking() as connection:
            what = connection.execute(_WHAT, {"evaluation": evaluation}).one()
            if _is_its_own(what):
                return None
            alike = _COMPLETE.read(connection, evaluation=evaluation, **_conditions(what))
        return next((other for other in alike if names <= other.values.keys()), None)

    def claim_training(self, evaluation: int, names: Iterable[str], *, despite: int | None = None) -> int | None:
        """Be the one evaluation of the store that trains its candidate with its task, seed, threads, device and host.

        None if it is now, or where no two trainings are the same (see ``same_elsewhere``). Otherwise the id of the one
        that is: it is being trained, or complete with all of ``names``. A claim ends when its training fails, is
        stopped, refused or released; ``despite`` takes it from an evaluation whose worker died.
        """
        return self._claim_training(evaluation, sorted(set(names)), despite)

    @patient
    def _claim_training(self, evaluation: int, names: list[str], despite: int | None) -> int | None:
        while True:
            with self.writing() as connection:
                self.in_hand(connection, evaluation)
                what = connection.execute(_WHAT, {"evaluation": evaluation}).one()
                if _is_its_own(what):
                    return None
                asked = {"evaluation": evaluation, "claim": _claim_of(what), "names": names, **_conditions(what)}
                others = connection.execute(_OTHERS, asked).all()
                for other in others:
                    if other.state == "complete" and other.measured == len(names):
                        return int(other.id)
                for other in (other for other in others if other.holds):
                    if other.state == "running" and other.id != despite:
                        return int(other.id)
                    # its worker died, or it has not measured all that is asked for
                    connection.execute(_CLAIM, {"evaluation": other.id, "claim": None})
                try:
                    connection.execute(_CLAIM, {"evaluation": evaluation, "claim": asked["claim"]})
                except IntegrityError:  # another worker claimed it in this moment
                    connection.rollback()
                    continue
                return None


def _is_its_own(what: Any) -> bool:
    """Whether nobody can say that another training is the same as that of this candidate."""
    return bool(own.names(what.candidate)) or learned_from_another(what.candidate)


def _conditions(what: Any) -> dict[str, Any]:
    return {column.name: getattr(what, column.name) for column in _CONDITIONS}


def _claim_of(what: Any) -> str:
    """What is trained, as one key."""
    said = json.dumps([what.key, what.task, what.seed, what.threads, what.device, what.host])
    return hashlib.blake2b(said.encode(), digest_size=16).hexdigest()
