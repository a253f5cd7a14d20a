"""Trying candidates until a study has what was asked for, losing nothing on the way."""

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from optuna.trial import Trial as OptunaTrial
from threadpoolctl import threadpool_limits

from .. import own
from ..errors import CandidateFailed, DeviceLost, ParetonasError, Refused, Stopped, StudyError
from ..objectives import Data, Epoch, Measurement, cpu_threads, default_metrics, objective_of
from ..spaces import Candidate, FunctionSpace, ModuleSpace, Space
from ..storage import CurvePoint, Evaluation
from .bench import StoreBench
from .data import data_of
from .early_stopping import EarlyStopping, Watch
from .evaluate import Result, evaluate
from .proposals import propose
from .recovery import give_up, me
from .reshape import start_of
from .teacher import teacher_of
from .telling import check_hopeful, check_possible, tell

if TYPE_CHECKING:
    from .study import Study

ALWAYS = ("parameters", "macs")  # measured for every candidate, objectives or not, as are the data's own metrics
INT8 = "net.int8.onnx"
REFUSED_IN_A_ROW = 500  # proposals after which a study gives up that found candidates before
LOST_IN_A_ROW = 5  # times that the device is waited for, twice as long each time
FIRST_WAIT = 2.0  # seconds
Lost = Literal["stop", "wait"]


@dataclass(frozen=True)
class Budget:
    """What a study may use in all: candidates, epochs of training, and ``time.monotonic()`` at the latest."""

    trials: int
    epochs: int | None = None
    deadline: float | None = None

    def is_spent(self, study: "Study") -> bool:
        """Whether no candidate may begin any more."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return True
        if self.epochs is not None and sum(study.store.epochs(study.id).values()) >= self.epochs:
            return True
        return len(study.store.finished_ids(study.id)) >= self.trials


def work(study: "Study", budget: Budget, *, on_trial: Callable[[], None], on_lost_device: Lost = "stop") -> None:
    """Try candidates until the budget is spent; the last one comes to its end.

    What is refused before it is trained does not count. An interruption (Ctrl-C, a full disk) frees the trial in hand
    for retry and goes on up. on_lost_device: whether a device that vanishes ends the study, or is waited for.
    """
    store, definition = study.store, study.definition
    if budget.is_spent(study):
        return
    check_code(definition.space)
    for name in definition.measures:
        objective_of(name).check()
    refused = lost = 0
    with cpu_threads(definition.threads), threadpool_limits(definition.threads, user_api="blas"):
        data, bench = data_of(definition, definition.device), StoreBench(store, definition)
        stopping = None if definition.stopping == "none" else EarlyStopping(study)
        while not budget.is_spent(study):
            place = store.take_place(study.id, budget.trials, worker=me(), host=platform.node())
            if place is None:
                return
            trial = None
            try:
                trial, candidate = propose(study, place, data.spec)
                watch = stopping.watch(candidate) if stopping else None
                ended = try_candidate(study, place, trial, candidate, data, bench, watch=watch)
            except BaseException as error:
                give_up(study, place, trial)
                if not isinstance(error, DeviceLost):
                    raise
                lost += 1
                _wait_for_device(error, lost if on_lost_device == "wait" else LOST_IN_A_ROW)
                continue
            on_trial()
            lost, refused = 0, refused + 1 if ended.state == "refused" else 0
            if ended.state == "failed":
                check_hopeful(study)
            if refused:
                check_possible(study)
            if refused == REFUSED_IN_A_ROW:
                raise StudyError(
                    f"the last {refused} proposals were refused, the last one because {ended.reason}: widen the space "
                    "or loosen the constraints, under another name; or pick from the front"
                )


def _wait_for_device(error: DeviceLost, times: int) -> None:
    if times >= LOST_IN_A_ROW:
        raise StudyError(
            f"{error}: the trial in hand was put back; bring the device back and give the same command again"
        ) from error
    time.sleep(FIRST_WAIT * 2 ** (times - 1))


def try_candidate(
    study: "Study",
    place: int,
    trial: OptunaTrial,
    candidate: Candidate,
    data: Data,
    bench: StoreBench,
    *,
    watch: Watch | None = None,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> Evaluation:
    """Evaluate the candidate, or take its results over from another study; keep them, and tell Optuna.

    watch: who may stop it early.
    """
    store, names = study.store, measures(study, candidate, data)
    known = store.same_elsewhere(place, names)
    if known is not None and known.weights is not None and store.artifacts.has(known.weights):
        _take_over(study, place, trial, known, names)
    else:
        _evaluate(study, place, trial, candidate, data, bench, names, watch, on_epoch)
    ended = store.evaluation(place)
    tell(study, trial, ended)
    return ended


def _take_over(study: "Study", place: int, trial: OptunaTrial, known: Evaluation, names: Sequence[str]) -> None:
    """The results that another study has of the same candidate."""
    assert known.weights is not None
    study.store.finish(
        place,
        {name: (known.values[name], dict(known.details[name])) for name in names},
        deployed=known.deployed,
        seconds=0.0,
        weights=known.weights,
        quantized=known.quantized,
        reused=known.id,
    )
    trial.set_user_attr("reused_from", f"evaluation {known.id} of the store")


def _evaluate(
    study: "Study",
    place: int,
    trial: OptunaTrial,
    candidate: Candidate,
    data: Data,
    bench: StoreBench,
    names: Sequence[str],
    watch: Watch | None,
    on_epoch: Callable[[Epoch], None],
) -> None:
    """Train and measure a candidate, and keep what came of it: results, or why there are none."""
    store, definition = study.store, study.definition
    taught = teacher_of(study, data) if candidate.training.taught else None
    if taught is not None:
        trial.set_user_attr("teacher", taught[0])
    began = time.perf_counter()

    def keep(epoch: Epoch) -> str | None:
        store.add_epoch(place, CurvePoint(epoch.phase, epoch.number, epoch.loss, epoch.score, epoch.seconds))
        on_epoch(epoch)
        return None if watch is None else watch.reason(epoch)

    try:
        result = evaluate(
            candidate,
            data,
            names,
            seed=definition.seed if candidate.seed is None else candidate.seed,
            device=definition.device,
            bench=bench,
            constraints=definition.bounds,
            teacher=None if taught is None else taught[1],
            start=start_of(study, candidate),
            on_early=(lambda _: None) if watch is None else watch.begin,
            on_epoch=keep,
        )
    except Refused as end:
        seconds = time.perf_counter() - began
        store.refuse(place, _plain(end.known), kind=end.kind, reason=end.reason, seconds=seconds)
    except Stopped as end:
        store.stop(place, _plain(end.known), reason=end.reason, seconds=time.perf_counter() - began)
    except CandidateFailed as end:
        store.fail(place, kind=end.kind, reason=end.reason, seconds=time.perf_counter() - began)
    else:
        _keep(study, place, trial, result)


def _keep(study: "Study", place: int, trial: OptunaTrial, result: Result) -> None:
    """The network and what was measured of it, into the artifact folder and the store."""
    made, artifacts = result.deployed, study.store.artifacts
    study.store.finish(
        place,
        _plain(result.measured),
        deployed=made.architecture,
        seconds=result.seconds,
        weights=artifacts.save_weights(trial, made.architecture, made.network.state_dict()),
        quantized=None if made.quantized is None else artifacts.save(trial, INT8, made.quantized.model),
    )
    trial.set_user_attr("network", str(made.architecture))


def measures(study: "Study", candidate: Candidate, data: Data) -> tuple[str, ...]:
    """What is measured of a candidate: the metrics of the data, the costs of any, and the study's objectives."""
    sparse = ("nonzero_parameters",) if candidate.compression.sparse else ()
    return tuple(dict.fromkeys((*default_metrics(data), *ALWAYS, *sparse, *study.definition.measures)))


def check_code(space: Space) -> None:
    """Load the space's own code before anything is tried: where it is missing or broken, no candidate is to blame."""
    if not isinstance(space, FunctionSpace | ModuleSpace):
        return
    name = space.function if isinstance(space, FunctionSpace) else space.factory
    try:
        own.load(name)
    except ParetonasError:
        raise
    except Exception as error:
        text = str(error).strip().split("\n")[0]
        raise StudyError(f"{name} cannot be imported: {type(error).__name__}: {text}: mend it") from error


def _plain(measured: Mapping[str, Measurement]) -> dict[str, tuple[float, dict[str, object]]]:
    return {name: (measurement.value, measurement.detail) for name, measurement in measured.items()}
