"""Choosing one trial of a study."""

from typing import TYPE_CHECKING

from ..errors import StudyError, UsageError
from .front import Bounds, best_within, knee

if TYPE_CHECKING:
    from .study import Study
    from .trial import Trial

WORDS = ("knee", "best")


def pick(study: "Study", which: str | int | None, bounds: Bounds) -> "Trial":
    """See ``Study.pick``."""
    if which is not None and bounds.limits:
        raise UsageError(f"a pick is a word, a number or bounds, not {which!r} and bounds together")
    if which is None and not bounds.limits:
        raise UsageError(
            f"a pick is {' or '.join(map(repr, WORDS))}, a trial's number, or a bound such as max_latency_ms"
        )
    if which is not None and not isinstance(which, str | int):
        raise UsageError(f"a pick is a word or a trial's number, {which!r} was given")
    if isinstance(which, int) or (which is not None and which.isdecimal()):
        return _by_number(study, int(which))
    if which is not None and which not in WORDS:
        raise UsageError(f"unknown pick {which!r}: there is {', '.join(WORDS)}, or a trial's number")
    front = study.pareto_front
    if not front:
        tried = len(study.trials)
        raise StudyError(f"the study {study.name!r} has nothing to pick from: {tried} trials finished, none succeeded")
    values = [trial.values for trial in front]
    if which == "knee":
        return front[knee(values, study.definition.resolved_objectives)]
    if which == "best":
        return max(front, key=lambda trial: (trial.values["accuracy"], -trial.values["parameters"]))
    return front[best_within(values, bounds)]


def _by_number(study: "Study", number: int) -> "Trial":
    for trial in study.trials:
        if trial.number == number:
            if trial.state == "failed":
                raise StudyError(f"trial {number} cannot be picked: {trial.reason}")
            return trial
    duplicates = {t.number: t.user_attrs.get("duplicate_of") for t in study.optuna.get_trials(deepcopy=False)}
    if (original := duplicates.get(number)) is not None:
        raise StudyError(f"trial {number} proposed the same network as trial {original}: pick {original}")
    there = ", ".join(str(trial.number) for trial in study.pareto_front) or "empty"
    raise StudyError(f"no finished trial {number} is in the study {study.name!r}: its front is {there}")
