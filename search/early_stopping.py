"""Deciding, before a candidate is trained and after each of its epochs, whether training it can add to the front."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import Refused
from ..objectives import Epoch, Measurement
from ..spaces import Candidate
from ..storage import CurvePoint, Evaluation
from .constraints import held
from .forecast import Curve
from .goals import Goal, goals_of
from .reading import reading_of
from .stopping import reason_to_stop
from .traits import traits

if TYPE_CHECKING:
    from .study import Study


class EarlyStopping:
    """The stopping rule of a study with what it learned so far; one for a worker, which reads only what is new."""

    def __init__(self, study: "Study") -> None:
        self._study = study
        self.goals = goals_of(study.definition.resolved_objectives)
        self._reading, self._taken = reading_of(study), 0
        self._ended: list[tuple[Evaluation, Curve]] = []

    def watch(self, candidate: Candidate) -> "Watch":
        """Who decides about one candidate, by what has ended until now."""
        self._read()
        ended = sorted(self._ended, key=lambda one: one[0].trial_number)
        others = [_alike(evaluation, curve, candidate) for evaluation, curve in ended]
        best = [evaluation for evaluation, curve in ended if curve.finished and evaluation.candidate.counts]
        curve = Curve((), candidate.epochs, {}, finished=False, features=traits(candidate))
        return Watch(self._study.definition.stopping, self.goals, curve, others, best)

    def _read(self) -> None:
        self._reading.refresh()
        new = self._reading.ended[self._taken :]
        self._taken += len(new)
        for evaluation, points in new:
            complete = evaluation.state == "complete"
            if (complete and held(self._study.definition.bounds, evaluation.values)) or evaluation.state == "stopped":
                scores = tuple(point.score for point in points)
                known = evaluation.values if complete else _costs(evaluation.values, self.goals)
                candidate = evaluation.candidate
                curve = Curve(scores, candidate.epochs, known, finished=complete, features=traits(candidate))
                self._ended.append((evaluation, curve))


@dataclass
class Watch:
    """Follows one candidate. others: the curves of those that ended; best: those of them that are complete."""

    rule: str
    goals: Sequence[Goal]
    curve: Curve
    others: Sequence[Curve]
    best: Sequence[Evaluation]

    def go_on(self, points: Sequence[CurvePoint]) -> None:
        """Take in the epochs that another worker trained, which are gone on from."""
        self.curve = replace(self.curve, scores=tuple(point.score for point in points))

    def begin(self, early: Mapping[str, Measurement]) -> None:
        """Take in what is known before training. Raises Refused if nothing that training could give would add to it.

        What was begun is not refused any more.
        """
        costs = _costs({name: measurement.value for name, measurement in early.items()}, self.goals)
        self.curve = replace(self.curve, values=costs)
        if not self.curve.scores and (better := self._unbeatable()) is not None:
            named = ", ".join(f"{goal.name} {better.values[goal.name]:.6g}" for goal in self.goals)
            raise Refused(
                f"trial {better.trial_number} has {named}, which no network of these costs can beat",
                early,
                kind="dominated",
            )

    def reason(self, epoch: Epoch) -> str | None:
        """Why to stop after this epoch, or None."""
        self.curve = replace(self.curve, scores=(*self.curve.scores, epoch.score))
        return reason_to_stop(self.rule, self.curve, self.others, self.goals)

    def _unbeatable(self) -> Evaluation | None:
        """One that is as good as any network can be and no costlier, if all costs are known."""
        if any(goal.best is None if goal.quality else goal.name not in self.curve.values for goal in self.goals):
            return None
        return next(
            (one for one in self.best if all(self._reached(goal, one.values[goal.name]) for goal in self.goals)), None
        )

    def _reached(self, goal: Goal, value: float) -> bool:
        bound = goal.best if goal.quality else self.curve.values[goal.name]
        assert bound is not None
        return goal.loss(value) <= goal.loss(bound)


def _costs(values: Mapping[str, float], goals: Sequence[Goal]) -> dict[str, float]:
    return {goal.name: values[goal.name] for goal in goals if not goal.quality and goal.name in values}


def _alike(evaluation: Evaluation, curve: Curve, candidate: Candidate) -> Curve:
    """The curve as it counts for a candidate: one that began with trained weights says nothing of one that did not."""
    if (evaluation.candidate.start is None) == (candidate.start is None):
        return curve
    return replace(curve, scores=())
