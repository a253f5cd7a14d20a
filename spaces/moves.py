"""Moves: a trained network loses a layer or gets one, becomes wider or narrower, sees further, and takes its weights
along.

A network that grows answers as before until it is trained on (Chen et al. 2016, "Net2Net"): see ``deepening.py``,
``widening.py`` and ``kernels.py``. One that loses a layer or units (``narrowing.py``) does not:
``paretonas.objectives.cheapest_layers`` finds the layers that are missed least.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from math import isfinite
from types import MappingProxyType

import torch
from torch import nn

from ..errors import InvalidArchitecture, UsageError, one_of
from .architecture import Architecture, Json, Shape
from .block import Block, block_class, has_weights, is_told_use
from .builder import INPUT, Network, build, calls, forms, in_widths
from .deepening import begin_as_identity, new_block
from .kernels import grown, grown_architecture
from .module import ModuleArchitecture
from .narrowing import narrowed, narrowed_architecture
from .widening import widened, widened_architecture

PLACED = ("remove_layer", "insert_layer", "grow_kernel")  # at a block
SCALED = ("widen", "narrow")  # the whole network, by a ratio
KINDS = (*PLACED, *SCALED)
PRESERVING = ("insert_layer", "grow_kernel", "widen")  # the network answers as before
RATIOS = (1.5, 2.0)  # widen: the first that can be is offered; layer normalisation asks for whole ones
SHARES = (0.75, 0.5)  # narrow: both are offered


@dataclass(frozen=True)
class Move:
    """A change of a network.

    kind: ``remove_layer``, ``insert_layer``, ``grow_kernel`` (by 2), ``widen`` or ``narrow``. at: the index of the
    block that leaves, behind which a new one comes, or whose kernel grows. ratio: how many times as wide the network
    becomes, above 1 to widen, below 1 to narrow. What a kind does not use is left as it is by default, so that equal
    moves are equal data.
    """

    kind: str
    at: int = 0
    ratio: float = 1.0

    def __post_init__(self) -> None:
        one_of("move", self.kind, KINDS)
        if type(self.at) is not int or self.at < 0:
            raise UsageError(f"a move is at the index of a block, from 0, {self.at!r} was given")
        number = isinstance(self.ratio, int | float) and not isinstance(self.ratio, bool) and isfinite(self.ratio)
        if self.kind == "widen" and not (number and self.ratio > 1):
            raise UsageError(f"a network is widened by a ratio above 1, such as 1.5, {self.ratio!r} was given")
        if self.kind == "narrow" and not (number and 0 < self.ratio < 1):
            raise UsageError(
                f"a network is narrowed by a ratio above 0 and below 1, such as 0.75, {self.ratio!r} was given"
            )
        object.__setattr__(self, "at", self.at if self.kind in PLACED else 0)
        object.__setattr__(self, "ratio", float(self.ratio) if self.kind in SCALED else 1.0)

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Json) -> "Move":
        """Read what ``to_json`` wrote; UsageError says what is wrong with anything else."""
        try:
            return cls(**data)
        except TypeError as error:
            raise UsageError(f"this is not a move as paretonas writes it: {error}") from error


def possible_moves(architecture: Architecture, kinds: tuple[str, ...] = KINDS) -> tuple[Move, ...]:
    """All that can be done with a network: layers that can leave, places for new ones, kernels that can grow, widening
    by 1.5 (or else 2), narrowing to three quarters and to half.
    """
    return tuple(reachable(architecture, kinds))


@lru_cache(maxsize=512)
def reachable(architecture: Architecture, kinds: tuple[str, ...] = KINDS) -> Mapping[Move, Architecture]:
    """What each possible move makes of a network."""
    found: dict[Move, Architecture] = {}
    for kind in kinds:
        if kind in PLACED:
            moves = [Move(kind, at) for at in range(len(architecture.blocks))]
        else:
            moves = [Move(kind, ratio=ratio) for ratio in (RATIOS if kind == "widen" else SHARES)]
        targets = {move: target for move in moves if (target := _target(architecture, move)) is not None}
        if kind == "widen":
            targets = dict(list(targets.items())[:1])
        if kind == "narrow" and len(set(targets.values())) < len(targets):
            targets.popitem()  # so few units that both shares leave the same
        found |= targets
    return MappingProxyType(found)


def moved_architecture(architecture: Architecture, move: Move) -> Architecture:
    """The network after a move. InvalidArchitecture says why, if it cannot be made."""
    if isinstance(architecture, ModuleArchitecture):
        raise InvalidArchitecture(
            f"{move.kind} changes networks that are made of blocks, and this one is made by {architecture.factory}: "
            "change it there"
        )
    if move.kind in SCALED:
        resized = widened_architecture if move.kind == "widen" else narrowed_architecture
        return resized(architecture, move.ratio)
    if move.at >= len(architecture.blocks):
        raise InvalidArchitecture(f"there is no block {move.at}, the network has {len(architecture.blocks)} blocks")
    if move.kind == "grow_kernel":
        return grown_architecture(architecture, move.at)
    new = None
    if move.kind == "insert_layer":
        new = new_block(architecture, move.at)
    else:
        _check_leaves(architecture, move.at)
    target = _rearranged(architecture, _order(architecture, move), new)
    forms(target)  # refuses what cannot be built
    return target


def moved(network: nn.Module, move: Move) -> Network:
    """A new network after a move, with the weights of ``network``, which is not changed.

    After those of ``PRESERVING`` it answers the same in evaluation mode, up to rounding. network: one built of blocks;
    UsageError for any other, InvalidArchitecture says why a move cannot be made. Nothing is random.
    """
    if not isinstance(network, Network):
        raise UsageError(f"{move.kind} changes networks that are made of blocks, a {type(network).__name__} was given")
    target = moved_architecture(network.architecture, move)
    resized = {"widen": widened, "narrow": narrowed, "grow_kernel": grown}
    if move.kind in resized:
        return resized[move.kind](network, target)
    made = _carried(network, target, _order(network.architecture, move))
    if move.kind == "insert_layer":
        begin_as_identity(made, move.at + 1)
    return made


def _target(architecture: Architecture, move: Move) -> Architecture | None:
    """The network after a move; None where it cannot be made."""
    try:
        return moved_architecture(architecture, move)
    except InvalidArchitecture:
        return None


def _order(architecture: Architecture, move: Move) -> list[int | None]:
    """Which block stands in each place after a move, by its index before it; None: the new one."""
    count = len(architecture.blocks)
    if move.kind == "remove_layer":
        return [index for index in range(count) if index != move.at]
    return [*range(move.at + 1), None, *range(move.at + 1, count)]


def _check_leaves(architecture: Architecture, at: int) -> None:
    """InvalidArchitecture unless a block can be left out."""
    block, seen = architecture.blocks[at], forms(architecture)
    came, left = seen[architecture.source(at) + 1], seen[at + 1]
    if "categories" in block.args or "vocabulary" in block.args:
        raise InvalidArchitecture(f"block {at} ({block.op}) cannot leave: it makes numbers of the codes in the input")
    if came != left:
        raise InvalidArchitecture(
            f"block {at} ({block.op}) cannot leave: it takes {_times(came.shape)} and gives {_times(left.shape)}, and "
            "only what gives the shape that it takes can leave"
        )


def _rearranged(architecture: Architecture, order: Sequence[int | None], new: Block | None) -> Architecture:
    """The blocks in another order. Who followed one that leaves follows what that one followed; who followed one that
    has the new block behind it follows the new block. The first user of shared weights owns them.
    """
    places = {index: place for place, index in enumerate(order) if index is not None} | {INPUT: INPUT}
    outputs, owners = {INPUT: INPUT}, dict[int, int]()
    blocks: list[Block] = []
    for old in range(len(architecture.blocks)):
        if old in places:
            behind = places[old] + 1
            outputs[old] = behind if order[behind : behind + 1] == [None] else places[old]
        else:
            outputs[old] = outputs[architecture.source(old)]
    for place, index in enumerate(order):
        if index is None:
            assert new is not None
            blocks.append(new)
            continue
        owner = owners.setdefault(architecture.owner(index), place)
        follows, shares = outputs[architecture.source(index)], None if owner == place else owner
        blocks.append(architecture.blocks[index].replace(follows=follows, shares=shares))
    heads = tuple(
        replace(
            head, follows=outputs[architecture.head_source(head)], tied=None if head.tied is None else places[head.tied]
        )
        for head in architecture.heads
    )
    return replace(architecture, blocks=tuple(blocks), heads=heads)


def _carried(network: Network, target: Architecture, order: Sequence[int | None]) -> Network:
    """The network of the target with the weights of the blocks that stay; a new block has those it is made with.

    What is private to a place that uses shared weights, such as its batch normalisation, stays with that place.
    """
    before, widths = calls(network.architecture), in_widths(target)
    old, state = network.state_dict(), dict[str, torch.Tensor]()
    for index, call in zip(order, calls(target), strict=True):
        if index is None:
            continue
        block, was = network.architecture.blocks[index].alone, before[index]
        width = widths[call.owner]
        pairs = zip(_private(block, width, call.use), _private(block, width, was.use), strict=True)
        for now, then in (*pairs, *((name, name) for name in _common(block, width) if call.use == 0)):
            state[f"{call.module}.{now}"] = old[f"{was.module}.{then}"]
    for head in target.heads:
        state |= {name: tensor for name, tensor in old.items() if name.startswith(f"{head.name}.")}
    made = build(target, seed=0)
    assert isinstance(made, Network)
    made.to(next(network.parameters()))  # its device and its precision
    unknown = made.load_state_dict(state, strict=False).unexpected_keys
    assert not unknown
    return made.train(network.training)


def _common(block: Block, in_width: int) -> list[str]:
    """The tensors of a block that all its users have in common."""
    return list(_tensors(block, in_width, 0 if is_told_use(block.op) else 1))


def _private(block: Block, in_width: int, use: int) -> list[str]:
    """The tensors of a block that belong to one of its users."""
    if not is_told_use(block.op):
        return []
    fewer = _tensors(block, in_width, use)
    return [name for name in _tensors(block, in_width, use + 1) if name not in fewer]


@lru_cache(maxsize=1024)
def _tensors(block: Block, in_width: int, uses: int) -> tuple[str, ...]:
    """The names of a block's tensors where so many places use it."""
    leading = (in_width,) if has_weights(block.op) else ()
    with torch.device("meta"):
        module = block_class(block.op)(*leading, **block.args, **({"uses": uses} if is_told_use(block.op) else {}))
    return tuple(module.state_dict())


def _times(shape: Shape) -> str:
    return "x".join(map(str, shape))
