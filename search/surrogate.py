"""What is believed of a candidate before it is trained: a Gaussian process on plain features."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import ndtr, ndtri

Features = Mapping[str, float | str | bool]  # conditional: a name that is absent has no meaning for this candidate
Matrix = NDArray[np.float64]
MOST_WORDS = 32  # of one feature; a rarer word is no word
LEARN_FROM = 300  # rows; more would cost time and change little
TUNED_ON = 80  # rows that choose the kernel
KERNELS = 24  # tried in each of two rounds
MIXED = 3  # kernels whose answers are mixed
JITTER = 1e-6
USUAL = 0.3  # networks of usual residuals that stand beside those alike
HAPPENS, BLUR = 0.3, 0.2  # a label above the first fails, give or take the second: at an edge, rather too soon
CAUTION = 0.8  # of the deviation is believed: exploring less measured better at 50 trials and more
BENT = 0.3  # of the distance from the best to the median is where logarithms begin
MOST_BENT = 1.2  # a loss is hardly believed to be worse than the worst
NINE = ndtri((np.arange(9) + 0.5) / 9) * 1.08  # quantiles of a normal distribution, with its deviation
HOPELESS = 2.0  # losses above the median by this often what the best is below it count as equally bad


@dataclass(frozen=True)
class Inputs:
    """Numbers (rows, columns), each column standardised, and the feature (columns,) that each belongs to."""

    columns: Matrix
    of: NDArray[np.intp]

    def rows(self, chosen: "NDArray[np.bool_] | NDArray[np.intp] | slice") -> "Inputs":
        """Some of the rows."""
        return Inputs(self.columns[chosen], self.of)


@dataclass(frozen=True)
class Belief:
    """A mixture of normal distributions, equally likely: means and deviations (components, options)."""

    mean: Matrix
    deviation: Matrix


def encode(rows: Sequence[Features], numbers: Matrix) -> Inputs:
    """Features as columns, with columns of numbers that are known of each row, as costs are (rows, columns).

    Words are one-hot and, if all are numerals, numbers too; an absent number is the median of those there are, and
    said by a column of its own; how often a word occurs is told of features that share a list of words.
    """
    groups: list[list[Matrix]] = [[column] for column in numbers.T]
    alphabets: dict[tuple[str, ...], list[Matrix]] = {}
    for name in sorted({name for row in rows for name in row}):
        values = [row.get(name) for row in rows]
        if str in set(map(type, values)):
            words, hot = _one_hot(values)
            alphabets.setdefault(words, []).append(hot)
            groups.append([*hot.T, *_numerals(words, hot)])
        else:
            groups.append(_numeric(np.array([np.nan if value is None else value for value in values], dtype=float)))
    groups += [list(sum(shared[1:], start=shared[0]).T) for shared in alphabets.values() if len(shared) > 1]
    kept = [(column, of) for of, group in enumerate(groups) for column in group if np.ptp(column) > 0 < column.std()]
    if not kept:
        return Inputs(np.zeros((len(rows), 0)), np.zeros(0, dtype=np.intp))
    columns = np.stack([column for column, _ in kept], axis=1)
    return Inputs(
        (columns - columns.mean(0)) / columns.std(0), np.unique([of for _, of in kept], return_inverse=True)[1]
    )


def _one_hot(values: Sequence[object]) -> tuple[tuple[str, ...], Matrix]:
    """The words, at most MOST_WORDS, and which of them each row has: (rows, words)."""
    counts = {str(value): count for value, count in Counter(values).items() if value is not None}
    words = tuple(sorted(sorted(counts, key=lambda word: (-counts[word], word))[:MOST_WORDS]))
    place = {word: index for index, word in enumerate(words)}
    at = {value: place.get(str(value), -1) if value is not None else -1 for value in set(values)}
    which = np.array([at[value] for value in values])
    return words, (which[:, None] == np.arange(len(words))).astype(float)


def _numerals(words: Sequence[str], hot: Matrix) -> list[Matrix]:
    """The numbers that words are, as a column; none if one is no number."""
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        return []
    return _numeric(np.where(hot.any(1), hot @ numbers, np.nan)) if np.isfinite(numbers).all() else []


def _numeric(column: Matrix) -> list[Matrix]:
    """A column of numbers, in logarithms if they span a decade, and one of absence."""
    finite = column[np.isfinite(column)]
    if not finite.size:
        return []
    absent = np.isnan(column)
    column = np.clip(np.where(absent, np.median(finite), column), finite.min(), finite.max())
    if finite.min() > 0 and finite.max() >= 10 * finite.min():
        column = np.log(column)
    return [column, absent.astype(float)] if absent.any() else [column]


def believe(
    x: Inputs, y: Matrix, new: Inputs, *, doubt: Matrix, seed: int, pending: NDArray[np.bool_] | None = None
) -> Belief:
    """What y will be at new, from y (rows,) at x, where a small y is good.

    doubt: the deviation of each y, in its units. pending: those of new that will be known soon, so that what is near
    them is less uncertain already.

    A Gaussian process with a Matern 5/2 kernel (Rasmussen and Williams 2006, chapter 2), a scale for each feature, and
    a linear part. Scales are drawn, twice, the second time near the likeliest, and the likeliest few are mixed: with
    tens of rows that is as good as climbing the likelihood, and does not trust one maximum.
    """
    if len(y) < 2 or np.ptp(y) == 0 or not x.columns.shape[1]:
        mean, spread = (y.mean(), max(y.std(), 1 / (1 + len(y)))) if len(y) else (0.5, 0.5)
        return Belief(np.full((1, len(new.columns)), mean), np.full((1, len(new.columns)), spread))
    random = np.random.default_rng(seed)
    kept = _informative(y, LEARN_FROM, random)
    x, y, doubt = x.rows(kept), y[kept], doubt[kept]
    centre, width = y.mean(), y.std()
    z, noise = (y - centre) / width, (doubt / width) ** 2
    kernels = _likely(x, z, noise, random)
    answers = [_answer(kernel, x, z, noise, new, pending) for kernel in kernels]
    means, deviations = zip(*answers, strict=True)
    return Belief(np.stack(means) * width + centre, np.stack(deviations) * width)


@dataclass(frozen=True)
class Bend:
    """Losses as logarithms of how far they are from the best, 0 to 1: so what is far from it decides little."""

    low: float
    offset: float
    width: float

    def bent(self, losses: Matrix) -> Matrix:
        return np.asarray(np.log((losses - self.low) / self.offset + 1) / self.width)

    def slope(self, losses: Matrix) -> Matrix:
        """By how much a small deviation of the losses grows."""
        return np.asarray(1 / (losses - self.low + self.offset) / self.width)

    def straight(self, belief: Belief) -> Belief:
        """What is believed of bent losses as belief of losses: moments of nine quantiles."""
        quantiles = belief.mean[..., None] + belief.deviation[..., None] * NINE
        losses = (np.exp(np.minimum(quantiles, MOST_BENT) * self.width) - 1) * self.offset + self.low
        return Belief(losses.mean(-1), losses.std(-1))


def bend_of(losses: Matrix) -> Bend:
    """The bend that fits losses, whose middle decides what is near the best."""
    if len(losses) < 2 or np.ptp(losses) == 0:
        return Bend(0.0, 1.0, float(np.log(2)))
    low = float(losses.min())
    offset = max(BENT * (float(np.median(losses)) - low), 1e-3 * float(np.ptp(losses)))
    return Bend(low, offset, float(np.log(np.ptp(losses) / offset + 1)))


def not_hopeless(losses: Matrix) -> Matrix:
    """Losses, those far above the median taken as equally bad: what learns nothing shall not decide the scales."""
    if not len(losses):
        return losses
    middle = float(np.median(losses))
    return np.asarray(np.minimum(losses, middle + HOPELESS * max(middle - losses.min(), 0.05 * np.ptp(losses))))


def _informative(y: Matrix, most: int, random: np.random.Generator) -> NDArray[np.intp]:
    """At most so many rows: half of them the best, the others at random."""
    if len(y) <= most:
        return np.arange(len(y))
    order = np.argsort(y, kind="stable")
    return np.sort(np.concatenate([order[: most // 2], random.permutation(order[most // 2 :])[: most - most // 2]]))


def _likely(x: Inputs, z: Matrix, noise: Matrix, random: np.random.Generator) -> Matrix:
    """The likeliest kernels, a row each: logarithms of a scale for each feature, of the linear part, of the noise."""
    some = _informative(z, TUNED_ON, random)
    x, z, noise = x.rows(some), z[some], noise[some]
    features = int(x.of.max()) + 1
    apart = np.stack([_apart(x.columns[:, x.of == f], x.columns[:, x.of == f]) for f in range(features)])
    alike = np.stack([x.columns[:, x.of == f] @ x.columns[:, x.of == f].T for f in range(features)])
    usual = np.array([*np.full(features, -np.log(features)), -2.0, -4.0])
    wide = np.array([*np.full(features, 0.75), 1.0, 1.5])
    common = np.array([*np.ones(features), 0.0, 0.0]) * random.normal(0.0, 1.0, (KERNELS, 1))
    tried = usual + common + wide * random.normal(size=(KERNELS, features + 2))
    scores = _likelihood(tried, apart, alike, z, noise)
    near = tried[np.argmax(scores)] + 0.5 * wide * random.normal(size=(KERNELS, features + 2))
    tried, scores = np.concatenate([tried, near]), np.concatenate([scores, _likelihood(near, apart, alike, z, noise)])
    likeliest: Matrix = tried[np.argsort(-scores, kind="stable")[:MIXED]]
    return likeliest


def _likelihood(kernels: Matrix, apart: Matrix, alike: Matrix, z: Matrix, noise: Matrix) -> Matrix:
    """Of each kernel, the logarithm of the likelihood of z, the amplitude integrated out, times a weak prior."""
    count = len(z)
    scales = np.exp(kernels[:, :-2])
    flat = apart.reshape(len(apart), -1)
    gram = _matern(scales @ flat).reshape(-1, count, count)
    gram += np.exp(kernels[:, -2])[:, None, None] * (scales @ alike.reshape(len(alike), -1)).reshape(gram.shape)
    gram += (np.exp(kernels[:, -1])[:, None, None] + noise + JITTER) * np.eye(count)
    lower = np.linalg.cholesky(gram)
    white = np.linalg.solve(lower, np.broadcast_to(z[:, None], (len(kernels), count, 1)))[..., 0]
    amplitude = ((white**2).sum(1) + 1) / (count + 1)
    logarithms = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(1)
    likelihood: Matrix = -0.5 * count * np.log(amplitude) - logarithms
    return likelihood


def _answer(
    kernel: Matrix, x: Inputs, z: Matrix, noise: Matrix, new: Inputs, pending: NDArray[np.bool_] | None
) -> tuple[Matrix, Matrix]:
    """Mean and deviation at new (Rasmussen and Williams 2006, algorithm 2.1).

    A departure: the deviation follows the residuals of what is alike, so that where all fail alike it is small although
    it is large elsewhere. Measured in docs/log.md.
    """
    roots = np.exp(0.5 * kernel[:-2])[x.of]
    linear, own = np.exp(kernel[-2:])
    a, b = x.columns * roots, new.columns * roots
    gram = _matern(_apart(a, a)) + linear * (a @ a.T) + np.diag(own + noise + JITTER)
    lower = np.linalg.cholesky(gram)
    like = _matern(_apart(a, b))
    cross = like + linear * (a @ b.T)
    seen = solve_triangular(lower, np.column_stack([z, cross]), lower=True, check_finite=False)
    white, seen = seen[:, 0], seen[:, 1:]
    amplitude = (white @ white + 1) / (len(z) + 1)
    variance = 1 + linear * (b**2).sum(1) - (seen**2).sum(0)
    if pending is not None and pending.any():
        variance -= _learnt(b, seen, pending, linear, own)
    mean = white @ seen
    local = ((like * (z[:, None] - mean) ** 2).sum(0) + USUAL) / (like.sum(0) + USUAL)
    return mean, CAUTION * np.sqrt(amplitude * np.maximum(variance, JITTER) * local)


def _learnt(b: Matrix, seen: Matrix, pending: NDArray[np.bool_], linear: float, own: float) -> Matrix:
    """The variance at b that is gone once the pending ones of b are known; it does not depend on what they will be."""
    soon = b[pending]
    gram = _matern(_apart(soon, soon)) + linear * (soon @ soon.T) - seen[:, pending].T @ seen[:, pending]
    cross = _matern(_apart(soon, b)) + linear * (soon @ b.T) - seen[:, pending].T @ seen
    lower = np.linalg.cholesky(gram + (own + JITTER) * np.eye(len(soon)))
    gone: Matrix = (solve_triangular(lower, cross, lower=True, check_finite=False) ** 2).sum(0)
    return gone


def _apart(a: Matrix, b: Matrix) -> Matrix:
    """Squared distances (rows of a, rows of b)."""
    squared: Matrix = np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0.0)
    return squared


def _matern(squared: Matrix) -> Matrix:
    root = np.sqrt(5 * squared)
    kernel: Matrix = (1 + root + root**2 / 3) * np.exp(-root)
    return kernel


def chance(x: Inputs, happened: NDArray[np.bool_], new: Inputs, *, seed: int) -> Matrix:
    """The probability (options,) that what happened to some rows of x happens at new; 0 if it never did.

    The belief of labels 0 and 1, on the safe side: exploring an edge costs trials.
    """
    if not happened.any():
        return np.zeros(len(new.columns))
    belief = believe(x, happened.astype(float), new, doubt=np.zeros(len(happened)), seed=seed)
    return np.asarray(ndtr((belief.mean - HAPPENS) / np.hypot(belief.deviation, BLUR)).mean(0))
