"""The candidates that a proposal chooses from: fresh ones, and neighbours of the front."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ..spaces import Candidate, DataSpec, Space, shapes
from ..spaces.choices import RandomSuggester, Range, Suggester
from ..spaces.looking import Path
from .genes import Child, Genes, Given, Recorded
from .traits import traits

if TYPE_CHECKING:
    from .inputs import Features

FIRST = 96  # fresh candidates of the first proposal
FRESH = 4  # that come with each further one
WINDOW = 256  # of which so many are looked at, the newest
NEIGHBOURS = 6  # for each point of the front
MOST_NEIGHBOURS = 144  # in all
BRED = 6  # that come with each proposal
CROSSED = 3  # one of so many neighbours has two parents
SMALL = 4096  # settings of a space that are all tried in the end
MIXERS = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], dtype=np.uint64)  # as of splitmix64
Parents = Sequence[tuple[str, Genes]]


@dataclass(frozen=True)
class Drawn:
    """A candidate that could be tried, and the genes that lead to it."""

    genes: Genes
    candidate: Candidate
    key: str
    features: "Features"


class Pool:
    """Draws from a space. What it draws follows from the seed, the place and the parents alone, so it may be kept.

    A setting that the space cannot make, or whose blocks do not fit together, is passed over. error: the last such.
    """

    def __init__(self, space: Space, spec: DataSpec, seed: int) -> None:
        self._space, self._spec, self._seed = space, spec, seed
        self._fresh: dict[int, Drawn | None] = {}
        self._bred: dict[tuple[int, str, str], Drawn | None] = {}
        self._again: dict[str, Drawn | None] = {}
        self._all: list[Drawn] | None = None
        self.error: Exception | None = None

    def fresh(self, place: int) -> list[Drawn]:
        """Random candidates, those of the newest places up to this one."""
        last = FIRST + FRESH * place
        kept, self._fresh = self._fresh, {}
        for index in range(max(0, last - WINDOW), last):
            self._fresh[index] = kept[index] if index in kept else self._drawn(RandomSuggester(self._mixed(index)))
        return [drawn for drawn in self._fresh.values() if drawn is not None]

    def again(self, parents: Parents) -> list[Drawn]:
        """The candidates of other studies, which are key and genes, as they were."""
        for key, genes in parents:
            if key not in self._again:
                self._again[key] = self._drawn(Given(genes))
        return [drawn for drawn in self._again.values() if drawn is not None]

    def neighbours(self, parents: Parents, place: int) -> list[Drawn]:
        """Mutations of parents, which are key and genes, and crossovers of two of them.

        The first parent of a neighbour is the one whose hash with its number is lowest (rendezvous hashing, Thaler and
        Ravishankar 1998): one that joins the parents, or leaves them, changes few neighbours.
        """
        genes = {key: genes for key, genes in parents if genes}
        kept, self._bred = self._bred, {}
        last = MOST_NEIGHBOURS + BRED * place
        numbers = np.arange(last - min(NEIGHBOURS * len(genes), MOST_NEIGHBOURS), last)
        keys = list(genes)
        for number, (first, second) in zip(numbers.tolist(), self._pairs(keys, numbers), strict=True):
            mate = keys[second] if number % CROSSED == 0 and len(keys) > 1 else ""
            at = (number, keys[first], mate)
            if at in kept:
                self._bred[at] = kept[at]
            else:
                self._bred[at] = self._drawn(Child(self._mixed(*at), genes[at[1]], genes.get(mate)))
        return [drawn for drawn in self._bred.values() if drawn is not None]

    def _pairs(self, keys: Sequence[str], numbers: NDArray[np.int_]) -> list[list[int]]:
        """For each number the two keys whose hashes with it are lowest: (numbers, 2), or 1 if there is only one key."""
        if not keys:
            return []
        hashed = np.array([self._mixed(key) for key in keys], dtype=np.uint64)
        scores = hashed ^ (numbers.astype(np.uint64)[:, None] * MIXERS[0])
        for mixer in MIXERS:
            scores = (scores ^ (scores >> np.uint64(29))) * mixer
        lowest: list[list[int]] = np.argsort(scores, axis=1)[:, : min(2, len(keys))].tolist()
        return [(pair * 2)[:2] for pair in lowest]

    def everything(self) -> list[Drawn]:
        """All candidates of a small space; of another one, random ones more."""
        if self._all is None:
            self._all = [drawn for drawn in self._walked() if drawn is not None]
        return self._all

    def _walked(self) -> Iterator[Drawn | None]:
        path: Path | None = Path(())
        for _ in range(SMALL):
            assert path is not None
            yield self._drawn(path)
            if any(isinstance(choice, Range) and choice.is_continuous for choice in path.asked.values()):
                break
            path = path.next()
            if path is None:
                return
        for number in range(SMALL // 4):
            yield self._drawn(RandomSuggester(self._mixed("more", number)))

    def _drawn(self, suggester: Suggester) -> Drawn | None:
        recorded = Recorded(suggester)
        try:
            candidate = self._space.suggest(recorded, self._spec)
            shapes(candidate.deployed)
            return Drawn(recorded.genes, candidate, candidate.key, traits(candidate))
        except Exception as error:  # noqa: BLE001 - a space of the user's own may raise anything
            self.error = error
            return None

    def _mixed(self, *what: object) -> int:
        """A seed of its own for each thing that is drawn."""
        return crc32("/".join(map(str, (self._seed, *what))).encode())
