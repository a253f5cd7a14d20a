"""The candidates that a proposal chooses from: fresh ones, and neighbours of the front."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

from ..spaces import Candidate, DataSpec, Space, shapes
from ..spaces.choices import RandomSuggester, Range, Suggester
from ..spaces.looking import Path
from .genes import Child, Genes, Given, Recorded
from .traits import traits

if TYPE_CHECKING:
    from .surrogate import Features

FIRST = 96  # fresh candidates of the first proposal
FRESH = 8  # that come with each further one
WINDOW = 320  # of which so many are looked at, the newest
PARENTS = 24  # points of the front that have neighbours
NEIGHBOURS = 6  # of each
CROSSED = 3  # one of so many neighbours has two parents
RENEWED = 4  # proposals after which NEXT other neighbours are looked at
NEXT = 2
SMALL = 4096  # settings of a space that are all tried in the end
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
        self._bred: dict[tuple[str, str, int], Drawn | None] = {}
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
        """Mutations of parents, which are key and genes, and crossovers of those that stand side by side."""
        parents = [parent for parent in parents if parent[1]]
        step = -(-len(parents) // PARENTS) or 1
        kept, self._bred = self._bred, {}
        for index in range(0, len(parents), step):
            key, genes = parents[index]
            other, mate = parents[(index + step) % len(parents)]
            first = (place + self._mixed(key) % RENEWED) // RENEWED * NEXT  # of each parent in a turn of its own
            for number in range(first, first + NEIGHBOURS):
                crossed = number % CROSSED == 0 and other != key
                at = (key, other if crossed else "", number)
                if at in kept:
                    self._bred[at] = kept[at]
                else:
                    self._bred[at] = self._drawn(Child(self._mixed(*at), genes, mate if crossed else None))
        return [drawn for drawn in self._bred.values() if drawn is not None]

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
