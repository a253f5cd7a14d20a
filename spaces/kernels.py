"""Larger kernels that answer the same.

A kernel grows by a ring of zeros, and its padding by one on each side, so that it sees more of what came and gives what
it gave (Wei et al. 2016, "Network Morphism", section 3.4). Zeros have gradients of their own and learn from the first
step on.
"""

import torch
from torch import nn

from ..errors import InvalidArchitecture
from .architecture import Architecture
from .blocks import BLOCKS
from .builder import Network, build, forms

RING = 2  # what a kernel grows by: odd ones stay odd, and all keep the size of the map


def grown_architecture(architecture: Architecture, at: int) -> Architecture:
    """The network with a kernel larger by 2 in block ``at``, and in all blocks that use its weights.

    InvalidArchitecture where there is no kernel, as in blocks of the user's own, whose padding nobody knows; and where
    what is new would see nothing of the map.
    """
    block = architecture.blocks[at]
    if block.op not in BLOCKS or "kernel" not in block.args:
        raise InvalidArchitecture(
            f"block {at} ({block.op}) has no kernel that can grow: a convolutional, separable or residual block has one"
        )
    if block.shares is not None:
        raise InvalidArchitecture(f"block {at} uses the kernel of block {block.shares}: let that one grow")
    users = [index for index in range(len(architecture.blocks)) if architecture.owner(index) == at]
    kernel, seen = int(block.args["kernel"]) + RING, forms(architecture)
    side = max(size for index in users for size in seen[architecture.source(index) + 1].shape[1:])
    if kernel // 2 >= side:
        raise InvalidArchitecture(
            f"the kernel of block {at} ({block.op}) cannot grow to {kernel}: of a map that is {side} wide, a kernel of "
            f"more than {2 * side - 1} sees no more"
        )
    return architecture.with_blocks(
        [other.resized(kernel=kernel) if index in users else other for index, other in enumerate(architecture.blocks)]
    )


def grown(network: Network, target: Architecture) -> Network:
    """A new network with the weights of ``network`` in the middle of larger kernels. target: ``grown_architecture``."""
    larger = build(target, seed=0)
    assert isinstance(larger, Network)
    larger.to(next(network.parameters()))  # its device and its precision
    shapes = {name: tensor.shape for name, tensor in larger.state_dict().items()}
    larger.load_state_dict({name: _ringed(tensor, shapes[name]) for name, tensor in network.state_dict().items()})
    return larger.train(network.training)


def _ringed(tensor: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """The tensor in the middle of zeros, as many in front as behind."""
    rings = [(new - old) // 2 for old, new in zip(tensor.shape, shape, strict=True)]
    return nn.functional.pad(tensor, [ring for each in reversed(rings) for ring in (each, each)])
