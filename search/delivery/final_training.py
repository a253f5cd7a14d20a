"""The last training of a chosen network: on train and validation together, resumed where it was interrupted."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...errors import BrokenCheckpoint, CandidateFailed, StoreError, StudyError
from ...objectives import Checkpoint, Data, Epoch, Quality, cpu_threads, is_cost, objective_of, quality
from ...spaces import Candidate
from ...spaces.architecture import Json, key_of
from ...storage import CurvePoint, weights_in_bytes
from ...storage.artifact_store import CHECKPOINT, INT8, WEIGHTS
from ...storage.shared_files import file_id
from ..bench import StoreBench
from ..data import data_of
from ..definition import check_seed
from ..evaluate import Result, evaluate
from ..leases import Lease
from ..teacher import ATTRIBUTE, teacher_again
from ..trying import CHECKPOINT_EVERY, TICK, Clock, measures
from ..worker import following, terminable
from .final import PREFIX, SPLITS, Final, final_from
from .joining import joined
from .retraining import ancestors

if TYPE_CHECKING:
    from ...objectives import Teacher
    from ..trial import Trial

SLOTS = (0, 1)  # of checkpoints, written in turn, so that the last whole one is never touched


@dataclass(frozen=True)
class Plan:
    """What is to be trained. start: the artifact of the weights to begin with; None: from scratch."""

    trial: "Trial"
    candidate: Candidate
    seed: int
    start: str | None

    @property
    def key(self) -> str:
        """Equal for the same training; what it is kept by."""
        return key_of({"candidate": self.candidate.key, "seed": self.seed, "start": self.start, "on": SPLITS})

    @property
    def attribute(self) -> str:
        return PREFIX + self.key


def train_final(
    trial: "Trial",
    *,
    epochs: int | None = None,
    from_weights: bool = False,
    seed: int | None = None,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
    checkpoint_every: float = CHECKPOINT_EVERY,
) -> Final:
    """See ``Study.train_final``. checkpoint_every: seconds of training."""
    study = trial.study
    plan = plan_of(trial, epochs=epochs, from_weights=from_weights, seed=seed)
    with study.store.explained(), terminable(), following(), cpu_threads(study.definition.threads):
        if (known := _known(plan)) is not None:
            return known
        with Lease(study) as lease:
            while _is_trained_elsewhere(plan, lease):
                time.sleep(TICK)
            known = _known(plan)
            return _train(plan, on_epoch, checkpoint_every) if known is None else known


def plan_of(trial: "Trial", *, epochs: int | None, from_weights: bool, seed: int | None) -> Plan:
    """What is trained of a trial: its network, its training, its compression.

    From scratch, a recipe whose result follows from the training (layers leave, or the units of all layers compete)
    would give another network than the chosen one, with other costs: there the network that is left is trained from
    the start, which reaches as much (Liu et al. 2019). epochs: by default those of the trial at the root of its line.
    """
    study, candidate = trial.study, trial.candidate
    seed = study.definition.seed if seed is None else seed
    check_seed(seed)
    if from_weights and trial.evaluation.weights is None:
        trial.load()  # raises, with the reason
    root = (trial, *ancestors(trial))[-1]
    training = replace(candidate.training, epochs=root.candidate.training.epochs if epochs is None else epochs)
    left = from_weights or candidate.decided_later
    plain = Candidate(
        trial.architecture if left else candidate.architecture,
        0.0 if left else candidate.pruning,
        training,
        replace(candidate.compression, removed_layers=0) if left else candidate.compression,
    )
    return Plan(trial, plain, seed, trial.evaluation.weights if from_weights else None)


def _known(plan: Plan) -> Final | None:
    """What was trained so before, if its weights are still there."""
    record = plan.trial.study.optuna.user_attrs.get(plan.attribute)
    if record is None or record["state"] != "complete":
        return None
    store, files = plan.trial.study.store, (record["weights"], record["quantized"])
    return final_from(plan.trial.study, record) if all(store.has_artifact(one) for one in files if one) else None


def _is_trained_elsewhere(plan: Plan, lease: Lease) -> bool:
    """Whether somebody who lives is at it."""
    study = plan.trial.study
    record = study.optuna.user_attrs.get(plan.attribute)
    if record is None or record["state"] != "running":
        return False
    workers = {one.name: one for one in study.store.workers(study.id)}
    return lease.fate(record["worker"], workers.get(record["worker"])) == "lives"


def _train(plan: Plan, on_epoch: Callable[[Epoch], None], checkpoint_every: float) -> Final:
    """Train, measure, judge on the test split, keep. What is interrupted goes on from its last checkpoint."""
    study, store = plan.trial.study, plan.trial.study.store
    definition, data = study.definition, joined(data_of(study.definition, study.definition.device))
    said: Json = {"state": "running", "worker": store.worker, "trial": plan.trial.number}
    study.optuna.set_user_attr(plan.attribute, said)
    checkpoint, curve = _resumed(plan)
    clock = Clock(checkpoint, None, checkpoint_every)
    slot = 0 if checkpoint is None else 1 - int(checkpoint.state["slot"])

    def keep(epoch: Epoch) -> None:
        curve.append(CurvePoint(epoch.phase, epoch.number, epoch.loss, epoch.score, epoch.seconds))
        on_epoch(epoch)

    def save(make: Callable[[], Checkpoint]) -> None:
        nonlocal slot
        if clock.is_due():
            state = {"slot": slot, "curve": [vars(point) for point in curve]}
            store.keep_file(_slot(plan, slot), CHECKPOINT, make().joined({}, state).to_bytes())
            slot = 1 - slot
            clock.saved()

    try:
        result = evaluate(
            plan.candidate,
            data,
            [name for name in measures(study, plan.candidate, data) if is_cost(name)],
            seed=plan.seed,
            device=definition.device,
            bench=StoreBench(store, definition),
            teacher=_teacher(plan, data),
            start=None if plan.start is None else plan.trial.load(quantized=False),
            resume=checkpoint,
            on_epoch=keep,
            on_checkpoint=save,
        )
    except BrokenCheckpoint:  # of another release: then from the start, once
        _drop(plan)
        return _train(plan, on_epoch, checkpoint_every)
    except CandidateFailed as failure:
        _drop(plan)
        study.optuna.set_user_attr(plan.attribute, {**said, "state": "failed", "reason": str(failure)})
        raise StudyError(
            f"the final training of trial {plan.trial.number} failed as {failure.kind}: {failure.reason}: another "
            "seed, or fewer epochs, may do"
        ) from failure
    return _kept(plan, result, curve)


def _kept(plan: Plan, result: Result, curve: list[CurvePoint]) -> Final:
    """Judge the network on the test split and keep it."""
    study, made = plan.trial.study, result.deployed
    store, data = study.store, data_of(study.definition, "cpu")
    names = [name for name in measures(study, plan.candidate, data) if isinstance(objective_of(name), Quality)]
    weights = weights_in_bytes(made.architecture, made.network.state_dict())
    int8 = None if made.quantized is None else made.quantized.model
    record: Json = {
        "state": "complete",
        "worker": store.worker,
        "trial": plan.trial.number,
        "candidate": plan.candidate.to_json(),
        "deployed": made.architecture.to_json(),
        "from_weights": plan.start is not None,
        "seed": plan.seed,
        "epochs": plan.candidate.epochs,
        "examples": len(data.train) + len(data.validation),
        "seconds": result.seconds,
        "ended": time.time(),
        "values": {name: one.value for name, one in result.measured.items()},
        "details": {name: one.detail for name, one in result.measured.items() if one.detail},
        "test": quality(made.answering, data.test, data, names),
        "curve": [vars(point) for point in curve],
        "weights": store.keep_file(f"{plan.attribute}/{WEIGHTS}", WEIGHTS, weights),
        "quantized": None if int8 is None else store.keep_file(f"{plan.attribute}/{INT8}", INT8, int8),
    }
    study.optuna.set_user_attr(plan.attribute, record)
    _drop(plan)
    return final_from(study, record)


def _teacher(plan: Plan, data: Data) -> "Teacher | None":
    """Whom the trial learned from, if anybody."""
    if not plan.candidate.training.taught:
        return None
    study, number = plan.trial.study, plan.trial.number
    before = study.store.optuna.numbered(study.name, [number])[number].user_attrs.get(ATTRIBUTE)
    return None if before is None else teacher_again(study, data, before)


def _slot(plan: Plan, slot: int) -> str:
    return f"{plan.attribute}/{CHECKPOINT}/{slot}"


def _resumed(plan: Plan) -> tuple[Checkpoint | None, list[CurvePoint]]:
    """The last whole checkpoint, and the epochs until then."""
    found = []
    for slot in SLOTS:
        try:
            found.append(Checkpoint.from_bytes(plan.trial.study.store.read_artifact(file_id(_slot(plan, slot)))))
        except (BrokenCheckpoint, StoreError):
            continue
    if not found:
        return None, []
    last = max(found, key=lambda one: len(one.state["curve"]))
    return last, [CurvePoint(**point) for point in last.state["curve"]]


def _drop(plan: Plan) -> None:
    """Remove the checkpoints."""
    for slot in SLOTS:
        plan.trial.study.store.remove_artifact(file_id(_slot(plan, slot)))
