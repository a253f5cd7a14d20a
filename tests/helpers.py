"""What several test files do to data and networks."""

import torch

from paretonas.objectives import Data, Split
from paretonas.spaces import Architecture, Network
from paretonas.spaces.builder import in_widths
from paretonas.spaces.groups import tensor_axes


def parts(data: Data) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """X and y of the three splits, in memory, of data with one head."""
    found = []
    for split in (data.train, data.validation, data.test):
        assert isinstance(split, Split)
        assert isinstance(split.y, torch.Tensor)
        found.append((split.x, split.y))
    return found


def silence(network: Network, deployed: Architecture) -> None:
    """Set to 0 what the last units of each layer give, as many as leave; every activation there is keeps 0."""
    state, widths = network.state_dict(), in_widths(deployed)
    for index, block in enumerate(deployed.blocks):
        for name, axes in tensor_axes(network.architecture, index).items() if block.shares is None else ():
            number, growth = axes.get(0, ("width", 0))
            left = widths[index] if number == "in_width" else int(block.args.get(number, 0))
            if growth and "running" not in name:
                state[f"block{index}.{name}"][left * growth :] = 0
