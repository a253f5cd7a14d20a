"""What the store gives back, as plain frozen data."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ..errors import StoreError
from ..spaces import Architecture, Candidate
from ..spaces.architecture import Json
from ..spaces.candidate import architecture_from_json
from .tables import EpochRow, EvaluationRow, WorkerRow

FINISHED = ("complete", "stopped", "failed")  # took a place of the study
ENDED = (*FINISHED, "refused")


@dataclass(frozen=True)
class Evaluation:
    """One candidate that was tried, as plain data.

    deployed: the network that is left. values: every measured number by its name. weights, quantized: artifacts, the
    trained weights and the int8 model made of them.
    """

    id: int
    trial_number: int
    state: str
    candidate: Candidate
    deployed: Architecture
    seed: int
    worker: str
    values: Mapping[str, float]
    details: Mapping[str, Json]
    kind: str | None
    reason: str | None
    seconds: float | None
    weights: str | None
    quantized: str | None
    reused: int | None
    token: str
    attempts: int


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


def evaluation_of(row: EvaluationRow) -> Evaluation:
    """What a row says. StoreError for one that was never begun."""
    if row.candidate is None or row.trial_number is None or row.seed is None:
        raise StoreError(f"evaluation {row.id} of the store has no candidate: the store was changed by hand")
    candidate = Candidate.from_json(row.candidate)
    left = candidate.architecture
    if row.deployed is not None and row.deployed_key != row.architecture_key:
        left = architecture_from_json(row.deployed.description)
    return Evaluation(
        id=row.id,
        trial_number=row.trial_number,
        state=row.state,
        candidate=candidate,
        deployed=left,
        seed=row.seed,
        worker=row.worker,
        values={m.name: m.value for m in row.measurements},
        details={m.name: m.detail for m in row.measurements},
        kind=row.kind,
        reason=row.reason,
        seconds=row.seconds,
        weights=row.weights,
        quantized=row.quantized,
        reused=row.reused,
        token=row.token,
        attempts=row.attempts,
    )


def worker_of(row: WorkerRow) -> WorkerState:
    """What a row says."""
    return WorkerState(row.name, row.host, row.beat, row.lease, row.state, row.started)


def point_of(row: EpochRow) -> CurvePoint:
    """What a row says."""
    return CurvePoint(row.phase, row.number, row.loss, row.score, row.seconds)


def learned_from_another(row: EvaluationRow) -> bool:
    """Whether a candidate had a teacher, or began with the weights of another trial."""
    candidate = row.candidate or {}
    training = candidate.get("training", {})
    return bool(training.get("distillation") or training.get("feature_distillation") or candidate.get("start"))
