"""Optuna's rows of trials, read and written by statements: its own way, through objects, takes many times as long."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import ColumnElement, Connection, Table, insert, select, update

from .sql import Put

STUDIES: Table = models.StudyModel.__table__
TRIALS: Table = models.TrialModel.__table__
PARAMS: Table = models.TrialParamModel.__table__
VALUES: Table = models.TrialValueModel.__table__
STEPS: Table = models.TrialIntermediateValueModel.__table__
USER: Table = models.TrialUserAttributeModel.__table__
SYSTEM: Table = models.TrialSystemAttributeModel.__table__

UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)
_PUT_PARAMS, _PUT_VALUES, _PUT_USER, _PUT_SYSTEM = (Put(table) for table in (PARAMS, VALUES, USER, SYSTEM))
AT_ONCE = 500  # trials of which the rows are asked for by one statement

_value, _kind_of_value = models.TrialValueModel.stored_repr_to_value, models.TrialValueModel.value_to_stored_repr
_step = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
_kind_of_step = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr


@dataclass(frozen=True)
class Changes:
    """What is to be written of a trial, by name. params: internal values; user, system: attributes, as JSON."""

    params: dict[str, tuple[float, BaseDistribution]] = field(default_factory=dict)
    user: dict[str, str] = field(default_factory=dict)
    system: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.params or self.user or self.system)


def add(connection: Connection, study: int, made: FrozenTrial) -> tuple[int, int]:
    """A new trial of a study, its number following the last one's; gives its id and its number.

    The study is locked, as Optuna does, so no two get one number. KeyError if it is not there.
    """
    lock = select(STUDIES.c.study_id).where(STUDIES.c.study_id == study).with_for_update()
    if connection.scalar(lock) is None:
        raise KeyError(f"no study of Optuna has the id {study}")
    last = select(TRIALS.c.number).where(TRIALS.c.study_id == study).order_by(TRIALS.c.trial_id.desc()).limit(1)
    before = connection.scalar(last)
    number = 0 if before is None else before + 1
    row = {"number": number, "study_id": study, "state": made.state, "datetime_start": _stored(made.datetime_start)}
    inserted = connection.execute(insert(TRIALS), {**row, "datetime_complete": _stored(made.datetime_complete)})
    assert inserted.inserted_primary_key is not None
    identity = inserted.inserted_primary_key[0]
    params = {name: (each.to_internal_repr(made.params[name]), each) for name, each in made.distributions.items()}
    user, system = ({key: json.dumps(each) for key, each in of.items()} for of in (made.user_attrs, made.system_attrs))
    write(connection, identity, Changes(params, user, system), made.values or ())
    steps = [
        dict(zip(("trial_id", "step", "intermediate_value", "intermediate_value_type"), row, strict=True))
        for row in ((identity, step, *_kind_of_step(each)) for step, each in made.intermediate_values.items())
    ]
    if steps:
        connection.execute(insert(STEPS), steps)
    return identity, number


def write(connection: Connection, trial: int, changes: Changes, values: Sequence[float] = ()) -> None:
    """Write what belongs to a trial; what it has of the same name is replaced."""
    one = {"trial_id": trial}
    params = [
        {**one, "param_name": name, "param_value": each, "distribution_json": distribution_to_json(distribution)}
        for name, (each, distribution) in changes.params.items()
    ]
    told = ((objective, *_kind_of_value(float(each))) for objective, each in enumerate(values))
    objectives = [{**one, "objective": number, "value": each, "value_type": kind} for number, each, kind in told]
    user, system = (
        [{**one, "key": key, "value_json": text} for key, text in of.items()] for of in (changes.user, changes.system)
    )
    for put, rows in ((_PUT_PARAMS, params), (_PUT_VALUES, objectives), (_PUT_USER, user), (_PUT_SYSTEM, system)):
        if rows:
            connection.execute(put, rows)


def change(
    connection: Connection, trial: int, state: TrialState, moment: datetime, *, of: Sequence[TrialState]
) -> bool:
    """Give a trial another state, if it has one of those; whether it had."""
    row: dict[str, object] = {"state": state}
    if state is TrialState.RUNNING:
        row["datetime_start"] = _stored(moment)
    elif state.is_finished():
        row["datetime_complete"] = _stored(moment)
    asked = update(TRIALS).where(TRIALS.c.trial_id == trial, TRIALS.c.state.in_(of))
    return connection.execute(asked.values(row)).rowcount > 0


def check_unfinished(connection: Connection, trial: int) -> None:
    """UpdateFinishedTrialError, as Optuna, for one that ended; KeyError for one that is not there."""
    row = connection.execute(select(TRIALS.c.number, TRIALS.c.state).where(TRIALS.c.trial_id == trial)).one_or_none()
    if row is None:
        raise KeyError(f"no trial of Optuna has the id {trial}")
    if row.state.is_finished():
        raise UpdateFinishedTrialError(f"trial {row.number} has ended, and does not change any more")


def check_study(connection: Connection, study: int) -> None:
    """KeyError for one that is not there."""
    if connection.scalar(select(STUDIES.c.study_id).where(STUDIES.c.study_id == study)) is None:
        raise KeyError(f"no study of Optuna has the id {study}")


def with_attribute(connection: Connection, study: int, key: str, value: str) -> tuple[int, int] | None:
    """Id and number of the trial of a study that has this system attribute, as JSON; None if there is none."""
    asked = select(TRIALS.c.trial_id, TRIALS.c.number).join(SYSTEM)
    found = connection.execute(
        asked.where(TRIALS.c.study_id == study, SYSTEM.c.key == key, SYSTEM.c.value_json == value)
    )
    row = found.first()
    return None if row is None else (row.trial_id, row.number)


def distribution_of(connection: Connection, study: int, name: str) -> BaseDistribution | None:
    """The distribution that a parameter had in a trial of the study; None if it is new."""
    asked = select(PARAMS.c.distribution_json).join(TRIALS)
    text = connection.scalar(asked.where(TRIALS.c.study_id == study, PARAMS.c.param_name == name).limit(1))
    return None if text is None else _distribution(text)


def read(connection: Connection, *which: ColumnElement[bool]) -> list[FrozenTrial]:
    """The trials of which ``which`` holds, by id."""
    asked = select(
        TRIALS.c.trial_id, TRIALS.c.number, TRIALS.c.state, TRIALS.c.datetime_start, TRIALS.c.datetime_complete
    )
    found = [
        FrozenTrial(number, state, None, _shown(start), _shown(end), {}, {}, {}, {}, {}, identity)
        for identity, number, state, start, end in connection.execute(asked.where(*which).order_by(TRIALS.c.trial_id))
    ]
    for begin in range(0, len(found), AT_ONCE):
        _fill(connection, {trial._trial_id: trial for trial in found[begin : begin + AT_ONCE]})  # noqa: SLF001 - Optuna has no public name for it
    return found


def _fill(connection: Connection, trials: dict[int, FrozenTrial]) -> None:
    """Add to trials what stands in other tables, in the order in which it was written."""

    def rows(table: Table, *names: str) -> Iterator[Any]:
        asked = select(table.c.trial_id, *(table.c[name] for name in names)).where(table.c.trial_id.in_(list(trials)))
        order = "objective" if table is VALUES else table.primary_key.columns[0].name
        yield from connection.execute(asked.order_by(table.c[order]))

    for identity, name, value, text in rows(PARAMS, "param_name", "param_value", "distribution_json"):
        trial, distribution = trials[identity], _distribution(text)
        trial.distributions[name] = distribution
        trial.params[name] = distribution.to_external_repr(value)
    values: dict[int, list[float]] = {}
    for identity, value, kind in rows(VALUES, "value", "value_type"):
        values.setdefault(identity, []).append(_value(value, kind))
    for identity, told in values.items():
        trials[identity].values = told
    for identity, key, text in rows(USER, "key", "value_json"):
        trials[identity].user_attrs[key] = json.loads(text)
    for identity, key, text in rows(SYSTEM, "key", "value_json"):
        trials[identity].system_attrs[key] = json.loads(text)
    for identity, step, value, kind in rows(STEPS, "step", "intermediate_value", "intermediate_value_type"):
        trials[identity].intermediate_values[step] = _step(value, kind)


@lru_cache(4096)
def _distribution(text: str) -> BaseDistribution:
    return json_to_distribution(text)


def _stored(moment: datetime | None) -> datetime | None:
    """A local time as Optuna's tables have it: UTC, without saying so."""
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)


def _shown(moment: datetime | None) -> datetime | None:
    """What Optuna's trials have: local time, without saying so."""
    return None if moment is None else moment.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
