"""Whether a training should stop early, decided after each epoch from what others came to.

``forecast``: it stops where the gain in hypervolume that is still to be expected, for each epoch that it still costs,
is small against that of a fresh candidate. ``rungs``: asynchronous successive halving (Li et al. 2020) with
several objectives (MO-ASHA, Schmucker et al. 2021).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from math import ceil, isfinite, nan

import moocore
import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from .forecast import FEWEST, Curve, Outlook, ended, outlooks, outlooks_at, sign_of_scores
from .goals import STOPPINGS, Goal

Array = npt.NDArray[np.float64]
POINTS = 256  # of the sampled plane
FRESH = 64  # candidates begun last, which stand for fresh ones
LEAST = 0.02  # of the gain that an epoch buys with fresh candidates, below which a training stops
SCREENS = (0.01, 1 / 27, 1 / 9, 1 / 3)  # parts of the way at which fresh ones are looked at
MARGIN = 0.1  # of the range of each axis, by which the plane is larger than what was seen
HALVING = 3  # of so many that came to a rung, one goes on
ALIKE = 3  # finished ones that learnt nothing, from which it is known how that begins
NEAR = 0.05  # of the range of the first quality, within which one ended as badly as the worst
TINY = 1e-12


def reason_to_stop(rule: str, curve: Curve, others: Sequence[Curve], goals: Sequence[Goal]) -> str | None:
    """One clause that says why a training should stop after this epoch, None if it should go on."""
    if rule not in STOPPINGS:
        raise UsageError(f"a rule of stopping is one of {', '.join(STOPPINGS)}, not {rule!r}")
    if rule == "none" or not curve.scores or len(curve.scores) >= curve.planned:
        return None
    told = outlooks(curve, others, goals)
    if not told:
        return None
    past = _past(_Others(others, tuple(goals)))
    if _leads(curve, others, past.plane):
        return None
    if rule == "rungs":
        return _below_its_rung(curve, others, past.plane)
    if _learns_nothing(curve, others, past.plane):
        return _clause(curve, past.plane, told)
    gain, wanted = past.plane.gain(curve, told), LEAST * past.rate * (curve.planned - len(curve.scores))
    return None if gain > 0 and gain >= wanted else _clause(curve, past.plane, told)


class _Others:
    """The others and the goals as a key: equal if they are the same curves, which it keeps and which do not change."""

    def __init__(self, others: Sequence[Curve], goals: tuple[Goal, ...]) -> None:
        self.others, self.goals = tuple(others), goals
        self._key = (goals, *map(id, others))
        self._hash = hash(self._key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Others) and self._key == other._key


@dataclass(frozen=True)
class _Past:
    """What follows from the others. rate: the gain in hypervolume that an epoch buys with fresh candidates."""

    plane: "Plane"
    rate: float


@lru_cache(4)
def _past(key: _Others) -> _Past:
    plane = Plane.of(key.others, key.goals)
    return _Past(plane, max(_rate(part, plane, key.others, key.goals) for part in SCREENS))


def _rate(part: float, plane: "Plane", others: Sequence[Curve], goals: Sequence[Goal]) -> float:
    """The gain that an epoch buys if candidates like the last are begun, and those that look good at this part go on.

    With gains g expected there, e epochs until then and r after it, that is the rate for which the mean of max(0, g -
    rate r) equals rate e: the reservation price of Weitzman 1979, "Optimal search for the best alternative".
    """
    begun = [other for other in others if other.scores][-FRESH:]
    spent = np.array([min(max(ceil(part * one.planned - TINY), 1), len(one.scores)) for one in begun])
    came = [len(one.scores) >= part * one.planned - TINY for one in begun]
    far = list(compress(begun, came))
    gains = np.zeros(len(begun))
    gains[came] = plane.gains(far, outlooks_at(part, far, others, goals))
    left = np.array([one.planned for one in begun]) - spent
    low, high = 0.0, float(gains.max(initial=0.0))  # an epoch and more is spent on each
    for _ in range(40):
        rate = (low + high) / 2
        low, high = (rate, high) if np.maximum(gains - rate * left, 0.0).mean() > rate * spent.mean() else (low, rate)
    return low


@dataclass(frozen=True)
class Plane:
    """All goals but the first quality, scaled: costs as logarithms where it can be, 0 the least and 1 the most seen.

    main: the first quality. low, width: of the axes. known: (n, axes), the front of those that ended; losses: (n,),
    main; worst: the largest of all.
    """

    main: Goal
    axes: tuple[Goal, ...]
    logarithmic: tuple[bool, ...]
    low: Array
    width: Array
    known: Array
    losses: Array
    worst: float = 0.0

    @classmethod
    def of(cls, others: Sequence[Curve], goals: Sequence[Goal]) -> "Plane":
        """The plane of what was seen."""
        main = next(goal for goal in goals if goal.quality)
        axes = tuple(goal for goal in goals if goal is not main)
        raw = np.array([[c.values.get(g.name, np.nan) for g in axes] for c in others], dtype=np.float64)
        raw = np.where(np.isfinite(raw), raw, np.nan).reshape(len(others), len(axes))
        least = np.nanmin(raw, axis=0, initial=np.inf)
        logarithmic = tuple(not goal.quality and low >= 0 for goal, low in zip(axes, least, strict=True))
        losses = _losses(raw, axes, logarithmic)
        low, high = np.nanmin(losses, axis=0, initial=np.inf), np.nanmax(losses, axis=0, initial=-np.inf)
        low, width = np.where(np.isfinite(low), low, 0.0), np.where(high > low, high - low, 1.0)
        with_quality = [one for one in others if isfinite(one.values.get(main.name, nan))]
        done = [one for one in with_quality if one.finished]  # what was taken from another study has no curve
        plane = cls(main, axes, logarithmic, low, width, np.empty(0), np.empty(0))
        reached = np.array([main.loss(other.values[main.name]) for other in done])
        known = plane.scaled(done, missing=1.0 + MARGIN)
        front = moocore.is_nondominated(np.column_stack([known, reached]))
        return cls(main, axes, logarithmic, low, width, known[front], reached[front], float(reached.max()))

    def scaled(self, curves: Sequence[Curve], *, missing: float) -> Array:
        """(curves, axes)."""
        raw = np.array([[c.values.get(g.name, np.nan) for g in self.axes] for c in curves], dtype=np.float64)
        places = (
            _losses(raw.reshape(len(curves), len(self.axes)), self.axes, self.logarithmic) - self.low
        ) / self.width
        return np.where(np.isnan(places), missing, places)

    def gain(self, curve: Curve, told: Mapping[str, Outlook]) -> float:
        """The expected gain in hypervolume, over the points that the costs of this one dominate."""
        corner = self.corners([curve])[0]
        points = corner + _spread_points(len(self.axes)) * (1.0 + MARGIN - corner)
        return float(self._improvements(points, self._best(points), told).mean() * np.prod(1.0 + MARGIN - corner))

    def gains(self, curves: Sequence[Curve], told: Sequence[Mapping[str, Outlook]]) -> Array:
        """The expected gain in hypervolume of each of several that were seen, over the same points."""
        points = _spread_points(len(self.axes)) * (1.0 + MARGIN)
        best, gains = self._best(points), []
        for corner, outlook in zip(self.corners(curves), told, strict=True):
            inside = (corner <= points).all(-1)
            gains.append(float(self._improvements(points[inside], best[inside], outlook).sum()) / len(points))
        return np.array(gains) * (1.0 + MARGIN) ** len(self.axes)

    def corners(self, curves: Sequence[Curve]) -> Array:
        """The costs of each; 0 where one is not known yet, and for what is learnt: (curves, axes)."""
        learnt = [goal.quality for goal in self.axes]
        return np.where(learnt, 0.0, np.clip(self.scaled(curves, missing=0.0), -1.0, 1.0))

    def _best(self, points: Array) -> Array:
        """The least loss known at each point, the worst where nothing is: (points,)."""
        reached = np.ones((len(points), len(self.losses)), dtype=bool)
        for column in range(len(self.axes)):
            reached &= self.known[:, column] <= points[:, column, None]
        return np.asarray(np.where(reached, self.losses, self.worst).min(1))

    def _improvements(self, points: Array, best: Array, told: Mapping[str, Outlook]) -> Array:
        """The expected improvement at each point, where the other qualities reach it."""
        gains = told[self.main.name].improvement(best)
        for column, goal in enumerate(self.axes):
            if goal.quality:
                gains = gains * told[goal.name].within(points[:, column] * self.width[column] + self.low[column])
        return gains


def _losses(raw: Array, axes: Sequence[Goal], logarithmic: Sequence[bool]) -> Array:
    """What is minimised, (n, axes), of values."""
    losses = np.empty_like(raw)
    for column, (goal, is_log) in enumerate(zip(axes, logarithmic, strict=True)):
        values = np.log(np.maximum(raw[:, column], TINY)) if is_log else raw[:, column]
        losses[:, column] = values if goal.direction == "minimize" else -values
    return losses


@lru_cache
def _spread_points(axes: int) -> Array:
    """Evenly spread points of the unit cube, (POINTS, axes): the R sequence (Roberts 2018)."""
    ratio = 2.0
    for _ in range(50):
        ratio = (1 + ratio) ** (1 / (axes + 1))
    steps = ratio ** -np.arange(1.0, axes + 1)
    return np.asarray((0.5 + np.arange(1, POINTS + 1)[:, None] * steps) % 1.0)


def _leads(curve: Curve, others: Sequence[Curve], plane: Plane) -> bool:
    """Whether none is better in anything that is known at this part of the way."""
    rivals = _at_the_same_part(curve, others)
    if not rivals:
        return True
    sign = sign_of_scores(ended(others, plane.main), plane.main)
    own, *corners = plane.corners([curve, *(rival for rival, _ in rivals)])
    ahead = all(sign * curve.scores[-1] <= sign * score for _, score in rivals)
    return ahead and bool((own <= np.array(corners)).all())


def _learns_nothing(curve: Curve, others: Sequence[Curve], plane: Plane) -> bool:
    """Whether it shows no more than at least ALIKE that ended worst showed, and all that ended better showed more.

    The spread of the forecast, that of all, would leave hope to a network for being the smallest.
    """
    rivals = _at_the_same_part(curve, ended(others, plane.main))
    sign = sign_of_scores([rival for rival, _ in rivals], plane.main) if rivals else 1.0
    losses = np.array([plane.main.loss(rival.values[plane.main.name]) for rival, _ in rivals])
    shown = np.array([sign * score for _, score in rivals])
    if len(losses) < FEWEST or np.ptp(losses) == 0:
        return False
    failed = losses >= losses.max() - NEAR * np.ptp(losses)
    below = shown[failed & (shown > shown[~failed].max())]
    return len(below) >= ALIKE and bool(sign * curve.scores[-1] >= below.min())


def _at_the_same_part(curve: Curve, others: Sequence[Curve]) -> list[tuple[Curve, float]]:
    """Those that came at least as far, and their score there."""
    part = len(curve.scores) / curve.planned
    places = [max(round(part * other.planned), 1) for other in others]
    return [(o, o.scores[place - 1]) for o, place in zip(others, places, strict=True) if len(o.scores) >= place]


def _below_its_rung(curve: Curve, others: Sequence[Curve], plane: Plane) -> str | None:
    """Stops where it is not among the best of those that came to this rung: part 1/3, 1/9, ... of the way.

    The best are those that together have the largest hypervolume, added one by one (greedy subset selection, Guerreiro
    et al. 2016), in which ranks by dominance alone would keep a network that learns nothing for being the smallest.
    """
    epochs = len(curve.scores)
    if epochs not in {max(round(curve.planned / HALVING**k), 1) for k in range(1, 9) if HALVING**k <= curve.planned}:
        return None
    rivals = _at_the_same_part(curve, others)
    chosen = (len(rivals) + 1) // HALVING
    if chosen < 2:
        return None
    sign = sign_of_scores(ended(others, plane.main), plane.main)
    scores = np.array([sign * curve.scores[-1], *(sign * score for _, score in rivals)])
    points = _spread_points(len(plane.axes)) * (1.0 + MARGIN)
    corners = plane.corners([curve, *(rival for rival, _ in rivals)])
    gains = np.where(
        (corners[:, None] <= points).all(-1),
        (np.nanmax(scores) - np.nan_to_num(scores, nan=np.nanmax(scores)))[:, None],
        0.0,
    )
    if _is_chosen(gains, chosen):
        return None
    begin = f"after epoch {epochs} of {curve.planned}"
    return f"{begin} it is not among the best {chosen} of the {len(gains)} that came so far"


def _is_chosen(gains: Array, most: int) -> bool:
    """Whether the first row is among the ``most`` that together cover the most: (n, points)."""
    covered = np.zeros(gains.shape[1])
    for _ in range(most):
        added = np.maximum(gains - covered, 0.0).sum(1)
        best = int(np.argmax(added))
        if best == 0 or added[best] <= 0:
            return bool(added[0] > 0)
        covered = np.maximum(covered, gains[best])
    return False


def _clause(curve: Curve, plane: Plane, told: Mapping[str, Outlook]) -> str:
    """Why it stops, for people."""
    main, epochs = plane.main, len(curve.scores)
    middle, spread = told[main.name].moments
    begin = f"after epoch {epochs} of {curve.planned} it is expected to end at {middle:.3g} +- {spread:.1g}"
    corner = plane.corners([curve])[0]
    better = (plane.known <= corner).all(1) & (plane.losses < main.loss(middle))
    if not better.any():
        return f"{begin} {main.name}, which adds too little to the front for {curve.planned - epochs} more"
    one = int(np.argmin(np.where(better, plane.losses, np.inf)))
    lower = [goal.name for goal, a, b in zip(plane.axes, plane.known[one], corner, strict=True) if a < b]
    return f"{begin}, where {main.loss(plane.losses[one]):.3g} is reached with {_listed(lower)}"


def _listed(names: Sequence[str]) -> str:
    """Which costs are lower, in words."""
    parts = ["fewer parameters" if name == "parameters" else f"a lower {name}" for name in names]
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]])) or "the same costs"
