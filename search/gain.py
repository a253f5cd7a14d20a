"""What training a candidate is expected to add to the front: expected hypervolume improvement over a cost plane."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import moocore
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from .goals import Goal
from .inputs import Features, Inputs, Matrix, encode
from .surrogate import LEARN_FROM, Belief, believe, bend_of, chance, informative, not_hopeless

POINTS = 512  # of the cost plane
FEW = 3  # known qualities; with fewer the costs alone decide
TRUST = 0.3  # in earlier studies: as if so much of the squared range had been seen to follow them
UNLIKELY = 0.1  # to fail; what fails more probably than that comes last, so that no great hope leads there for ever
DOOMED = 1e-9
SURE = 1e-9  # a deviation below it is none


@dataclass(frozen=True)
class Seen:
    """A candidate that was begun.

    values: by goal, what is known for sure: all goals if it finished, the early costs otherwise.
    failed: crashed, out of memory, diverged, or finished and violates a constraint.
    expected: of a stopped or running one, mean and standard deviation forecast for its end, by goal.
    """

    features: Features
    values: Mapping[str, float]
    state: Literal["finished", "stopped", "running", "failed"]
    expected: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Option:
    """A candidate that could be tried. values: its costs known early; those that are missing are learnt too."""

    features: Features
    values: Mapping[str, float]


@dataclass(frozen=True)
class Losses:
    """Of seen ones, then of options: what is minimised (rows, goals), scaled, NaN where unknown, and its deviation.

    What is known spans 0, the best, to 1, the worst. best: the least that there can be (goals,).
    """

    mean: Matrix
    deviation: Matrix
    best: Matrix


def expected_gains(
    seen: Sequence[Seen],
    options: Sequence[Option],
    goals: Sequence[Goal],
    *,
    seed: int,
    prior: Sequence[Sequence[Seen]] = (),
) -> NDArray[np.float64]:
    """The expected gain in hypervolume of each option, times the probability that it does not fail: (options,), >= 0.

    What is running counts as if it ended as expected. prior: what other studies saw, each with levels of its own.
    In shares of the box of what is known, costs as logarithms.
    """
    if not options:
        return np.zeros(0)
    every = np.array([one.state for one in seen], dtype=object)
    main = next((column for column, goal in enumerate(goals) if goal.quality), len(goals) - 1)
    whole = scaled(seen, options, goals)
    told = _telling(whole.mean[: len(seen)], every, main, seed)
    begun, states = len(told), every[told]
    losses = _part(whole, np.concatenate([told, np.arange(len(seen), len(whole.mean))]))
    earlier = [study for study in prior if study]
    x = _inputs([*(seen[row] for row in told), *options], losses.mean, goals, earlier)
    trend = _trend(x, earlier, goals, main, seed) if earlier else None
    x = x.rows(slice(begun + len(options)))
    quality = [goal.quality for goal in goals]
    filled, hope = _filled(x, losses, states, quality, main, trend, seed)
    new = slice(begun, None)
    fails = chance(x.rows(slice(begun)), states == "failed", x.rows(new), seed=seed)
    if trend is None and np.isfinite(losses.mean[:begun, main][states != "failed"]).sum() < FEW:
        gains = _spread(np.delete(filled.mean, main, axis=1), x, begun)
    else:
        ended = np.concatenate([whole.mean[: len(seen)][every == "finished"], filled.mean[:begun][states == "running"]])
        gains = _improvement(hope, _part(filled, new), ended, (every == "finished").sum(), main, seed)
    gains[_beaten(losses.mean[new], whole.mean[: len(seen)][every == "finished"], main, losses.best[main])] = 0.0
    result: NDArray[np.float64] = np.maximum(gains, 0.0) * (1.0 - fails) * np.where(fails > UNLIKELY, DOOMED, 1.0)
    return result


def _telling(losses: Matrix, states: NDArray[np.object_], main: int, seed: int) -> NDArray[np.intp]:
    """The rows of seen ones that are learnt from: with many, the best, some others, some that failed, all that run.

    losses: (rows, goals), NaN where unknown.
    """
    if len(states) <= LEARN_FROM:
        return np.arange(len(states))
    random, failed = np.random.default_rng(seed), states == "failed"
    known = np.flatnonzero(~failed & np.isfinite(losses[:, main]))
    best = known[informative(losses[known, main], LEARN_FROM, random)]
    some = random.permutation(np.flatnonzero(failed))[: LEARN_FROM // 2]
    return np.unique(np.concatenate([best, some, np.flatnonzero(states == "running")]))


def scaled(seen: Sequence[Seen], options: Sequence[Option], goals: Sequence[Goal]) -> Losses:
    """The losses of all, those that grow without end as logarithms, each goal in its range."""
    columns = [_column([*seen, *options], goal) for goal in goals]
    mean, deviation, best = (np.stack(part, axis=-1) for part in zip(*columns, strict=True))
    return Losses(mean, deviation, best)


def _column(people: Sequence[Seen | Option], goal: Goal) -> tuple[Matrix, Matrix, NDArray[np.float64]]:
    """Losses of one goal, their deviations, and the best there can be."""
    known = np.array([one.values.get(goal.name, np.nan) for one in people], dtype=float)
    mean, deviation = np.full(len(people), np.nan), np.zeros(len(people))
    for row, one in enumerate(people):
        if isinstance(one, Seen) and goal.name in one.expected:
            mean[row], deviation[row] = one.expected[goal.name]
    deviation = np.where(np.isnan(known), deviation, 0.0)
    amounts = np.where(np.isnan(known), mean, known)
    best, sign = np.array(np.nan if goal.best is None else goal.best), 1.0 if goal.direction == "minimize" else -1.0
    finite = amounts[np.isfinite(amounts)]
    if (sign == 1 or not goal.quality) and finite.size and finite.min() >= 0:
        floor = finite[finite > 0].min() / 10 if finite.any() else 1.0
        deviation = deviation / np.maximum(np.where(np.isfinite(amounts), amounts, 1.0), floor)
        amounts, best = np.log(np.maximum(amounts, floor)), np.log(np.maximum(best, floor))
    losses, finite = sign * amounts, sign * amounts[np.isfinite(amounts)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    width = high - low if high > low else 1.0
    losses = (losses - low) / width
    if goal.quality:  # what diverged is as bad as the worst
        losses = np.clip(losses, 0.0, 1.0)
    return losses, deviation / width, np.nan_to_num((sign * best - low) / width, nan=-np.inf)


def _part(losses: Losses, rows: slice | NDArray[np.intp]) -> Losses:
    return Losses(losses.mean[rows], losses.deviation[rows], losses.best)


def _inputs(
    people: Sequence[Seen | Option], losses: Matrix, goals: Sequence[Goal], prior: Sequence[Sequence[Seen]]
) -> Inputs:
    """Features and costs of all, then of earlier studies; an unknown cost is the one in the middle of those known."""
    past = [one for study in prior for one in study]
    earlier = scaled(past, (), goals).mean if past else losses[:0]
    numbers = []
    for column, goal in enumerate(goals):
        values = np.concatenate([losses[:, column], earlier[:, column]])
        finite = values[np.isfinite(values)]
        if not goal.quality and finite.size:
            values = np.where(np.isnan(values), np.median(finite), values)
            numbers.append(np.clip(values, finite.min(), finite.max()))
    matrix = np.stack(numbers, axis=1) if numbers else np.zeros((len(losses) + len(past), 0))
    return encode([one.features for one in (*people, *past)], matrix)


def _trend(x: Inputs, prior: Sequence[Sequence[Seen]], goals: Sequence[Goal], main: int, seed: int) -> Matrix:
    """The main loss that earlier studies let expect, each in its own range: (seen and options,)."""
    known, losses = [], []
    for study in prior:
        loss = scaled(study, (), goals).mean[:, main]
        fine = np.isfinite(loss) & np.array([one.state == "finished" for one in study])
        bounded = not_hopeless(loss[fine])
        loss[fine] = bend_of(bounded).bent(bounded)
        known.append(fine)
        losses.append(loss)
    taken, y = np.concatenate(known), np.concatenate(losses)
    ours = len(x.columns) - len(y)
    past = x.rows(slice(ours, None)).rows(taken)
    belief = believe(past, y[taken], x.rows(slice(ours)), doubt=np.zeros(taken.sum()), seed=seed)
    return np.asarray(belief.mean.mean(0))


def _filled(
    x: Inputs,
    losses: Losses,
    states: NDArray[np.object_],
    quality: Sequence[bool],
    main: int,
    trend: Matrix | None,
    seed: int,
) -> tuple[Losses, Belief]:
    """Losses with what is believed where they are unknown, and what is believed of the options' main loss."""
    begun, hope = len(states), None
    mean, deviation = losses.mean.copy(), losses.deviation.copy()
    running = np.concatenate([states == "running", np.zeros(len(mean) - begun, dtype=bool)])
    for column in map(int, np.flatnonzero(np.isnan(mean).any(0))):
        loss, unknown = losses.mean[:, column], np.isnan(mean[:, column])
        unknown[:begun] &= (states != "failed") | (not quality[column])
        known = np.flatnonzero((states != "failed") & np.isfinite(loss[:begun]))
        y = not_hopeless(loss[known]) if quality[column] else loss[known]
        bend = bend_of(y if quality[column] else y[:0])
        doubt, y = losses.deviation[known, column] * bend.slope(y), bend.bent(y)
        base = np.zeros(len(loss)) if trend is None or column != main else _fitted(trend, known, y)
        belief = believe(
            x.rows(known), y - base[known], x.rows(unknown), doubt=doubt, seed=seed, pending=running[unknown]
        )
        belief = bend.straight(Belief(belief.mean + base[unknown], belief.deviation))
        mean[unknown, column] = belief.mean.mean(0)
        deviation[unknown, column] = np.sqrt((belief.deviation**2).mean(0) + belief.mean.var(0))
        if column == main and unknown[begun:].all():
            options = len(loss) - begun
            hope = Belief(belief.mean[:, -options:], belief.deviation[:, -options:])
    return Losses(mean, deviation, losses.best), hope or Belief(mean[None, begun:, main], deviation[None, begun:, main])


def _fitted(trend: Matrix, known: NDArray[np.intp], y: Matrix) -> Matrix:
    """The trend moved and scaled to what is known here: a ridge towards taking it as it is, never upside down."""
    if not len(known):
        return trend - 0.5
    x = trend[known]
    slope = (((x - x.mean()) * (y - y.mean())).sum() + TRUST) / (((x - x.mean()) ** 2).sum() + TRUST)
    fitted: Matrix = max(slope, 0.0) * (trend - x.mean()) + y.mean()
    return fitted


def _improvement(
    hope: Belief, options: Losses, reached: Matrix, finished: int, main: int, seed: int
) -> NDArray[np.float64]:
    """Expected improvement of the main loss over the level reached at each point of the plane, where it counts.

    options: their other losses, which have to be within the point. reached: losses of so many that finished, then of
    those that run.
    """
    worst = reached[:finished, main].max() if finished else 1.0
    reached = reached[moocore.is_nondominated(reached)] if len(reached) else reached
    points = _points(POINTS, reached.shape[1] - 1, seed)
    dominated = (np.delete(reached, main, axis=1)[:, None] <= points).all(-1)
    levels, which = np.unique(
        np.where(dominated, reached[:, main, None], worst).min(0, initial=worst), return_inverse=True
    )
    order = np.argsort(which, kind="stable")
    within = _within(options, points[order], main)
    shares = np.add.reduceat(within, np.searchsorted(which[order], np.arange(len(levels))), axis=1) / len(points)
    least = np.unique(np.minimum(levels, options.best[main]))  # one level, as long as none is better than the best
    gains = np.zeros(len(within))
    for mean, deviation in zip(hope.mean, hope.deviation, strict=True):
        beyond = _below(least, mean, deviation)[:, np.searchsorted(least, np.minimum(levels, options.best[main]))]
        gains += (shares * (_below(levels, mean, deviation) - beyond)).sum(1)
    return gains / len(hope.mean)


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


def _spread(others: Matrix, x: Inputs, begun: int) -> NDArray[np.float64]:
    """How far each option's other losses, and a little its features, are from those begun; without any, how central."""
    places = np.nan_to_num(others, nan=0.5, posinf=1.0, neginf=0.0)
    places = np.concatenate([places, 0.1 * x.columns / max(1.0, np.sqrt(x.columns.shape[1]))], axis=1)
    taken, free = places[:begun], places[begun:]
    if not begun:
        return np.asarray(1 / (1 + np.linalg.norm(free - np.median(free, axis=0), axis=1)))
    return np.asarray(np.linalg.norm(free[:, None] - taken[None], axis=-1).min(1))


def _beaten(options: Matrix, finished: Matrix, main: int, best: float) -> NDArray[np.bool_]:
    """Options whose other losses are no better than those of a finished one that has the best main loss possible."""
    perfect = np.delete(finished[finished[:, main] <= best], main, axis=1)
    others = np.delete(options, main, axis=1)
    beaten: NDArray[np.bool_] = np.any(np.all(others[:, None] >= perfect[None], axis=-1), axis=1)
    return beaten
