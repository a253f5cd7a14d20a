"""Trying candidates until a study has what was asked for, losing nothing on the way."""

import platform
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from optuna.trial import Trial as OptunaTrial

from .. import own
from ..errors import CandidateFailed, DeviceLost, ParetonasError, Refused, StudyError
from ..objectives import Data, Epoch, Measurement, cpu_threads, default_metrics, objective_of
from ..spaces import Candidate, FunctionSpace, ModuleSpace, Space
from ..storage import CurvePoint, Evaluation
from .bench import StoreBench
from .data import data_of
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


def work(
    study: "Study", total: int, *, deadline: float | None, on_trial: Callable[[], None], on_lost_device: Lost = "stop"
) -> None:
    """Try candidates until ``total`` were tried or ``time.monotonic()`` passes ``deadline``.

    What is refused before it is trained does not count. An interruption (Ctrl-C, a full disk) frees the trial in hand
    for retry and goes on up. on_lost_device: whether a device that vanishes ends the study, or is waited for.
    """
    store, definition = study.store, study.definition
    if len(store.finished_ids(study.id)) >= total:
        return
    check_code(definition.space)
    for name in definition.measures:
        objective_of(name).check()
    refused = lost = 0
    with cpu_threads(definition.threads):
        data, bench = data_of(definition, definition.device), StoreBench(store, definition)
        while deadline is None or time.monotonic() < deadline:
            place = store.take_place(study.id, total, worker=me(), host=platform.node())
            if place is None:
                return
            trial = None
            try:
                trial, candidate = propose(study, place, data.spec)
                ended = try_candidate(study, place, trial, candidate, data, bench)
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
                    f"the last {refused} proposals were refused, the last one because {ended.reason}: loosen the "
                    "constraints or widen the space, under another name; or pick from the front"
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
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> Evaluation:
    """Evaluate the candidate, or take its results over from another study; keep them, and tell Optuna."""
    store, definition = study.store, study.definition
    names = measures(study, candidate, data)
    began = time.perf_counter()

    def keep(epoch: Epoch) -> None:
        store.add_epoch(place, CurvePoint(epoch.phase, epoch.number, epoch.loss, epoch.score, epoch.seconds))
        on_epoch(epoch)

    known = store.same_elsewhere(place, names)
    if known is not None and known.weights is not None and store.artifacts.has(known.weights):
        measured = {name: (known.values[name], dict(known.details[name])) for name in names}
        store.finish(
            place,
            measured,
            deployed=known.deployed,
            seconds=0.0,
            weights=known.weights,
            quantized=known.quantized,
            reused=known.id,
        )
        trial.set_user_attr("reused_from", f"evaluation {known.id} of the store")
    else:
        taught = teacher_of(study, data) if candidate.training.taught else None
        if taught is not None:
            trial.set_user_attr("teacher", taught[0])
        try:
            result = evaluate(
                candidate,
                data,
                names,
                seed=definition.seed,
                device=definition.device,
                bench=bench,
                constraints=definition.bounds,
                teacher=None if taught is None else taught[1],
                start=start_of(study, candidate),
                on_epoch=keep,
            )
        except Refused as refusal:
            seconds = time.perf_counter() - began
            store.refuse(place, _plain(refusal.known), reason=refusal.reason, seconds=seconds)
        except CandidateFailed as failure:
            store.fail(place, kind=failure.kind, reason=failure.reason, seconds=time.perf_counter() - began)
        else:
            _keep(study, place, trial, result)
    ended = store.evaluation(place)
    tell(study, trial, ended)
    return ended


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
