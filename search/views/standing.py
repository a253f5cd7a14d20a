"""What a search has come to, read from the store, so that it is the same for one worker and many."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...spaces.architecture import Json
from ..constraints import held
from ..front import best, hypervolume, hypervolumes, non_dominated

if TYPE_CHECKING:
    from ...storage import Evaluation
    from ..study import Study

ENOUGH = 200  # points before only those are kept that matter


@dataclass(frozen=True)
class Point:
    """A feasible trial: its number, what was measured, and how many trials had ended when it did."""

    trial: int
    values: Mapping[str, float]
    after: int


@dataclass(frozen=True)
class Asked:
    """The budget of a search: trials in all, epochs in all, seconds from now; None where that is not bounded."""

    trials: int | None
    epochs: int | None
    seconds: float | None


class Standing:
    """How a search stands. ``read`` takes in what ended since the last call."""

    def __init__(self, study: "Study", asked: Asked) -> None:
        self._study, self._asked = study, asked
        self._seen: set[int] = set()
        self._points: list[Point] = []
        self._rising: list[Point] = []  # those that were on the front when they ended
        self._kinds: Counter[str] = Counter()  # of failures
        self._stopped = self._refused = self._spent = 0
        objectives = study.definition.resolved_objectives
        self._signs = [(one.name, 1 if one.direction == "minimize" else -1) for one in objectives]
        self._began = time.monotonic()
        self._at_start: int | None = None

    def read(self) -> "list[Evaluation]":
        """What ended since the last call, those of the first call being what was there before."""
        store, study = self._study.store, self._study.id
        new: list[Evaluation] = []
        if store.finished(study) != len(self._seen):
            ids = [identity for identity in store.finished_ids(study) if identity not in self._seen]
            new = store.read(ids)
            for evaluation in new:
                self._take_in(evaluation)
            self._trim()
        self._spent = store.epochs_trained(study) if self._asked.epochs is not None or new else self._spent
        if self._study.definition.constraints:
            self._refused = store.refused(study)
        if self._at_start is None:
            self._at_start = self.done
        return new

    @property
    def trials(self) -> int:
        """How many came to an end, of the whole study."""
        return len(self._seen)

    @property
    def done(self) -> int:
        """What counts: trials, or epochs where only these are bounded."""
        return self.trials if self._asked.trials is not None or self._asked.epochs is None else self._spent

    @property
    def whole(self) -> int:
        """How much of that was asked for; 0 where only the time is bounded."""
        return self._asked.trials or self._asked.epochs or 0

    @property
    def at_start(self) -> int:
        """What was done before this search."""
        return self._at_start or 0

    @property
    def seconds_left(self) -> float | None:
        """At the rate until now, or until the time is over; None where nothing tells."""
        spent, fresh = time.monotonic() - self._began, self.done - self.at_start
        guesses = []
        if self.whole and fresh:
            guesses.append(max(0.0, (self.whole - self.done) * spent / fresh))
        if self._asked.seconds is not None:
            guesses.append(max(0.0, self._asked.seconds - spent))
        return min(guesses, default=None)

    @property
    def front(self) -> list[Point]:
        """The points that no other dominates, the best in the first quality objective first."""
        definition = self._study.definition
        indices = non_dominated([point.values for point in self._points], definition.resolved_objectives)
        sign = 1 if definition.quality.direction == "minimize" else -1
        return sorted((self._points[i] for i in indices), key=lambda p: sign * p.values[definition.quality.name])

    def curve(self, places: int) -> list[float]:
        """The hypervolume after each of so many equal parts of the trials, in the box of all that there is now."""
        rising = self._rising[:: 1 + len(self._rising) // ENOUGH]
        points = [*rising, *self._points]  # the latter only widen the box
        if not points:
            return []
        reached = hypervolumes([p.values for p in points], self._study.definition.resolved_objectives)
        curve, at, now = [], 0, 0.0
        for place in range(1, places + 1):
            while at < len(rising) and rising[at].after <= self.trials * place / places:
                now, at = reached[at], at + 1
            curve.append(now)
        return curve

    @property
    def work(self) -> list[str]:
        """Trials done, epochs spent if they are bounded, time left; in words."""
        asked = self._asked
        parts = [f"trial {self.trials}" + ("" if asked.trials is None else f"/{asked.trials}")]
        if asked.epochs is not None:
            parts.append(f"epoch {self._spent}/{asked.epochs}")
        if (left := self.seconds_left) is not None:
            minutes, seconds = divmod(round(left), 60)
            parts.append(f"{minutes}:{seconds:02d} left")
        return parts

    @property
    def results(self) -> list[str]:
        """Front size, best in the first quality objective, hypervolume, and what gave no point; in words."""
        known, parts = self.to_json(), []
        if self._points:
            (name, value), *_ = known["best"].items()
            parts += [
                f"front {known['front']}",
                f"best {name} {value:.4f}",
                f"hypervolume {known['hypervolume']:.3f}",
            ]
        if self._stopped:
            parts.append(f"stopped {self._stopped}")
        if self._kinds:
            kinds = ", ".join(f"{kind} {count}" for kind, count in self._kinds.most_common())
            parts.append(f"failed {self._kinds.total()} ({kinds})")
        if self._refused:
            parts.append(f"refused {self._refused}")
        return parts

    def to_json(self) -> Json:
        """The same as data; epochs and seconds_left only where they are known, best and hypervolume if there is a
        point.
        """
        definition = self._study.definition
        said: Json = {"trials": self.trials, "stopped": self._stopped, "refused": self._refused}
        said["failed"] = dict(self._kinds)
        said["epochs"] = self._spent
        if (left := self.seconds_left) is not None:
            said["seconds_left"] = round(left, 1)
        values, quality = [point.values for point in self._points], definition.quality
        said["front"] = len(non_dominated(values, definition.resolved_objectives))
        if values:
            said["best"] = {quality.name: values[best(values, quality)][quality.name]}
            said["hypervolume"] = hypervolume(values, definition.resolved_objectives)
        return said

    def _take_in(self, evaluation: "Evaluation") -> None:
        self._seen.add(evaluation.id)
        definition = self._study.definition
        if evaluation.state == "failed":
            self._kinds[evaluation.kind or "crashed"] += 1
        elif evaluation.state == "stopped":
            self._stopped += 1
        elif held(definition.bounds, evaluation.values) and evaluation.candidate.counts:
            point = Point(evaluation.trial_number, evaluation.values, self.trials)
            self._points.append(point)
            if not any(self._reaches(one.values, point.values) for one in self._rising):
                self._rising.append(point)

    def _reaches(self, one: Mapping[str, float], other: Mapping[str, float]) -> bool:
        """Whether one is at least as good as another in every objective."""
        return all(sign * one[name] <= sign * other[name] for name, sign in self._signs)

    def _trim(self) -> None:
        """Keep those points that the rest follows from: the front, and the ends of each objective's range."""
        points, definition = self._points, self._study.definition
        if len(points) < ENOUGH:
            return
        values = [point.values for point in points]
        kept = {*non_dominated(values, definition.resolved_objectives), best(values, definition.quality)}
        for name in definition.objectives:
            column = [each[name] for each in values]
            kept |= {column.index(min(column)), column.index(max(column))}
        self._points = [points[index] for index in sorted(kept)]
