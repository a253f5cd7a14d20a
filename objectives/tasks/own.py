"""Data from the user's own function."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...errors import UsageError
from ...spaces.architecture import Json
from .base import HEAD, Data, Target, Task, make_data
from .files import file_fingerprint
from .splits import PARTS, Labels, Split, check_in_train

_loaded: dict[str, tuple[object, str]] = {}  # by name: the function at work, and its file when it was first asked for


@dataclass(frozen=True, kw_only=True)
class OwnTask(Task):
    """Whatever ``function(**arguments)`` gives: a Data, or (x, y) of train, validation and test.

    function: itself, or its name ``module:function``. x: float32, or int64 (N, length) for tokens. y: int64 (N,) for
    classes from 0, float (N,) for a number, int64 (N, length) for a token at each position, or a dict of them by head.
    """

    name: ClassVar[str] = "own"
    function: str | Callable[..., Any]
    arguments: dict[str, Any] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.function, json.dumps(self.arguments, sort_keys=True)))

    def fingerprint(self) -> str:
        """SHA-256 of the file that the function stands in. UsageError if it was edited after Python loaded it."""
        from ...own import load

        name = str(self.function)
        function = load(name)
        file = getattr(sys.modules[name.split(":", maxsplit=1)[0]], "__file__", None)
        if not file:
            return ""
        found = file_fingerprint(file)
        if _loaded.get(name, (None, ""))[0] is not function:
            _loaded[name] = (function, found)
        if _loaded[name][1] != found:
            raise UsageError(f"{file} was edited after {name} of it was loaded: start Python again")
        return found

    def load(self) -> Data:
        from ...own import load

        self.fingerprint()
        function = load(str(self.function))
        if not callable(function):
            raise UsageError(f"{self.function} is to be a function that gives data, it is {function!r}")
        where = f"what {self.function} gives"
        try:
            given = function(**self.arguments)
        except Exception as error:
            text = str(error).split("\n", maxsplit=1)[0]
            raise UsageError(f"{self.function} could not give the data: {type(error).__name__}: {text}") from error
        if isinstance(given, Data):
            _check_shapes(given, where)
            return given
        return _from_pairs(given, where)


def _check_shapes(data: Data, where: str) -> None:
    """UsageError if the examples have another shape than the description says."""
    for part in PARTS:
        x, _ = next(iter(getattr(data, part).batches(1)))
        if tuple(x.shape[1:]) != tuple(data.spec.input_shape):
            raise UsageError(
                f"an example of {where} is of shape {tuple(data.spec.input_shape)} by its spec, and of "
                f"{tuple(x.shape[1:])} in the {part} split: change one of them"
            )


def _from_pairs(given: Any, where: str) -> Data:
    """Data from three pairs (x, y); what they are is told by their types and shapes."""
    pairs = isinstance(given, tuple | list) and [isinstance(pair, tuple | list) and len(pair) == 2 for pair in given]
    if pairs != [True, True, True]:
        raise UsageError(
            f"{where} is a Data, or three pairs (x, y), of train, validation and test; {_kind(given)} came"
        )
    x, tokens = _examples([pair[0] for pair in given], where)
    answers = [pair[1] if isinstance(pair[1], dict) else {HEAD: pair[1]} for pair in given]
    if len({tuple(answer) for answer in answers}) > 1 or not answers[0]:
        raise UsageError(f"{where} needs the same heads in y of each split, {[list(a) for a in answers]} came")
    columns = {head: _column([answer[head] for answer in answers], x, head, where) for head in answers[0]}
    each_position = [labels for parts in columns.values() for labels in parts if labels.dim() == 2]
    vocabulary = 1 + max(int(part.max()) for part in (*x, *each_position)) if tokens else None
    settled = {head: _settled(parts, head, where) for head, parts in columns.items()}
    splits = [Split(x[at], _labels({head: parts[at] for head, (_, parts) in settled.items()})) for at in range(3)]
    done: Json = {"kind": "tokens" if tokens else "own", "function": where}
    targets = [target for target, _ in settled.values()]
    return make_data(tuple(x[0].shape[1:]), targets, splits, done=done, vocabulary=vocabulary)


def _labels(labels: dict[str, Tensor]) -> Labels:
    return labels[HEAD] if list(labels) == [HEAD] else labels


def _examples(given: list[Any], where: str) -> tuple[list[Tensor], bool]:
    """The x of the splits as float32, or as int64 if they are tokens; and whether they are."""
    for part, x in zip(PARTS, given, strict=True):
        if not isinstance(x, Tensor) or x.dim() < 2:
            raise UsageError(f"x of {where} is a tensor (N, …) in each split, {_kind(x)} came in {part}")
        if not len(x):
            raise UsageError(f"each split of {where} needs at least one example, {part} has none")
        if x.shape[1:] != given[0].shape[1:] or x.is_floating_point() != given[0].is_floating_point():
            raise UsageError(
                f"x of {where} is of one type and shape, {_kind(x)} came in {part}, {_kind(given[0])} in train"
            )
    if given[0].is_floating_point():
        if not all(torch.isfinite(x).all() for x in given):
            raise UsageError(f"x of {where} is finite, and there is some NaN or infinity: fill it in")
        return [x.to(torch.float32) for x in given], False
    if given[0].dtype != torch.int64 or given[0].dim() != 2 or min(int(x.min()) for x in given) < 0:
        raise UsageError(f"x of {where} is float32, or int64 (N, length) from 0 for tokens, {_kind(given[0])} came")
    return given, True


def _column(given: list[Any], x: list[Tensor], head: str, where: str) -> list[Tensor]:
    """The y of a head in the splits, of the length of x."""
    for part, labels, examples in zip(PARTS, given, x, strict=True):
        shapes = [examples.shape[:1]] if examples.is_floating_point() else [examples.shape[:1], examples.shape]
        if not isinstance(labels, Tensor) or labels.shape not in shapes or labels.is_complex():
            raise UsageError(
                f"y of {head!r} in {where} is a tensor {' or '.join(str(tuple(shape)) for shape in shapes)} in {part}, "
                f"{_kind(labels)} came"
            )
        if labels.is_floating_point() and labels.dim() > 1:
            raise UsageError(
                f"y of {head!r} in {where} is int64 where each position is answered, {_kind(labels)} came in {part}: "
                "give tokens, or one number for each example"
            )
        if labels.is_floating_point() != given[0].is_floating_point() or labels.dim() != given[0].dim():
            raise UsageError(f"y of {head!r} in {where} is of one type and shape, {_kind(labels)} came in {part}")
    return given


def _settled(parts: list[Tensor], head: str, where: str) -> tuple[Target, list[Tensor]]:
    """The target of a head, and its y as training takes it."""
    what, train = f"{head!r} in {where}", parts[0]
    if train.is_floating_point():
        if not all(torch.isfinite(part).all() for part in parts) or bool((train == train[0]).all()):
            raise UsageError(f"y of {what} needs finite numbers, not all the same in train: there is nothing to learn")
        mean, std = train.double().mean().item(), train.double().std(correction=0).item()
        return Target(head, "number", mean, std), [((part.double() - mean) / std).to(torch.float32) for part in parts]
    whole = [part.to(torch.int64) for part in parts]
    if min(int(part.min()) for part in whole) < 0:
        raise UsageError(f"y of {what} counts from 0, {min(int(part.min()) for part in whole)} came")
    if train.dim() == 2:
        return Target(head, "tokens"), whole
    names = tuple(str(label) for label in range(1 + max(int(part.max()) for part in whole)))
    check_in_train(whole[0], names, what)
    if len(names) < 2:
        raise UsageError(f"y of {what} needs at least 2 classes, only 0 came: there is nothing to learn")
    return Target(head, "classes", names=names), whole


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return f"{type(value).__name__}" + (f" of {len(value)}" if isinstance(value, tuple | list) else "")
