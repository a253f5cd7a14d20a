"""What is believed of a candidate before it is trained: a Gaussian process on plain features."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import ndtr, ndtri

from .inputs import Inputs, Matrix

LEARN_FROM = 200  # rows; more would cost time and change little
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
class Belief:
    """A mixture of normal distributions, equally likely: means and deviations (components, options)."""

    mean: Matrix
    deviation: Matrix


def believe(
    x: Inputs, y: Matrix, new: Inputs, *, doubt: Matrix, seed: int, pending: NDArray[np.bool_] | None = None
) -> Belief:
    """What y will be at new, from y (rows,) at x, where a small y is good.

    doubt: the deviation of each y, in its units. pending: those of new that will be known soon: they are taken to come
    out as they are believed, so that what is near them is surer too (Ginsbourger et al. 2010, "Kriging is well-suited
    to parallelize optimization", the kriging believer). Drawing how they come out was no better, see docs/log.md.

    A Gaussian process with a Matern 5/2 kernel (Rasmussen and Williams 2006, chapter 2), a scale for each feature, and
    a linear part. Scales are drawn, twice, the second time near the likeliest, and the likeliest few are mixed: with
    tens of rows that is as good as climbing the likelihood, and does not trust one maximum.
    """
    if len(y) < 2 or np.ptp(y) == 0 or not x.columns.shape[1]:
        mean, spread = (y.mean(), max(y.std(), 1 / (1 + len(y)))) if len(y) else (0.5, 0.5)
        return Belief(np.full((1, len(new.columns)), mean), np.full((1, len(new.columns)), spread))
    random = np.random.default_rng(seed)
    kept = informative(y, LEARN_FROM, random)
    x, y, doubt = x.rows(kept), y[kept], doubt[kept]
    centre, width = y.mean(), y.std()
    z, noise = (y - centre) / width, (doubt / width) ** 2
    kernels = _likely(x, z, noise, random)
    awaited = np.flatnonzero(pending) if pending is not None else np.zeros(0, dtype=np.intp)
    means, deviations = zip(*(_answer(kernel, x, z, noise, new, awaited) for kernel in kernels), strict=True)
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


def informative(y: Matrix, most: int, random: np.random.Generator) -> NDArray[np.intp]:
    """At most so many rows: half of them the best, the others at random."""
    if len(y) <= most:
        return np.arange(len(y))
    order = np.argsort(y, kind="stable")
    return np.sort(np.concatenate([order[: most // 2], random.permutation(order[most // 2 :])[: most - most // 2]]))


def _likely(x: Inputs, z: Matrix, noise: Matrix, random: np.random.Generator) -> Matrix:
    """The likeliest kernels, a row each: logarithms of a scale for each feature, of the linear part, of the noise."""
    some = informative(z, TUNED_ON, random)
    pairs, z, noise = _pairs(x.rows(some)), z[some], noise[some]
    features = int(x.of.max()) + 1
    usual = np.array([*np.full(features, -np.log(features)), -2.0, -4.0])
    wide = np.array([*np.full(features, 0.75), 1.0, 1.5])
    common = np.array([*np.ones(features), 0.0, 0.0]) * random.normal(0.0, 1.0, (KERNELS, 1))
    tried = usual + common + wide * random.normal(size=(KERNELS, features + 2))
    scores = _likelihood(tried, pairs, z, noise)
    near = tried[np.argmax(scores)] + 0.5 * wide * random.normal(size=(KERNELS, features + 2))
    tried, scores = np.concatenate([tried, near]), np.concatenate([scores, _likelihood(near, pairs, z, noise)])
    likeliest: Matrix = tried[np.argsort(-scores, kind="stable")[:MIXED]]
    return likeliest


@dataclass(frozen=True)
class Pairs:
    """Of each pair of rows, a row not before the other: their places, and by feature (features, pairs) how far apart
    they are, squared, and their product.
    """

    rows: tuple[NDArray[np.intp], NDArray[np.intp]]
    apart: Matrix
    alike: Matrix


def _pairs(x: Inputs) -> Pairs:
    rows = np.tril_indices(len(x.columns))
    one, other = (x.columns.T[:, side] for side in rows)
    begins = np.flatnonzero(np.diff(x.of, prepend=-1))
    return Pairs(rows, np.add.reduceat((one - other) ** 2, begins), np.add.reduceat(one * other, begins))


def _likelihood(kernels: Matrix, pairs: Pairs, z: Matrix, noise: Matrix) -> Matrix:
    """Of each kernel, the logarithm of the likelihood of z, the amplitude integrated out, times a weak prior."""
    count = len(z)
    scales = np.exp(kernels[:, :-2])
    gram = np.zeros((len(kernels), count, count))  # of which the lower half is enough
    gram[:, *pairs.rows] = _matern(scales @ pairs.apart) + np.exp(kernels[:, -2:-1]) * (scales @ pairs.alike)
    gram[:, range(count), range(count)] += np.exp(kernels[:, -1:]) + noise + JITTER
    lower = np.linalg.cholesky(gram)
    white = np.stack([solve_triangular(one, z, lower=True, check_finite=False) for one in lower])
    amplitude = ((white**2).sum(1) + 1) / (count + 1)
    logarithms = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(1)
    likelihood: Matrix = -0.5 * count * np.log(amplitude) - logarithms
    return likelihood


def _answer(
    kernel: Matrix, x: Inputs, z: Matrix, noise: Matrix, new: Inputs, awaited: NDArray[np.intp]
) -> tuple[Matrix, Matrix]:
    """Mean and deviation at new (Rasmussen and Williams 2006, algorithm 2.1): (options,) both.

    awaited: what comes out as its mean is. A departure: the deviation follows the residuals of what is alike, so that
    where all fail alike it is small although it is large elsewhere. Measured in docs/log.md.
    """
    roots = np.exp(0.5 * kernel[:-2])[x.of]
    linear, own = np.exp(kernel[-2:])
    a, b = x.columns * roots, new.columns * roots
    gram = _covariance(a, a, linear)[0]
    gram[np.diag_indices(len(z))] += own + noise + JITTER
    lower = np.linalg.cholesky(gram)
    cross, like = _covariance(a, b, linear)
    seen = solve_triangular(lower, np.column_stack([z, cross]), lower=True, check_finite=False)
    white, seen = seen[:, 0], seen[:, 1:]
    amplitude = (white @ white + 1) / (len(z) + 1)
    variance = 1 + linear * (b**2).sum(1) - np.einsum("ij,ij->j", seen, seen)
    mean = white @ seen
    residuals = z**2 @ like - 2 * mean * (z @ like) + mean**2 * like.sum(0)
    local = (np.maximum(residuals, 0.0) + USUAL) / (like.sum(0) + USUAL)
    left = np.maximum(variance - _resolved(b, seen, awaited, linear, own), JITTER)
    left[awaited] = 0.0
    return mean, CAUTION * np.sqrt(amplitude * local * left)


def _resolved(b: Matrix, seen: Matrix, awaited: NDArray[np.intp], linear: float, own: float) -> Matrix:
    """The variance at b that is gone once what is awaited is known: (options,)."""
    soon = b[awaited]
    gram = _covariance(soon, soon, linear)[0] - seen[:, awaited].T @ seen[:, awaited]
    gram[np.diag_indices(len(soon))] += own + JITTER
    cross = _covariance(soon, b, linear)[0] - seen[:, awaited].T @ seen
    gone: Matrix = (solve_triangular(np.linalg.cholesky(gram), cross, lower=True, check_finite=False) ** 2).sum(0)
    return gone


def _covariance(a: Matrix, b: Matrix, linear: float) -> tuple[Matrix, Matrix]:
    """Of rows of a and b (rows of a, rows of b), and the part of it that is not linear."""
    product = a @ b.T
    apart = (a**2).sum(1)[:, None] + (b**2).sum(1)
    apart -= 2 * product
    like = _matern(np.maximum(apart, 0.0, out=apart))
    return like + linear * product, like


def _matern(squared: Matrix) -> Matrix:
    """(1 + r + r**2 / 3) exp(-r), where r**2 is five times the squared distance."""
    root = np.sqrt(5 * squared)
    kernel: Matrix = root / 3
    kernel += 1
    kernel *= root
    kernel += 1
    kernel *= np.exp(np.negative(root, out=root), out=root)
    return kernel


def chance(x: Inputs, happened: NDArray[np.bool_], new: Inputs, *, seed: int) -> Matrix:
    """The probability (options,) that what happened to some rows of x happens at new; 0 if it never did.

    The belief of labels 0 and 1, on the safe side: exploring an edge costs trials.
    """
    if not happened.any():
        return np.zeros(len(new.columns))
    belief = believe(x, happened.astype(float), new, doubt=np.zeros(len(happened)), seed=seed)
    return np.asarray(ndtr((belief.mean - HAPPENS) / np.hypot(belief.deviation, BLUR)).mean(0))
