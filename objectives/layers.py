"""Which layers of a trained network are missed least."""

import copy
from collections.abc import Callable, Iterator, Sequence
from math import inf, isfinite

import torch
from torch import nn

from ..errors import UsageError, one_of
from ..spaces.builder import Network, forms
from ..spaces.moves import Move, moved, possible_moves
from .tasks import Data, Labels
from .training import loss_of

EXAMPLES = 512  # of the train split are looked at, always the same ones
BATCH = 64


def cheapest_layers(network: nn.Module, data: Data, count: int, *, by: str = "loss") -> tuple[int, ...]:
    """The blocks to remove, one after the other; an index is that of the network as it is when its turn comes.

    by: ``loss``, the one whose removal leaves the lowest loss; or ``similarity``, the one whose output is most like its
    input, by the mean cosine of the vectors at each position of a sequence (Men et al. 2024, "ShortGPT", eq. 1), or of
    the whole of a map or row. Both on up to 512 examples of the train split, in evaluation mode, without training in
    between. Only blocks with weight matrices are candidates. network: built of blocks, where the data are; it is not
    changed. UsageError if fewer than ``count`` layers can leave.
    """
    one_of("way to choose layers", by, PRICES)
    if type(count) is not int or count < 0:
        raise UsageError(f"a whole number of layers leaves, from 0, {count!r} was given")
    if not isinstance(network, Network):
        raise UsageError(f"layers leave networks that are made of blocks, a {type(network).__name__} was given")
    network, found = copy.deepcopy(network).eval(), list[int]()
    for _ in range(count):
        layers = _layers(network)
        if not layers:
            raise UsageError(
                f"{count} layers were to leave and only {len(found)} can: those that give the shape that they take"
            )
        prices = PRICES[by](network, layers, data)
        found.append(min(layers, key=lambda index: prices[index] if isfinite(prices[index]) else inf))
        network = moved(network, Move("remove_layer", found[-1]))
    return tuple(found)


def _layers(network: Network) -> list[int]:
    """The blocks with weight matrices that can leave."""
    architecture = network.architecture
    return [
        move.at
        for move in possible_moves(architecture, ("remove_layer",))
        if any(weight.dim() > 1 for weight in network.get_submodule(f"block{architecture.owner(move.at)}").parameters())
    ]


@torch.no_grad()
def _losses(network: Network, layers: Sequence[int], data: Data) -> dict[int, float]:
    """The loss without each layer, summed over the examples."""
    prices = {}
    for index in layers:
        without = moved(network, Move("remove_layer", index))
        prices[index] = sum(loss_of(without(x), y, data).item() * len(x) for x, y in _examples(data))
    return prices


@torch.no_grad()
def _changes(network: Network, layers: Sequence[int], data: Data) -> dict[int, float]:
    """1 minus the cosine of what comes to a layer and what leaves it, summed over the examples."""
    seen, prices = forms(network.architecture), dict.fromkeys(layers, 0.0)
    steps: list[tuple[torch.Tensor, torch.Tensor]] = []  # what came to each block in turn, and what left it

    def keep(_: nn.Module, came: tuple[torch.Tensor], left: torch.Tensor) -> None:
        steps.append((came[0], left))

    hooks = [block.register_forward_hook(keep) for name, block in network.named_children() if name.startswith("block")]
    for x, _ in _examples(data):
        steps.clear()
        network(x)
        for index in layers:
            came, left = (each if seen[index + 1].sequence else each.flatten(1) for each in steps[index])
            prices[index] += (1 - nn.functional.cosine_similarity(came, left, dim=-1)).mean().item() * len(x)
    for hook in hooks:
        hook.remove()
    return prices


def _examples(data: Data) -> Iterator[tuple[torch.Tensor, Labels]]:
    rows = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:EXAMPLES]
    return data.train.batches(BATCH, rows)


PRICES: dict[str, Callable[[Network, Sequence[int], Data], dict[int, float]]] = {
    "loss": _losses,
    "similarity": _changes,
}
