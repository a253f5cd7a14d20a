"""The Pareto front, its hypervolume, and choosing from it. Works on plain values by objective name."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import moocore
import numpy as np
import numpy.typing as npt

from ..errors import NothingFits, UsageError
from ..objectives import Objective, is_cost, objective_of
from .constraints import held

if TYPE_CHECKING:
    from ..storage import Evaluation, Valued
    from .definition import Definition
    from .study import Study

Values = Mapping[str, float]
Matrix = npt.NDArray[np.float64]
RHO = 1e-3  # of the sum in the scalarisation, small beside the maximum
SHARES = ("accuracy", "balanced_accuracy", "f1")  # metrics from 0 to 1 whose distance from 1 is what matters


def non_dominated(values: Sequence[Values], objectives: Sequence[Objective]) -> list[int]:
    """Indices of the values that no other is at least as good as in everything; of equal ones, the first."""
    if not values:
        return []
    return [int(index) for index in np.flatnonzero(moocore.is_nondominated(_losses(values, objectives)))]


def still_on_front(definition: "Definition", repetition: int | None = None) -> Callable[[Sequence["Valued"]], set[int]]:
    """Which of a front's evaluations stay on it, given these and a new one; by id. What is not feasible does not.

    repetition: the new one's id where it repeats another with a seed of its own, and so is never on the front.
    """

    def stay(evaluations: Sequence["Valued"]) -> set[int]:
        feasible = [one for one in evaluations if one.id != repetition and held(definition.bounds, one.values)]
        feasible.sort(key=lambda one: one.trial_number)
        front = non_dominated([one.values for one in feasible], definition.resolved_objectives)
        return {feasible[index].id for index in front}

    return stay


def front_of(study: "Study") -> list["Evaluation"]:
    """The evaluations on the front of a study, which is kept as it grows. Of an earlier release's study it is made."""
    front = study.store.front(study.id)
    if study.store.front_ids(study.id) is None or not all(one.candidate.counts for one in front):
        renew_front(study)
        return study.store.front(study.id)
    return front


def renew_front(study: "Study") -> None:
    """Make the front anew from all that is complete, as after its values were measured again."""
    store, number = study.store, -1
    while number != store.counts(study.id).get("complete", 0):  # others may come meanwhile
        complete = [one for one in store.evaluations(study.id) if one.state == "complete"]
        store.set_front(study.id, still_on_front(study.definition)([one for one in complete if one.candidate.counts]))
        number = len(complete)


def hypervolume(values: Sequence[Values], objectives: Sequence[Objective]) -> float:
    """The share, 0 to 1, of the box from the worst to the best value of each objective that is dominated.

    What is minimised is taken as logarithms. The box is that of the values given.
    """
    if not values:
        return 0.0
    return float(moocore.hypervolume(_to_range(_losses(values, objectives)), ref=np.ones(len(objectives))))


def hypervolumes(values: Sequence[Values], objectives: Sequence[Objective]) -> list[float]:
    """The hypervolume after each of the values, in the box of all of them; see ``hypervolume``."""
    if not values:
        return []
    scaled = _to_range(_losses(values, objectives))
    front, reached, found = scaled[:0], 0.0, []
    for row in scaled:
        if not (front <= row).all(1).any():
            front = np.vstack([front[~(row <= front).all(1)], row])
            reached = float(moocore.hypervolume(front, ref=np.ones(len(objectives))))
        found.append(reached)
    return found


def knee(values: Sequence[Values], objectives: Sequence[Objective]) -> int:
    """Index of the value nearest to the ideal point, the best of each objective (Yu 1973, compromise solution)."""
    return by_distance(values, objectives)[0]


def by_distance(values: Sequence[Values], objectives: Sequence[Objective]) -> list[int]:
    """Indices of the values, the nearest to the ideal point first.

    What is minimised and the error rates of shares (1 - accuracy, from 0.001 up) are taken as logarithms, so that half
    the error weighs as much as half the cost; all is scaled to the range of the values.
    """
    return _rising(np.linalg.norm(_regrets(values, objectives), axis=1))


def by_weights(values: Sequence[Values], objectives: Sequence[Objective], weights: Sequence[float]) -> list[int]:
    """Indices of the values, the best under weights first: an augmented weighted Chebyshev scalarisation.

    The least of max_i w_i z_i + RHO sum_i w_i z_i (Steuer & Choo 1983; Miettinen 1999, section 3.4), where z_i is the
    distance from the best in objective i, on the scale of ``by_distance``. The maximum finds any point of a front, also
    where it is not convex, which a weighted sum does not; the sum keeps what is only weakly efficient away.
    """
    weighted = _regrets(values, objectives) * np.asarray(weights, dtype=np.float64)
    return _rising(weighted.max(1) + RHO * weighted.sum(1))


def by_quality(values: Sequence[Values], quality: Objective) -> list[int]:
    """Indices of the values, the best in ``quality`` first; of equal ones that with the fewest parameters."""
    return sorted(range(len(values)), key=lambda index: (_loss(values[index], quality), values[index]["parameters"]))


def smallest(
    values: Sequence[Values], measure: Objective, quality: Objective, within_best: float | None = None
) -> list[int]:
    """Indices of the values that are within a share of the best quality, the best in ``measure`` first.

    Lexicographic with a tolerance: quality comes first, but what is given away of it up to ``within_best`` times the
    best counts nothing. None: quality decides between equal ones only.
    """
    losses = [_loss(value, quality) for value in values]
    most = np.inf if within_best is None else min(losses) + within_best * abs(min(losses))
    most += 1e-12 * abs(most) if np.isfinite(most) else 0.0  # 0.95 of 1 is no less than 0.95
    good = [index for index, loss in enumerate(losses) if loss <= most]
    return sorted(good, key=lambda index: (_loss(values[index], measure), losses[index], values[index]["parameters"]))


def _regrets(values: Sequence[Values], objectives: Sequence[Objective]) -> Matrix:
    """How far each value is from the best in each objective, from 0 to 1, the worst."""
    losses = _losses(values, objectives)
    rates = [column for column, objective in enumerate(objectives) if objective.name.split(".")[-1] in SHARES]
    losses[:, rates] = np.log(np.maximum(1 + losses[:, rates], 1e-3))
    return _to_range(losses)


def _rising(amounts: npt.NDArray[np.float64]) -> list[int]:
    return [int(index) for index in np.argsort(amounts, kind="stable")]


def best(values: Sequence[Values], quality: Objective) -> int:
    """Index of the value that is best in ``quality``; of equal ones, of that with the fewest parameters."""
    return by_quality(values, quality)[0]


def best_within(values: Sequence[Values], bounds: Values, quality: Objective) -> int:
    """Index of the best value within the bounds; if these are on quality alone, of that with the fewest parameters.

    Raises what ``within`` raises.
    """
    return by_bounds(values, bounds, quality)[0]


def by_bounds(values: Sequence[Values], bounds: Values, quality: Objective) -> list[int]:
    """Indices of the values within the bounds, in the order in which they would be chosen. Raises as ``within``."""
    fitting = within(values, bounds, quality)
    if not any(map(is_cost, bounds)):
        return sorted(fitting, key=lambda index: (values[index]["parameters"], _loss(values[index], quality)))
    return [fitting[index] for index in by_quality([values[index] for index in fitting], quality)]


def within(values: Sequence[Values], bounds: Values, quality: Objective) -> list[int]:
    """Indices of the values within the bounds, which are at most or at least as the direction of the measure is.

    Raises NothingFits, naming the nearest, if there is none; UsageError for what was not measured.
    """
    measured = [index for index, value in enumerate(values) if bounds.keys() <= value.keys()]
    if not measured:
        absent = next(name for name in bounds if name not in values[0])
        raise UsageError(f"this study did not measure {absent}: it has {', '.join(values[0])}")
    directions = {name: objective_of(name).direction for name in bounds}
    misses = [
        sum(_miss(values[index][name], directions[name], bound) for name, bound in bounds.items()) for index in measured
    ]
    fitting = [index for index, miss in zip(measured, misses, strict=True) if miss == 0]
    if not fitting:
        near = values[measured[int(np.argmin(misses))]]
        wanted = " and ".join(f"{name} {_SIGNS[directions[name]]} {bound:g}" for name, bound in bounds.items())
        nearest = ", ".join(f"{name} {near[name]:g}" for name in {quality.name: 0, **bounds})
        raise NothingFits(
            f"no point of the front has {wanted}: the nearest has {nearest}; loosen the bound or search on"
        )
    return fitting


_SIGNS = {"minimize": "<=", "maximize": ">="}


def _loss(value: Values, objective: Objective) -> float:
    return value[objective.name] if objective.direction == "minimize" else -value[objective.name]


def _miss(value: float, direction: str, bound: float) -> float:
    """By how much of the bound a value misses it; 0 within."""
    excess = value - bound if direction == "minimize" else bound - value
    return max(0.0, excess) / max(abs(bound), 1e-12)


def _losses(values: Sequence[Values], objectives: Sequence[Objective]) -> Matrix:
    """What is minimised: a row for each value; what grows without end as logarithms, what is maximised negated.

    What can be below 0, as one of the user's own, stays as it is.
    """
    losses = np.array([[_loss(value, objective) for objective in objectives] for value in values], dtype=np.float64)
    for column, objective in enumerate(objectives):
        sign = 1 if objective.direction == "minimize" else -1
        amounts = sign * losses[:, column]
        if (sign == 1 or not objective.quality) and amounts.min() >= 0:
            losses[:, column] = sign * np.log(np.maximum(amounts, 1e-12))
    return losses


def _to_range(losses: Matrix) -> Matrix:
    """Each column from 0, its best, to 1, its worst."""
    low, high = losses.min(0), losses.max(0)
    scaled: Matrix = (losses - low) / np.where(high > low, high - low, 1.0)
    return scaled
