"""Optuna's samplers by name, made repeatable."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import TrialState

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

# By name: from a seed, and whether other trials run at this moment. TPE keeps away from those (constant liar), which
# makes it read the store for each gene, so it does so only where there are any.
SAMPLERS: dict[str, Callable[[int, bool], BaseSampler]] = {
    "tpe": lambda seed, others: TPESampler(seed=seed, constant_liar=others),
    "nsga2": lambda seed, _: NSGAIISampler(seed=seed),
    "random": lambda seed, _: RandomSampler(seed=seed),
}
# Those that look at one gene at a time: a trial without genes, as a move is, leaves no common genes to the others.
WITH_MOVES = ("tpe", "random")
INTERRUPTED = "interrupted"  # user attribute of a trial whose parameters were put back in the queue
EXPLORE_AFTER = 3  # proposals in a row that were known before the next one is drawn at random


class SeededSampler(BaseSampler):
    """A sampler whose random numbers follow from the study's seed and the trial's place among those not interrupted.

    So a study that was interrupted proposes what it would have proposed, and workers differ from each other.
    ``known_in_a_row`` is set by the worker: a sampler that only repeats itself gives way to random search.
    """

    def __init__(self, name: str, seed: int) -> None:
        self._name, self._seed = name, seed
        self._inner: BaseSampler = RandomSampler(seed=seed)
        self.known_in_a_row = 0

    def before_trial(self, study: "Study", trial: "FrozenTrial") -> None:
        name = self._name if self.known_in_a_row < EXPLORE_AFTER else "random"
        trials = study.get_trials(deepcopy=False, states=(TrialState.FAIL, TrialState.RUNNING))
        mixed = np.random.SeedSequence([self._seed, place_of(trial.number, trials)]).generate_state(1)[0]
        others = any(t.state is TrialState.RUNNING and t.number != trial.number for t in trials)
        self._inner = SAMPLERS[name](int(mixed), others)
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: "Study", trial: "FrozenTrial") -> "dict[str, BaseDistribution]":
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: "Study", trial: "FrozenTrial", search_space: "dict[str, BaseDistribution]"
    ) -> dict[str, Any]:
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: "Study", trial: "FrozenTrial", param_name: str, param_distribution: "BaseDistribution"
    ) -> Any:
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: "Study", trial: "FrozenTrial", state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._inner.after_trial(study, trial, state, values)


def place_of(number: int, trials: "Sequence[FrozenTrial]") -> int:
    """The place of the trial of that number among those that were not interrupted. trials: the interrupted ones."""
    return number - sum(trial.number < number and INTERRUPTED in trial.user_attrs for trial in trials)
