"""What leaves a trained network: layers, units, weights. The candidate's recipe says how much, the data what."""

from dataclasses import dataclass

import torch
from torch import nn

from ..spaces import (
    Candidate,
    Move,
    Network,
    Sparsity,
    global_target,
    masks_of,
    moved,
    prune,
    pruned_architecture,
    unit_scores,
)
from .gradients import loss_gradients
from .layers import cheapest_layers
from .tasks import Data


@dataclass(frozen=True)
class Shrunk:
    """A network that something left. sparsity: what becomes zero while it is fine-tuned, or the masks of what stays."""

    network: nn.Module
    sparsity: Sparsity | dict[str, torch.Tensor] | None


def shrink(
    network: nn.Module, candidate: Candidate, data: Data, *, seed: int, early: nn.Module | None = None
) -> Shrunk:
    """A smaller copy of a trained network, as the candidate says: first layers leave, then units, then weights.

    data: on the network's device; what is looked at is their train split. early: the network as it was after the first
    epoch, which a recipe that rewinds needs: the smaller network has its weights. ``network`` is not changed.
    """
    recipe = candidate.compression
    both = [network] if early is None else [network, early]  # the second loses what the first one does
    for layer in cheapest_layers(network, data, recipe.removed_layers) if recipe.removed_layers else ():
        both = [moved(one, Move("remove_layer", layer)) for one in both]
    if candidate.pruning:
        both = _with_fewer_units(both, candidate, data, seed=seed)
    if not recipe.sparse:
        return Shrunk(both[0], None)
    if recipe.rewinds:
        return Shrunk(both[-1], masks_of(both[0], recipe.sparsity, pattern=recipe.pattern))
    return Shrunk(both[0], Sparsity(recipe.sparsity, recipe.pattern, gradual=recipe.schedule == "gradual"))


def _with_fewer_units(both: list[nn.Module], candidate: Candidate, data: Data, *, seed: int) -> list[nn.Module]:
    trained, recipe = both[0], candidate.compression
    assert isinstance(trained, Network)
    gradients = loss_gradients(trained, data, seed=seed) if recipe.criterion == "taylor" else None
    scores = unit_scores(trained, recipe.criterion, gradients=gradients, seed=seed)
    if recipe.scope == "global":
        target = global_target(trained.architecture, scores, candidate.pruning)
    else:
        target = pruned_architecture(trained.architecture, candidate.pruning)
    return [prune(one, target, scores) for one in both]
