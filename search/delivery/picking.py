"""Choosing one trial of a study, or the first few."""

from typing import TYPE_CHECKING

from ...errors import StudyError
from ...storage import ENDED
from .choosing import Choice

if TYPE_CHECKING:
    from ..study import Study
    from ..trial import Trial


def pick(study: "Study", choice: Choice) -> "Trial":
    """See ``Study.pick``."""
    return ranked(study, choice)[0]


def ranked(study: "Study", choice: Choice) -> "list[Trial]":
    """The points of the front that may be chosen, the one that is chosen first; of a trial's number, that trial."""
    if choice.number is not None:
        return [_by_number(study, choice.number)]
    front, definition = study.pareto_front, study.definition
    if not front:
        ended = study.trials
        wanted = f" and holds {' and '.join(definition.constraints)}" if definition.constraints else ""
        raise StudyError(
            f"the study {study.name!r} has nothing to pick from: of {len(ended)} trials that ended none "
            f"succeeded{wanted}"
        )
    return [front[index] for index in choice.order([trial.values for trial in front], definition)]


def _by_number(study: "Study", number: int) -> "Trial":
    from ..trial import Trial

    found = study.store.numbered(study.id, [number]).get(number)
    if found is not None and found.state in ENDED:
        trial = Trial(study, found)
        if trial.state != "complete":
            raise StudyError(f"trial {number} cannot be picked: {trial.reason}")
        return trial
    told = study.store.optuna.numbered(study.name, [number]).get(number)
    if told is not None and (original := told.user_attrs.get("duplicate_of")) is not None:
        raise StudyError(f"trial {number} proposed the same network as trial {original}: pick {original}")
    there = ", ".join(str(trial.number) for trial in study.pareto_front) or "empty"
    raise StudyError(f"no finished trial {number} is in the study {study.name!r}: its front is {there}")
