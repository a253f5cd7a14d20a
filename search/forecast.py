"""Where a learning curve will end, told by the curves of those that ended.

What a score at some part of the way says of the end is learnt at that very part (of training and fine-tuning), so
that neither saw-teeth of a cyclic learning rate nor a late drop of it mislead. How it goes on depends on what is
trained and how, so those features count as well, as far as they foresaw the ends that are known. Compare Domhan et al.
2015, who extrapolate parametric curves, and Swersky et al. 2014, "Freeze-thaw Bayesian optimization".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, exp, isfinite, nan, pi, sqrt

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from .goals import Goal
from .inputs import Features, encode

Array = npt.NDArray[np.float64]
FEWEST = 4  # finished curves, below which nothing is told
NEWEST = 300  # finished curves that are looked at
PENALTIES = (0.3, 3.0, 30.0)  # of the ridge, in observations
OF_FEATURES = (3.0, 10.0, 30.0, 100.0, 300.0)  # penalties of what each feature says, in observations
SHOWN = 2  # what is looked at in a curve
RECENT = 0.3  # of the epochs so far, whose mean is looked at
HUBER = 2.0  # times the usual residual, beyond which one counts less
CAUTION = 3.0  # by which the spread of few is widened
TINY = 1e-12


@dataclass(frozen=True)
class Curve:
    """A training so far.

    scores: after each epoch; whether higher is better is learnt. planned: epochs in all, training and fine-tuning.
    values: by goal; all if it ran to its end, those known before training otherwise.
    features: what is trained, and how.
    """

    scores: tuple[float, ...]
    planned: int
    values: Mapping[str, float]
    finished: bool
    features: Features = field(default_factory=dict)


@dataclass(frozen=True)
class Scale:
    """Where a quality is modelled: as the logarithm of its distance to the best there is, so that good and bad networks
    spread alike; as its loss, where there is no best.

    shift: added to the distance, a small part of what is usual, so that none is 0.
    """

    goal: Goal
    shift: float = 0.0

    def of(self, values: Array) -> Array:
        """Levels, lower is better: (n,) to (n,)."""
        losses = values if self.goal.direction == "minimize" else -values
        if self.goal.best is None:
            return losses
        return np.log(np.maximum(losses - self.goal.loss(self.goal.best), 0.0) + self.shift)

    def back(self, level: float) -> float:
        """The value at a level."""
        if self.goal.best is None:
            return self.goal.loss(level)
        return self.goal.loss(max(exp(min(level, 700.0)) - self.shift, 0.0) + self.goal.loss(self.goal.best))

    def slope(self, level: float) -> float:
        """By how much the value changes with the level."""
        return 1.0 if self.goal.best is None else exp(min(level, 700.0))


@dataclass(frozen=True)
class Outlook:
    """What a quality will be: its level on its scale is normal."""

    scale: Scale
    mean: float
    spread: float

    def improvement(self, losses: Array) -> Array:
        """The expected improvement over these losses, in the goal's unit: (n,) to (n,)."""
        goal, spread = self.scale.goal, self.spread
        if goal.best is None:
            z = (losses - self.mean) / spread
            return np.asarray(spread * (z * ndtr(z) + np.exp(-(z**2) / 2) / sqrt(2 * pi)))
        room = np.maximum(losses - goal.loss(goal.best), 0.0)
        z = (np.log(room + self.scale.shift) - self.mean) / spread  # as a put on a log-normal price (Black 1976)
        gains = (room + self.scale.shift) * ndtr(z) - exp(min(self.mean + spread**2 / 2, 700.0)) * ndtr(z - spread)
        return np.asarray(np.clip(gains, 0.0, room))

    def within(self, losses: Array) -> Array:
        """The probability that it ends at no more than each of these losses: (n,) to (n,)."""
        levels = self.scale.of(losses if self.scale.goal.direction == "minimize" else -losses)
        return np.asarray(ndtr((levels - self.mean) / self.spread))

    @property
    def moments(self) -> tuple[float, float]:
        """The median and the standard deviation, in the goal's unit."""
        return self.scale.back(self.mean), self.scale.slope(self.mean) * self.spread


def forecast(curve: Curve, others: Sequence[Curve], goals: Sequence[Goal]) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each quality at the end, from the curves that ended; {} if too few did."""
    return {name: outlook.moments for name, outlook in outlooks(curve, others, goals).items()}


def outlooks(curve: Curve, others: Sequence[Curve], goals: Sequence[Goal]) -> dict[str, Outlook]:
    """What each quality will be, by goal; {} if too little is known."""
    if not curve.scores:
        return {}
    return outlooks_at(min(len(curve.scores) / max(curve.planned, 1), 1.0), [curve], others, goals)[0]


def outlooks_at(
    part: float, curves: Sequence[Curve], others: Sequence[Curve], goals: Sequence[Goal]
) -> list[dict[str, Outlook]]:
    """What each quality of each curve looked like at this part of its way; at 0, before its training.

    Empty if too few ended. The curves came at least as far.
    """
    found: list[dict[str, Outlook]] = [{} for _ in curves]
    for goal in goals:
        if not goal.quality:
            continue
        known = ended(others, goal)
        if len(known) < FEWEST:
            return [{} for _ in curves]
        scale = scale_of(goal, known)
        ends = scale.of(np.array([other.values[goal.name] for other in known]))
        inputs = early(known, curves, goals)
        if part:
            inputs = np.hstack([seen_at(part, curves, known, scale), inputs])
        means, spread = _regressed(inputs, ends, _features([*known, *curves]), SHOWN if part else 0)
        for one, mean in zip(found, means, strict=True):
            one[goal.name] = Outlook(scale, float(mean), spread)
    return found


def ended(others: Sequence[Curve], goal: Goal) -> list[Curve]:
    """The newest that ran to their end and have this quality."""
    return [o for o in others if o.finished and o.scores and isfinite(o.values.get(goal.name, nan))][-NEWEST:]


def scale_of(goal: Goal, known: Sequence[Curve]) -> Scale:
    """The scale that suits what was reached."""
    if goal.best is None:
        return Scale(goal)
    values = np.array([other.values[goal.name] for other in known])
    return Scale(goal, max(0.05 * float(np.median(np.abs(values - goal.best))), TINY))


def early(known: Sequence[Curve], curves: Sequence[Curve], goals: Sequence[Goal]) -> Array:
    """Costs known of all, as logarithms where it can be; the mean where one is unknown: (known and curves, costs)."""
    columns = []
    for goal in goals:
        column = np.array([curve.values.get(goal.name, np.nan) for curve in (*known, *curves)], dtype=np.float64)
        told = np.isfinite(column)
        if goal.quality or not told[: len(known)].any():
            continue
        if column[told].min() >= 0:
            column[told] = np.log(np.maximum(column[told], TINY))
        columns.append(np.where(told, column, column[: len(known)][told[: len(known)]].mean()))
    return np.array(columns).T.reshape(len(known) + len(curves), len(columns))


def seen_at(part: float, curves: Sequence[Curve], known: Sequence[Curve], scale: Scale) -> Array:
    """What the known ones and the curves show at a part of the way: (known and curves, SHOWN), lower is better."""
    rows = [_look(other.scores, part * len(other.scores)) for other in known]
    shown = np.array([*rows, *(_look(curve.scores, part * curve.planned) for curve in curves)])
    sign = sign_of_scores(known, scale.goal)
    shown = np.where(np.isfinite(shown), sign * shown, np.nan)
    worst = np.nanmax(shown, axis=0, initial=-np.inf)
    shown = np.where(np.isnan(shown), np.where(np.isfinite(worst), worst, 0.0), shown)
    best = scale.goal.best
    if best is None or sign != scale.goal.loss(1.0) or shown.min() < scale.goal.loss(best):
        return shown
    return np.stack([scale.of(sign * column) for column in shown.T], axis=1)


def sign_of_scores(known: Sequence[Curve], goal: Goal) -> float:
    """-1 if a higher score goes with a better quality at the end, 1 if a lower one; as the quality if unclear."""
    ends = np.array([goal.loss(other.values[goal.name]) for other in known])
    last = np.array([other.scores[-1] for other in known])
    return float(np.copysign(1.0, len(known) * _rank_correlation(last, ends) + 2 * goal.loss(1.0)))


def _look(scores: Sequence[float], way: float) -> tuple[float, float]:
    """What is looked at, at a number of epochs: the score, between two epochs on the line, and the mean of the last."""
    count = min(max(ceil(way - TINY), 1), len(scores))
    part, recent = min(count - way, 1.0), scores[count - max(round(RECENT * count), 1) : count]
    last = scores[count - 1] if part <= 0 or count < 2 else (1 - part) * scores[count - 1] + part * scores[count - 2]
    return last, sum(recent) / len(recent)


def _rank_correlation(a: Array, b: Array) -> float:
    """Spearman's, for what is finite; 0 where one is constant."""
    kept = np.isfinite(a) & np.isfinite(b)
    if kept.sum() < 2 or np.ptp(a[kept]) == 0 or np.ptp(b[kept]) == 0:
        return 0.0
    ranks = np.stack([np.argsort(np.argsort(values[kept])) for values in (a, b)]).astype(np.float64)
    return float(np.asarray(np.corrcoef(ranks))[0, 1])


def _features(curves: Sequence[Curve]) -> Array:
    """What is trained and how, as columns, each feature in its range: (curves, columns)."""
    inputs = encode([curve.features for curve in curves], np.zeros((len(curves), 0)))
    return inputs.columns / np.sqrt(np.bincount(inputs.of)[inputs.of]) if inputs.of.size else inputs.columns


def _regressed(inputs: Array, ends: Array, features: Array, rising: int = 0) -> tuple[Array, float]:
    """Means of the end where it is not known, and their spread: (n + m, k), (n,), (n + m, f) to (m,).

    The first ``rising`` inputs may only raise it: a better curve is never expected to end worse. Ridge with Huber's
    weights; its penalty, then that of the features, and its spread by leave-one-out residuals (Allen 1974, PRESS). No
    mean is better than the best.
    """
    count = len(ends)
    centre, width = inputs[:count].mean(0), inputs[:count].std(0)
    columns = [k for k in range(inputs.shape[1]) if width[k] > TINY]
    weights = _weights((inputs[:count, columns] - centre[columns]) / width[columns], ends)
    while True:
        scaled = (inputs[:, columns] - centre[columns]) / width[columns]
        tried = [scaled / sqrt(penalty) for penalty in PENALTIES]
        fit = min((_Ridge.of(x, ends, weights) for x in tried), key=lambda fit: fit.missed)
        if features.size:
            tried = [np.hstack([fit.inputs, features / sqrt(penalty)]) for penalty in OF_FEATURES]
            fit = min((fit, *(_Ridge.of(x, ends, weights) for x in tried)), key=lambda fit: fit.missed)
        falling = {slope: k for k, slope in zip(columns, fit.slopes, strict=False) if k < rising and slope < 0}
        if not falling:
            break
        columns.remove(falling[min(falling)])
    spread = sqrt(fit.missed / float(weights.sum())) * (1 + CAUTION / count)
    return np.maximum(fit.means, ends.min()), max(spread, TINY)


def _weights(inputs: Array, ends: Array) -> Array:
    """Huber's, from 0 to 1, for what is far from where the ridge would have it: (n, k), (n,) to (n,)."""
    weights = np.ones(len(ends))
    for _ in range(2):
        residuals = np.abs(_Ridge.of(inputs / sqrt(PENALTIES[1]), ends, weights).left_out)
        usual = 1.4826 * float(np.median(residuals)) + TINY
        weights = np.minimum(1.0, HUBER * usual / np.maximum(residuals, TINY))
    return weights


@dataclass(frozen=True)
class _Ridge:
    """Of inputs (n + m, k), whose scale is their penalty: slopes, level at 0, leave-one-out residuals (n,).

    missed: the weighted sum of their squares.
    """

    inputs: Array
    slopes: Array
    level: float
    left_out: Array
    missed: float

    @classmethod
    def of(cls, inputs: Array, ends: Array, weights: Array) -> "_Ridge":
        """Fitted to the first n."""
        design = np.concatenate([np.ones((len(ends), 1)), inputs[: len(ends)]], axis=1)
        weighted = (design * weights[:, None]).T
        gram = weighted @ design
        gram[np.diag_indices_from(gram)] += [TINY] + [1.0] * inputs.shape[1]
        hat = np.linalg.inv(gram) @ weighted
        found = hat @ ends
        leverage = np.minimum((hat.T * design).sum(1), 0.95)
        left_out = (ends - design @ found) / (1 - leverage)
        return cls(inputs, found[1:], float(found[0]), left_out, float(weights @ left_out**2))

    @property
    def means(self) -> Array:
        """Of the other inputs: (m,)."""
        means: Array = self.level + self.inputs[len(self.left_out) :] @ self.slopes
        return means
