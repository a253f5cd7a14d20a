"""Settings of a space's genes: kept while they are asked for, changed a little, put together from two."""

from collections.abc import Mapping, Sequence
from math import exp, log
from random import Random
from typing import Any

from ..spaces.choices import Choice, Options, RandomSuggester, Range, Suggester, suggest, values_of
from ..spaces.looking import Questions

Genes = Mapping[str, Any]
NEAR = 0.15  # of a range: how far a number moves, as a standard deviation
STEPS = 0.5  # the share of changed numbers that go to a neighbour rather than anywhere
CHANGES = (1, 1, 2, 4)  # how many genes of a candidate change, on average, each as likely


class Recorded:
    """A suggester that keeps what another one answers. genes: by name, as Optuna has them."""

    def __init__(self, inner: Suggester) -> None:
        self._inner = inner
        self.genes: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any], /) -> Any:
        self.genes[name] = value = self._inner.suggest_categorical(name, choices)
        return value

    def suggest_int(self, name: str, low: int, high: int, /, *, step: int = 1, log: bool = False) -> int:
        self.genes[name] = value = self._inner.suggest_int(name, low, high, step=step, log=log)
        return value

    def suggest_float(
        self, name: str, low: float, high: float, /, *, step: float | None = None, log: bool = False
    ) -> float:
        self.genes[name] = value = self._inner.suggest_float(name, low, high, step=step, log=log)
        return value


class Given(Questions):
    """Answers as was given; what was not, or may no longer be, has the first value that may be."""

    def __init__(self, genes: Genes) -> None:
        super().__init__()
        self._genes = genes

    def answer(self, name: str, choice: Choice) -> Any:
        value = self._genes.get(name)
        return value if name in self._genes and allows(choice, value) else values_of(choice)[0]


class Child(Questions):
    """Answers as a parent did, but for a few genes that change; with a mate, each gene is of either.

    What neither was asked is drawn evenly. At least one gene of the parent changes, or is the mate's.
    """

    def __init__(self, seed: int, parent: Genes, mate: Genes | None = None) -> None:
        super().__init__()
        self._draw, self._even = Random(seed), RandomSuggester(seed)  # noqa: S311 - no secret
        self._parent, self._mate = parent, mate or {}
        self._changes = self._draw.choice(CHANGES) - 1 if mate is None else 0.5
        self._surely = self._draw.choice(list(parent)) if mate is None and parent else ""

    def answer(self, name: str, choice: Choice) -> Any:
        source = self._mate if name in self._mate and self._draw.random() < 0.5 else self._parent
        changes = name == self._surely or self._draw.random() < self._changes / max(len(self._parent), 1)
        if name not in source or not allows(choice, source[name]):
            return suggest(self._even, name, choice)
        return self._changed(name, choice, source[name]) if changes else source[name]

    def _changed(self, name: str, choice: Choice, value: Any) -> Any:
        """Another value: if it is a number, perhaps a neighbour."""
        near = self._draw.random() < STEPS
        if isinstance(choice, Options):
            others = [other for other in choice.values if other != value]
            numbers = all(not isinstance(other, bool | str) for other in choice.values)
            if near and numbers:
                below, above = [o for o in others if o < value], [o for o in others if o > value]
                others = [*([max(below)] if below else []), *([min(above)] if above else [])]
            return self._draw.choice(others) if others else value
        even = suggest(self._even, name, choice)
        return _moved(choice, value, self._draw) if near or even == value else even


def _moved(choice: Range, value: float, draw: Random) -> float:
    """A number of the range nearby; of whole numbers and steps not the same, unless there is no other."""
    low, high = choice.low, choice.high
    if choice.log:
        moved: float = exp(log(value) + draw.gauss(0, NEAR * log(high / low)))
    else:
        moved = value + draw.gauss(0, NEAR * (high - low))
    if choice.is_int or choice.step:
        step = choice.step or 1
        steps = round((moved - value) / step) or (1 if moved > value else -1)
        ends = round((low - value) / step), round((high - value) / step)
        steps = min(max(steps, ends[0]), ends[1]) or -steps
        moved = value + step * min(max(steps, ends[0]), ends[1])
        return int(moved) if choice.is_int else min(high, max(low, moved))
    return min(high, max(low, moved))


def allows(choice: Choice, value: Any) -> bool:
    """Whether a gene may have the value."""
    if isinstance(choice, Options):
        return any(type(value) is type(one) and value == one for one in choice.values)
    if isinstance(value, bool) or not isinstance(value, int if choice.is_int else int | float):
        return False
    if not choice.low <= value <= choice.high:
        return False
    return not choice.step or abs((value - choice.low) / choice.step % 1 - 0.5) > 0.5 - 1e-6


def in_words(choice: Choice) -> str:
    """What a gene may be, for people."""
    if isinstance(choice, Options):
        return f"one of {', '.join(map(str, choice.values))}"
    step = "" if choice.step in (None, 1) else f" in steps of {choice.step:g}"
    return f"from {choice.low:g} to {choice.high:g}{step}"
