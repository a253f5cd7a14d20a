"""What a run of a strategy leaves in ``search.py``: a record of each candidate that was begun; and Optuna's side."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

# By name, from a seed: as a user would make them. Full training for each trial, since Optuna prunes no study of several
# objectives.
SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "random": lambda seed: RandomSampler(seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed),
    "tpe_multivariate": lambda seed: TPESampler(seed=seed, multivariate=True),
    "nsga2": lambda seed: NSGAIISampler(seed=seed),
    "gp": lambda seed: GPSampler(seed=seed),
}
STRATEGIES = ("paretonas", "random", "rungs", "tpe", "tpe_multivariate", "nsga2", "gp")
OURS, REFERENCE = "paretonas", "tpe"
Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True)
class Begun:
    """A candidate that was begun, when it ended.

    key: which network it is. cost: what its training took, in epochs, or 1 where there are no curves. values: by
    objective, None if it was stopped or failed. state: finished, stopped or failed. proposal_s, training_s: seconds.
    """

    key: str
    cost: float
    values: Mapping[str, float] | None
    state: str
    proposal_s: float
    training_s: float = 0.0


Run = Sequence[Begun]


def optuna_study(sampler: str, seed: int, directions: Sequence[Direction]) -> optuna.Study:
    """A study in memory with a sampler of ``SAMPLERS``; Optuna says nothing."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.create_study(directions=list(directions), sampler=SAMPLERS[sampler](seed))
