"""Wider layers that answer the same.

Each new unit is a copy of an old one, and whoever reads the copies divides its weights by how many there are (Chen et
al. 2016, "Net2Net", section 2.2, eq. 1 and 2). Units are copied in turn, not at random as there, which gives each about
as many copies. Copies have equal gradients and stay equal for ever: ``part_copies`` parts them before training goes on.
"""

from collections.abc import Mapping
from math import ceil

import torch
from torch import nn

from ..errors import InvalidArchitecture
from .architecture import Architecture
from .blocks import BLOCKS
from .builder import Network, build
from .groups import INNER, Unit, network_axes, width_groups

READS = (nn.Linear, nn.Conv1d, nn.Conv2d)  # layers whose weights are (units that leave, units that come, ...)
EVEN = ("layer", "rms")  # normalise over all units, so that each must be there equally often
NOISE = 0.01  # spread of the factor that parts copies


def widened_architecture(architecture: Architecture, ratio: float) -> Architecture:
    """The network with all that can be widened ``ratio`` (above 1) times as wide, rounded up.

    Channels, hidden units and attention heads grow; what is layer-normalised, such as the width of sequences, only if
    it becomes a whole number of times as wide. As wide as they are stay the input and the answers, the channels of
    grouped convolutions, sequences with sinusoidal positions or a tied head, and blocks of the user's own with what
    comes to them. InvalidArchitecture if nothing is left.
    """
    sizes = _larger(architecture, ratio)
    if not sizes:
        raise InvalidArchitecture(
            f"nothing in this network can be {ratio:g} times as wide and answer the same: what is layer-normalised "
            "grows by whole numbers such as 2, and inputs, answers, grouped convolutions, tied embeddings, "
            "sequences with sinusoidal positions and blocks of your own keep their widths"
        )
    groups = width_groups(architecture)
    blocks = []
    for index, block in enumerate(architecture.blocks):
        units = {name: groups.of(architecture.owner(index), name) for name in ("width", *INNER) if block.args.get(name)}
        blocks.append(block.resized(**{name: sizes[unit] for name, unit in units.items() if unit in sizes}))
    return architecture.with_blocks(blocks)


def widened(network: Network, target: Architecture) -> Network:
    """A new network with copies of the units of ``network``. target: ``widened_architecture`` of its own."""
    old = width_groups(network.architecture).size
    new = width_groups(target).size
    state = dict(network.state_dict())
    for axis in network_axes(network.architecture):
        value = state[axis.tensor]
        places = value.shape[axis.dim] // old[axis.group]  # of each unit
        units = torch.arange(new[axis.group]) % old[axis.group]
        rows = (units[:, None] * places + torch.arange(places)).flatten().to(value.device)
        value = value.index_select(axis.dim, rows)
        module = network.get_submodule(axis.tensor.rpartition(".")[0])
        if axis.dim == 1 and isinstance(module, READS):
            copies = torch.bincount(units)[units].repeat_interleave(places).to(value)
            value = value / copies.view(-1, *[1] * (value.dim() - 2))
        state[axis.tensor] = value
    wider = build(target, seed=0)
    assert isinstance(wider, Network)
    wider.to(next(network.parameters())).load_state_dict(state)  # on its device, in its precision
    return wider.train(network.training)


def part_copies(network: nn.Module, seed: int) -> None:
    """Multiply each weight, in place, by 1 plus a normal number of spread 0.01 that follows from ``seed``.

    Biases and normalisations stay, and so does what is 0. For a widened network before it is trained on: units that are
    copies have equal gradients, and never part by themselves.
    """
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                noise = torch.randn(parameter.shape, generator=draw)
                parameter.mul_(1 + NOISE * noise.to(parameter))


def _larger(architecture: Architecture, ratio: float) -> Mapping[Unit, int]:
    """The new size of each set of units that can grow."""
    groups = width_groups(architecture)
    whole = {unit for head, unit in zip(architecture.heads, groups.heads, strict=True) if head.tied is not None}
    for index, block in enumerate(architecture.blocks):
        if block.op not in BLOCKS:
            whole |= {groups.before[index], groups.after[index], *((index, number) for number in INNER)}
    sizes = {unit: ceil(round(size * ratio, 6)) for unit, size in groups.prunable.items() if unit not in whole}
    even = {
        unit for block, unit in zip(architecture.blocks, groups.after, strict=True) if block.args.get("norm") in EVEN
    }
    return {unit: size for unit, size in sizes.items() if unit not in even or size % groups.size[unit] == 0}
