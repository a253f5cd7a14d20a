"""Interrupted trials: nothing of them is lost, nothing stays behind."""

import os
import platform
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

import psutil
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial as OptunaTrial
from optuna.trial import TrialState

from ..storage import ENDED
from .queue import requeue
from .sampler import INTERRUPTED
from .telling import tell

if TYPE_CHECKING:
    from .study import Study


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
            if evaluation is not None and evaluation.state in ENDED:
                tell(study, trial, evaluation)
            else:
                retry(study, trial)
                lost += 1
    return lost


def give_up(study: "Study", place: int, trial: OptunaTrial | None) -> None:
    """Free the place of an interrupted trial, and queue its parameters.

    If the store itself is what failed, ``recover`` does the same when the next worker starts.
    """
    with suppress(Exception):
        if study.store.give_back(place) and trial is not None:
            retry(study, trial)


def retry(study: "Study", trial: OptunaTrial) -> None:
    """Close an interrupted trial, and queue its parameters."""
    trial.set_user_attr(INTERRUPTED, "its parameters were put back in the queue")
    study.optuna.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
    requeue(study, trial)


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
