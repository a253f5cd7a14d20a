"""The front, timed again in one interleaved run, so that its points compare."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..objectives import Deployed, Timed, cpu_threads, measure_latencies, objective_of, timing
from ..spaces import build
from .bench import StoreBench
from .front import non_dominated, renew_front
from .knowledge import forget

if TYPE_CHECKING:
    from .study import Study
    from .trial import Trial

ATTEMPTS = 3
NOISE = 0.05  # by so much a time may have been too long
SECONDS = 0.3  # for each network, at most
PRECISE = 0.02  # noise that is small enough


def remeasure_front(study: "Study", *, again: bool) -> None:
    """See ``Study.remeasure_front``."""
    times = [objective_of(name) for name in study.definition.measures]
    for objective in (time for time in times if isinstance(time, Timed)):
        points: dict[int, Trial] = {}
        for attempt in range(ATTEMPTS):  # new values may bring others to the front
            runs = {trial.evaluation.details[objective.name].get("run") for trial in study.pareto_front}
            if not runs or (len(runs) == 1 and None not in runs and not (again and attempt == 0)):
                break
            points |= {trial.number: trial for trial in near_front(study, objective.name)}
            if not points:
                break
            _remeasure(study, objective, list(points.values()))
            renew_front(study)
            forget(study)


def near_front(study: "Study", name: str) -> "list[Trial]":
    """The feasible trials that would be on the front if their own time were better by the noise of one measurement.

    Only such as can be timed: the weights of some have to be there.
    """
    objectives = study.definition.resolved_objectives
    feasible = (trial for trial in study.trials if trial.feasible and trial.candidate.counts)
    trials = [trial for trial in feasible if name in trial.values and _is_there(trial)]
    better = 1 - NOISE if objective_of(name).direction == "minimize" else 1 + NOISE
    values = [trial.evaluation.values for trial in trials]
    front = set(non_dominated(values, objectives))  # what others dominate, one of these does
    near = []
    for index, trial in enumerate(trials):
        hopeful = [values[other] for other in front if other != index]
        hopeful.append({**values[index], name: values[index][name] * better})
        if index in front or len(hopeful) - 1 in non_dominated(hopeful, objectives):
            near.append(trial)
    return near


def _remeasure(study: "Study", objective: Timed, trials: "Sequence[Trial]") -> None:
    """Time the trials' networks on this host, a network once, and keep what comes of it."""
    bench, threads = StoreBench(study.store, study.definition), objective.threads or study.definition.threads
    networks = {(trial.architecture.key, trial.candidate.precision): trial for trial in trials}
    with cpu_threads(threads):
        deployed = {key: _deployed(trial) for key, trial in networks.items()}
        timings = [timing(one, objective.backend, batch=objective.batch, threads=threads) for one in deployed.values()]
        clock = bench.clock(timings[0].conditions)
        latencies = dict(zip(networks, measure_latencies(timings, clock, seconds=SECONDS, noise=PRECISE), strict=True))
    for key, latency in latencies.items():
        bench.keep(deployed[key].architecture, latency)
    for trial in trials:
        latency = latencies[trial.architecture.key, trial.candidate.precision]
        study.store.add_measurement(
            trial.evaluation.id, objective.name, objective.of(latency.latency_ms), latency.to_json()
        )


def _is_there(trial: "Trial") -> bool:
    return trial.candidate.precision == "float32" or trial.evaluation.weights is not None


def _deployed(trial: "Trial") -> Deployed:
    """The network as it is timed: its weights do not matter, but for those that are rounded or zero."""
    if trial.candidate.precision == "float32":
        return Deployed(build(trial.architecture, seed=0).eval(), trial.architecture)
    return trial.deployed()
