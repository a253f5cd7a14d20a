"""Choosing what to try next: of many candidates, the one with the largest expected gain in hypervolume."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..spaces import DataSpec
from .constraints import violations
from .gain import Option, expected_gains
from .genes import Genes
from .knowledge import Knowledge, knowledge_of
from .pool import Drawn, Pool
from .sampler import seed_of

if TYPE_CHECKING:
    from .study import Study

FEW = 32  # new candidates; with fewer drawn, all that the space has are looked at
MOST = 500  # that are compared
ENOUGH = 8  # points of the front that need none of earlier studies beside them as parents
_kept: "WeakKeyDictionary[Study, Ehvi]" = WeakKeyDictionary()


class Ehvi:
    """Proposes for one study. All that it keeps it could read and draw again, so it may be made anew at any time."""

    def __init__(self, study: "Study", spec: DataSpec) -> None:
        self._study = study
        self._knowledge = knowledge_of(study)
        self._pool = Pool(study.definition.space, spec, study.definition.seed)
        self._costs: dict[str, dict[str, float]] = {}
        self._learned = -1

    def choose(self) -> Genes | None:
        """The genes of the best candidate that is not known; {} if the space makes none, None if all are known.

        What an earlier study has the results of is taken first, as long as it is expected to gain: it costs nothing.
        All that is random follows from the seed and from how many were begun.
        """
        knowledge = self._knowledge
        knowledge.refresh()
        drawn = self._new(len(knowledge.known) + len(knowledge.running))
        if not drawn:
            return {} if self._pool.error else None
        options = self._within_constraints(drawn)
        gains = gains_of(knowledge, [self._option(one) for one in options])
        free = {one.key for one in knowledge.earlier if one.free}
        costless = [gain if one.key in free else 0.0 for one, gain in zip(options, gains, strict=True)]
        chosen = options[int(np.argmax(costless if any(costless) else gains))]
        knowledge.proposed[chosen.key] = chosen.genes
        return chosen.genes

    def _new(self, place: int) -> list[Drawn]:
        """Candidates that nobody has begun, each once, in an order that follows from the place, how many were begun."""
        known, pool = self._knowledge.keys, self._pool
        parents = [(one.key, self._knowledge.genes(one)) for one in self._knowledge.front()]
        earlier = [(one.key, one.genes) for one in self._knowledge.earlier]
        bred = pool.neighbours(parents if len(parents) >= ENOUGH else [*parents, *earlier], place)
        new = {one.key: one for one in (*pool.again(earlier), *bred, *pool.fresh(place)) if one.key not in known}
        if len(new) < FEW:
            new |= {one.key: one for one in pool.everything() if one.key not in known}
        return list(new.values())[:MOST]

    def _within_constraints(self, drawn: Sequence[Drawn]) -> list[Drawn]:
        """Those that hold the constraints, as far as they are known; if none does, the one that is nearest."""
        bounds = self._study.definition.bounds
        if not bounds:
            return list(drawn)
        excess = [
            sum(max(0.0, amount) for amount in violations(bounds, costs).values())
            for costs in map(self._costs_of, drawn)
        ]
        holding = [one for one, amount in zip(drawn, excess, strict=True) if amount <= 0]
        return holding or [drawn[int(np.argmin(excess))]]

    def _option(self, one: Drawn) -> Option:
        return Option(one.features, self._costs_of(one))

    def _costs_of(self, one: Drawn) -> dict[str, float]:
        if self._learned != self._knowledge.learned:
            self._costs, self._learned = {}, self._knowledge.learned
        if one.key not in self._costs:
            self._costs[one.key] = self._knowledge.costs(one.candidate)
        return self._costs[one.key]


def gains_of(knowledge: Knowledge, options: Sequence[Option]) -> NDArray[np.float64]:
    """The expected gain of each option, as the study stands."""
    seed = seed_of(knowledge.study.definition.seed, len(knowledge.known))
    return expected_gains(knowledge.seen(), options, knowledge.goals, seed=seed, prior=knowledge.prior)


def ehvi_of(study: "Study", spec: DataSpec) -> Ehvi:
    """The one of a study in this process; what it read and drew stays with it."""
    if study not in _kept:
        _kept[study] = Ehvi(study, spec)
    return _kept[study]
