"""What every task is: a frozen record of JSON fields that loads data with fixed splits."""

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from ...errors import InvalidArchitecture, UsageError, one_of
from ...spaces import DataSpec, Head
from ...spaces.architecture import Json, Shape
from .fields import settle
from .splits import PARTS, LazySplit, Split

Augment = Callable[[Tensor, float, torch.Generator], Tensor]
HEAD = "head"  # the name of the only head
LONGEST = 100  # characters of a head's name, which stands in the store before the name of each metric


@dataclass(frozen=True)
class Target:
    """What a head answers.

    kind: ``classes`` (y is a class, (N,) int64), ``number`` (y is (value - mean) / std of the train split, (N,)
    float32) or ``tokens`` (y is a token at each position, (N, length) int64). names: of the classes.
    """

    head: str
    kind: Literal["classes", "number", "tokens"]
    mean: float = 0.0
    std: float = 1.0
    names: tuple[str, ...] = ()

    def to_json(self) -> Json:
        kind: Json = {"kind": self.kind}
        if self.kind == "number":
            return {**kind, "mean": self.mean, "std": self.std}
        return {**kind, "classes": list(self.names)} if self.kind == "classes" else kind


@dataclass(frozen=True)
class Data:
    """What a task loads. The search trains on train and judges on validation; only picked points see test.

    targets: one for each of ``spec.heads``, in their order. preprocessing: all that was done to the examples, in
    numbers. augment: takes a batch x, a strength from 0 to 1 and a generator, gives a changed x; None: there is none.
    """

    spec: DataSpec
    targets: tuple[Target, ...]
    train: Split | LazySplit
    validation: Split | LazySplit
    test: Split | LazySplit
    preprocessing: Json
    augment: Augment | None = None

    def __post_init__(self) -> None:
        heads, targets = [head.name for head in self.spec.heads], [target.head for target in self.targets]
        if heads != targets:
            raise UsageError(f"the data need one target for each head, the heads are {heads}, the targets {targets}")
        for name in heads:
            _check_length(name, "head")
        kinds = [f"{target.head!r} ({target.kind})" for target in self.targets]
        if 0 < sum(target.kind == "tokens" for target in self.targets) < len(kinds):
            raise UsageError(
                "heads answer each position with a token, or all of them each example as a whole, and here are "
                f"{', '.join(kinds)}: make them two studies"
            )
        for part in PARTS:
            if not len(getattr(self, part)):
                raise UsageError(f"each split needs at least one example, the {part} split has none: add examples")

    def to(self, device: torch.device) -> Self:
        """The same data, with the splits on a device."""
        return replace(
            self, train=self.train.to(device), validation=self.validation.to(device), test=self.test.to(device)
        )


def make_data(
    shape: Shape,
    targets: Sequence[Target],
    splits: Sequence[Split | LazySplit],
    *,
    done: Json,
    augment: Augment | None = None,
    vocabulary: int | None = None,
    categories: tuple[int, ...] = (),
) -> Data:
    """Data whose description follows from the targets. splits: train, validation, test. done: to the examples."""
    outputs = {"number": 1, "tokens": vocabulary}
    heads = tuple(Head(outputs.get(target.kind) or len(target.names), target.head) for target in targets)
    ineffective = [] if augment else ["augment"]
    if all(target.kind == "number" for target in targets):
        ineffective.append("label_smoothing")
    spec = DataSpec(
        shape,
        heads,
        vocabulary=vocabulary,
        categories=categories,
        per_position=any(target.kind == "tokens" for target in targets),
        ineffective=tuple(ineffective),
    )
    preprocessing = {"input": done, "targets": {target.head: target.to_json() for target in targets}}
    train, validation, test = splits
    return Data(spec, tuple(targets), train, validation, test, preprocessing, augment)


def head_names(columns: Sequence[str]) -> list[str]:
    """A head's name for each column: ``head`` for one, else the columns' names as a module can have them."""
    if len(columns) == 1:
        return [HEAD]
    names: list[str] = []
    for column in columns:
        _check_length(column, "target column")
        name = re.sub(r"\W", "_", column)
        name = name if name.isidentifier() else f"target_{name}"
        while name in names or not _is_free(name):
            name += "_"
        names.append(name)
    return names


def _check_length(name: str, what: str) -> None:
    if len(name) > LONGEST:
        raise UsageError(
            f"the name of a {what} has up to {LONGEST} characters, {name[:40]!r}… has {len(name)}: rename it"
        )


def _is_free(name: str) -> bool:
    """Whether a head can have this name."""
    try:
        Head(1, name)
    except InvalidArchitecture:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """Data with fixed splits. ``name`` is its word in files and on the command line."""

    name: ClassVar[str]

    def __post_init__(self) -> None:
        settle(self, self.where)

    @property
    def where(self) -> str:
        """The task, as messages name it."""
        return f"task {self.name!r}"

    @abstractmethod
    def load(self) -> Data:
        """Read the data, the same each time. UsageError says what is wrong with them."""

    def fingerprint(self) -> str:
        """Another text if the data are others, read anew each time; empty where they cannot change."""
        return ""

    @property
    def key(self) -> str:
        """Equal for equal data, as they are now."""
        return self.key_with(self.fingerprint())

    def key_with(self, fingerprint: str) -> str:
        """Equal for equal data: the name, and 16 hexadecimal digits of the fields and the fingerprint if it has any."""
        if not fields(self):
            return self.name
        text = json.dumps([self.to_json(), fingerprint], sort_keys=True, separators=(",", ":"))
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def to_json(self) -> Json:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        kept = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return {"type": self.name, **kept}

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Read what ``to_json`` wrote, with or without its type; UsageError names an unknown or missing field."""
        given: dict[str, Any] = {name: value for name, value in data.items() if name != "type"}
        for name in given:
            one_of(f"field of task {cls.name!r}", name, [field.name for field in fields(cls)])
        needed = [field.name for field in fields(cls) if field.default is field.default_factory is MISSING]
        if not given.keys() >= set(needed):
            absent = [name for name in needed if name not in given]
            example = ", ".join(f"{name} = …" for name in needed)
            raise UsageError(f"task {cls.name!r} needs {' and '.join(absent)}: give type = {cls.name!r}, {example}")
        return cls(**given)


@dataclass(frozen=True, kw_only=True)
class HeldOutTask(Task):
    """A task that divides its examples at random. validation: share of them to judge on. seed: who goes where."""

    validation: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.shares) <= 0 or sum(self.shares) >= 1:
            given = " and ".join(f"{share:g}" for share in self.shares)
            raise UsageError(f"the held-out shares of {self.where} are above 0 and below 1 together, {given} was given")
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"the seed of {self.where} is from 0 and below 2**31, {self.seed} was given")

    @property
    def shares(self) -> tuple[float, ...]:
        """Of what is held out."""
        return (self.validation,)


@dataclass(frozen=True, kw_only=True)
class DividedTask(HeldOutTask):
    """A task whose source has no splits of its own. validation, test: shares of the examples. seed: who goes where."""

    test: float = 0.2

    @property
    def shares(self) -> tuple[float, ...]:
        return (self.validation, self.test)
