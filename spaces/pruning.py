"""Structured pruning: channels, hidden units and attention heads leave physically, and the result is an ordinary
architecture.

Which units leave together follows from the architecture alone: the channels that leave one block are the ones that
come into the next, a residual sum makes what comes and what leaves one set, and all users of a shared weight lose the
same ones. The ranking is the L1 norm of the filters (Li et al. 2017, "Pruning Filters for Efficient ConvNets", eq. in
section 3.1), per layer and uniform.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import torch
from torch import nn

from ..errors import InvalidArchitecture
from .architecture import Architecture
from .block import Block, has_weights
from .builder import INPUT, Network, build, forms, in_widths, make_block

INNER = ("hidden", "heads")  # sizes inside a block, which no other block sees
Unit = int | tuple[int, str]  # a set of units: INPUT, the output of a block, or a size inside a block


@dataclass(frozen=True)
class Groups:
    """Which sizes must stay equal, because they count one and the same units.

    For every block: the group of what comes in and of what goes out; for every head: of what comes in. ``size`` is
    units per group; a block behind a flatten sees each channel as several features. Groups in ``fixed`` stay whole.
    """

    before: tuple[Unit, ...]
    after: tuple[Unit, ...]
    heads: tuple[Unit, ...]
    size: Mapping[Unit, int]
    fixed: frozenset[Unit]

    def of(self, index: int, number: str) -> Unit:
        """The group of a size of a block."""
        if number == "in_width":
            return self.before[index]
        return self.after[index] if number == "width" else (index, number)


class _Union:
    """Union-find over sets of units."""

    def __init__(self) -> None:
        self.parent: dict[Unit, Unit] = {}
        self.size: dict[Unit, int] = {}
        self.fixed: set[Unit] = set()

    def add(self, unit: Unit, size: int, *, fixed: bool = False) -> Unit:
        self.parent[unit], self.size[unit] = unit, size
        if fixed:
            self.fixed.add(unit)
        return unit

    def find(self, unit: Unit) -> Unit:
        while self.parent[unit] != unit:
            unit = self.parent[unit]
        return unit

    def join(self, one: Unit, other: Unit) -> None:
        one, other = sorted((self.find(one), self.find(other)), key=str)
        if self.size[one] != self.size[other]:  # equal rows, cut into channels differently by a flatten: keep both
            self.fixed.update((one, other))
        elif one != other:
            self.parent[other] = one


@lru_cache(maxsize=1024)
def width_groups(architecture: Architecture) -> Groups:
    """Union of all sizes that count one and the same units."""
    seen, sets = forms(architecture), _Union()
    sets.add(INPUT, seen[0].width, fixed=True)
    before: list[Unit] = []
    after: list[Unit] = []
    for index, block in enumerate(architecture.blocks):
        source = architecture.source(index)
        came, left = seen[source + 1], seen[index + 1]
        comes = INPUT if source == INPUT else after[source]
        before.append(comes)
        if block.width is not None:
            sets.add(index, block.width, fixed=left.sequence)
            if block.args.get("skip") == "identity":
                sets.join(comes, index)
            if int(block.args.get("groups", 1)) > 1:
                sets.fixed.update((comes, index))
            after.append(index)
        elif left.width == came.width or (not came.sequence and left.shape == (prod(came.shape),)):
            after.append(comes)
        else:
            sets.fixed.add(comes)
            after.append(sets.add(index, left.width, fixed=True))
        for number in INNER:
            if number in block.args and block.shares is None:
                sets.add((index, number), int(block.args[number]))
        if block.shares is not None:
            sets.join(before[block.shares], comes)
            sets.join(after[block.shares], after[index])
    heads = tuple(
        INPUT if architecture.head_source(head) == INPUT else after[architecture.head_source(head)]
        for head in architecture.heads
    )
    return Groups(
        before=tuple(sets.find(group) for group in before),
        after=tuple(sets.find(group) for group in after),
        heads=tuple(sets.find(group) for group in heads),
        size={group: sets.size[group] for group in sets.parent if sets.find(group) == group},
        fixed=frozenset(sets.find(group) for group in sets.fixed),
    )


def pruned_architecture(architecture: Architecture, ratio: float) -> Architecture:
    """The architecture after ``ratio`` (0 up to, not including, 1) of each layer's units has left.

    Units are channels, hidden units and attention heads; at least one of each layer stays. The input, the answers, the
    width of sequences and the channels of grouped convolutions are never pruned, nor is what cannot be built.
    """
    groups = _groups_to_prune(architecture, ratio)
    if groups is None:
        return architecture

    def left(block: Block, index: int) -> dict[str, int]:
        owner = architecture.owner(index)
        sizes = {name: int(block.args[name]) for name in ("width", *INNER) if name in block.args}
        return {
            name: _staying(size, ratio) for name, size in sizes.items() if groups.of(owner, name) not in groups.fixed
        }

    return architecture.with_blocks(
        [block.resized(**left(block, index)) for index, block in enumerate(architecture.blocks)]
    )


def prunes(architecture: Architecture, ratio: float) -> bool:
    """Whether ``pruned_architecture`` would be another one; asked in every trial, so without making that."""
    groups = _groups_to_prune(architecture, ratio)
    return groups is not None and any(
        _staying(size, ratio) < size for group, size in groups.size.items() if group not in groups.fixed
    )


def _groups_to_prune(architecture: Architecture, ratio: float) -> Groups | None:
    """None where nothing is to be pruned, or cannot be built: whoever builds it hears why."""
    try:
        return width_groups(architecture) if ratio else None
    except InvalidArchitecture:
        return None


def _staying(size: int, ratio: float) -> int:
    """How many units of a layer stay."""
    return max(1, size - int(size * ratio))


def prune(network: nn.Module, target: Architecture) -> Network:
    """A new, smaller network with the units of ``network`` whose weights have the largest L1 norms.

    network: one that was built of blocks. target: ``pruned_architecture`` of its own. The argument is not changed.
    """
    assert isinstance(network, Network)
    architecture = network.architecture
    groups, widths = width_groups(architecture), in_widths(architecture)
    old = network.state_dict()
    kept = _kept_units(network, groups, target)
    state: dict[str, torch.Tensor] = {}

    def rows(group: Unit, count: int) -> torch.Tensor:
        """Indices that stay among ``count`` features, of which each unit of the group is several, in a row."""
        features = count // groups.size[group]
        return (kept[group][:, None] * features + torch.arange(features)).flatten()

    for index in _owners(architecture):
        for tensor, axes in tensor_axes(architecture, index).items():
            value = old[f"block{index}.{tensor}"]
            for dim, (number, growth) in axes.items():
                size = widths[index] if number == "in_width" else int(architecture.blocks[index].args[number])
                stay = rows(groups.of(index, number), size)
                spread = (stay[:, None] * growth + torch.arange(growth)).flatten()
                value = value.index_select(dim, spread.to(value.device))
            state[f"block{index}.{tensor}"] = value.clone()
    for head, group in zip(architecture.heads, groups.heads, strict=True):
        if head.tied is None:
            weight = old[f"{head.name}.weight"]
            state[f"{head.name}.weight"] = weight.index_select(1, rows(group, weight.shape[1]).to(weight.device))
            state[f"{head.name}.bias"] = old[f"{head.name}.bias"].clone()
    smaller = build(target, seed=0)
    assert isinstance(smaller, Network)
    smaller.load_state_dict(state, assign=True)
    return smaller.to(next(network.parameters()).device).train(network.training)


@lru_cache(maxsize=256)
def tensor_axes(architecture: Architecture, index: int) -> dict[str, dict[int, tuple[str, int]]]:
    """For each tensor of a block that owns its weights: the dimensions that follow one of its sizes.

    A dimension comes with the size's name (``in_width``, ``width``, ``hidden`` or ``heads``) and how much it grows with
    it. Found by building the block one larger, on the meta device, so that a user's own block needs no table. Sizes
    that cannot change are left out.
    """
    block, in_width = architecture.blocks[index], in_widths(architecture)[index]
    groups = width_groups(architecture)

    def made(more_in: int = 0, **more: int) -> dict[str, torch.Size]:
        sizes = {name: int(block.args[name]) + count for name, count in more.items()}
        blocks = [
            other.resized(**sizes) if architecture.owner(i) == index else other
            for i, other in enumerate(architecture.blocks)
        ]
        with torch.device("meta"):
            module = make_block(architecture.with_blocks(blocks), index, in_width + more_in)
        return {name: tensor.shape for name, tensor in module.state_dict().items()}

    base = made()
    axes: dict[str, dict[int, tuple[str, int]]] = {name: {} for name in base}
    larger: dict[str, dict[str, torch.Size]] = {}
    tied = block.args.get("skip") == "identity"
    if has_weights(block.op) and not tied and groups.before[index] not in groups.fixed:
        larger["in_width"] = made(more_in=1)
    if block.width is not None and groups.after[index] not in groups.fixed:
        larger["width"] = made(more_in=int(tied), width=1)
    for number in INNER:
        if number in block.args:
            larger[number] = made(**{number: 1})
    for number, grown in larger.items():
        for name, shape in base.items():
            for dim, (small, large) in enumerate(zip(shape, grown[name], strict=True)):
                if large != small:
                    axes[name][dim] = (number, large - small)
    return axes


def _owners(architecture: Architecture) -> list[int]:
    return [index for index, block in enumerate(architecture.blocks) if block.shares is None]


def _kept_units(network: Network, groups: Groups, target: Architecture) -> dict[Unit, torch.Tensor]:
    architecture, state = network.architecture, network.state_dict()
    scores = {group: torch.zeros(size) for group, size in groups.size.items()}
    keep = dict(groups.size)
    for index in _owners(architecture):
        for number in ("width", *INNER):
            if number in architecture.blocks[index].args:
                keep[groups.of(index, number)] = int(target.blocks[index].args[number])
        for tensor, axes in tensor_axes(architecture, index).items():
            number, growth = axes.get(0, ("in_width", 0))
            weight = state[f"block{index}.{tensor}"]
            if number != "in_width" and weight.dim() > 1:
                norms = weight.abs().flatten(1).sum(1).cpu()
                scores[groups.of(index, number)] += norms.view(-1, growth).sum(1)
    return {
        group: torch.arange(len(score))
        if group in groups.fixed
        else torch.topk(score, keep[group]).indices.sort().values
        for group, score in scores.items()
    }
