"""One step of a network as plain data."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from types import MappingProxyType
from typing import Any, Self

from torch import nn

from .. import own
from ..errors import InvalidArchitecture, one_of
from .blocks import BLOCKS
from .blocks.common import canonical_activation

Scalar = bool | int | float | str
Json = dict[str, Any]


@dataclass(frozen=True, init=False)
class Block:
    """One step of a network: an op of ``BLOCKS`` and its numbers. A block of the user's own is given as its class, and
    kept under the name ``"module:Class"``.

    follows: the index of the block whose output it takes (-1: the input), by default the one before. shares: the
    index of an earlier block of the same op and numbers whose weights this one uses.
    """

    op: str
    args: Mapping[str, Scalar]
    follows: int | None
    shares: int | None

    def __init__(
        self, op: str | type[nn.Module], /, *, follows: int | None = None, shares: int | None = None, **args: Scalar
    ) -> None:
        op = own.named(op)
        for what, index in (("shares", shares), ("follows", follows)):
            if index is not None and type(index) is not int:
                raise InvalidArchitecture(f"{what} is the index of an earlier block, {index!r} was given")
        object.__setattr__(self, "op", op)
        object.__setattr__(self, "args", _numbers(op, args))
        object.__setattr__(self, "follows", follows)
        object.__setattr__(self, "shares", shares)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.op, tuple(self.args.items()), self.follows, self.shares))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle as data: the read-only view of the numbers can do neither."""
        return Block.from_json, (self.to_json(),)

    @property
    def width(self) -> int | None:
        """Channels or features that leave the block; None where as many leave as came."""
        width = self.args.get("width")
        return None if width is None else int(width)

    @property
    def alone(self) -> "Block":
        """The same op and numbers, wherever it stands and whatever it shares."""
        return self if self.shares is None and self.follows is None else self.replace()

    def replace(self, *, follows: int | None = None, shares: int | None = None, **args: Scalar) -> "Block":
        """The same block with other numbers; its place and its sharing as given."""
        return Block(self.op, follows=follows, shares=shares, **{**self.args, **args})

    def resized(self, **sizes: int) -> "Block":
        """The same block in the same place with other sizes."""
        return self.replace(follows=self.follows, shares=self.shares, **sizes) if sizes else self

    def to_json(self) -> Json:
        return {"op": self.op, **self.args, **given(follows=self.follows, shares=self.shares)}

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Read what ``to_json`` wrote. A user's own block that is not trusted can be looked at, not built."""
        rest = dict(data)
        op, follows, shares = rest.pop("op"), rest.pop("follows", None), rest.pop("shares", None)
        if op in BLOCKS or own.is_trusted(op) or not own.is_own(op):
            return cls(op, follows=follows, shares=shares, **rest)
        block = object.__new__(cls)
        for name, value in (("op", op), ("args", MappingProxyType(rest)), ("follows", follows), ("shares", shares)):
            object.__setattr__(block, name, value)
        return block


def block_class(op: str) -> type[nn.Module]:
    """The class of an op of ``BLOCKS``, or of the user's own ``"module:Class"``."""
    if op in BLOCKS:
        return BLOCKS[op]
    if not own.is_own(op):
        one_of("block", op, BLOCKS, InvalidArchitecture)
    found = own.load(op)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise InvalidArchitecture(f"a block is a class of nn.Module, {op} is {found!r}")
    return found


def has_weights(op: str) -> bool:
    """Whether the block is given the width that comes in."""
    return "in_width" in _parameters(op)


def chooses_width(op: str) -> bool:
    """Whether the block is told how many channels or features are to leave."""
    return "width" in _parameters(op)


def can_share(op: str) -> bool:
    """Whether several places of a network can use one set of this block's weights."""
    return has_weights(op)


def is_told_use(op: str) -> bool:
    """Whether the block keeps something private to each place that uses its weights."""
    return "uses" in _parameters(op)


@cache
def _parameters(op: str) -> Mapping[str, inspect.Parameter]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    signature = inspect.signature(block_class(op), eval_str=True)
    return {name: p for name, p in signature.parameters.items() if p.kind in named}


def _numbers(op: str, args: Mapping[str, Scalar]) -> Mapping[str, Scalar]:
    """The complete numbers, read-only; spaces ask for the same ones again and again, so they are kept."""
    if all(isinstance(value, bool | int | float | str) for value in args.values()):
        return _kept_numbers(op, tuple((name, type(value), value) for name, value in args.items()))
    return MappingProxyType(_complete(op, args))


@lru_cache(maxsize=4096)
def _kept_numbers(op: str, args: tuple[tuple[str, type, Scalar], ...]) -> Mapping[str, Scalar]:
    return MappingProxyType(_complete(op, {name: value for name, _, value in args}))


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
        if kind is inspect.Parameter.empty:
            raise InvalidArchitecture(f"block {op!r} does not say of what type {name} is: annotate it, as {name}: int")
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            wanted = getattr(kind, "__name__", kind)
            raise InvalidArchitecture(f"{name} of block {op!r} is of type {wanted}, {value!r} was given")
        least = 0 if parameter.default == 0 else 1
        if kind is int and value < least:
            raise InvalidArchitecture(f"{name} of block {op!r} must be at least {least}, {value} was given")
        complete[name] = canonical_activation(value) if isinstance(value, str) else value
    return complete


def given(**indices: int | None) -> Json:
    """Those that were given."""
    return {name: index for name, index in indices.items() if index is not None}
