"""The one representation of a network: plain, frozen, versioned data with a canonical key."""

import hashlib
import json
import keyword
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Self

from torch import nn

from .. import own
from ..errors import InvalidArchitecture
from .block import Block, Json, Scalar, can_share, given, has_weights
from .blocks import BLOCKS

VERSION = 1
Shape = tuple[int, ...]

__all__ = ["Architecture", "Block", "DataSpec", "Head", "Json", "Scalar", "Shape", "can_share", "has_weights", "key_of"]


@dataclass(frozen=True)
class Head:
    """A linear layer from the features to ``outputs`` numbers, such as class scores before softmax.

    name: of the layer in the module and of its answer. follows: the index of the block whose features it takes (-1:
    the input), by default the last one. tied: the index of the embedding whose weights give the scores instead of
    weights of the head's own (Press & Wolf 2017).
    """

    outputs: int
    name: str = "head"
    follows: int | None = None
    tied: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise InvalidArchitecture(f"a head's name is a free Python name such as 'digit', {self.name!r} was given")
        taken = keyword.iskeyword(self.name) or hasattr(nn.Module(), self.name) or re.fullmatch(r"block\d+", self.name)
        if taken or self.name in ("architecture", "_calls"):
            raise InvalidArchitecture(f"a head's name is a free Python name such as 'digit', {self.name!r} was given")
        if type(self.outputs) is not int or self.outputs < 1:
            raise InvalidArchitecture(f"head {self.name!r} needs at least 1 output, {self.outputs!r} was given")

    def to_json(self) -> Json:
        return {"outputs": self.outputs, "name": self.name, **given(follows=self.follows, tied=self.tied)}


@dataclass(frozen=True, init=False)
class DataSpec:
    """What a network must accept and answer.

    input_shape: one example without the batch: ``(features,)``, ``(channels, length)``, ``(channels, height, width)``
    or, for tokens, ``(length,)``. heads: what is asked for; a number n means one head of n outputs. vocabulary: the
    inputs are token ids below it. categories: the last columns of a row are category codes, each below its number.
    per_position: one answer for each position, as in language modelling. ineffective: training hyperparameters that
    change nothing on these data, and are not asked for. taught: there is a teacher to learn from.
    """

    input_shape: Shape
    heads: tuple[Head, ...]
    vocabulary: int | None
    categories: tuple[int, ...]
    per_position: bool
    ineffective: tuple[str, ...]
    taught: bool

    def __init__(
        self,
        input_shape: Shape,
        heads: int | tuple[Head, ...],
        *,
        vocabulary: int | None = None,
        categories: tuple[int, ...] = (),
        per_position: bool = False,
        ineffective: tuple[str, ...] = (),
        taught: bool = False,
    ) -> None:
        values = (input_shape, (Head(heads),) if isinstance(heads, int) else heads, vocabulary, categories,
                  per_position, ineffective, taught)  # fmt: skip
        for field, value in zip(fields(self), values, strict=True):
            object.__setattr__(self, field.name, value)

    def architecture(self, blocks: Sequence["Block"], heads: tuple[Head, ...] | None = None) -> "Architecture":
        """The network of these blocks for these data."""
        return Architecture(
            self.input_shape, tuple(blocks), heads or self.heads, vocabulary=self.vocabulary, categories=self.categories
        )


@dataclass(frozen=True)
class Architecture:
    """A network: what comes in, the blocks in order, the heads.

    vocabulary: the inputs are token ids below it. categories: the last columns of a row are category codes, each below
    its number.
    """

    input_shape: Shape
    blocks: tuple[Block, ...]
    heads: tuple[Head, ...]
    version: int = VERSION
    vocabulary: int | None = None
    categories: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _check_version(self.version)
        if not self.input_shape or not all(type(size) is int and size >= 1 for size in self.input_shape):
            raise InvalidArchitecture(f"an input has at least 1 of everything, the shape {self.input_shape} was given")
        for what, count in (("vocabulary", self.vocabulary or 1), *(("category", each) for each in self.categories)):
            if type(count) is not int or count < 1:
                raise InvalidArchitecture(f"a {what} has a whole number of codes from 1, {count!r} was given")
        if not self.heads or len({head.name for head in self.heads}) < len(self.heads):
            names = [head.name for head in self.heads]
            raise InvalidArchitecture(f"an architecture needs at least one head, each of another name, {names} came")
        _place(self)
        for index, block in enumerate(self.blocks):
            if block.shares is not None:
                _check_shares(self.blocks, index, block.shares)

    def source(self, index: int) -> int:
        """The index of the block whose output comes into a block; -1 for the input."""
        follows = self.blocks[index].follows
        return index - 1 if follows is None else follows

    def head_source(self, head: Head) -> int:
        """The index of the block whose output comes into a head; -1 for the input."""
        return len(self.blocks) - 1 if head.follows is None else head.follows

    def owner(self, index: int) -> int:
        """The index of the block whose weights a block uses: its own, unless it shares."""
        shares = self.blocks[index].shares
        return index if shares is None else shares

    def with_blocks(self, blocks: Sequence[Block]) -> "Architecture":
        """The same network with other blocks in the same places."""
        return replace(self, blocks=tuple(blocks))

    def to_json(self) -> Json:
        kind: Json = {} if self.vocabulary is None else {"vocabulary": self.vocabulary}
        if self.categories:
            kind["categories"] = list(self.categories)
        return {
            "version": self.version,
            "input_shape": list(self.input_shape),
            **kind,
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
                vocabulary=data.get("vocabulary"),
                categories=tuple(data.get("categories", ())),
            )
        except InvalidArchitecture:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidArchitecture(f"this is not an architecture as paretonas writes it: {error!r}") from error

    @cached_property
    def key(self) -> str:
        """Equal for equal networks: 32 hexadecimal digits."""
        return key_of(self.to_json())

    def _repr_html_(self) -> str:
        """What a notebook shows: a drawing."""
        from .drawing import draw

        return draw(self)

    def __str__(self) -> str:
        """One line for people: ``conv16 · conv16 (shared) · max_pool · …, relu``.

        In brackets: attention heads and hidden units of a block, and which block it follows if not the one before. The
        activation stands at the end, or with each block where they differ.
        """
        activations = {block.args["activation"] for block in self.blocks if "activation" in block.args}
        steps = [_describe(block, activation=len(activations) > 1) for block in self.blocks]
        whole = " · ".join(steps) or "linear classifier"
        return f"{whole}, {activations.pop()}" if len(activations) == 1 else whole


def key_of(data: Json) -> str:
    """SHA-256 of the canonical JSON, cut to 32 hexadecimal digits."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _place(architecture: Architecture) -> None:
    """Check what follows what. Following the block before is left unsaid, so that equal networks are equal data."""
    blocks = architecture.blocks
    for index, block in enumerate(blocks):
        if block.follows is not None and not -1 <= block.follows < index:
            raise InvalidArchitecture(f"block {index} ({block.op}) follows {block.follows}, which is no earlier block")
    for head in architecture.heads:
        if any(index is not None and type(index) is not int for index in (head.follows, head.tied)):
            raise InvalidArchitecture(f"head {head.name!r} names blocks by their index, {head} was given")
        if head.follows is not None and not -1 <= head.follows < len(blocks):
            raise InvalidArchitecture(f"head {head.name!r} follows {head.follows}, which is no block")
        if head.tied is not None and not 0 <= head.tied < len(blocks):
            raise InvalidArchitecture(f"head {head.name!r} is tied to {head.tied}, which is no block")
    placed = tuple(
        block.replace(shares=block.shares) if block.follows == index - 1 else block
        for index, block in enumerate(blocks)
    )
    object.__setattr__(architecture, "blocks", placed)
    heads = tuple(replace(h, follows=None) if h.follows == len(blocks) - 1 else h for h in architecture.heads)
    object.__setattr__(architecture, "heads", heads)
    used = {architecture.source(index) for index in range(len(blocks))} | {architecture.head_source(h) for h in heads}
    for index, block in enumerate(blocks):
        if index not in used:
            raise InvalidArchitecture(f"block {index} ({block.op}) leads to no head: leave it out")


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
    op = blocks[index].op
    if (op in BLOCKS or own.is_trusted(op)) and not can_share(op):
        raise InvalidArchitecture(f"{where}, but {blocks[index].op!r} has no weights to share")
    if (blocks[index].op, blocks[index].args) != (blocks[owner].op, blocks[owner].args):
        raise InvalidArchitecture(f"{where}, but their op or numbers differ: {blocks[index]} and {blocks[owner]}")


def _describe(block: Block, *, activation: bool) -> str:
    size = "" if block.width is None else str(block.width)
    inner = ", ".join(str(block.args[name]) for name in ("heads", "hidden") if name in block.args)
    chosen = f" {block.args['activation']}" if activation and "activation" in block.args else ""
    shared = "" if block.shares is None else " (shared)"
    placed = "" if block.follows is None else f" (after {block.follows})"
    return block.op + size + (f"({inner})" if inner else "") + chosen + shared + placed
