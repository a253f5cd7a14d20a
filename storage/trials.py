"""Optuna's storage, with patience: what it does survives a database that is away, and is done once."""

import json
from collections.abc import Callable, Collection, Container, Iterable, Sequence
from copy import deepcopy
from datetime import datetime
from functools import wraps
from itertools import count
from typing import Any, TypeVar
from uuid import uuid4

from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import ColumnElement, Connection, or_, select

from . import trial_rows
from .identity import me
from .patience import repeated
from .saying import explained
from .sql import writing
from .trial_rows import SYSTEM, TRIALS, UNFINISHED, Changes

R = TypeVar("R")

CREATOR = "paretonas:worker"  # system attribute of a trial: who made or began it, and a token of this act

# What may be done twice with the same effect: reading, and writing that replaces.
AS_THEY_ARE = (
    "set_study_user_attr",
    "set_study_system_attr",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "get_all_studies",
    "get_trial_id_from_study_id_trial_number",
    "_get_best_trial_id",
    "set_trial_intermediate_value",
    "record_heartbeat",
    "_get_stale_trial_ids",
)


def creator_of(trial: FrozenTrial) -> str | None:
    """The worker that asked for a trial; None for one that came another way."""
    said = trial.system_attrs.get(CREATOR)
    return said.rpartition(" ")[0] if isinstance(said, str) else None


class PatientStorage(RDBStorage):
    """Beyond Optuna's: what is repeated is done once, a trial says who made it (``worker``), what belongs to a trial is
    written at once, and one that waits is begun by one worker in SQLite too. ``LiveStorage`` stands before it.
    """

    worker: str | None = None

    def __init__(self, url: str, engine_kwargs: dict[str, Any]) -> None:
        try:
            super().__init__(url, engine_kwargs)
        except BaseException:  # the next attempt begins without what this one holds
            self.close()
            raise

    def close(self) -> None:
        """Let go of all connections."""
        if hasattr(self, "scoped_session"):
            self.remove_session()
            self.engine.dispose()

    @staticmethod
    def _fill_storage_url_template(template: str) -> str:
        return template  # braces in a password or a path are part of it

    # Studies

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        name = study_name or f"no-name-{uuid4()}"

        def attempt(again: bool) -> int:  # noqa: FBT001 - the form of all attempts
            try:
                return RDBStorage.create_new_study(self, directions, name)
            except DuplicatedStudyError:
                if not again:
                    raise
                return self.get_study_id_from_name(name)

        return self._patiently(attempt)

    def delete_study(self, study_id: int) -> None:
        def attempt(again: bool) -> None:  # noqa: FBT001 - same
            try:
                RDBStorage.delete_study(self, study_id)
            except KeyError:
                if not again:
                    raise

        self._patiently(attempt)

    # Reading trials

    def get_trial(self, trial_id: int) -> FrozenTrial:
        for trial in self._read(TRIALS.c.trial_id == trial_id):
            return trial
        raise KeyError(f"no trial of Optuna has the id {trial_id}")

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: Iterable[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """The trials of a study, those above an id and some others, by id."""
        which = [TRIALS.c.study_id == study_id]
        if states is not None:
            which.append(TRIALS.c.state.in_([state for state in TrialState if state in states]))
        if trial_id_greater_than >= 0:
            which.append(or_(TRIALS.c.trial_id > trial_id_greater_than, TRIALS.c.trial_id.in_(included_trial_ids)))
        return self._read(*which, study=study_id)

    def numbered(self, study_id: int, numbers: Collection[int]) -> dict[int, FrozenTrial]:
        """Trials of a study by their numbers; those that are there."""
        which = (TRIALS.c.study_id == study_id, TRIALS.c.number.in_(numbers))
        return {trial.number: trial for trial in self._read(*which)} if numbers else {}

    def distribution_of(self, study_id: int, name: str) -> BaseDistribution | None:
        """The distribution that a parameter had in a trial of the study; None if it is new."""
        return self._reading(lambda connection: trial_rows.distribution_of(connection, study_id, name))

    def study_of(self, trial_id: int) -> int:
        """The id of the study that a trial belongs to."""
        asked = select(TRIALS.c.study_id).where(TRIALS.c.trial_id == trial_id)
        study = self._reading(lambda connection: connection.scalar(asked))
        if study is None:
            raise KeyError(f"no trial of Optuna has the id {trial_id}")
        return int(study)

    def _read(self, *which: ColumnElement[bool], study: int | None = None) -> list[FrozenTrial]:
        """study: whose trials they are, which has to be there."""

        def action(connection: Connection) -> list[FrozenTrial]:
            found = trial_rows.read(connection, *which)
            if not found and study is not None:
                trial_rows.check_study(connection, study)
            return found

        return self._reading(action)

    # Writing trials

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        """As Optuna does, but without its own repetitions, after which a lost answer is a second trial."""
        made = create_trial(state=TrialState.RUNNING) if template_trial is None else deepcopy(template_trial)
        made.system_attrs[CREATOR] = token = self._token()
        if template_trial is None:
            made.datetime_start = datetime.now()  # noqa: DTZ005 - as Optuna's

        def attempt(again: bool) -> FrozenTrial:  # noqa: FBT001 - same
            with writing(self.engine) as connection:
                row = trial_rows.with_attribute(connection, study_id, CREATOR, json.dumps(token)) if again else None
                made._trial_id, made.number = row or trial_rows.add(connection, study_id, made)  # noqa: SLF001 - Optuna's own field
                return made

        return self._patiently(attempt)

    def begin(self, trial_id: int) -> bool:
        """Make a waiting trial a running one, unless another worker did."""
        token, now = self._token(), datetime.now()  # noqa: DTZ005 - same
        said = json.dumps(token)
        mine = select(SYSTEM.c.trial_id).where(
            SYSTEM.c.trial_id == trial_id, SYSTEM.c.key == CREATOR, SYSTEM.c.value_json == said
        )

        def attempt(again: bool) -> bool:  # noqa: FBT001 - same
            with writing(self.engine) as connection:
                if trial_rows.change(connection, trial_id, TrialState.RUNNING, now, of=(TrialState.WAITING,)):
                    trial_rows.write(connection, trial_id, Changes(system={CREATOR: said}))
                    return True
                trial_rows.check_unfinished(connection, trial_id)
                return again and connection.scalar(mine) is not None

        return self._patiently(attempt)

    def write(self, trial_id: int, changes: Changes) -> None:
        """Write parameters and attributes of a trial that has not ended, all of them or none."""

        def attempt(_: bool) -> None:  # noqa: FBT001 - same
            with writing(self.engine) as connection:
                trial_rows.check_unfinished(connection, trial_id)
                trial_rows.write(connection, trial_id, changes)

        self._patiently(attempt)

    def end(self, trial_id: int, state: TrialState, values: Sequence[float], changes: Changes) -> datetime:
        """Give a trial that has not ended its state and values, and write what else there is of it; gives the time."""
        now = datetime.now()  # noqa: DTZ005 - same

        def attempt(again: bool) -> datetime:  # noqa: FBT001 - same
            with writing(self.engine) as connection:
                if trial_rows.change(connection, trial_id, state, now, of=UNFINISHED):
                    trial_rows.write(connection, trial_id, changes, values)
                elif not again or not _has(connection, trial_id, state, values):
                    trial_rows.check_unfinished(connection, trial_id)
            return now

        return self._patiently(attempt)

    def _token(self) -> str:
        return f"{self.worker or me()} {uuid4()}"

    def _reading(self, action: Callable[[Connection], R]) -> R:
        def attempt(_: bool) -> R:  # noqa: FBT001 - same
            with self.engine.connect() as connection:
                return action(connection)

        return self._patiently(attempt)

    def _patiently(self, action: Callable[[bool], R]) -> R:
        """What ``action`` gives; it is told whether it is done again."""
        times = count()

        def attempt() -> R:
            with explained(self.url):
                return action(next(times) > 0)

        return repeated(attempt)


def _has(connection: Connection, trial_id: int, state: TrialState, values: Sequence[float]) -> bool:
    """Whether a trial ended as it was to, by an attempt whose answer was lost."""
    for trial in trial_rows.read(connection, TRIALS.c.trial_id == trial_id):
        return trial.state == state and list(trial.values or []) == list(values)
    return False


def _patient(name: str) -> Callable[..., Any]:
    method = getattr(RDBStorage, name)

    @wraps(method)
    def call(self: PatientStorage, *args: Any, **kwargs: Any) -> Any:
        return self._patiently(lambda _: method(self, *args, **kwargs))

    return call


for _name in AS_THEY_ARE:
    setattr(PatientStorage, _name, _patient(_name))
