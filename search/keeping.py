"""Which weights a study keeps, and letting go of the others as it goes on, so that its disk use is bounded."""

from typing import TYPE_CHECKING

from ..objectives import Timed, objective_of
from ..storage import Evaluation, Held
from ..storage.upkeep import pupils, weighty
from .definition import BEST
from .front import non_dominated
from .remeasuring import NOISE
from .teacher import ATTRIBUTE, NAME

if TYPE_CHECKING:
    from .study import Study


def let_go(study: "Study") -> None:
    """Remove the weights that the study does not keep.

    ``front``: of what is not on the front, nor kept off it by the noise of a time only. ``none``: of all. Whatever the
    study keeps, weights that a running candidate began with, or learns from, stay, those that teach another study, and
    those of repetitions with a seed of their own, which the user asked for one by one.
    """
    definition, store = study.definition, study.store
    if definition.keep == "all":
        return
    begins = definition.keep == "none" and (definition.moves > 0 or definition.teacher == BEST)
    weights = weighty(store, study.id, front=definition.keep == "none" and not begins)
    if not weights:
        return
    needed = _in_use(study) | pupils(store, study.name)
    ended = [one for one in store.read(weights) if one.trial_number not in needed and one.candidate.counts]
    near = _nearly_on_front(study, ended) if definition.keep == "front" else set()
    store.let_go([evaluation.id for evaluation in ended if evaluation.id not in near])


def _in_use(study: "Study") -> set[int]:
    """Numbers of the trials that what is running began with, or learns from."""
    held = [one for one in study.store.held(study.id) if one.state == "running"]
    running = study.store.read(one.evaluation for one in held)
    parents = {evaluation.candidate.start.trial for evaluation in running if evaluation.candidate.start is not None}
    taught = {number for one in held if (number := _teacher(study, one)) is not None}
    return parents | taught


def _teacher(study: "Study", one: Held) -> int | None:
    """The number of the trial of this study that a running one learns from."""
    if study.definition.teacher != BEST or one.trial_number is None:
        return None
    trial = study.store.optuna.numbered(study.name, [one.trial_number])[one.trial_number]
    named = NAME.match(str(trial.user_attrs.get(ATTRIBUTE, "")))
    return None if named is None else int(named[1])


def _nearly_on_front(study: "Study", ended: list[Evaluation]) -> set[int]:
    """Ids of those that would be on the front if a time of theirs were better by the noise of one measurement.

    The front is timed again when the search ends, which may bring them there.
    """
    objectives = study.definition.resolved_objectives
    times = [objective_of(name) for name in study.definition.measures]
    front = [evaluation.values for evaluation in study.store.front(study.id)]
    near = set()
    for time in (one for one in times if isinstance(one, Timed)):
        better = 1 - NOISE if time.direction == "minimize" else 1 + NOISE
        for evaluation in (one for one in ended if time.name in one.values):
            hopeful = {**evaluation.values, time.name: evaluation.values[time.name] * better}
            if 0 in non_dominated([hopeful, *front], objectives):
                near.add(evaluation.id)
    return near
