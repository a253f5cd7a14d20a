"""What a network costs, counted rather than timed."""

from torch import nn

from ..spaces import Architecture, count_macs


def parameters(network: nn.Module) -> int:
    """Trainable numbers; a weight used in several places counts once."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def macs(architecture: Architecture) -> int:
    """Multiply-accumulate operations of convolutions, linear layers and attention for one example.

    A shared layer counts each time it runs.
    """
    return count_macs(architecture)
