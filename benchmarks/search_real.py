"""Strategies on real training, for ``search.py --real``: each against the clock of its epochs."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
import torch
from optuna.trial import TrialState
from search_memo import Memo, Training  # type: ignore[import-not-found]
from search_runs import OURS, Begun, Run, optuna_study  # type: ignore[import-not-found]
from stopwatch import timed  # type: ignore[import-not-found]

import paretonas as pn
from paretonas.errors import CandidateFailed, Stopped
from paretonas.objectives import Epoch, LocalBench, as_task, objective_of
from paretonas.search import worker
from paretonas.search.early import measured_early, resolved
from paretonas.search.evaluate import evaluate
from paretonas.search.goals import goals_of
from paretonas.search.trial import Trial
from paretonas.spaces import Candidate

OBJECTIVES = ("accuracy", "parameters", "macs")  # no clock among them: every run of a seed repeats
Values = Mapping[str, float]
StopRule = Callable[[Sequence[float]], bool]


@dataclass(frozen=True)
class Job:
    """A strategy with a seed on a task, for so many full trainings; its weights follow from the seed too."""

    task: str
    strategy: str
    seed: int
    trials: int
    cache: Path | None

    @property
    def epochs(self) -> int:
        """What the full trainings take."""
        return self.trials * pn.ConvSpace().sample(self.data.spec, seed=0).epochs

    @property
    def data(self) -> pn.Data:
        return as_task(self.task).load()


def run(job: Job) -> Run:
    """All candidates that a strategy began, in order."""
    torch.set_num_threads(1)
    if job.strategy == OURS:
        return ours(job)
    if job.strategy == "rungs":
        return rungs(job)
    return baseline(job)


def baseline(job: Job) -> Run:
    """A sampler of Optuna's as a user would write it: each candidate trained in full, also one that was before."""
    study = optuna_study(job.strategy, job.seed, [objective_of(name).direction for name in OBJECTIVES])
    space, data, memo = pn.ConvSpace(), job.data, Memo(job.cache)
    found: list[Begun] = []
    while len(found) < job.trials:
        began = time.process_time()
        trial = study.ask()
        candidate = space.suggest(trial, data.spec)
        proposal_s = time.process_time() - began
        training = trained(candidate, job, data, memo)
        if training.values is None:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, [training.values[name] for name in OBJECTIVES])
        found.append(_begun(training, len(training.scores), proposal_s))
    return found


def rungs(job: Job) -> Run:
    """Random candidates and asynchronous successive halving by rank, as many as the epochs allow."""
    from paretonas.search.forecast import Curve
    from paretonas.search.stopping import reason_to_stop

    goals, draw = goals_of(resolved(OBJECTIVES)), optuna_study("random", job.seed, ["minimize"] * len(OBJECTIVES))
    space, data, memo = pn.ConvSpace(), job.data, Memo(job.cache)
    found: list[Begun] = []
    curves: list[Curve] = []
    while sum(one.cost for one in found) < job.epochs:
        began = time.process_time()
        candidate = space.suggest(draw.ask(), data.spec)
        proposal_s = time.process_time() - began
        costs = measured_early(candidate, resolved(OBJECTIVES), LocalBench(data))
        early = {name: measured.value for name, measured in costs.items()}

        def stops(scores: Sequence[float], early: Values = early, planned: int = candidate.epochs) -> bool:
            curve = Curve(tuple(scores), planned, early, finished=False)
            return reason_to_stop("rungs", curve, curves, goals) is not None

        training = trained(candidate, job, data, memo, stops)
        ends = (n for n in range(1, len(training.scores) + 1) if stops(training.scores[:n]))
        epochs = next(ends, len(training.scores))
        finished = epochs == candidate.epochs and training.values is not None
        values = training.values if finished and training.values is not None else early
        if not training.failed:
            curves.append(Curve(training.scores[:epochs], candidate.epochs, values, finished))
        state = "finished" if finished else "failed" if training.failed else "stopped"
        found.append(_begun(training, epochs, proposal_s, state))
    return found


def ours(job: Job) -> Run:
    """A study of the public API in a store of its own, with its defaults, until the epochs are spent."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        study = pn.create_study(
            "real", space=pn.ConvSpace(), task=job.task, objectives=OBJECTIVES, seed=job.seed,
            storage=f"sqlite:///{folder}/nas.db",
        )  # fmt: skip
        began = time.process_time()
        with timed(worker, "propose", time.process_time) as proposals:
            study.optimize(n_epochs=job.epochs, show_progress=False)
        trials = [trial for trial in study.trials if trial.state != "refused"]
        rest = time.process_time() - began - sum(proposals)
        return [_of_trial(trial, sum(proposals) / len(trials), rest / len(trials)) for trial in trials]


def _of_trial(trial: Trial, proposal_s: float, training_s: float) -> Begun:
    values = {name: trial.values[name] for name in OBJECTIVES} if trial.state == "complete" else None
    state = "finished" if trial.state == "complete" else trial.state
    return Begun(trial.candidate.key, len(trial.learning_curve), values, state, proposal_s, training_s)


def _begun(training: Training, epochs: int, proposal_s: float, state: str | None = None) -> Begun:
    """A training as far as ``epochs``."""
    state = state or ("failed" if training.values is None else "finished")
    seconds = training.seconds * epochs / max(len(training.scores), 1)
    values = training.values if state == "finished" else None
    return Begun(training.key, epochs, values, state, proposal_s, seconds)


def trained(candidate: Candidate, job: Job, data: pn.Data, memo: Memo, stops: StopRule = lambda _: False) -> Training:
    """The candidate trained until ``stops`` says so of its scores; what the memo has is replayed."""
    known = memo.find(job.task, job.seed, candidate.key)
    if known is not None and (known.ended or any(stops(known.scores[: n + 1]) for n in range(len(known.scores)))):
        return known
    scores: list[float] = []
    began, values, failed = time.process_time(), None, ""

    def after(epoch: Epoch) -> None:
        scores.append(epoch.score)
        if stops(scores):
            raise Stopped("the rule says so", {})

    try:
        result = evaluate(candidate, data, OBJECTIVES, seed=job.seed, on_epoch=after)
        values = {name: measured.value for name, measured in result.measured.items()}
    except Stopped:
        pass
    except CandidateFailed as failure:
        failed = str(failure)
    seconds = time.process_time() - began
    training = Training(job.task, job.seed, candidate.key, tuple(scores), candidate.epochs, values, seconds, failed)
    memo.keep(training)
    return training
