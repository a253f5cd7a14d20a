"""The one representation of a network: plain, frozen, versioned data with a canonical key."""

import hashlib
import inspect
import json
import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any, Self

from torch import nn

from ..errors import InvalidArchitecture, one_of
from .blocks import BLOCKS

VERSION = 1
Scalar = bool | int | float | str
Shape = tuple[int, ...]
Json = dict[str, Any]


@dataclass(frozen=True)
class DataSpec:
    """What a network must accept and answer.

    input_shape: one example without the batch, e.g. ``(channels, height, width)``. classes: number of labels.
    """

    input_shape: Shape
    classes: int


@dataclass(frozen=True, init=False)
class Block:
    """One step of a network: an op of ``BLOCKS`` and its numbers.

    ``shares`` is the index of an earlier block of the same op and numbers whose weights this one uses.
    """

    op: str
    args: Mapping[str, Scalar]
    shares: int | None

    def __init__(self, op: str, /, *, shares: int | None = None, **args: Scalar) -> None:
        one_of("block", op, BLOCKS, InvalidArchitecture)
        if shares is not None and type(shares) is not int:
            raise InvalidArchitecture(f"shares is the index of an earlier block, {shares!r} was given")
        object.__setattr__(self, "op", op)
        object.__setattr__(self, "args", MappingProxyType(_complete(op, args)))
        object.__setattr__(self, "shares", shares)

    def __hash__(self) -> int:
        return hash((self.op, tuple(self.args.items()), self.shares))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle as data: the read-only view of the numbers can do neither."""
        return Block.from_json, (self.to_json(),)

    @property
    def width(self) -> int | None:
        """Channels or features that leave the block; None where it passes on what came."""
        width = self.args.get("width")
        return None if width is None else int(width)

    def replace(self, *, shares: int | None = None, **args: Scalar) -> "Block":
        """The same block with other numbers, and sharing as given."""
        return Block(self.op, shares=shares, **{**self.args, **args})

    def to_json(self) -> Json:
        sharing = {} if self.shares is None else {"shares": self.shares}
        return {"op": self.op, **self.args, **sharing}

    @classmethod
    def from_json(cls, data: Json) -> Self:
        rest = dict(data)
        return cls(rest.pop("op"), shares=rest.pop("shares", None), **rest)


@dataclass(frozen=True)
class Head:
    """A linear layer from the features to ``outputs`` numbers (class scores, before softmax).

    name: of the layer in the module and of its answer.
    """

    outputs: int
    name: str = "head"

    def __post_init__(self) -> None:
        taken = keyword.iskeyword(self.name) or hasattr(nn.Module, self.name) or re.fullmatch(r"block\d+", self.name)
        if not self.name.isidentifier() or taken or self.name in ("architecture", "_calls"):
            raise InvalidArchitecture(f"a head's name is a free Python name such as 'digit', {self.name!r} was given")
        if type(self.outputs) is not int or self.outputs < 1:
            raise InvalidArchitecture(f"head {self.name!r} needs at least 1 output, {self.outputs!r} was given")

    def to_json(self) -> Json:
        return {"outputs": self.outputs, "name": self.name}


@dataclass(frozen=True)
class Architecture:
    """A network: what comes in, the blocks in order, the heads."""

    input_shape: Shape
    blocks: tuple[Block, ...]
    heads: tuple[Head, ...]
    version: int = VERSION

    def __post_init__(self) -> None:
        _check_version(self.version)
        if not self.input_shape or min(self.input_shape) < 1:
            raise InvalidArchitecture(f"an input has at least 1 of everything, the shape {self.input_shape} was given")
        if not self.heads or len({head.name for head in self.heads}) < len(self.heads):
            names = [head.name for head in self.heads]
            raise InvalidArchitecture(f"an architecture needs at least one head, each of another name, {names} came")
        for index, block in enumerate(self.blocks):
            if block.shares is not None:
                _check_shares(self.blocks, index, block.shares)

    def to_json(self) -> Json:
        return {
            "version": self.version,
            "input_shape": list(self.input_shape),
            "blocks": [block.to_json() for block in self.blocks],
            "heads": [head.to_json() for head in self.heads],
        }

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Read what ``to_json`` wrote; InvalidArchitecture says what is wrong with anything else."""
        try:
            _check_version(data["version"])
            return cls(
                input_shape=tuple(int(size) for size in data["input_shape"]),
                blocks=tuple(Block.from_json(block) for block in data["blocks"]),
                heads=tuple(Head(**head) for head in data["heads"]),
                version=data["version"],
            )
        except InvalidArchitecture:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidArchitecture(f"this is not an architecture as paretonas writes it: {error!r}") from error

    @cached_property
    def key(self) -> str:
        """Equal for equal networks: 32 hexadecimal digits."""
        return key_of(self.to_json())

    def __str__(self) -> str:
        """One line for people: ``conv16 · conv16 (shared) · max_pool · …``."""
        return " · ".join(_describe(block) for block in self.blocks) or "linear classifier"


def key_of(data: Json) -> str:
    """SHA-256 of the canonical JSON, cut to 32 hexadecimal digits."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def can_share(op: str) -> bool:
    """Whether several places of a network can use one set of this block's weights."""
    return "uses" in _parameters(op)


def has_weights(op: str) -> bool:
    """Whether the block is given the width that comes in."""
    return "in_width" in _parameters(op)


@cache
def _parameters(op: str) -> Mapping[str, inspect.Parameter]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: p for name, p in inspect.signature(BLOCKS[op]).parameters.items() if p.kind in named}


def _complete(op: str, args: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The numbers in the order of the block's constructor, defaults filled in, so that equal blocks are equal data."""
    wanted = {name: p for name, p in _parameters(op).items() if name not in ("in_width", "uses")}
    for name in args:
        one_of(f"number of block {op!r}", name, wanted, InvalidArchitecture)
    complete = {}
    for name, parameter in wanted.items():
        if name not in args and parameter.default is inspect.Parameter.empty:
            raise InvalidArchitecture(f"block {op!r} needs {name}, which was not given")
        value: Any = args.get(name, parameter.default)
        kind = parameter.annotation
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise InvalidArchitecture(f"{name} of block {op!r} is of type {kind.__name__}, {value!r} was given")
        if kind is int and value < 1:
            raise InvalidArchitecture(f"{name} of block {op!r} must be at least 1, {value} was given")
        complete[name] = value
    return complete


def _check_version(version: object) -> None:
    if version != VERSION:
        raise InvalidArchitecture(
            f"an architecture of version {VERSION} is needed, this one has version {version!r}: "
            "it was written by another release of paretonas"
        )


def _check_shares(blocks: tuple[Block, ...], index: int, owner: int) -> None:
    where = f"block {index} ({blocks[index].op}) shares the weights of block {owner}"
    if not 0 <= owner < index:
        raise InvalidArchitecture(f"{where}, which is not an earlier block")
    if blocks[owner].shares is not None:
        raise InvalidArchitecture(f"{where}, which itself shares those of block {blocks[owner].shares}: name that one")
    if not can_share(blocks[index].op):
        raise InvalidArchitecture(f"{where}, but {blocks[index].op!r} has no weights to share")
    if (blocks[index].op, blocks[index].args) != (blocks[owner].op, blocks[owner].args):
        raise InvalidArchitecture(f"{where}, but their op or numbers differ: {blocks[index]} and {blocks[owner]}")


def _describe(block: Block) -> str:
    size = "" if block.width is None else str(block.width)
    return f"{block.op}{size}" + ("" if block.shares is None else " (shared)")
