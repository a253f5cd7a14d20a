"""What the store gives back, as plain frozen data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, Select, Text, cast, select

from ..errors import StoreError
from ..spaces import Architecture, Candidate
from ..spaces.architecture import Json
from ..spaces.candidate import architecture_from_json
from .sql import ARCHITECTURES, EVALUATIONS, MEASUREMENTS

FINISHED = ("complete", "stopped", "failed")  # took a place of the study
ENDED = (*FINISHED, "refused")


@dataclass(frozen=True)
class Evaluation:
    """One candidate that was tried, as plain data.

    key: of the candidate. values: every measured number by its name. weights, quantized: artifacts, the trained weights
    and the int8 model made of them. What is said as JSON is read when it is asked for, which may raise UsageError: it
    may be of another release, or of code that is not here.
    """

    id: int
    trial_number: int
    state: str
    key: str
    candidate_json: str
    deployed_json: str | None
    seed: int
    worker: str
    values: Mapping[str, float]
    details_json: Mapping[str, str]
    kind: str | None
    reason: str | None
    seconds: float | None
    weights: str | None
    quantized: str | None
    reused: int | None
    token: str
    attempts: int

    @cached_property
    def candidate(self) -> Candidate:
        return Candidate.from_json(json.loads(self.candidate_json))

    @cached_property
    def deployed(self) -> Architecture:
        """The network that is left."""
        if self.deployed_json is None:
            return self.candidate.architecture
        return architecture_from_json(json.loads(self.deployed_json))

    @cached_property
    def details(self) -> Mapping[str, Json]:
        """The conditions of each measured number, by its name."""
        return {name: json.loads(detail) for name, detail in self.details_json.items()}


class Valued(Protocol):
    """What a front is made of: an ``Evaluation``, or as much of one as is compared."""

    @property
    def id(self) -> int: ...
    @property
    def trial_number(self) -> int: ...
    @property
    def values(self) -> Mapping[str, float]: ...


@dataclass(frozen=True)
class FrontPoint:
    """Of an evaluation, what is compared."""

    id: int
    trial_number: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class WorkerState:
    """A worker of a study, as its row says. lease: after how many seconds without a beat it may be taken for dead.
    state: ``alive`` or ``ended``.
    """

    name: str
    host: str
    beat: int
    lease: float
    state: str
    started: datetime


@dataclass(frozen=True)
class Held:
    """An evaluation that has not ended. worker: who has it, or had it; empty if nobody. alive: the row of that worker,
    None if it has none. trial_number: of what an open place is proposed for, once that is known.
    """

    evaluation: int
    state: str
    worker: str
    trial_number: int | None
    attempts: int
    alive: WorkerState | None


@dataclass(frozen=True)
class CurvePoint:
    """One epoch of a learning curve; the fields of ``objectives.Epoch``."""

    phase: str
    number: int
    loss: float
    score: float
    seconds: float


@dataclass(frozen=True)
class Query:
    """How evaluations are read: their rows, and those of their measurements."""

    rows: Select[Any]
    measured: Select[Any]

    @classmethod
    def of(cls, which: ColumnElement[bool]) -> "Query":
        """Of those that ``which``, a condition on EVALUATIONS, is true of."""
        return cls(_ROWS.where(which), _MEASURED.where(which))

    def read(self, connection: Connection, **values: object) -> list[Evaluation]:
        """In the order of their ids. values: what the condition asks for."""
        rows = connection.execute(self.rows, values).all()
        numbers: dict[int, dict[str, float]] = {}
        details: dict[int, dict[str, str]] = {}
        for evaluation, name, value, detail in connection.execute(self.measured, values) if rows else ():
            numbers.setdefault(evaluation, {})[name] = value
            details.setdefault(evaluation, {})[name] = detail
        found = [_evaluation_of(row, numbers.get(row[0], {}), details.get(row[0], {})) for row in rows]
        return sorted(found, key=lambda one: one.id)


_one, _left, _number = EVALUATIONS.c, ARCHITECTURES.c, MEASUREMENTS.c
_ROWS = select(
    *(_one.id, _one.trial_number, _one.state, _one.key, cast(_one.candidate, Text), cast(_left.description, Text)),
    *(_one.seed, _one.worker, _one.kind, _one.reason, _one.seconds, _one.weights, _one.quantized, _one.reused),
    *(_one.token, _one.attempts),
).select_from(
    EVALUATIONS.outerjoin(
        ARCHITECTURES, (_left.key == _one.deployed_key) & (_one.deployed_key != _one.architecture_key)
    )
)
_MEASURED = select(_number.evaluation_id, _number.name, _number.value, cast(_number.detail, Text)).join(
    EVALUATIONS, _one.id == _number.evaluation_id
)


def _evaluation_of(row: Any, values: Mapping[str, float], details: Mapping[str, str]) -> Evaluation:
    """What a row of ``_ROWS`` says. StoreError for one that was never begun."""
    identity, trial, state, key, candidate, left, seed, worker, *others = row
    if candidate is None or trial is None or seed is None:
        raise StoreError(f"evaluation {identity} of the store has no candidate: the store was changed by hand")
    return Evaluation(identity, trial, state, key, candidate, left, seed, worker, values, details, *others)


def learned_from_another(candidate: Json) -> bool:
    """Whether a candidate had a teacher, or began with the weights of another trial."""
    training = candidate.get("training", {})
    return bool(training.get("distillation") or training.get("feature_distillation") or candidate.get("start"))
