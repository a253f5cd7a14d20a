"""The command line in a process that kills itself, without a word, at a moment that is said: for tests of survival."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from paretonas.objectives import lane
from paretonas.search import bench, cli, proposals, trying
from paretonas.storage import Store

# By name: where the function is found, its name there, and whether death comes before its work or after it.
MOMENTS: dict[str, tuple[Any, str, str]] = {
    "a place is taken": (Store, "take_place", "after"),
    "the candidate is asked for": (proposals, "_begin", "before"),
    "the candidate is begun": (Store, "begin", "after"),
    "a batch is trained": (lane, "give_way", "after"),
    "an epoch is trained": (Store, "add_epoch", "before"),
    "an epoch is kept": (Store, "add_epoch", "after"),
    "a checkpoint is made": (Store, "save_checkpoint", "before"),
    "a checkpoint is kept": (Store, "save_checkpoint", "after"),
    "the network is timed": (bench.StoreBench, "keep", "before"),
    "the weights are uploaded": (Store, "save_weights", "before"),
    "the weights are kept": (Store, "save_weights", "after"),
    "the result is kept": (Store, "finish", "after"),
    "Optuna is told": (trying, "tell", "after"),
}


def die_at(moment: str, number: int) -> None:
    """Wrap the function of the moment."""
    place, name, when = MOMENTS[moment]
    original: Callable[..., Any] = getattr(place, name)
    left = [number]

    def fatal(*arguments: Any, **named: Any) -> Any:
        left[0] -= 1
        if left[0] <= 0 and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = original(*arguments, **named)
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(place, name, fatal)


def run_until(moment: str, number: int, command: Sequence[str], folder: str) -> None:
    """Run a command line, in a folder, that dies when the moment comes for the so-manieth time."""
    os.chdir(folder)
    die_at(moment, number)
    sys.argv = ["paretonas", *command]
    cli.main()
