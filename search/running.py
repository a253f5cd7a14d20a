"""What a candidate that still runs will reach, told by all that began, ended or not."""

from collections.abc import Sequence
from math import isclose, isfinite, nan, sqrt

import numpy as np

from .forecast import TINY, Array, Curve, Outlook, Scale, ended, outlooks, scale_of
from .goals import Goal

SETTLED = 8  # finished curves, below which it is compared with others that run too
UNSEEN = 0.3  # of the deviation of what all reached: a step that was seen once at most differs by that
ROUGH = 0.05  # of it: no outlook is surer


def guess(curve: Curve, others: Sequence[Curve], goals: Sequence[Goal]) -> dict[str, tuple[float, float]]:
    """As ``forecast``; where few ended, also by the steps of those that have come further, ended or not.

    others: the curves of all that began. So workers that began together need not wait for four ends to learn from each
    other. The steps only of a quality whose scores are its values, as those that finished show.
    """
    found = outlooks(curve, [other for other in others if other.finished], goals)
    first = next((goal for goal in goals if goal.quality), None)
    known = ended(others, first) if first else []
    told = bool(curve.scores) and isfinite(curve.scores[-1])
    if first and told and 0 < len(known) < SETTLED and _scored_by(first, known):
        further = carried_on(curve, others, scale_of(first, known))
        found |= {first.name: _both(found[first.name], further) if first.name in found else further}
    return {name: outlook.moments for name, outlook in found.items()}


def carried_on(curve: Curve, others: Sequence[Curve], scale: Scale) -> Outlook:
    """The end if each step that is left is the mean of those that others took there.

    As the product limit of Kaplan and Meier (1958), which takes what is known of each step from all that came so far.
    """
    parts = np.arange(len(curve.scores), curve.planned + 1) / max(curve.planned, 1)
    levels = [levels_at(parts, other, scale) for other in others if other is not curve]
    steps = np.diff(np.reshape(levels, (len(levels), len(parts))), axis=1)
    told = np.isfinite(steps)
    count = told.sum(0)
    mean = np.where(told, steps, 0.0).sum(0) / np.maximum(count, 1)
    variance = np.where(told, steps - mean, 0.0) ** 2
    variance = variance.sum(0) / np.maximum(count, 1)
    last = scale.of(np.array([other.scores[-1] for other in others if other.scores and isfinite(other.scores[-1])]))
    usual = (float(np.std(last)) if len(last) else 0.0) or 1.0
    most = max(float(variance[count > 1].max(initial=0.0)), (UNSEEN * usual) ** 2)
    spread = sqrt(float(np.where(count > 1, variance, most).sum()))
    fewest = float(count.min(initial=len(others)))
    now = float(scale.of(np.array(curve.scores[-1:]))[0])
    return Outlook(scale, now + float(mean.sum()), spread * (1 + 1 / max(fewest, 0.5)) + ROUGH * usual)


def levels_at(parts: Array, curve: Curve, scale: Scale) -> Array:
    """At these parts of its way, between two epochs on the line; NaN before the first and beyond the last."""
    if not curve.scores:
        return np.full(len(parts), nan)
    way, levels = parts * curve.planned, scale.of(np.array(curve.scores))
    found = np.interp(way, np.arange(1, len(levels) + 1), np.where(np.isfinite(levels), levels, nan))
    return np.where((way > 1 - TINY) & (way < len(levels) + TINY), found, nan)


def _scored_by(goal: Goal, known: Sequence[Curve]) -> bool:
    return all(isclose(one.scores[-1], one.values[goal.name]) for one in known)


def _both(one: Outlook, other: Outlook) -> Outlook:
    """Two opinions of the same as one, no surer than they are on average."""
    weights = one.spread**-2, other.spread**-2
    mean = (one.mean * weights[0] + other.mean * weights[1]) / sum(weights)
    return Outlook(one.scale, mean, sqrt(2 / sum(weights)))
