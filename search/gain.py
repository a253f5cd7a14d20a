"""What training a candidate is expected to add to the front: expected hypervolume improvement over a cost plane."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .goals import Goal
from .improvement import Losses, Worlds, improvement, worlds_of
from .inputs import Features, Inputs, Matrix, encode
from .surrogate import LEARN_FROM, Belief, believe, bend_of, chance, informative, not_hopeless

FEW = 3  # known qualities; with fewer the costs alone decide
TRUST = 0.3  # in earlier studies: as if so much of the squared range had been seen to follow them
EAGER = 0.56  # of the deviation of the main loss counts: hoping for less than what is possible measured better
UNLIKELY = 0.1  # to fail; what fails more probably than that comes last, so that no great hope leads there for ever
DOOMED = 1e-9


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


def expected_gains(
    seen: Sequence[Seen],
    options: Sequence[Option],
    goals: Sequence[Goal],
    *,
    seed: int,
    prior: Sequence[Sequence[Seen]] = (),
) -> NDArray[np.float64]:
    """The expected gain in hypervolume of each option, times the probability that it does not fail: (options,), >= 0.

    What is running is taken to end as believed. prior: what other studies saw, each with levels of its own. In shares
    of the box of what is known, costs as logarithms.
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
    filled, worlds = _filled(x, losses, states, quality, main, trend, seed)
    new = slice(begun, None)
    finished = whole.mean[: len(seen)][every == "finished"]
    fails = chance(x.rows(slice(begun)), states == "failed", x.rows(new), seed=seed)
    if trend is None and np.isfinite(losses.mean[:begun, main][states != "failed"]).sum() < FEW:
        gains = _spread(np.delete(filled.mean, main, axis=1), x, begun)
    else:
        running = filled.mean[:begun][states == "running"]
        gains = improvement(worlds, _part(filled, new), finished, running, main, seed)
    gains[_beaten(losses.mean[new], finished, main, losses.best[main])] = 0.0
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
) -> tuple[Losses, Worlds]:
    """Losses with what is believed where they are unknown, and what the main loss of options and running ones may be.

    What was heard of a running one is a loss that is doubted.
    """
    begun = len(states)
    mean, deviation = losses.mean.copy(), losses.deviation.copy()
    running = np.concatenate([states == "running", np.zeros(len(mean) - begun, dtype=bool)])
    worlds = None
    for column in map(int, np.flatnonzero(np.isnan(mean).any(0))):
        loss, unknown = losses.mean[:, column], np.isnan(mean[:, column])
        unknown[:begun] &= (states != "failed") | (not quality[column])
        if column == main:
            unknown |= running
        known = np.flatnonzero((states != "failed") & np.isfinite(loss[:begun]))
        y = not_hopeless(loss[known]) if quality[column] else loss[known]
        bend = bend_of(y if quality[column] else y[:0])
        doubt, y = losses.deviation[known, column] * bend.slope(y), bend.bent(y)
        base = np.zeros(len(loss)) if trend is None or column != main else _fitted(trend, known, y)
        pending = running[unknown] if column == main else None
        belief = believe(x.rows(known), y - base[known], x.rows(unknown), doubt=doubt, seed=seed, pending=pending)
        counted = EAGER if column == main else 1.0
        belief = bend.straight(Belief(belief.mean + base[unknown], counted * belief.deviation))
        mean[unknown, column] = belief.mean.mean(0)
        deviation[unknown, column] = np.sqrt((belief.deviation**2).mean(0) + belief.mean.var(0))
        if column == main and unknown[begun:].all():
            worlds = worlds_of(belief, running[unknown], np.flatnonzero(unknown) >= begun)
    known_all = Belief(mean[None, :, main], deviation[None, :, main])
    return Losses(mean, deviation, losses.best), worlds or worlds_of(known_all, running, np.arange(len(mean)) >= begun)


def _fitted(trend: Matrix, known: NDArray[np.intp], y: Matrix) -> Matrix:
    """The trend moved and scaled to what is known here: a ridge towards taking it as it is, never upside down."""
    if not len(known):
        return trend - 0.5
    x = trend[known]
    slope = (((x - x.mean()) * (y - y.mean())).sum() + TRUST) / (((x - x.mean()) ** 2).sum() + TRUST)
    fitted: Matrix = max(slope, 0.0) * (trend - x.mean()) + y.mean()
    return fitted


def _spread(others: Matrix, x: Inputs, begun: int) -> NDArray[np.float64]:
    """How far each option's other losses and its features are from those begun; without any, how central it is."""
    places = np.nan_to_num(others, nan=0.5, posinf=1.0, neginf=0.0)
    places = np.concatenate([places, x.columns / max(1.0, np.sqrt(x.columns.shape[1]))], axis=1)
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
