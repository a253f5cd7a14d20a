"""Latency of a network that was never timed, learned from networks that were, under one set of conditions.

A network is a sum of operators. Each kind of them has a price for a call, a multiply-accumulate, a number that comes or
leaves and a weight, none of them negative; the prices are those with the least squared relative error over the records
(non-negative least squares, Lawson & Hanson 1974, chapter 23), with a penalty on large prices and little weight on
records far off (Huber 1964), since a clock may have been:

    latency_ms = sum of price * amount

What such a sum leaves over could not be learned with kernels or boosted trees (docs/log.md).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import isfinite
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..spaces import Architecture
from .operators import operators

if TYPE_CHECKING:
    import numpy as np

MINIMUM = 20  # different networks that can be learned from
KNOWN = 3  # networks in which an operator was seen before a price of it is relied on
FOLDS = 5
TURNS = 2  # of weighing the records
ROBUST = 1.5  # standard deviations that an error may have at full weight
SPREAD = 1.4826  # standard deviation of normal numbers by the median of their sizes
PENALTY = 1e-2  # on the square of a price, in units of what its operator may take of a typical network


@dataclass(frozen=True)
class LatencyPredictor:
    """The prices of operators. records: networks learned from. The errors are shares of the latency that was measured,
    of networks that were left out of the learning, each once: the median, and what 9 of 10 stay below.

    prices: milliseconds, by the names of ``amounts``. known: the names that were seen often enough.
    """

    records: int
    median_error: float
    p90_error: float
    prices: Mapping[str, float] = field(repr=False)
    known: frozenset[str] = field(repr=False)

    def predict(self, architecture: Architecture) -> float:
        """Milliseconds. Operators that are in no record count as nothing."""
        return sum(self.prices.get(name, 0.0) * amount for name, amount in amounts(architecture).items())

    def at_least(self, architecture: Architecture) -> float:
        """Milliseconds that the network takes, most probably, or more.

        0 where an operator was hardly seen: nothing is refused that has no like among the records.
        """
        if not self.known.issuperset(amounts(architecture)):
            return 0.0
        return self.predict(architecture) / (1 + self.p90_error)


def fit_latency(records: Sequence[tuple[Architecture, float]]) -> LatencyPredictor | None:
    """Learn from networks and their latencies in milliseconds, all measured under the same conditions.

    Of equal networks the last one counts. Networks whose own code is not trusted, or fails, are left out. None if
    fewer than MINIMUM are left. UsageError for a latency that is no number above 0.
    """
    import numpy as np

    measured = {architecture: _checked(milliseconds) for architecture, milliseconds in records}
    rows = {architecture: row for architecture in measured if (row := _readable_amounts(architecture))}
    if len(rows) < MINIMUM:
        return None
    seen = Counter(name for row in rows.values() for name in row)
    x = np.array([[row.get(name, 0.0) for name in seen] for row in rows.values()])
    y = np.array([measured[architecture] for architecture in rows])
    errors = _errors_of_unseen(x, y)
    return LatencyPredictor(
        records=len(rows),
        median_error=float(np.median(errors)),
        p90_error=float(np.quantile(errors, 0.9)),
        prices=dict(zip(seen, _prices(x, y).tolist(), strict=True)),
        known=frozenset(name for name, count in seen.items() if count >= KNOWN),
    )


@lru_cache(maxsize=4096)
def amounts(architecture: Architecture) -> Mapping[str, float]:
    """What a network's latency is a weighted sum of: for each kind of operator, and for each variant of it, the calls
    (``convolution``, ``convolution 3x3``) and all that they work on (``convolution 3x3: macs``).
    """
    total: Counter[str] = Counter({"network": 1})
    for operator in operators(architecture):
        for name in {operator.kind, f"{operator.kind} {operator.variant}".rstrip()}:
            total[name] += 1
            for what in ("values", "macs", "weights", "filled", "ragged", "unfolded"):
                if amount := getattr(operator, what):
                    total[f"{name}: {what}"] += amount
    return dict(total)


def _readable_amounts(architecture: Architecture) -> Mapping[str, float]:
    try:
        return amounts(architecture)
    except Exception:  # noqa: BLE001 - another study's own code may be gone, not trusted, or raise anything
        return {}


def _checked(milliseconds: float) -> float:
    if not (isfinite(milliseconds) and milliseconds > 0):
        raise UsageError(f"a latency to learn from is a number of milliseconds above 0, {milliseconds!r} was given")
    return milliseconds


def _errors_of_unseen(x: "np.ndarray", y: "np.ndarray") -> "np.ndarray":
    """Relative errors, each network predicted from the other folds: (records,)."""
    import numpy as np

    fold = np.random.default_rng(0).permutation(len(y)) % FOLDS
    predicted = np.empty(len(y))
    for number in range(FOLDS):
        left_out = fold == number
        predicted[left_out] = x[left_out] @ _prices(x[~left_out], y[~left_out])
    errors: np.ndarray = np.abs(predicted / y - 1)
    return errors


def _prices(x: "np.ndarray", y: "np.ndarray") -> "np.ndarray":
    """Prices (names,) of amounts x (records, names) that take y (records,) milliseconds.

    Records whose error is beyond ROBUST times the spread are weighed down in turns (Huber 1964).
    """
    import numpy as np

    weights = np.ones(len(y))
    for _ in range(TURNS):
        errors = np.abs(x @ _weighted_prices(x, y, weights) / y - 1)
        beyond = ROBUST * SPREAD * max(float(np.median(errors)), 1e-9)
        weights = np.minimum(1, beyond / np.maximum(errors, beyond))
    return _weighted_prices(x, y, weights)


def _weighted_prices(x: "np.ndarray", y: "np.ndarray", weights: "np.ndarray") -> "np.ndarray":
    """The p >= 0 with the least sum(w (x p / y - 1)²) + n PENALTY sum(s² p²); n records, s² = mean((x / y)²)."""
    import numpy as np
    from scipy.optimize import nnls

    shares = x / y[:, None]
    spread = np.sqrt((shares**2).mean(0))
    spread[spread == 0] = np.inf  # what is in none of these networks has no price
    root = np.sqrt(weights)
    penalty = np.sqrt(PENALTY * len(y)) * np.eye(x.shape[1])
    target = np.concatenate([root, np.zeros(x.shape[1])])
    prices: np.ndarray = nnls(np.vstack([root[:, None] * shares / spread, penalty]), target)[0] / spread
    return prices
