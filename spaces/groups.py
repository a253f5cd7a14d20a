"""Which sizes of a network count one and the same units, and which dimensions of its tensors follow them.

What leaves one block is what comes into the next, a residual sum makes what comes and what leaves one set, all users of
a shared weight have the same units, and so have a tied head and its embedding.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import torch

from .architecture import Architecture
from .block import Block, has_weights
from .blocks import BLOCKS
from .builder import INPUT, Form, forms, in_widths, make_block

INNER = ("hidden", "heads", "squeeze")  # sizes inside a block, which no other block sees
Unit = int | tuple[int, str]  # a set of units: INPUT, the output of a block, or a size inside a block


@dataclass(frozen=True)
class Groups:
    """Which sizes must stay equal, because they count one and the same units.

    For every block: the group of what comes in and of what goes out; for every head: of what comes in. ``size`` is
    units per group; a block behind a flatten sees each channel as several features. Groups in ``fixed`` stay whole.
    Those in ``sequences`` are the widths of sequences. ``spared`` are those that lose none where each layer loses the
    same share (figures in docs/log.md): the widths of sequences, and the units of a squeeze and excitation.
    """

    before: tuple[Unit, ...]
    after: tuple[Unit, ...]
    heads: tuple[Unit, ...]
    size: Mapping[Unit, int]
    fixed: frozenset[Unit]
    sequences: frozenset[Unit]
    spared: frozenset[Unit]

    @property
    def prunable(self) -> dict[Unit, int]:
        """The units of each group that may lose some."""
        return {group: size for group, size in self.size.items() if group not in self.fixed}

    def of(self, index: int, number: str) -> Unit:
        """The group of a size of a block that owns its weights."""
        if number == "in_width":
            return self.before[index]
        return self.after[index] if number == "width" else (index, number)


@dataclass(frozen=True)
class Axis:
    """A dimension of a tensor of the state dict that holds the units of a group, each in so many places in a row.

    number: the size of the block that it follows: ``in_width``, ``width``, ``hidden``, ``heads`` or ``squeeze``.
    """

    tensor: str
    dim: int
    group: Unit
    number: str


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

    def roots(self, units: list[Unit]) -> tuple[Unit, ...]:
        return tuple(self.find(unit) for unit in units)


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
        after.append(_leaves(sets, index, block, comes, came, left))
        if _keeps_whole(block, came, left):
            sets.fixed.update((comes, after[index]))
        for number in INNER:
            if block.args.get(number) and block.shares is None:
                sets.add((index, number), int(block.args[number]))
        if block.shares is not None:
            sets.join(before[block.shares], comes)
            sets.join(after[block.shares], after[index])
    heads: list[Unit] = []
    for head in architecture.heads:
        source = architecture.head_source(head)
        heads.append(INPUT if source == INPUT else after[source])
        if head.tied is not None:
            sets.join(heads[-1], after[head.tied])
    sequences = {sets.find(group) for group, form in zip(after, seen[1:], strict=True) if form.sequence}
    squeezing = {unit for unit in sets.parent if isinstance(unit, tuple) and unit[1] == "squeeze"}
    return Groups(
        before=sets.roots(before),
        after=sets.roots(after),
        heads=sets.roots(heads),
        size={group: sets.size[group] for group in sets.parent if sets.find(group) == group},
        fixed=frozenset(sets.roots(list(sets.fixed))),
        sequences=frozenset(sequences),
        spared=frozenset(sequences | squeezing),
    )


def _leaves(sets: _Union, index: int, block: Block, comes: Unit, came: Form, left: Form) -> Unit:
    """The group of what leaves a block."""
    if block.width is not None:
        sets.add(index, block.width)
        if block.args.get("skip") == "identity":
            sets.join(comes, index)
        return index
    if left.width == came.width or (not came.sequence and left.shape == (prod(came.shape),)):
        return comes
    sets.fixed.add(comes)
    return sets.add(index, left.width, fixed=True)


def _keeps_whole(block: Block, came: Form, left: Form) -> bool:
    """Whether nothing of what comes and leaves can be taken out.

    The groups of a convolution divide both widths; waves of the position depend on the width that they are added to; a
    user's own block over sequences may cut their width into heads.
    """
    if int(block.args.get("groups", 1)) > 1:
        return True
    if block.op not in BLOCKS:
        return came.sequence or left.sequence
    return block.args.get("positions") == "sinusoidal" and not block.args.get("bottleneck")


@lru_cache(maxsize=256)
def tensor_axes(architecture: Architecture, index: int) -> dict[str, dict[int, tuple[str, int]]]:
    """For each tensor of a block that owns its weights: the dimensions that follow one of its sizes.

    A dimension comes with the size's name (``in_width``, ``width`` or one of ``INNER``) and how much it grows with it.
    Found by building the block one larger, on the meta device, so that a user's own block needs no table. Sizes that
    cannot change are left out.
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
        if block.args.get(number):
            larger[number] = made(**{number: 1})
    for number, grown in larger.items():
        for name, shape in base.items():
            for dim, (small, large) in enumerate(zip(shape, grown[name], strict=True)):
                if large != small:
                    axes[name][dim] = (number, large - small)
    return axes


@lru_cache(maxsize=256)
def network_axes(architecture: Architecture) -> tuple[Axis, ...]:
    """All dimensions of all tensors of the network that hold units which may leave."""
    groups = width_groups(architecture)
    found = [
        Axis(f"block{index}.{tensor}", dim, groups.of(index, number), number)
        for index, block in enumerate(architecture.blocks)
        if block.shares is None
        for tensor, axes in tensor_axes(architecture, index).items()
        for dim, (number, _) in axes.items()
    ]
    found += [
        Axis(f"{head.name}.weight", 1, group, "in_width")
        for head, group in zip(architecture.heads, groups.heads, strict=True)
        if head.tied is None and group not in groups.fixed
    ]
    return tuple(found)
