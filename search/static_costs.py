"""What a candidate will cost, as far as its blocks say it: hundreds of candidates in the time of building one."""

from collections.abc import Callable, Iterable

from ..objectives import LatencyPredictor, Objective, Timed, macs
from ..spaces import Architecture, Candidate, ModuleArchitecture
from ..spaces.parameter_rules import count_parameters
from .early import is_early

Predictors = Callable[[Timed], LatencyPredictor | None]
COUNTS: dict[str, Callable[[Architecture], int]] = {"parameters": count_parameters, "macs": macs}


def static_costs(candidate: Candidate, objectives: Iterable[Objective], predictors: Predictors) -> dict[str, float]:
    """The costs that are known without building it, by name; times as records of others tell, if these are enough.

    Of a module of the user's own nothing is known before it is built. Raises InvalidArchitecture if the blocks do not
    fit together.
    """
    found: dict[str, float] = {}
    network = candidate.deployed
    for objective in objectives if not isinstance(network, ModuleArchitecture) else ():
        if not is_early(objective, candidate):
            continue
        if objective.name in COUNTS:
            found[objective.name] = COUNTS[objective.name](network)
        elif isinstance(objective, Timed) and (predictor := predictors(objective)):
            milliseconds = predictor.predict(network)
            if milliseconds > 0:
                found[objective.name] = objective.of(milliseconds)
    return found
