"""The Pareto front, its hypervolume, and choosing from it. Works on plain values by objective name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import moocore
import numpy as np
import numpy.typing as npt

from ..errors import NothingFits, UsageError
from ..objectives import Objective

Values = Mapping[str, float]
Matrix = npt.NDArray[np.float64]


def non_dominated(values: Sequence[Values], objectives: Sequence[Objective]) -> list[int]:
    """Indices of the values that no other is at least as good as in everything; of equal ones, the first."""
    if not values:
        return []
    return [int(index) for index in np.flatnonzero(moocore.is_nondominated(_losses(values, objectives)))]


def hypervolume(values: Sequence[Values], objectives: Sequence[Objective]) -> float:
    """The share, 0 to 1, of the box from the worst to the best value of each objective that is dominated.

    Costs are taken as logarithms. The box is that of the values given.
    """
    if not values:
        return 0.0
    return float(moocore.hypervolume(_to_range(_losses(values, objectives)), ref=np.ones(len(objectives))))


def knee(values: Sequence[Values], objectives: Sequence[Objective]) -> int:
    """Index of the value nearest to the ideal point, the best of each objective (Yu 1973, compromise solution).

    Costs and error rates (1 - accuracy, from 0.001 up) are taken as logarithms, so that half the error weighs as much
    as half the cost, and are scaled to the range of the values.
    """
    losses = _losses(values, objectives)
    rates = [column for column, objective in enumerate(objectives) if objective.direction == "maximize"]
    losses[:, rates] = np.log(np.maximum(1 + losses[:, rates], 1e-3))
    return int(np.argmin(np.linalg.norm(_to_range(losses), axis=1)))


@dataclass(frozen=True)
class Bounds:
    """Limits of a pick; None leaves a measure free. accuracy is a share, latency milliseconds."""

    max_latency_ms: float | None = None
    max_parameters: float | None = None
    max_macs: float | None = None
    min_accuracy: float | None = None

    @property
    def limits(self) -> dict[str, tuple[str, float]]:
        """Measure to (kind, limit) for those that are set."""
        names = {name: name.split("_", 1) for name in self.__dataclass_fields__}
        given = {name: getattr(self, name) for name in names}
        return {names[name][1]: (names[name][0], limit) for name, limit in given.items() if limit is not None}


def best_within(values: Sequence[Values], bounds: Bounds) -> int:
    """Index of the most accurate value within the bounds; if only accuracy is bounded, of the fewest parameters.

    Raises NothingFits, naming the nearest, if there is none.
    """
    limits = bounds.limits
    for name in limits:
        if values and name not in values[0]:
            raise UsageError(f"this study did not measure {name}: it has {', '.join(values[0])}")
    misses = [sum(_miss(value[name], *limit) for name, limit in limits.items()) for value in values]
    fitting = [index for index, miss in enumerate(misses) if miss == 0]
    if not fitting:
        near = values[int(np.argmin(misses))]
        wanted = " and ".join(f"{name} {_SIGNS[kind]} {limit:g}" for name, (kind, limit) in limits.items())
        nearest = ", ".join(f"{name} {near[name]:g}" for name in {"accuracy": 0, **limits})
        raise NothingFits(
            f"no point of the front has {wanted}: the nearest has {nearest}; loosen the bound or search on"
        )
    if limits.keys() == {"accuracy"}:
        return min(fitting, key=lambda index: (values[index]["parameters"], -values[index]["accuracy"]))
    return max(fitting, key=lambda index: (values[index]["accuracy"], -values[index]["parameters"]))


_SIGNS = {"max": "<=", "min": ">="}


def _miss(value: float, kind: str, limit: float) -> float:
    """By how much of the limit a value misses it; 0 within."""
    excess = value - limit if kind == "max" else limit - value
    return max(0.0, excess) / max(abs(limit), 1e-12)


def _losses(values: Sequence[Values], objectives: Sequence[Objective]) -> Matrix:
    """What is minimised: a row for each value; costs as logarithms, what is maximised negated."""
    losses = np.array([[value[objective.name] for objective in objectives] for value in values], dtype=np.float64)
    for column, objective in enumerate(objectives):
        if objective.direction == "minimize":
            losses[:, column] = np.log(np.maximum(losses[:, column], 1e-12))
        else:
            losses[:, column] *= -1
    return losses


def _to_range(losses: Matrix) -> Matrix:
    """Each column from 0, its best, to 1, its worst."""
    low, high = losses.min(0), losses.max(0)
    scaled: Matrix = (losses - low) / np.where(high > low, high - low, 1.0)
    return scaled
