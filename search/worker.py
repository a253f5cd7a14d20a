"""Trying candidates until a study has what was asked for, losing nothing on the way."""

import os
import platform
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import psutil
import torch
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial as OptunaTrial
from optuna.trial import TrialState

from .. import own
from ..errors import CandidateFailed, ParetonasError, StudyError
from ..objectives import Data, Epoch, Host, Measurement, calibrate, cpu_threads, default_metrics
from ..spaces import Candidate, DataSpec, FunctionSpace, ModuleSpace, Space
from ..storage import FINISHED, CurvePoint, Evaluation
from .data import data_of
from .evaluate import Result, evaluate, failures
from .reshape import change_of_the_front, start_of
from .sampler import INTERRUPTED, SeededSampler
from .teacher import teacher_of

if TYPE_CHECKING:
    from .study import Study

ALWAYS = ("parameters", "macs")  # measured for every candidate, objectives or not, as are the data's own metrics
INT8 = "net.int8.onnx"
EXHAUSTED_AFTER = 100  # proposals in a row, most of them random, that were all known
HOPELESS_AFTER = 10  # trials of a study that failed, all in the same way, before one succeeded


def work(study: "Study", total: int, *, deadline: float | None, on_trial: Callable[[], None]) -> None:
    """Try candidates until ``total`` were tried or ``time.monotonic()`` passes ``deadline``.

    An interruption (Ctrl-C, a full disk) frees the trial in hand for retry and goes on up.
    """
    store, definition = study.store, study.definition
    if len(store.finished_ids(study.id)) >= total:
        return
    check_code(definition.space)
    with cpu_threads(definition.threads):
        data, host = data_of(definition, definition.device), host_of(study)
        while deadline is None or time.monotonic() < deadline:
            place = store.take_place(study.id, total, worker=me(), host=platform.node())
            if place is None:
                return
            trial = None
            try:
                trial, candidate = _propose(study, place, data.spec)
                ended = try_candidate(study, place, trial, candidate, data, host)
            except BaseException:
                give_up(study, place, trial)
                raise
            on_trial()
            if ended.state == "failed":
                check_hopeful(study)


def _propose(study: "Study", place: int, spec: DataSpec) -> tuple[OptunaTrial, Candidate]:
    """Ask for candidates until one is new. Known ones are answered at once with what is known of them."""
    definition = study.definition
    sampler = SeededSampler(definition.sampler, definition.seed)
    study.optuna.sampler = sampler
    while sampler.known_in_a_row < EXHAUSTED_AFTER:
        trial = study.optuna.ask()
        try:
            known = _begin(study, place, trial, spec)
        except CandidateFailed as failure:
            tell_failed(study, trial, failure)
            check_hopeful(study)
        except BaseException:
            with suppress(Exception):
                _retry(study, trial)
            raise
        else:
            if isinstance(known, Candidate):
                return trial, known
            trial.set_user_attr("duplicate_of", known.trial_number)
            if known.state == "running":  # by another worker; nothing is known of it yet
                study.optuna.tell(trial, state=TrialState.FAIL)
            else:
                tell(study, trial, known)
        sampler.known_in_a_row += 1
    failed = [trial for trial in study.trials if trial.state == "failed"]
    if failed and len(failed) == len(study.trials):
        raise StudyError(
            f"all {len(failed)} candidates that the space of {study.name!r} has failed, the last one as "
            f"{failed[-1].reason}: mend the cause, or search another space under another name"
        )
    raise StudyError(
        f"the last {EXHAUSTED_AFTER} proposals were all known or impossible: the space is exhausted; widen it, or pick "
        "from the front"
    )


def _begin(study: "Study", place: int, trial: OptunaTrial, spec: DataSpec) -> Candidate | Evaluation:
    """A new candidate, for which the place is now used, or what is known of it."""
    definition = study.definition
    with failures():
        candidate = change_of_the_front(study, trial) if definition.moves else None
        if candidate is None:
            candidate = definition.space.suggest(trial, replace(spec, taught=bool(definition.teacher)))
    return begin(study, place, trial, candidate)


def begin(study: "Study", place: int, trial: OptunaTrial, candidate: Candidate) -> Candidate | Evaluation:
    """Use the place for the candidate, if it is new; otherwise what is known of it."""
    definition = study.definition
    with failures():
        network, _ = str(candidate.deployed), candidate.key  # what cannot be said or written is its own fault too
    trial.set_user_attr("network", network)
    if candidate.start is not None:
        trial.set_user_attr("start", candidate.start.to_json())
    known = study.store.begin(
        place,
        candidate,
        trial=trial.number,
        task=definition.task.key_with(definition.fingerprint),
        seed=definition.seed,
        threads=definition.threads,
        device=definition.device,
    )
    return candidate if known is None else known


def try_candidate(
    study: "Study",
    place: int,
    trial: OptunaTrial,
    candidate: Candidate,
    data: Data,
    host: Host | None,
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
                host=host,
                teacher=None if taught is None else taught[1],
                start=start_of(study, candidate),
                on_epoch=keep,
            )
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
    return tuple(dict.fromkeys((*default_metrics(data), *ALWAYS, *sparse, *study.definition.objectives)))


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


def tell(study: "Study", trial: OptunaTrial, evaluation: Evaluation) -> None:
    """Tell Optuna how an evaluation ended.

    A failed candidate is a violated constraint, not an exception and not made-up values: that keeps it off the
    front and still teaches the sampler (Optuna counts neither FAIL nor a trial without constraints).
    """
    if evaluation.state == "complete":
        values = [evaluation.values[name] for name in study.definition.objectives]
        study.optuna.tell(trial, values, skip_if_finished=True)
        return
    tell_failed(study, trial, CandidateFailed(evaluation.kind or "crashed", evaluation.reason or ""))


def tell_failed(study: "Study", trial: OptunaTrial, failure: CandidateFailed) -> None:
    """Close a trial as infeasible, with its reason."""
    trial.set_user_attr("failed", f"{failure.kind}: {failure.reason}"[:2000])
    trial.set_constraint("failed", 1.0)
    # optuna-dashboard reads the constraints of older releases of Optuna
    study.store.optuna.set_trial_system_attr(trial._trial_id, "constraints", [1.0])  # noqa: SLF001 - no public name
    study.optuna.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)


def check_hopeful(study: "Study") -> None:
    """Raise StudyError if trials enough failed, all in the same way, and none succeeded.

    The same way is the same kind and the same reason, whatever numbers are in it. A trial is tried first and this
    asked afterwards, so the next start of a study that was mended goes on, and that of one that was not ends again.
    """
    ended = study.optuna.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    reasons = [str(trial.user_attrs.get("failed", "")) for trial in ended if "duplicate_of" not in trial.user_attrs]
    ways = {re.sub(r"\d+", "0", reason) for reason in reasons}
    if len(reasons) >= HOPELESS_AFTER and len(ways) == 1 and "" not in ways:
        raise StudyError(
            f"all {len(reasons)} trials of {study.name!r} failed in the same way, the last one as {reasons[-1]}: mend "
            "the cause and give the same command again; another definition needs another name"
        )


def recover(study: "Study") -> int:
    """Bring back what workers of this host that died left behind. Returns how many trials were put back."""
    store = study.store
    # In the order of a trial's life backwards, so that what a living worker does meanwhile is seen at one of its stages
    running = study.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    unused = store.open_places(study.id)
    begun = {evaluation.trial_number: evaluation for evaluation in store.evaluations(study.id)}
    alive = cache(lambda worker: worker != me() and is_alive(worker))
    proposing = any(alive(worker) for _, worker in unused)
    left = [e.id for e in begun.values() if e.state == "running" and not alive(e.worker)]
    for place in left + [place for place, worker in unused if not alive(worker)]:
        store.give_back(place)
    lost = 0
    for frozen in running:
        evaluation = begun.get(frozen.number)
        if proposing if evaluation is None else alive(evaluation.worker):
            continue
        trial = OptunaTrial(study.optuna, frozen._trial_id)  # noqa: SLF001 - Optuna has no public name for it
        with suppress(UpdateFinishedTrialError):  # another process that cleans up was faster
            if evaluation is not None and evaluation.state in FINISHED:
                tell(study, trial, evaluation)
            else:
                _retry(study, trial)
                lost += 1
    return lost


def give_up(study: "Study", place: int, trial: OptunaTrial | None) -> None:
    """Free the place of an interrupted trial, and queue its parameters.

    If the store itself is what failed, ``recover`` does the same when the next worker starts.
    """
    with suppress(Exception):
        if study.store.give_back(place) and trial is not None:
            _retry(study, trial)


def _retry(study: "Study", trial: OptunaTrial) -> None:
    trial.set_user_attr(INTERRUPTED, "its parameters were put back in the queue")
    study.optuna.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
    if trial.params:
        study.optuna.enqueue_trial(trial.params)


def me() -> str:
    """The name of the process at work, told apart from an earlier one with the same number: ``host/pid/start``."""
    return f"{platform.node()}/{os.getpid()}/{psutil.Process().create_time():.2f}"


def is_alive(worker: str) -> bool:
    """Whether a worker's process runs. A worker on another host counts as alive: from here nobody can tell."""
    host, pid, start = worker.rsplit("/", 2)
    if host != platform.node():
        return True
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" == start
    except psutil.NoSuchProcess:
        return False


def host_of(study: "Study") -> Host | None:
    """The latency clock of the host at work; None if no objective of the study reads a clock."""
    return clock_of(study) if any(objective.clock for objective in study.definition.resolved_objectives) else None


def clock_of(study: "Study") -> Host:
    """The latency clock of the host at work, calibrated once for each store."""
    name, threads, version = platform.node(), study.definition.threads, torch.__version__
    if study.store.calibration(name, threads, version) is None:
        fresh = calibrate(threads)
        study.store.keep_calibration(name, threads, version, cpu=fresh.cpu, reference_ms=fresh.reference_ms)
    known = study.store.calibration(name, threads, version)
    assert known is not None
    return Host(name, known[0], version, threads, known[1])


def _plain(measured: dict[str, Measurement]) -> dict[str, tuple[float, dict[str, object]]]:
    return {name: (measurement.value, measurement.detail) for name, measurement in measured.items()}
