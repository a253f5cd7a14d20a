"""Which genes a space has, and how many settings of them there are.

A space is define-by-run, so its genes are those that it asks for. Here it asks suggesters that keep the questions.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from .block import Scalar
from .choices import Choice, Options, RandomSuggester, Range, Suggester, suggest, values_of

Ask = Callable[[Suggester], object]
SAMPLES = 200


@dataclass(frozen=True)
class GeneUse:
    """A gene of a space: what it may be, and the share of random candidates (0 to 1) that ask for it."""

    name: str
    choice: Choice
    share: float


@dataclass(frozen=True)
class Size:
    """How many settings of its genes a space has: exactly ``count``, or no more than it if not ``exact``.

    continuous: genes with infinitely many values; each is counted as one value, its upper end.
    """

    count: int
    exact: bool
    continuous: tuple[str, ...]

    def __str__(self) -> str:
        """As in ``at most 1.2e+09 settings, for each value of pruning``."""
        count = f"{self.count:,}" if self.count < 10**6 else f"{self.count:.1e}"
        values = f", for each value of {', '.join(self.continuous)}" if self.continuous else ""
        return f"{'' if self.exact else 'at most '}{count} setting{'s' if self.count != 1 else ''}{values}"


class Questions(ABC):
    """A suggester that keeps what it was asked, by name. A gene that is asked for again has the same answer."""

    def __init__(self) -> None:
        self.asked: dict[str, Choice] = {}
        self._answers: dict[str, Any] = {}

    @abstractmethod
    def answer(self, name: str, choice: Choice) -> Any:
        """The value of a gene."""

    def suggest_categorical(self, name: str, choices: Sequence[Scalar], /) -> Any:
        return self._ask(name, Options(tuple(choices)))

    def suggest_int(self, name: str, low: int, high: int, /, *, step: int = 1, log: bool = False) -> int:
        return int(self._ask(name, Range(low, high, None if log else step, log)))

    def suggest_float(
        self, name: str, low: float, high: float, /, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._ask(name, Range(float(low), float(high), step, log)))

    def _ask(self, name: str, choice: Choice) -> Any:
        if name not in self.asked:
            self.asked[name] = choice
            self._answers[name] = self.answer(name, choice)
        return self._answers[name]


class RandomAnswers(Questions):
    """Draws each gene evenly; the one named in ``fixed``, if it is this very choice, has the value given there."""

    def __init__(self, seed: int, fixed: tuple[str, Choice, Any] | None = None) -> None:
        super().__init__()
        self._random, self._fixed = RandomSuggester(seed), fixed

    def answer(self, name: str, choice: Choice) -> Any:
        if self._fixed and self._fixed[:2] == (name, choice):
            return self._fixed[2]
        return suggest(self._random, name, choice)


class Path(Questions):
    """Answers the first genes with the values of the given places, and all others with their first value."""

    def __init__(self, places: Sequence[int]) -> None:
        super().__init__()
        self.places = list(places)
        self.ways: list[int] = []  # how many values each gene on the path has

    def answer(self, name: str, choice: Choice) -> Any:  # noqa: ARG002 - a place is enough
        depth = len(self.ways)
        if depth == len(self.places):
            self.places.append(0)
        values = counted_values(choice)
        self.ways.append(len(values))
        return values[self.places[depth]]

    def next(self) -> "Path | None":
        """The way after this one, depth first; None if there is none. To be asked when the way was walked."""
        places = self.places[: len(self.ways)]
        while places and places[-1] + 1 == self.ways[len(places) - 1]:
            places.pop()
        return Path([*places[:-1], places[-1] + 1]) if places else None


def genes_of(ask: Ask, samples: int = SAMPLES) -> tuple[GeneUse, ...]:
    """Every gene that random candidates ask for, in the order in which they were met."""
    asked = [_asked(ask, RandomAnswers(seed)) for seed in range(samples)]
    uses = Counter(name for one in asked for name in one)
    choices = {name: choice for one in reversed(asked) for name, choice in one.items()}
    return tuple(GeneUse(name, choices[name], uses[name] / samples) for name in uses)


def size_of(ask: Ask, limit: int) -> Size:
    """How many settings there are: counted up to ``limit``, beyond it bounded by the product over all genes."""
    paths = [_asked(ask, RandomAnswers(seed)) for seed in range(SAMPLES)]
    values: dict[str, int] = {}
    continuous: dict[str, None] = {}
    for name, choice in all_genes(ask, paths):
        values[name] = max(values.get(name, 1), len(counted_values(choice)))
        if isinstance(choice, Range) and choice.is_continuous:
            continuous[name] = None
    leaves = count_leaves(ask, limit) if estimated_leaves(paths) < 2 * limit else None
    return Size(prod(values.values()) if leaves is None else leaves, leaves is not None, tuple(continuous))


def count_leaves(ask: Ask, limit: int) -> int | None:
    """The number of ways through the questions, each walked, depth first; None if there are more than ``limit``."""
    path = Path(())
    for leaves in range(1, limit + 1):
        ask(path)
        following = path.next()
        if following is None:
            return leaves
        path = following
    return None


def estimated_leaves(paths: Sequence[Mapping[str, Choice]]) -> float:
    """The mean, over random ways, of the product of the numbers of values on the way (Knuth 1975)."""
    return sum(prod(len(counted_values(choice)) for choice in path.values()) for path in paths) / len(paths)


def all_genes(ask: Ask, paths: Sequence[Mapping[str, Choice]]) -> list[tuple[str, Choice]]:
    """The genes on random ways, and on ways with each of them once at each of its options or ends.

    So genes that only a rare value asks for are found too.
    """
    found = list(dict.fromkeys(gene for path in paths for gene in path.items()))
    for seed, (name, choice) in enumerate(found):  # which grows on the way
        for value in choice.values if isinstance(choice, Options) else (choice.low, choice.high):
            more = _asked(ask, RandomAnswers(seed, (name, choice, value)))
            found += [gene for gene in more.items() if gene not in found]
    return found


def counted_values(choice: Choice) -> Sequence[Any]:
    """What a gene's values are counted as: a continuous range is one value, its upper end."""
    return (choice.high,) if isinstance(choice, Range) and choice.is_continuous else values_of(choice)


def _asked(ask: Ask, questions: Questions) -> dict[str, Choice]:
    ask(questions)
    return questions.asked
