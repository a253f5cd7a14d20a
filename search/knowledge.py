"""What the search knows: the candidates of the study, and those of earlier studies on the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from torch import nn

from ..objectives import Deployed, LatencyPredictor, Timed, objective_of
from ..spaces import Candidate, ModuleArchitecture
from ..storage import CurvePoint, Evaluation
from .bench import StoreBench
from .constraints import held
from .earlier import Earlier, earlier_fronts, earlier_studies
from .forecast import Curve, forecast
from .front import non_dominated
from .gain import Seen
from .genes import Genes
from .goals import Goal, goals_of
from .reading import forget_reading, reading_of
from .running import guess
from .static_costs import COUNTS, static_costs
from .traits import traits

if TYPE_CHECKING:
    from .study import Study

ANEW = 1.25  # times as many evaluations, and SOME, after which the end of a stopped one is foreseen anew
SOME = 32
REFITTED = 1.25  # times as many evaluations, and MORE of them, after which times are learned anew
MORE = 10
_kept: "WeakKeyDictionary[Study, Knowledge]" = WeakKeyDictionary()


@dataclass(frozen=True)
class Known:
    """An evaluation, as far as the search needs it."""

    evaluation: Evaluation
    key: str
    curve: Curve
    feasible: bool

    @property
    def number(self) -> int:
        return self.evaluation.trial_number

    @property
    def finished(self) -> bool:
        return self.evaluation.state == "complete" and self.feasible


class Knowledge:
    """Read from the store step by step: what has ended is read once, what runs each time."""

    def __init__(self, study: "Study") -> None:
        self.study = study
        self.goals: tuple[Goal, ...] = goals_of(study.definition.resolved_objectives)
        self.known: list[Known] = []  # that ended, by trial
        self.running: list[Known] = []
        self.prior: list[list[Seen]] = []  # what earlier studies saw, each by itself
        self.earlier: list[Earlier] = []  # the fronts of those that searched the same
        self.learned = -1  # counts how often times were learned anew
        self._measures = tuple(objective_of(name) for name in study.definition.measures)
        self._front: list[Known] = []
        self.proposed: dict[str, Genes] = {}  # here, by key
        self._genes: dict[int, Genes] = {}  # of other points of the front, by trial
        self._seen: dict[int, Seen] = {}  # that will not change
        self._foreseen: dict[int, tuple[int, Mapping[str, tuple[float, float]]]] = {}
        self._predictors: dict[str, LatencyPredictor | None] = {}
        self._learned_from = 0
        self._reading, self._taken = reading_of(study), 0
        self._refreshed = False

    @property
    def keys(self) -> set[str]:
        """Of all that was begun, in whatever state it is."""
        return {one.key for one in (*self.known, *self.running)}

    def refresh(self) -> None:
        """Read what ended since the last time, and what runs now."""
        reading = self._reading
        reading.refresh()
        new = [self._known(*one) for one in reading.ended[self._taken :]]
        self._taken += len(new)
        self.running = sorted((self._known(*one) for one in reading.running), key=lambda one: one.number)
        self.known = sorted([*self.known, *new], key=lambda one: one.number)
        counting = (one for one in new if one.finished and one.evaluation.candidate.counts)
        self._front = self._non_dominated([*self._front, *counting])
        if not self._refreshed:
            self.prior = earlier_studies(self.study, self.goals, before=reading.first)
            self.earlier = earlier_fronts(self.study, before=reading.first)
            self._refreshed = True
        timed = any(isinstance(measure, Timed) for measure in self._measures)
        if timed and (
            self.learned < 0 or len(self.known) >= max(self._learned_from * REFITTED, self._learned_from + MORE)
        ):
            self._predictors, self._learned_from = {}, len(self.known)
            self.learned += 1

    def seen(self) -> list[Seen]:
        """What ended, by trial, then what runs. What was refused by what follows from its blocks teaches nothing."""
        curves = [one.curve for one in self.known]
        found = [self._seen_of(one, index, curves) for index, one in enumerate(self.known) if self._teaches(one)]
        begun = [*curves, *(one.curve for one in self.running)]
        expected = ((one, guess(one.curve, begun, self.goals)) for one in self.running)
        return found + [Seen(one.curve.features, one.curve.values, "running", end) for one, end in expected]

    def front(self) -> list[Known]:
        """The points of the front, by trial."""
        return list(self._front)

    def genes(self, one: Known) -> Genes:
        """Of a point of the front, as Optuna has them; a move has none."""
        if one.key in self.proposed:
            return self.proposed[one.key]
        if one.number not in self._genes:
            front = [point.number for point in self._front]
            trials = self.study.store.optuna.numbered(self.study.name, front)
            self._genes |= {number: trials[number].params if number in trials else {} for number in front}
        return self._genes[one.number]

    def _non_dominated(self, points: list[Known]) -> list[Known]:
        points = sorted(points, key=lambda one: one.number)
        objectives = self.study.definition.resolved_objectives
        return [points[index] for index in non_dominated([one.evaluation.values for one in points], objectives)]

    def costs(self, candidate: Candidate) -> dict[str, float]:
        """Objectives, and what is bounded, that are known without building it."""
        return static_costs(candidate, self._measures, self._predictor)

    def _predictor(self, objective: Timed) -> LatencyPredictor | None:
        if objective.name not in self._predictors:
            bench = StoreBench(self.study.store, self.study.definition)
            deployed = Deployed(nn.Identity(), self.known[0].evaluation.deployed) if self.known else None
            self._predictors[objective.name] = bench.predictor(deployed, objective) if deployed else None
        return self._predictors[objective.name]

    def _known(self, one: Evaluation, points: Sequence[CurvePoint]) -> Known:
        finished = one.state == "complete"
        values = one.values if finished or one.state == "refused" else self._costs_of(one)
        scores = tuple(point.score for point in points)
        curve = Curve(scores, one.candidate.epochs, values, finished, traits(one.candidate))
        return Known(one, one.key, curve, held(self.study.definition.bounds, one.values))

    def _costs_of(self, one: Evaluation) -> dict[str, float]:
        """What is known for sure of one that did not finish: no quality, which is as it was when it ended."""
        told = {goal.name: one.values[goal.name] for goal in self.goals if goal.name in one.values and not goal.quality}
        try:
            return {**self.costs(one.candidate), **told}
        except Exception:  # noqa: BLE001 - what it failed by may be that it has no costs
            return told

    def _teaches(self, one: Known) -> bool:
        """Whether one that was refused could not be seen to be impossible before."""
        evaluation = one.evaluation
        if evaluation.state != "refused":
            return True
        counted = all(bound.measure in COUNTS for bound in self.study.definition.bounds)
        return evaluation.kind == "infeasible" and (
            not counted or isinstance(evaluation.candidate.architecture, ModuleArchitecture)
        )

    def _seen_of(self, one: Known, index: int, curves: Sequence[Curve]) -> Seen:
        if one.evaluation.state == "stopped":
            return Seen(one.curve.features, one.curve.values, "stopped", self._expected(one, index, curves))
        identity = one.evaluation.id
        if identity not in self._seen:
            self._seen[identity] = Seen(one.curve.features, one.curve.values, "finished" if one.finished else "failed")
        return self._seen[identity]

    def _expected(self, one: Known, index: int, curves: Sequence[Curve]) -> Mapping[str, tuple[float, float]]:
        """The end, foreseen from what had ended when its turn came last, so that no process foresees another one."""
        turn = int(log((len(curves) + SOME) / (index + SOME), ANEW))
        until = int((index + SOME) * ANEW**turn) - SOME
        if self._foreseen.get(one.evaluation.id, (-1, {}))[0] != until:
            others = [curve for curve in curves[:until] if curve.finished]
            self._foreseen[one.evaluation.id] = until, forecast(one.curve, others, self.goals)
        return self._foreseen[one.evaluation.id][1]


def forget(study: "Study") -> None:
    """Have all read anew when it is asked for the next time: what had ended was measured again."""
    _kept.pop(study, None)
    forget_reading(study)


def knowledge_of(study: "Study") -> Knowledge:
    """The one of a study in this process, as it was last refreshed."""
    if study not in _kept:
        _kept[study] = Knowledge(study)
    return _kept[study]
