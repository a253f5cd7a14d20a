"""Expected improvement of a quality over the level that is reached at each point of the plane of the other goals."""

from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from .inputs import Matrix
from .surrogate import Belief

POINTS = 512  # of the plane
SURE = 1e-9  # a deviation below it is none


@dataclass(frozen=True)
class Losses:
    """Of seen ones, then of options: what is minimised (rows, goals), scaled, NaN where unknown, and its deviation.

    What is known spans 0, the best, to 1, the worst. best: the least that there can be (goals,).
    """

    mean: Matrix
    deviation: Matrix
    best: Matrix


@dataclass(frozen=True)
class Worlds:
    """Ways that things may be, equally likely: what each component of a belief says.

    options: of their main loss (worlds, options). running: how those that run end (worlds, running).
    """

    options: Belief
    running: Matrix


def worlds_of(belief: Belief, running: NDArray[np.bool_], options: NDArray[np.bool_]) -> Worlds:
    """The two parts of a belief."""
    return Worlds(Belief(belief.mean[:, options], belief.deviation[:, options]), belief.mean[:, running])


def improvement(
    worlds: Worlds, options: Losses, finished: Matrix, running: Matrix, main: int, seed: int
) -> NDArray[np.float64]:
    """The expected improvement of each option's main loss where it counts, over the worlds: (options,).

    options: their other losses, which have to be within the point. finished, running: losses (rows, goals), of which
    the main one of those that run is as the world has it.
    """
    worst = finished[:, main].max() if len(finished) else 1.0
    points = _points(POINTS, finished.shape[1] - 1, seed)
    kinds, shares = _shares(_kinds(finished, running, points, worst, main), _within(options, points, main))
    gains = np.zeros(len(shares))
    for mean, deviation, ends in zip(worlds.options.mean, worlds.options.deviation, worlds.running, strict=True):
        reached = np.minimum(kinds[:, 0], np.where(kinds[:, 1:] > 0, ends, worst).min(1, initial=worst))
        levels, at = np.unique(reached, return_inverse=True)
        bound = np.minimum(levels, options.best[main])
        least = np.unique(bound)  # one level, as long as none is better than the best
        beyond = _below(least, mean, deviation)[:, np.searchsorted(least, bound)]
        gains += (shares * (_below(levels, mean, deviation) - beyond)[:, at]).sum(1)
    return gains / len(worlds.running)


def _kinds(finished: Matrix, running: Matrix, points: Matrix, worst: float, main: int) -> Matrix:
    """Of each point the least main loss of what finished within it, then which of those that run are within it."""
    front = finished[moocore.is_nondominated(finished)] if len(finished) else finished
    within = (np.delete(front, main, axis=1)[:, None] <= points).all(-1)
    levels = np.where(within, front[:, main, None], worst).min(0, initial=worst)
    return np.column_stack([levels, (np.delete(running, main, axis=1)[:, None] <= points).all(-1).T])


def _shares(kinds: Matrix, within: Matrix) -> tuple[Matrix, Matrix]:
    """Each kind of points once, and on what part of the plane an option meets it: (options, kinds)."""
    distinct, which = np.unique(kinds, axis=0, return_inverse=True)
    which = which.ravel()
    order = np.argsort(which, kind="stable")
    begins = np.searchsorted(which[order], np.arange(len(distinct)))
    shares: Matrix = np.add.reduceat(within[:, order], begins, axis=1) / len(kinds)
    return distinct, shares


def _within(options: Losses, points: Matrix, main: int) -> Matrix:
    """How probably each option's other losses are within each point: (options, points)."""
    within = np.ones((len(options.mean), len(points)))
    for point, column in zip(points.T, np.delete(np.arange(options.mean.shape[1]), main), strict=True):
        loss, spread = options.mean[:, column, None], options.deviation[:, column]
        sure = spread < SURE
        if sure.all():
            within *= point >= loss
        else:
            within *= np.where(sure[:, None], point >= loss, ndtr((point - loss) / np.maximum(spread, SURE)[:, None]))
    return within


def _below(levels: Matrix, mean: Matrix, deviation: Matrix) -> Matrix:
    """E[max(0, level - L)] of normal L: (options, levels) (Jones 1998, equation 15); 0 for a level of -inf."""
    deviation = np.maximum(deviation, SURE)[:, None]
    z = np.maximum((levels - mean[:, None]) / deviation, -40.0)
    expected: Matrix = deviation * (z * ndtr(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi))
    return expected


def _points(count: int, dimensions: int, seed: int) -> Matrix:
    """Points spread evenly over the unit cube (Roberts 2018, R sequence), shifted by the seed."""
    golden = 2.0
    for _ in range(60):
        golden = (1 + golden) ** (1 / (dimensions + 1))
    shift = np.random.default_rng(seed).random(dimensions)
    points: Matrix = (shift + np.arange(count)[:, None] * golden ** -np.arange(1.0, dimensions + 1)) % 1.0
    return points
