"""The one representation of a network: plain, frozen, versioned data with a canonical key."""

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any, Self

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
        object.__setattr__(self, "op", op)
        object.__setattr__(self, "args", MappingProxyType(_complete(op, args)))
        object.__setattr__(self, "shares", shares)

    def __hash__(self) -> int:
        return hash((self.op, tuple(self.args.items()), self.shares))

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
    """A linear layer from the features to ``outputs`` numbers (class scores, before softmax)."""

    outputs: int
    name: str = "head"

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
        if self.version != VERSION:
            raise InvalidArchitecture(
                f"an architecture of version {VERSION} is needed, this one has version {self.version!r}: "
                "it was written by another release of paretonas"
            )
        if not self.heads:
            raise InvalidArchitecture("an architecture needs at least one head, none came")
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
            return cls(
                input_shape=tuple(int(size) for size in data["input_shape"]),
                blocks=tuple(Block.from_json(block) for block in data["blocks"]),
                heads=tuple(Head(**head) for head in data["heads"]),
                version=data["version"],
            )
        except (KeyError, TypeError, AttributeError) as error:
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
    for name, value in args.items():
        one_of(f"number of block {op!r}", name, wanted, InvalidArchitecture)
        if not isinstance(value, bool | int | float | str):
            raise InvalidArchitecture(f"numbers of a block are JSON scalars, {op}.{name} is {value!r}")
    complete = {}
    for name, parameter in wanted.items():
        if name not in args and parameter.default is inspect.Parameter.empty:
            raise InvalidArchitecture(f"block {op!r} needs {name}, which was not given")
        value = args.get(name, parameter.default)
        if isinstance(value, int) and not isinstance(value, bool) and value < 1:
            raise InvalidArchitecture(f"{name} of block {op!r} must be at least 1, {value} was given")
        complete[name] = value
    return complete


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
