"""Hypervolume as a run goes on, for ``search.py``."""

from collections.abc import Callable, Sequence

import moocore
import numpy as np
import numpy.typing as npt
from search_runs import Begun, Run  # type: ignore[import-not-found]

Matrix = npt.NDArray[np.float64]
Scaled = Callable[[Begun], Matrix]  # losses of a candidate, 0 the best and 1 the worst: (goals,)


def hypervolume(losses: Matrix) -> float:
    """The share of the unit box that losses (n, goals) dominate; the worst corner is the reference."""
    if not len(losses):
        return 0.0
    if losses.shape[1] == 1:
        return float(1 - losses.min())
    return float(moocore.hypervolume(losses, ref=np.ones(losses.shape[1])))


def progress(run: Run, scaled: Scaled) -> tuple[Matrix, Matrix]:
    """After each candidate of a run: what was spent, and the hypervolume of what finished."""
    front = np.empty((0, 0))
    costs, volumes, spent, volume = [], [], 0.0, 0.0
    for one in run:
        spent += one.cost
        if one.values is not None:
            losses = scaled(one)[None]
            front = losses if not len(front) else front
            if not (front <= losses).all(1).any() or volume == 0.0:
                front = np.concatenate([front[~(losses <= front).all(1)], losses])
                volume = hypervolume(front)
        costs.append(spent)
        volumes.append(volume)
    return np.array(costs), np.array(volumes)


def at_cost(costs: Matrix, volumes: Matrix, cost: float) -> float:
    """The hypervolume when so much was spent; of a run that ended before, what it had."""
    place = int(np.searchsorted(costs, cost, side="right"))
    return float(volumes[place - 1]) if place else 0.0


def first_cost(costs: Matrix, volumes: Matrix, wanted: float) -> float | None:
    """What was spent when the hypervolume first was ``wanted``; None if it never was."""
    there = np.flatnonzero(volumes >= wanted)
    return float(costs[there[0]]) if len(there) else None


def repeated(run: Run) -> int:
    """Candidates of a run that had been begun before."""
    distinct: set[str] = {one.key for one in run}
    return len(run) - len(distinct)


def wasted(run: Sequence[Begun]) -> float:
    """The share of candidates in the second half of a run that failed."""
    half = run[len(run) // 2 :]
    failed: int = sum(one.state == "failed" for one in half)
    return failed / max(len(half), 1)
