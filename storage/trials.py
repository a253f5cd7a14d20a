"""Optuna's storage, with patience: what it does survives a database that is away, and is done once."""

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from datetime import datetime
from functools import wraps
from itertools import count
from typing import Any, TypeVar
from uuid import uuid4

from optuna.distributions import BaseDistribution, check_distribution_compatibility, distribution_to_json
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from .identity import me
from .patience import repeated
from .saying import explained
from .sql import changed

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
    "set_trial_param",
    "get_trial_id_from_study_id_trial_number",
    "get_trial",
    "get_trial_param",
    "get_trial_params",
    "get_trial_user_attrs",
    "get_trial_system_attrs",
    "get_all_trials",
    "_get_trials",
    "get_best_trial",
    "_get_best_trial_id",
    "get_n_trials",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "record_heartbeat",
    "_get_stale_trial_ids",
)


def creator_of(trial: FrozenTrial) -> str | None:
    """The worker that asked for a trial; None for one that came another way."""
    said = trial.system_attrs.get(CREATOR)
    return said.rpartition(" ")[0] if isinstance(said, str) else None


class PatientStorage(RDBStorage):
    """Beyond Optuna's: what is repeated is done once, a trial says who made it (``worker``), and a waiting trial is
    begun by one worker in SQLite too.
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

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        """As Optuna does, but without its own repetitions, after which a lost answer is a second trial."""
        made = create_trial(state=TrialState.RUNNING) if template_trial is None else deepcopy(template_trial)
        made._system_attrs[CREATOR] = token = self._token()  # noqa: SLF001 - its public name is read-only

        def attempt(again: bool) -> FrozenTrial:  # noqa: FBT001 - same
            with _create_scoped_session(self.scoped_session) as session:
                models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
                row: Any = _made_before(session, study_id, token) if again else None
                row = row or self._get_prepared_new_trial(study_id, made, session)
                made.number, made._trial_id, made.datetime_start = row.number, row.trial_id, row.datetime_start  # noqa: SLF001 - Optuna's own field
                return made

        return self._patiently(attempt)

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None,
    ) -> None:
        """As Optuna does, but without reading the trial with all that belongs to it: a trial has many parameters."""
        if previous_distribution is None:
            super_ = super()._set_trial_param
            self._patiently(lambda _: super_(trial_id, param_name, param_value_internal, distribution, None))
            return
        check_distribution_compatibility(previous_distribution, distribution)
        row = {
            "trial_id": trial_id,
            "param_name": param_name,
            "param_value": param_value_internal,
            "distribution_json": distribution_to_json(distribution),
        }

        def attempt(_: bool) -> None:  # noqa: FBT001 - same
            with _create_scoped_session(self.scoped_session, ignore_integrity_error=True) as session:
                state: Any = session.scalar(
                    select(models.TrialModel.state).where(models.TrialModel.trial_id == trial_id)
                )
                if state is None:
                    raise KeyError(f"no trial has the id {trial_id}")
                self.check_trial_is_updatable(trial_id, state)
                session.execute(insert(models.TrialParamModel).values(row))

        self._patiently(attempt)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        if state == TrialState.RUNNING:
            token = self._token()
            return self._patiently(lambda _: self._begin(trial_id, token))

        def attempt(again: bool) -> bool:  # noqa: FBT001 - same
            try:
                return RDBStorage.set_trial_state_values(self, trial_id, state, values)
            except UpdateFinishedTrialError:
                there = self.get_trial(trial_id) if again else None
                if there is None or there.state != state or list(there.values or []) != list(values or []):
                    raise
                return True

        return self._patiently(attempt)

    def _begin(self, trial_id: int, token: str) -> bool:
        """Make a waiting trial a running one, unless another worker did."""
        waiting = (models.TrialModel.trial_id == trial_id) & (models.TrialModel.state == TrialState.WAITING)
        begun = {"state": TrialState.RUNNING, "datetime_start": datetime.now()}  # noqa: DTZ005 - as Optuna's
        attribute = models.TrialSystemAttributeModel
        with _create_scoped_session(self.scoped_session) as session:
            if changed(session, update(models.TrialModel).where(waiting).values(begun)):
                self._set_trial_attr_without_commit(session, attribute, trial_id, CREATOR, token)
                return True
            trial: Any = models.TrialModel.find_or_raise_by_id(trial_id, session)
            self.check_trial_is_updatable(trial_id, trial.state)
            said: Any = attribute.find_by_trial_and_key(trial, CREATOR, session)
            return said is not None and bool(said.value_json == json.dumps(token))

    def _token(self) -> str:
        return f"{self.worker or me()} {uuid4()}"

    def _patiently(self, action: Callable[[bool], R]) -> R:
        """What ``action`` gives; it is told whether it is done again."""
        times = count()

        def attempt() -> R:
            with explained(self.url):
                return action(next(times) > 0)

        return repeated(attempt)


def _made_before(session: Session, study_id: int, token: str) -> Any:
    """The trial that an attempt made whose answer was lost; None if it made none."""
    attribute = models.TrialSystemAttributeModel
    made = (
        select(models.TrialModel)
        .join(attribute, attribute.trial_id == models.TrialModel.trial_id)
        .where(
            models.TrialModel.study_id == study_id,
            attribute.key == CREATOR,
            attribute.value_json == json.dumps(token),
        )
    )
    return session.scalar(made)


def _patient(name: str) -> Callable[..., Any]:
    method = getattr(RDBStorage, name)

    @wraps(method)
    def call(self: PatientStorage, *args: Any, **kwargs: Any) -> Any:
        return self._patiently(lambda _: method(self, *args, **kwargs))

    return call


for _name in AS_THEY_ARE:
    setattr(PatientStorage, _name, _patient(_name))
