"""Structured pruning: channels leave physically, and the result is an ordinary architecture.

Which channels leave together follows from the architecture alone: the channels that leave one block are the ones
that come into the next, and all users of a shared weight lose the same ones. The ranking is the L1 norm of the
filters (Li et al. 2017, "Pruning Filters for Efficient ConvNets", eq. in section 3.1), per layer and uniform.
"""

from dataclasses import dataclass

import torch
from torch import nn

from .architecture import Architecture
from .builder import Network, build, calls, in_widths, make_block

INPUT = -1  # the group of the network's input channels; the groups of block i's outputs start as i


@dataclass(frozen=True)
class Groups:
    """Which widths must stay equal.

    For every block: the group of what comes in, the group of what goes out. ``size`` is channels per group; a block
    behind a flatten sees each channel as several features, in_width / size of them.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    size: dict[int, int]
    fixed: frozenset[int]


def width_groups(architecture: Architecture) -> Groups:
    """Union of all widths that are one and the same index set."""
    parent: dict[int, int] = {INPUT: INPUT}
    size = {INPUT: architecture.input_shape[0]}
    fixed = {INPUT}

    def find(group: int) -> int:
        while parent[group] != group:
            group = parent[group]
        return group

    def union(a: int, b: int) -> None:
        a, b = sorted((find(a), find(b)))
        if size[a] != size[b]:  # equal rows, cut into channels differently by a flatten: neither may change
            fixed.update((a, b))
        elif a != b:
            parent[b] = a

    before, after, current = [], [], INPUT
    for index, block in enumerate(architecture.blocks):
        before.append(current)
        if block.width is not None:
            parent[index], size[index] = index, block.width
            if block.shares is not None:
                union(before[block.shares], current)
                union(block.shares, index)
            current = index
        after.append(current)
    return Groups(
        before=tuple(find(group) for group in [*before, current]),
        after=tuple(find(group) for group in after),
        size={group: size[group] for group in parent if find(group) == group},
        fixed=frozenset(find(group) for group in fixed),
    )


def pruned_architecture(architecture: Architecture, ratio: float) -> Architecture:
    """The architecture after ``ratio`` (0 up to, not including, 1) of each layer's channels has left.

    At least one channel of a layer stays. Input channels and class scores are never pruned.
    """
    if ratio == 0:
        return architecture
    groups = width_groups(architecture)
    blocks = tuple(
        block
        if block.width is None or group in groups.fixed
        else block.replace(shares=block.shares, width=max(1, block.width - int(block.width * ratio)))
        for block, group in zip(architecture.blocks, groups.after, strict=True)
    )
    return Architecture(architecture.input_shape, blocks, architecture.heads)


def prune(network: Network, target: Architecture) -> Network:
    """A new, smaller network with the channels of ``network`` whose filters have the largest L1 norms.

    target: ``pruned_architecture`` of the network's own. The argument is not changed.
    """
    groups = width_groups(network.architecture)
    widths = in_widths(network.architecture)
    kept = _kept_channels(network, groups, target)
    old = network.state_dict()
    state: dict[str, torch.Tensor] = {}

    def rows(group: int, width: int) -> torch.Tensor:
        """Indices that stay among ``width`` features, of which each channel of the group is several."""
        features = width // groups.size[group]
        return (kept[group][:, None] * features + torch.arange(features)).flatten()

    for index, name in _owners(network.architecture):
        come = rows(groups.before[index], widths[index])
        leave = rows(groups.after[index], groups.size[groups.after[index]])
        for tensor, (in_dims, out_dims) in tensor_axes(network.architecture, index).items():
            state[f"{name}.{tensor}"] = _slice(old[f"{name}.{tensor}"], in_dims, come, out_dims, leave)
    for head in network.architecture.heads:
        come = rows(groups.before[-1], widths[-1])
        state[f"{head.name}.weight"] = _slice(old[f"{head.name}.weight"], (1,), come, (), come)
        state[f"{head.name}.bias"] = old[f"{head.name}.bias"].clone()
    with torch.device("meta"):
        smaller = build(target)
    smaller.load_state_dict(state, assign=True)
    return smaller.train(network.training)


def tensor_axes(architecture: Architecture, index: int) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """For each tensor of a block: the dimensions that follow what comes in, and those that follow its width.

    Found by building the block once wider, on the meta device, so that a user's own block needs no table.
    """
    block = architecture.blocks[index]
    width = block.width
    assert width is not None
    wider = Architecture(
        architecture.input_shape,
        tuple(
            other.replace(shares=other.shares, width=width + 1) if index in (i, other.shares) else other
            for i, other in enumerate(architecture.blocks)
        ),
        architecture.heads,
    )
    in_width = in_widths(architecture)[index]
    with torch.device("meta"):
        base = _shapes(make_block(architecture, index, in_width))
        more_in = _shapes(make_block(architecture, index, in_width + 1))
        more_out = _shapes(make_block(wider, index, in_width))
    return {name: (_changed(shape, more_in[name]), _changed(shape, more_out[name])) for name, shape in base.items()}


def _owners(architecture: Architecture) -> list[tuple[int, str]]:
    return [
        (call.owner, call.module)
        for call in calls(architecture)
        if call.use == 0 and architecture.blocks[call.owner].width is not None
    ]


def _kept_channels(network: Network, groups: Groups, target: Architecture) -> dict[int, torch.Tensor]:
    scores = {group: torch.zeros(size) for group, size in groups.size.items()}
    state = network.state_dict()
    for index, name in _owners(network.architecture):
        for tensor, (_, out_dims) in tensor_axes(network.architecture, index).items():
            weight = state[f"{name}.{tensor}"]
            if weight.dim() > 1 and out_dims == (0,):
                scores[groups.after[index]] += weight.abs().flatten(1).sum(1).cpu()
    keep = {group: block.width for group, block in zip(groups.after, target.blocks, strict=True) if block.width}
    return {
        group: torch.arange(len(score))
        if group in groups.fixed
        else torch.topk(score, keep[group]).indices.sort().values
        for group, score in scores.items()
    }


def _slice(
    tensor: torch.Tensor, in_dims: tuple[int, ...], come: torch.Tensor, out_dims: tuple[int, ...], leave: torch.Tensor
) -> torch.Tensor:
    for dims, index in ((in_dims, come), (out_dims, leave)):
        for dim in dims:
            tensor = tensor.index_select(dim, index.to(tensor.device))
    return tensor.clone()


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


def _changed(one: torch.Size, other: torch.Size) -> tuple[int, ...]:
    return tuple(dim for dim, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
