"""A study whose candidates are not trained: what comes of each is a formula. Everything else is the real thing."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import paretonas as pn
from paretonas.objectives import macs
from paretonas.search.data import data_of
from paretonas.search.front import still_on_front
from paretonas.search.proposals import propose
from paretonas.search.study import Study
from paretonas.search.telling import tell
from paretonas.spaces import Candidate
from paretonas.spaces.block import Json
from paretonas.spaces.parameter_rules import count_parameters
from paretonas.storage import CurvePoint

OBJECTIVES = ("accuracy", "parameters", "macs")
Outcome = Mapping[str, float] | str  # the measured values, or how it failed


def study_on(folder: Path, space: pn.Space, *, name: str = "s", **settings: object) -> Study:
    """A new study, or the same one opened once more; folder: of the store, made if it is not there."""
    folder.mkdir(exist_ok=True)
    url = f"sqlite:///{folder / 'store.db'}"
    return pn.create_study(name, space=space, objectives=OBJECTIVES, storage=url, **settings)  # type: ignore[arg-type]


def formula(candidate: Candidate) -> Outcome:
    """More parameters help, and so does a wide first layer; costs are exact."""
    network = candidate.deployed
    count, first = count_parameters(network), network.blocks[0].width or 1
    error = 0.02 + 0.9 * count**-0.25 + 0.1 / math.sqrt(first)
    return {"accuracy": max(0.1, 1 - error), "parameters": float(count), "macs": float(macs(network))}


def tried(study: Study, trials: int, outcome: Callable[[Candidate], Outcome] = formula) -> list[Candidate]:
    """Propose, and keep what the formula says, until the study has so many trials."""
    spec, made = data_of(study.definition, "cpu").spec, []
    while len(study.store.finished_ids(study.id)) < trials:
        place = study.store.take_place(study.id, trials)
        assert place is not None
        trial, candidate = propose(study, place, spec)
        end(study, place, outcome(candidate))
        tell(study, trial, study.store.evaluation(place))
        made.append(candidate)
    return made


def begun(study: Study) -> Candidate:
    """Propose one that then runs, as of another worker."""
    place = study.store.take_place(study.id, 10**6)
    assert place is not None
    return propose(study, place, data_of(study.definition, "cpu").spec)[1]


def end(study: Study, place: int, outcome: Outcome, scores: Sequence[float] = ()) -> None:
    """Keep what came of an evaluation."""
    store = study.store
    for number, score in enumerate(scores, 1):
        store.add_epoch(place, CurvePoint("train", number, 0.0, score, 0.0))
    if isinstance(outcome, str):
        store.fail(place, kind=outcome, reason="as the formula says", seconds=0.0)
    else:
        measured: dict[str, tuple[float, Json]] = {name: (value, {}) for name, value in outcome.items()}
        deployed = store.evaluation(place).deployed
        front = still_on_front(study.definition)
        store.finish(place, measured, deployed=deployed, seconds=0.0, weights="none", front=front)


def keys(candidates: Sequence[Candidate]) -> list[str]:
    return [candidate.key for candidate in candidates]
