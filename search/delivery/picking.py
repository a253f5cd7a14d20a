"""Choosing one trial of a study."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...errors import StudyError, UsageError
from ...storage import ENDED
from ..front import best, best_within, knee

if TYPE_CHECKING:
    from ..study import Study
    from ..trial import Trial

WORDS = ("knee", "best")


def pick(study: "Study", which: str | int | None, named: Mapping[str, float], within: Mapping[str, float]) -> "Trial":
    """See ``Study.pick``. named, within: bounds by measure, from the options of their own and from ``within``."""
    bounds = _joined(named, within)
    if which is not None and bounds:
        raise UsageError(f"a pick is a word, a number or bounds, not {which!r} and bounds together")
    if which is None and not bounds:
        raise UsageError(
            f"a pick is {' or '.join(map(repr, WORDS))}, a trial's number, or a bound such as max_latency_ms"
        )
    if which is not None and not isinstance(which, str | int):
        raise UsageError(f"a pick is a word or a trial's number, {which!r} was given")
    if isinstance(which, int) or (which is not None and which.isdecimal()):
        return _by_number(study, int(which))
    if which is not None and which not in WORDS:
        raise UsageError(f"unknown pick {which!r}: there is {', '.join(WORDS)}, or a trial's number")
    front, definition = study.pareto_front, study.definition
    if not front:
        ended = study.trials
        wanted = f" and holds {' and '.join(definition.constraints)}" if definition.constraints else ""
        raise StudyError(
            f"the study {study.name!r} has nothing to pick from: of {len(ended)} trials that ended none "
            f"succeeded{wanted}"
        )
    values = [trial.values for trial in front]
    if which == "knee":
        return front[knee(values, definition.resolved_objectives)]
    if which == "best":
        return front[best(values, definition.quality)]
    return front[best_within(values, bounds, definition.quality)]


def _joined(named: Mapping[str, float], within: Mapping[str, float]) -> dict[str, float]:
    """All bounds by measure. UsageError for one that is no number or is given twice."""
    twice = sorted(named.keys() & within.keys())
    if twice:
        raise UsageError(f"a measure is bounded once, {', '.join(twice)} was bounded twice")
    bounds = {**named, **within}
    for name, bound in bounds.items():
        if isinstance(bound, bool) or not isinstance(bound, int | float) or math.isnan(bound):
            raise UsageError(f"a bound is a number, {bound!r} was given for {name}")
    return bounds


def _by_number(study: "Study", number: int) -> "Trial":
    from ..trial import Trial

    found = study.store.numbered(study.id, [number]).get(number)
    if found is not None and found.state in ENDED:
        trial = Trial(study, found)
        if trial.state != "complete":
            raise StudyError(f"trial {number} cannot be picked: {trial.reason}")
        return trial
    duplicates = {t.number: t.user_attrs.get("duplicate_of") for t in study.optuna.get_trials(deepcopy=False)}
    if (original := duplicates.get(number)) is not None:
        raise StudyError(f"trial {number} proposed the same network as trial {original}: pick {original}")
    there = ", ".join(str(trial.number) for trial in study.pareto_front) or "empty"
    raise StudyError(f"no finished trial {number} is in the study {study.name!r}: its front is {there}")
