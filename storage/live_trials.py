"""What Optuna's studies see of a database: trials that this process works on are kept here, and written together."""

import json
from collections.abc import Collection, Container, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy as deeply
from dataclasses import dataclass, field
from typing import Any, Literal

from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import _CachedStorage
from optuna.storages._cached_storage import _StudyInfo
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine

from .trial_rows import Changes
from .trials import PatientStorage

TEACHING = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass
class Live:
    """A running trial that only this process writes to. changes: what is not in the database yet."""

    study: int
    trial: FrozenTrial
    changes: Changes = field(default_factory=Changes)
    together: bool = False


class LiveStorage(_CachedStorage):
    """Beyond Optuna's cache of trials that ended: those that this process works on cost the database little.

    A trial that was asked for here is answered from memory until it ends (``take``, ``forget``). Its parameters are
    written with its next attribute or its end, in one transaction; within ``together`` its attributes are, too. Any
    other write is there when the method returns. Trials that ended are read only by those who ask for them.
    """

    _backend: PatientStorage

    def __init__(self, backend: PatientStorage) -> None:
        super().__init__(backend)
        self._live: dict[int, Live] = {}

    @property
    def engine(self) -> Engine:
        return self._backend.engine

    @property
    def url(self) -> str:
        return self._backend.url

    @property
    def worker(self) -> str | None:
        """Who makes and begins trials here; None for this process."""
        return self._backend.worker

    @worker.setter
    def worker(self, name: str | None) -> None:
        self._backend.worker = name

    def close(self) -> None:
        """Let go of all connections."""
        self._backend.close()

    # Trials that this process works on

    def take(self, trial_id: int) -> None:
        """Read a trial anew, which this process goes on with from now on."""
        trial = self._backend.get_trial(trial_id)
        self.forget(trial_id)
        if trial.state is TrialState.RUNNING:
            self._live[trial_id] = Live(self._study_of(trial_id), trial)

    def forget(self, trial_id: int) -> None:
        """Leave a trial, with what was not written of it, to whoever goes on with it."""
        self._live.pop(trial_id, None)

    @contextmanager
    def together(self, trial_id: int) -> Iterator[None]:
        """What is written of a trial within the block goes into one transaction, that of its end if it ends there.

        UpdateFinishedTrialError if another worker ended it meanwhile.
        """
        live = self._live.get(trial_id)
        if live is None or live.together:
            yield
            return
        live.together = True
        try:
            yield
        finally:
            live.together = False
        if self._live.get(trial_id) is live:
            self._write(trial_id, live)

    def _write(self, trial_id: int, live: Live) -> None:
        if live.together or not live.changes:
            return
        try:
            self._backend.write(trial_id, live.changes)
        except (UpdateFinishedTrialError, KeyError):
            self.forget(trial_id)
            raise
        live.changes = Changes()

    # Reading

    def get_trial(self, trial_id: int) -> FrozenTrial:
        live = self._live.get(trial_id)
        return super().get_trial(trial_id) if live is None else _copy(live.trial)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,  # noqa: FBT001, FBT002 - Optuna's signature
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        if states is None or any(state in states for state in TEACHING):
            found = super().get_all_trials(study_id, deepcopy=False, states=states)
        else:  # few, of which nobody has to read all others
            found = sorted(self._backend._get_trials(study_id, states, (), -1))  # noqa: SLF001 - Optuna's own name
        if self._live:
            found = [self._as_it_is(trial) for trial in found]
        return deeply(found) if deepcopy else found

    def numbered(self, study: str, numbers: Collection[int]) -> dict[int, FrozenTrial]:
        """Trials of the study of that name by their numbers, those that are there, and no others are read."""
        try:
            identity = self.get_study_id_from_name(study)
        except KeyError:  # nothing was proposed yet
            return {}
        found = self._backend.numbered(identity, numbers)
        return {number: self._as_it_is(trial) for number, trial in found.items()}

    def _as_it_is(self, trial: FrozenTrial) -> FrozenTrial:
        """A trial of the database, with what is not written of it yet."""
        live = self._live.get(trial._trial_id)  # noqa: SLF001 - Optuna has no public name for it
        return trial if live is None or trial.state is not TrialState.RUNNING else _copy(live.trial)

    # Writing

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        for name, distribution in (template_trial.distributions if template_trial else {}).items():
            self._check(study_id, name, distribution)
        made = self._backend._create_new_trial(study_id, template_trial)  # noqa: SLF001 - same
        identity = made._trial_id  # noqa: SLF001 - same
        with self._lock:
            self._add_trials_to_cache(self._known(study_id), [made])
        if made.state is TrialState.RUNNING:
            self._live[identity] = Live(study_id, _copy(made))
        return identity

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        live = self._live.get(trial_id)
        if live is None:
            self.check_trial_is_updatable(trial_id, self.get_trial(trial_id).state)
        self._check(self._study_of(trial_id) if live is None else live.study, param_name, distribution)
        written = param_value_internal, distribution
        if live is None:
            self._backend.write(trial_id, Changes(params={param_name: written}))
            return
        live.trial.distributions[param_name] = distribution
        live.trial.params[param_name] = distribution.to_external_repr(param_value_internal)
        live.changes.params[param_name] = written

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._set_attribute(trial_id, "user", key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._set_attribute(trial_id, "system", key, value)

    def _set_attribute(self, trial_id: int, whose: Literal["user", "system"], key: str, value: Any) -> None:
        text = json.dumps(value)
        if (live := self._live.get(trial_id)) is None:
            self._backend.write(trial_id, Changes(user={key: text}) if whose == "user" else Changes(system={key: text}))
        else:
            getattr(live.trial, f"{whose}_attrs")[key] = json.loads(text)
            getattr(live.changes, whose)[key] = text
            self._write(trial_id, live)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)
        if (live := self._live.get(trial_id)) is not None:
            live.trial.intermediate_values[step] = intermediate_value

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        if state is TrialState.RUNNING:
            begun = self._backend.begin(trial_id)
            if begun:
                self.take(trial_id)
            return begun
        live = self._live.get(trial_id)
        try:
            ended = self._backend.end(trial_id, state, values or (), Changes() if live is None else live.changes)
        except (UpdateFinishedTrialError, KeyError):
            self.forget(trial_id)
            raise
        self.forget(trial_id)
        if live is not None and state.is_finished():
            trial = _copy(live.trial)
            trial.state, trial.datetime_complete = state, ended
            trial.values = None if values is None else list(values)
            with self._lock:
                self._add_trials_to_cache(self._known(live.study), [trial])
        return True

    def _check(self, study_id: int, name: str, distribution: BaseDistribution) -> None:
        """ValueError if a parameter had another distribution before; asked of the database once."""
        known = self._studies[self._known(study_id)].param_distribution
        if name not in known:
            known[name] = self._backend.distribution_of(study_id, name) or distribution
        check_distribution_compatibility(known[name], distribution)

    def _known(self, study_id: int) -> int:
        """A study's id, which Optuna's cache knows from now on."""
        self._studies.setdefault(study_id, _StudyInfo())
        return study_id

    def _study_of(self, trial_id: int) -> int:
        found = self._trial_id_to_study_id_and_number.get(trial_id)
        return self._backend.study_of(trial_id) if found is None else found[0]


def _copy(trial: FrozenTrial) -> FrozenTrial:
    """A trial that does not change with this one."""
    return FrozenTrial(
        number=trial.number,
        state=trial.state,
        value=None,
        values=trial.values,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        params=dict(trial.params),
        distributions=dict(trial.distributions),
        user_attrs=dict(trial.user_attrs),
        system_attrs=dict(trial.system_attrs),
        intermediate_values=dict(trial.intermediate_values),
        trial_id=trial._trial_id,  # noqa: SLF001 - Optuna has no public name for it
    )
