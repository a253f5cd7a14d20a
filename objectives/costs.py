"""What a network costs, counted rather than timed."""

import torch
from torch import nn

from ..spaces import Architecture, build


def parameters(network: nn.Module) -> int:
    """Trainable numbers; a weight used in several places counts once."""
    return sum(parameter.numel() for parameter in network.parameters())


def macs(architecture: Architecture) -> int:
    """Multiply-accumulate operations of convolutions and linear layers for one example.

    A shared layer counts each time it runs. Counted by torch on the meta device, which has 2 FLOPs to a MAC.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        network = build(architecture).eval()
        example = torch.empty(1, *architecture.input_shape)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(example)
    return int(counter.get_total_flops()) // 2
