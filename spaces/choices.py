"""What a gene may be: one value, a list of options, or a range."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import InvalidSpace, one_of
from .architecture import Scalar

Number = int | float


@dataclass(frozen=True)
class Options:
    """Any of ``values``; with one value the gene is constant and is not searched."""

    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise InvalidSpace("a list of options has at least one, an empty one was given")
        if not all(isinstance(value, bool | int | float | str) for value in self.values):
            raise InvalidSpace(f"options are numbers, words or booleans, {list(self.values)!r} was given")
        if len(set(self.values)) < len(self.values):
            raise InvalidSpace(f"an option is listed once, {list(self.values)!r} was given")

    def to_json(self) -> Any:
        return list(self.values) if len(self.values) > 1 else self.values[0]


@dataclass(frozen=True)
class Range:
    """From ``low`` to ``high``, both included; whole numbers if both are. ``step`` and ``log`` exclude each other."""

    low: Number
    high: Number
    step: Number | None = None
    log: bool = False

    def __post_init__(self) -> None:
        ends = (self.low, self.high, 1 if self.step is None else self.step)
        if not all(_is_number(value) for value in ends):
            raise InvalidSpace(f"a range is of numbers, ({self.low!r}, {self.high!r}), step {self.step!r} was given")
        if not all(math.isfinite(value) for value in ends):
            raise InvalidSpace(f"a range has finite ends, ({self.low}, {self.high}) was given")
        if type(self.log) is not bool:
            raise InvalidSpace(f"log of a range is true or false, {self.log!r} was given")
        if self.low > self.high:
            raise InvalidSpace(f"a range goes from low to high, ({self.low}, {self.high}) was given: swap its ends")
        if self.step is not None and (self.step <= 0 or self.log):
            raise InvalidSpace(f"step is above 0 and not together with log, step={self.step} log={self.log} was given")
        if self.step is not None and abs((self.high - self.low) / self.step % 1 - 0.5) < 0.5 - 1e-6:
            raise InvalidSpace(
                f"a range ends on a step, ({self.low}, {self.high}) with step {self.step} was given: change its end"
            )
        if self.log and self.low <= 0:
            raise InvalidSpace(f"a log range begins above 0, ({self.low}, {self.high}) was given")

    @property
    def is_int(self) -> bool:
        return all(isinstance(value, int) for value in (self.low, self.high, self.step or 1))

    @property
    def is_continuous(self) -> bool:
        return not self.is_int and self.step is None and self.low < self.high

    def to_json(self) -> Any:
        return {"low": self.low, "high": self.high, "step": self.step, "log": self.log}


Choice = Options | Range
ChoiceLike = Scalar | Sequence[Scalar] | Range | Options


class Suggester(Protocol):
    """The part of ``optuna.Trial`` that spaces use."""

    def suggest_categorical(self, name: str, choices: Sequence[Scalar], /) -> Any: ...
    def suggest_int(self, name: str, low: int, high: int, /, *, step: int = 1, log: bool = False) -> int: ...
    def suggest_float(
        self, name: str, low: float, high: float, /, *, step: float | None = None, log: bool = False
    ) -> float: ...


def values_of(choice: Choice) -> Sequence[Any]:
    """All that a choice can give; of a range without steps its ends."""
    if isinstance(choice, Options):
        return choice.values
    if choice.is_int:
        return range(int(choice.low), int(choice.high) + 1, int(choice.step or 1))
    if choice.step is not None:
        steps = round((choice.high - choice.low) / choice.step)
        return [min(choice.high, choice.low + step * choice.step) for step in range(steps + 1)]
    return sorted({choice.low, choice.high})


def as_choice(given: Any, where: str) -> Choice:
    """A scalar is a constant, a list its options, a pair in a tuple a range. InvalidSpace names the field."""
    try:
        return _as_choice(given)
    except InvalidSpace as error:
        raise InvalidSpace(f"{where}: {error}") from error


def _as_choice(given: Any) -> Choice:
    if isinstance(given, Options | Range):
        return given
    if isinstance(given, bool | int | float | str):
        return Options((given,))
    if isinstance(given, list):
        return Options(tuple(given))
    if isinstance(given, tuple):
        if len(given) != 2 or not all(_is_number(value) for value in given):
            raise InvalidSpace(
                f"a tuple is a range (low, high) of numbers, {given!r} was given: write a list for options"
            )
        return Range(*given)
    if isinstance(given, dict):
        for name in given:
            one_of("key of a range", name, ("low", "high", "step", "log"), InvalidSpace)
        if {"low", "high"} <= given.keys():
            return Range(**given)
    raise InvalidSpace(f"a choice is a value, a list, a pair (low, high) or a Range, {given!r} was given")


@dataclass(frozen=True)
class Whole:
    """Rule of a field: whole numbers from ``least`` to ``most``, only odd ones if ``odd``."""

    least: int = 1
    odd: bool = False
    most: int | None = None

    def check(self, choice: Choice, where: str) -> None:
        ends = (choice.low, choice.high) if isinstance(choice, Range) else choice.values
        if isinstance(choice, Range) and not choice.is_int:
            raise InvalidSpace(f"{where}: whole numbers are needed, the range {choice.low} to {choice.high} was given")
        for value in ends:
            if not isinstance(value, int) or isinstance(value, bool) or value < self.least:
                raise InvalidSpace(f"{where}: whole numbers of at least {self.least} are needed, {value!r} was given")
            if self.most is not None and value > self.most:
                raise InvalidSpace(f"{where}: whole numbers of at most {self.most} are needed, {value} was given")
            if self.odd and value % 2 == 0:
                raise InvalidSpace(f"{where}: odd numbers are needed, {value} was given")
        if self.odd and isinstance(choice, Range) and (choice.log or (choice.step or 1) % 2):
            raise InvalidSpace(f"{where}: odd numbers are needed, give the range a step of 2 or list the options")


@dataclass(frozen=True)
class Real:
    """Rule of a field: finite numbers from ``least`` (above it, if ``above``) to ``most``, and below ``below``."""

    least: float = 0.0
    below: float = math.inf
    above: bool = False
    most: float = math.inf

    def check(self, choice: Choice, where: str) -> None:
        for value in (choice.low, choice.high) if isinstance(choice, Range) else choice.values:
            fits = _is_number(value) and self.least <= float(value) <= self.most and float(value) < self.below
            if not fits or (self.above and value == self.least):
                wanted = f"numbers {'above' if self.above else 'of at least'} {self.least:g}"
                wanted += f" and below {self.below:g}" if math.isfinite(self.below) else ""
                wanted += f" and at most {self.most:g}" if math.isfinite(self.most) else ""
                raise InvalidSpace(f"{where}: {wanted} are needed, {value!r} was given")


@dataclass(frozen=True)
class Words:
    """Rule of a field: some of the words there are."""

    known: tuple[str, ...]

    def check(self, choice: Choice, where: str) -> None:
        if isinstance(choice, Range):
            raise InvalidSpace(f"{where}: a list of {', '.join(self.known)} is needed, a range was given")
        for value in choice.values:
            one_of(f"value of {where}", value, self.known, InvalidSpace)


@dataclass(frozen=True)
class Flag:
    """Rule of a field: true, false or both."""

    def check(self, choice: Choice, where: str) -> None:
        values = (choice.low, choice.high) if isinstance(choice, Range) else choice.values
        if not all(isinstance(value, bool) for value in values):
            raise InvalidSpace(f"{where}: true, false or a list of both is needed, {list(values)!r} was given")


class Rule(Protocol):
    """What a field may hold: Whole, Real, Words, Flag, or one like them."""

    def check(self, choice: Choice, where: str, /) -> None:
        """InvalidSpace if the choice has a value that the field at ``where`` must not have."""


def suggest(trial: Suggester, name: str, choice: Choice) -> Any:
    """Ask the trial for a value of the gene ``name``; a constant is not asked for."""
    if isinstance(choice, Options):
        return choice.values[0] if len(choice.values) == 1 else trial.suggest_categorical(name, choice.values)
    if choice.low == choice.high:
        return choice.low
    if choice.is_int:
        return trial.suggest_int(name, int(choice.low), int(choice.high), step=int(choice.step or 1), log=choice.log)
    return trial.suggest_float(name, choice.low, choice.high, step=choice.step, log=choice.log)


class RandomSuggester:
    """Draws each gene evenly, for looking around in a space without a study; a space asks for a gene once."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret

    def suggest_categorical(self, _name: str, choices: Sequence[Scalar], /) -> Any:
        return self._random.choice(choices)

    def suggest_int(self, _name: str, low: int, high: int, /, *, step: int = 1, log: bool = False) -> int:
        if log:
            return min(high, max(low, round(math.exp(self._random.uniform(math.log(low), math.log(high))))))
        return self._random.randrange(low, high + 1, step)

    def suggest_float(
        self, _name: str, low: float, high: float, /, *, step: float | None = None, log: bool = False
    ) -> float:
        if log:
            return min(high, max(low, math.exp(self._random.uniform(math.log(low), math.log(high)))))
        if step is not None:
            return min(high, low + step * self._random.randrange(int((high - low) / step + 1e-9) + 1))
        return self._random.uniform(low, high)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
