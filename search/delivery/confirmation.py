"""What repetitions say: means, spreads, and which points cannot be told apart."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from ...errors import ParetonasError
from ...objectives import Quality, objective_of
from ...spaces.architecture import Json
from ..data import data_of
from ..front import SHARES, non_dominated
from ..trying import ALWAYS

if TYPE_CHECKING:
    from ...objectives import Objective
    from ..study import Study
    from .confirming import Run, Standing

LEVEL = 0.05  # of the tests, all of a measure together


@dataclass(frozen=True)
class Spread:
    """A measure over the further seeds. searched: the value that the point was chosen by, which is none of them,
    because of what was chosen for its value the value is too good.
    """

    searched: float
    values: tuple[float, ...]

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        """NaN if there is no value."""
        return fmean(self.values) if self.values else math.nan

    @property
    def std(self) -> float:
        """The standard deviation of the sample; NaN for fewer than two values."""
        return stdev(self.values) if self.n > 1 else math.nan

    def __str__(self) -> str:
        spread = f" ± {self.std:.4f}" if self.n > 1 else ""
        return f"{self.mean:.4f}{spread} (n = {self.n})" if self.values else "no value"


@dataclass(frozen=True)
class Confirmed:
    """A point with its repetitions. qualities: by measure. costs: of the trial itself. trials: the repetitions that
    ended, by seed. failed: why others have no value, by seed.
    """

    trial: int
    qualities: Mapping[str, Spread]
    costs: Mapping[str, float]
    trials: Mapping[int, int]
    failed: Mapping[int, str]

    @property
    def means(self) -> dict[str, float]:
        """Costs, and the means of the qualities."""
        return {**{name: spread.mean for name, spread in self.qualities.items()}, **self.costs}


@dataclass(frozen=True)
class Confirmation:
    """Points of a study with further seeds, in the order in which they were chosen.

    measures: the quality objectives, first the one that ``best`` means. chosen: by what, in words. resolution: one
    example of the validation split, as a share; None where no measure is a share, or the data are not here.
    """

    study: str
    chosen: str
    seeds: tuple[int, ...]
    measures: tuple[str, ...]
    points: tuple[Confirmed, ...]
    objectives: tuple[str, ...]
    resolution: float | None = None

    def best(self, measure: str | None = None) -> int | None:
        """The trial with the best mean; None if no repetition has a value."""
        measure = measure or self.measures[0]
        known = [point for point in self.points if point.qualities[measure].n]
        sign = 1 if objective_of(measure).direction == "minimize" else -1
        ranked = sorted(known, key=lambda point: (sign * point.qualities[measure].mean, point.costs["parameters"]))
        return ranked[0].trial if ranked else None

    def p_values(self, measure: str | None = None) -> dict[int, float]:
        """For each other trial, how likely so large a distance from the best mean is if there is none.

        Welch's test (1947), two-sided, with Holm's correction (1979) for as many comparisons. 1 where either has fewer
        than two values. A share cannot vary by less than an example, so the variance of rounding to one is added.
        """
        measure = measure or self.measures[0]
        spreads = {point.trial: point.qualities[measure] for point in self.points}
        best = self.best(measure)
        others = [trial for trial in spreads if trial != best]
        if best is None:
            return dict.fromkeys(others, 1.0)
        floor = self._rounding(measure)
        return _holm({trial: _welch(spreads[best], spreads[trial], floor) for trial in others})

    def ties(self, measure: str | None = None) -> list[int]:
        """The trials that cannot be told from the one with the best mean, which is the first of them."""
        best = self.best(measure)
        if best is None:
            return [point.trial for point in self.points]
        return [best, *(trial for trial, p in self.p_values(measure).items() if p >= LEVEL)]

    def verdict(self, trial: int, measure: str | None = None) -> str:
        """Of a trial beside the best mean: ``best``, ``worse``, ``tie``, or ``open``.

        Open: the test does not tell it apart, which proves nothing with few seeds, and it is further off than the
        variance of all points would explain (``told_apart``).
        """
        measure = measure or self.measures[0]
        best, means = self.best(measure), {point.trial: point.qualities[measure].mean for point in self.points}
        if trial == best:
            return "best"
        if trial not in self.ties(measure):
            return "worse"
        far = best is not None and abs(means[trial] - means[best]) > self.told_apart(measure)
        return "open" if far else "tie"

    def told_apart(self, measure: str | None = None) -> float:
        """The least difference of two means that a single comparison would tell apart: Fisher's least significant
        difference from the mean variance of all points. NaN with fewer than two values each.
        """
        from scipy.stats import t

        measure = measure or self.measures[0]
        spreads = [point.qualities[measure] for point in self.points if point.qualities[measure].n > 1]
        if not spreads:
            return math.nan
        floor, freedom = self._rounding(measure), sum(spread.n - 1 for spread in spreads)
        variance = sum((spread.n - 1) * (spread.std**2 + floor) for spread in spreads) / freedom
        n = min(spread.n for spread in spreads)
        return float(t.ppf(1 - LEVEL / 2, freedom) * math.sqrt(2 * variance / n))

    @cached_property
    def smallest(self) -> int | None:
        """Of the trials that tie with the best in the first measure, the one with the fewest parameters."""
        if self.best() is None:
            return None
        tied = [point for point in self.points if self.verdict(point.trial) in ("best", "tie")]
        ranked = sorted(tied, key=lambda point: point.costs["parameters"])
        return ranked[0].trial if ranked else None

    @cached_property
    def front(self) -> tuple[int, ...]:
        """The points that none of the others dominates, by their means."""
        known = [point for point in self.points if all(spread.n for spread in point.qualities.values())]
        objectives = [objective_of(name) for name in self.objectives]
        return tuple(known[index].trial for index in non_dominated([point.means for point in known], objectives))

    def to_json(self) -> Json:
        """All of it, with p-values and ties for each measure."""
        points = [
            {
                "trial": point.trial,
                "qualities": {
                    name: {
                        "searched": spread.searched,
                        "mean": _or_none(spread.mean),
                        "std": _or_none(spread.std),
                        "n": spread.n,
                        "values": list(spread.values),
                    }
                    for name, spread in point.qualities.items()
                },
                "costs": dict(point.costs),
                "trials": {str(seed): number for seed, number in point.trials.items()},
                "failed": {str(seed): reason for seed, reason in point.failed.items()},
            }
            for point in self.points
        ]
        tests = {
            name: {
                "best": self.best(name),
                "ties": self.ties(name),
                "verdicts": {str(point.trial): self.verdict(point.trial, name) for point in self.points},
                "p_values": {str(trial): p for trial, p in self.p_values(name).items()},
                "told_apart": _or_none(self.told_apart(name)),
            }
            for name in self.measures
        }
        return {
            "study": self.study,
            "chosen": self.chosen,
            "seeds": list(self.seeds),
            "points": points,
            "tests": tests,
            "front": list(self.front),
            "smallest": self.smallest,
        }

    def _rounding(self, measure: str) -> float:
        share = measure.rsplit(".", maxsplit=1)[-1] in SHARES and self.resolution is not None
        return (self.resolution or 0.0) ** 2 / 12 if share else 0.0


def confirmation(study: "Study", chosen: str, standings: "Mapping[Run, Standing]") -> Confirmation:
    """What the repetitions of some trials came to. chosen: by what these were chosen, in words."""
    runs = list(standings)
    ended = {at.number for at in standings.values() if at.number is not None and at.failed is None}
    read = study.store.numbered(study.id, {run.trial for run in runs} | ended)
    objectives = study.definition.resolved_objectives
    measures = tuple(objective.name for objective in objectives if objective.quality)
    points = []
    for number in dict.fromkeys(run.trial for run in runs):
        mine = {run.seed: at for run, at in standings.items() if run.trial == number}
        trials = {seed: at.number for seed, at in mine.items() if at.number in ended and at.failed is None}
        values = [read[trial].values for trial in trials.values() if trial is not None]
        own = read[number].values
        spreads = {name: Spread(own[name], tuple(value[name] for value in values)) for name in measures}
        costs = {name: own[name] for name in _costs(objectives)}
        failed = {seed: at.failed for seed, at in mine.items() if at.failed is not None}
        points.append(Confirmed(number, spreads, costs, {s: n for s, n in trials.items() if n is not None}, failed))
    seeds = tuple(dict.fromkeys(run.seed for run in runs))
    names = tuple(objective.name for objective in objectives)
    return Confirmation(study.name, chosen, seeds, measures, tuple(points), names, _resolution(study, objectives))


def _costs(objectives: "Sequence[Objective]") -> list[str]:
    """What a point costs: the study's objectives, and what is counted of any."""
    return list(dict.fromkeys([*(one.name for one in objectives if not one.quality), *ALWAYS]))


def _resolution(study: "Study", objectives: "Sequence[Objective]") -> float | None:
    """One example of the validation split as a share, where that is what a quality is counted in."""
    if not any(isinstance(one, Quality) and one.name.split(".")[-1] in SHARES for one in objectives):
        return None
    try:
        return 1 / len(data_of(study.definition, "cpu").validation)
    except ParetonasError:  # known results are shown where the data are not, too
        return None


def _welch(one: Spread, other: Spread, floor: float) -> float:
    """The p-value of two means. floor: variance that each has at least beside its own."""
    from scipy.stats import ttest_ind_from_stats

    if one.n < 2 or other.n < 2:
        return 1.0
    stds = [math.sqrt(spread.std**2 + floor) for spread in (one, other)]
    if not any(stds):
        return float(one.mean == other.mean)
    found = ttest_ind_from_stats(one.mean, stds[0], one.n, other.mean, stds[1], other.n, equal_var=False)
    return float(found.pvalue)


def _holm(p_values: Mapping[int, float]) -> dict[int, float]:
    """Corrected for their number, in their order (Holm 1979)."""
    corrected, least = {}, 0.0
    for place, trial in enumerate(sorted(p_values, key=lambda trial: p_values[trial])):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[trial]))
        corrected[trial] = least
    return {trial: corrected[trial] for trial in p_values}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
