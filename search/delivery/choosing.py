"""What a choice from the front goes by: a word, a number, bounds, weights, or the smallest of the good ones."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...errors import UsageError
from ...objectives import LATENCY, objective_of
from ..front import Values, by_bounds, by_distance, by_quality, by_weights, smallest, within

if TYPE_CHECKING:
    from ..definition import Definition

WORDS = ("knee", "best")
SIZE = "parameters"  # what is to be small, where only a tolerance is said


@dataclass(frozen=True)
class Choice:
    """One way to choose, checked when it is made: ``which``, or ``weights``, or ``smallest`` and ``within_best``.

    Bounds go with the last two, or alone. which: a word of WORDS, or a trial's number. bounds: by measure, at most or
    at least as its direction is. weights: by measure, above 0 for one at least. smallest: a measure. within_best: the
    share of the best quality that may be given away for it.
    """

    which: str | int | None = None
    bounds: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    smallest: str | None = None
    within_best: float | None = None

    def __post_init__(self) -> None:
        self._check_one_way()
        which = self.which
        if which is not None and (isinstance(which, bool) or not isinstance(which, str | int)):
            raise UsageError(f"a pick is a word or a trial's number, {which!r} was given")
        if isinstance(which, str) and self.number is None and which not in WORDS:
            raise UsageError(f"unknown pick {which!r}: there is {', '.join(WORDS)}, or a trial's number")
        for name, bound in self.bounds.items():
            if _is_no_number(bound):
                raise UsageError(f"a bound is a number, {bound!r} was given for {name}")
        for name, weight in self.weights.items():
            if _is_no_number(weight) or not 0 <= weight < math.inf:
                raise UsageError(f"a weight is a finite number from 0, {weight!r} was given for {name}")
        if self.weights and not any(self.weights.values()):
            raise UsageError(f"at least one weight is above 0, {dict(self.weights)} was given")
        share = self.within_best
        if share is not None and (_is_no_number(share) or not 0 <= share < 1):
            raise UsageError(
                f"within_best is a share of the best quality, from 0 and below 1, such as 0.005 for 0.5 %, {share!r} "
                "was given"
            )

    def _check_one_way(self) -> None:
        lexicographic = self.smallest is not None or self.within_best is not None
        ways = {
            repr(self.which): self.which is not None,
            "weights": bool(self.weights),
            "the smallest within the best": lexicographic,
        }
        given = [way for way, is_given in ways.items() if is_given]
        if self.which is not None and self.bounds:
            raise UsageError(f"a pick is a word, a number or bounds, not {self.which!r} and bounds together")
        if len(given) > 1:
            raise UsageError(f"a pick goes one way, {' and '.join(given)} were given: leave one of them")
        if not given and not self.bounds:
            raise UsageError(
                f"a pick is {' or '.join(map(repr, WORDS))}, a trial's number, weights, smallest or within_best, or a "
                "bound such as max_latency_ms"
            )

    @property
    def number(self) -> int | None:
        """The trial that is named, if one is."""
        if isinstance(self.which, int):
            return self.which
        return int(self.which) if self.which is not None and self.which.isdecimal() else None

    def order(self, values: Sequence[Values], definition: "Definition") -> list[int]:
        """Indices of the values that may be chosen, the one that is chosen first. None of them is a trial's number.

        NothingFits if none is within the bounds; UsageError for what was not measured.
        """
        quality, weights = definition.quality, _named(self.weights, definition)
        if self.which == "knee":
            return by_distance(values, definition.resolved_objectives)
        if self.which == "best":
            return by_quality(values, quality)
        if not weights and self.smallest is None and self.within_best is None:
            return by_bounds(values, self.bounds, quality)
        word = _named({self.smallest or SIZE: 0.0}, definition)
        wanted = [name for name, weight in weights.items() if weight] if weights else [*word]
        check_measured(wanted, values)
        fitting = within(values, self.bounds, quality) if self.bounds else range(len(values))
        fitting = [index for index in fitting if all(name in values[index] for name in wanted)]
        some = [values[index] for index in fitting]
        if weights:
            places = by_weights(some, [objective_of(name) for name in wanted], [weights[name] for name in wanted])
        else:
            places = smallest(some, objective_of(wanted[0]), quality, self.within_best)
        return [fitting[place] for place in places]

    def __str__(self) -> str:
        """In words, as a report says it."""
        parts = []
        if self.which is not None:
            words = {"knee": "nearest to the ideal point", "best": "best in quality"}
            parts.append(words.get(str(self.which), f"trial {self.which}"))
        if self.weights:
            parts.append("best under the weights " + ", ".join(f"{name} {w:g}" for name, w in self.weights.items()))
        if self.smallest is not None or self.within_best is not None:
            parts.append(f"best in {self.smallest or SIZE}")
        if self.within_best is not None:
            parts.append(f"within {100 * self.within_best:g} % of the best quality")
        if self.bounds:
            parts.append("within " + ", ".join(f"{name} {bound:g}" for name, bound in self.bounds.items()))
        return " ".join(parts)


def joined_bounds(
    definition: "Definition",
    more: Mapping[str, float],
    *,
    max_latency_ms: float | None,
    max_parameters: float | None,
    max_macs: float | None,
    min_accuracy: float | None,
) -> dict[str, float]:
    """All bounds by measure, from the options of their own and from ``within``. UsageError for one given twice."""
    options = {
        definition.latency: max_latency_ms,
        "parameters": max_parameters,
        "macs": max_macs,
        "accuracy": min_accuracy,
    }
    named = {name: bound for name, bound in options.items() if bound is not None}
    twice = sorted(named.keys() & more.keys())
    if twice:
        raise UsageError(f"a measure is bounded once, {', '.join(twice)} was bounded twice")
    return {**named, **more}


def check_measured(names: Sequence[str], values: Sequence[Values]) -> None:
    """UsageError unless some value has all of these."""
    if not any(value.keys() >= set(names) for value in values):
        absent = next((name for name in names if name not in values[0]), names[0])
        raise UsageError(f"this study did not measure {absent}: it has {', '.join(values[0])}")


def _named(amounts: Mapping[str, float], definition: "Definition") -> dict[str, float]:
    """By measure, ``latency_ms`` meaning the latency that the study has."""
    own = LATENCY in definition.measures
    return {definition.latency if name == LATENCY and not own else name: one for name, one in amounts.items()}


def _is_no_number(value: object) -> bool:
    return isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value)
