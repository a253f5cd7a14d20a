"""Narrower layers: the units with the smallest weights leave, and the others keep theirs.

Slicing by importance (Li et al. 2017; Cai et al. 2020, "Once-for-All", section 3.3). It changes the answers, and some
training brings them back.
"""

from ..errors import InvalidArchitecture
from .architecture import Architecture
from .builder import Network
from .pruning import prune, pruned_architecture


def narrowed_architecture(architecture: Architecture, ratio: float) -> Architecture:
    """The network with each layer that can lose units ``ratio`` (above 0, below 1) times as wide, rounded up.

    What stays whole is what ``pruned_architecture`` spares. InvalidArchitecture if nothing leaves.
    """
    target = pruned_architecture(architecture, round(1 - ratio, 6))
    if target == architecture:
        raise InvalidArchitecture(
            f"nothing in this network can be {ratio:g} times as wide: its layers have too few units to lose that "
            "share, or stay whole, as inputs, answers, grouped convolutions and the width of sequences do"
        )
    return target


def narrowed(network: Network, target: Architecture) -> Network:
    """A new network of the units of ``network`` that matter most. target: ``narrowed_architecture`` of its own."""
    return prune(network, target)
