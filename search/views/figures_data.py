"""What the figures, notes and reports of a study are made of, read once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from ...storage import ENDED, CurvePoint, Evaluation
from ..front import best, knee
from ..reading import reading_of
from ..spending import Spending, spending_on
from ..trial import Trial

if TYPE_CHECKING:
    from ..study import Study

Kind = Literal["front", "dominated", "repetition", "infeasible", "stopped", "failed", "refused"]


@dataclass(frozen=True)
class Snapshot:
    """A study at one moment.

    trials: those that ended, by number. front: from few parameters to many. curves: by evaluation, of those that
    trained. references: values of the networks that the study is compared with, by name.
    """

    study: "Study"
    trials: tuple[Trial, ...]
    front: tuple[Trial, ...]
    curves: Mapping[int, Sequence[CurvePoint]]
    references: Mapping[str, Mapping[str, float]]

    @property
    def objectives(self) -> tuple[str, ...]:
        return self.study.definition.objectives

    @cached_property
    def knee(self) -> Trial | None:
        """The knee of the front, if there is a front."""
        values = [trial.values for trial in self.front]
        return self.front[knee(values, self.study.definition.resolved_objectives)] if values else None

    @cached_property
    def best(self) -> Trial | None:
        """The point of the front that is best in the first quality objective."""
        values = [trial.values for trial in self.front]
        return self.front[best(values, self.study.definition.quality)] if values else None

    @cached_property
    def kinds(self) -> Mapping[int, Kind]:
        """What each trial is, by its number."""
        front = {trial.number for trial in self.front}
        return {trial.number: "front" if trial.number in front else _kind(trial) for trial in self.trials}

    def of(self, kind: Kind) -> list[Trial]:
        """The trials of a kind, by number."""
        return [trial for trial in self.trials if self.kinds[trial.number] == kind]

    def curve(self, trial: Trial) -> Sequence[CurvePoint]:
        """The learning curve of a trial; empty where it trained nothing here."""
        return self.curves.get(trial.evaluation.id, ())

    @cached_property
    def spending(self) -> Spending:
        """What was spent on the trials that ended."""
        trained = {identity: len(points) for identity, points in self.curves.items()}
        return spending_on((trial.evaluation for trial in self.trials), trained)

    @cached_property
    def in_words(self) -> str:
        """How many trials there are, by what became of them."""
        counts = {kind: len(self.of(kind)) for kind in _SAID}
        said = ", ".join(f"{count} {_SAID[kind]}" for kind, count in counts.items() if count)
        return f"{len(self.trials)} trials ended" + (f": {said}" if said else "")


_SAID: dict[Kind, str] = {
    "front": "on the front",
    "dominated": "dominated",
    "repetition": "repetitions with further seeds",
    "infeasible": "infeasible",
    "stopped": "stopped early",
    "failed": "failed",
    "refused": "refused before training",
}


def _kind(trial: Trial) -> Kind:
    if trial.state == "complete" and trial.repetition:
        return "repetition"
    if trial.state == "complete":
        return "dominated" if trial.feasible else "infeasible"
    return "stopped" if trial.state == "stopped" else "refused" if trial.state == "refused" else "failed"


def snapshot(study: "Study") -> Snapshot:
    """The study as it is now, all read anew."""
    store = study.store
    ended = [one for one in store.evaluations(study.id) if one.state in ENDED]
    return _snapshot(study, ended, store.curves(one.id for one in ended))


def snapshot_as_it_runs(study: "Study") -> Snapshot:
    """The study as it is now, of which only what is new is read."""
    reading = reading_of(study)
    reading.refresh()
    read = list(reading.ended)
    return _snapshot(study, [one for one, _ in read], {one.id: points for one, points in read if points})


def _snapshot(study: "Study", ended: list[Evaluation], curves: Mapping[int, Sequence[CurvePoint]]) -> Snapshot:
    """front: of the store, whose values may be newer than those that were read before."""
    from ..delivery.comparing import references_of

    front = study.pareto_front
    newest = {trial.number: trial for trial in front}
    trials = {one.trial_number: newest.get(one.trial_number) or Trial(study, one) for one in ended}
    trials = dict(sorted({**trials, **newest}.items()))
    return Snapshot(study, tuple(trials.values()), tuple(front), curves, references_of(study))
